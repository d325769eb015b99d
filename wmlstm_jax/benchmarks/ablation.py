"""What does each part of the memory buy on text? Equal parameters, equal updates.

    python -m wmlstm_jax.benchmarks.ablation --config=configs/word_ptb.py:ablation \
        --config.data.path=ptb.train.txt \
        --config.data.validation_path=ptb.valid.txt --out=runs/ablation

Every variant changes the model of the config in what its name says, and then its hidden
width, so that it has as many parameters. Each is trained in a workdir of its own under
`--out`: run again, the command goes on where it was. What `ablation.json` knows is not
measured again, whatever became of the workdirs; so `--only` does a part today and the
rest tomorrow. Scored is the validation text, as one stream; the test text is not
touched.
"""

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from matplotlib.figure import Figure

from wmlstm_jax.analysis import score, write_scores
from wmlstm_jax.analysis.compare import match_size
from wmlstm_jax.benchmarks import Progress, results_dir
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.training.command_line import define_config, given_config, run_script
from wmlstm_jax.training.config import TrainConfig, to_settings
from wmlstm_jax.training.loop import train
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.objectives import LanguageModeling, num_params
from wmlstm_jax.training.provenance import provenance
from wmlstm_jax.training.run import build
from wmlstm_jax.training.trained import load

READ, COPY = {"copy": False}, {"read": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "LSTM": {"num_slots": 0, "copy": False},
    "reading": READ,
    "copying": COPY,
    "reading and copying": {},
    "reading and copying, read scale from 0": {"read_scale": 0.0},
    "copying, key of x_t": {**COPY, "key_from": ("input",)},
    "copying, key of h_t": {**COPY, "key_from": ("current",)},
    "copying, key of x_t and h_{t-1}": {**COPY, "key_from": ("input", "previous")},
    "copying, 16 slots": {**COPY, "num_slots": 16},
    "copying, 64 slots": {**COPY, "num_slots": 64},
    "copying, 256 slots": {**COPY, "num_slots": 256},
    "copying, 512 slots": {**COPY, "num_slots": 512},
    "reading and copying, 16 slots": {"num_slots": 16},
}
"""What is changed in the model of the config, by the variant's name."""


class Result(NamedTuple):
    """What one variant came to on the validation text."""

    variant: str
    num_params: int
    hidden_dim: int
    perplexity: dict[str, float]  # by the way of scoring; "" is as trained
    seconds: float  # of training and scoring
    about: dict[str, Any]  # `provenance`
    settings: dict[str, Any]  # of the run: what it is known again by


def configure(config: TrainConfig, names: list[str]) -> dict[str, TrainConfig]:
    """The config of variants by name, all as large as the one given."""
    vocab_size = build(config).tokenizer.vocab_size
    wanted = num_params(LanguageModeling(config.model, vocab_size))
    return {
        name: replace(
            config,
            model=match_size(
                replace(config.model, **VARIANTS[name]), wanted, vocab_size
            ),
        )
        for name in names
    }


def measure(variant: str, config: TrainConfig, slots: int, out: Path) -> Result:
    """Trains a variant, or finishes it, and scores it unless that was done.

    Args:
      variant: its name.
      config: its settings.
      slots: of the neural cache, where the variant has no memory.
      out: where its workdir is.
    """
    workdir, began = out / re.sub(r"\W+", "_", variant), time.perf_counter()
    scores = workdir / "eval.json"
    train(config, workdir)
    if not scores.exists():
        trained = load(workdir)
        slots = config.model.num_slots or slots
        scored = score(trained, ("validation",), cache_slots=slots)
        write_scores(trained, scored, scores)
    rows = json.loads(scores.read_text())["scores"]
    return Result(
        variant,
        num_params(build(config).objective),
        config.model.hidden_dim,
        {row["way"]: row["perplexity"] for row in rows},
        time.perf_counter() - began,
        provenance(),
        to_settings(config),
    )


def read_results(path: Path) -> dict[str, Result]:
    """What was measured before, by variant; nothing where there is no file.

    Raises:
      ValueError: the file holds something else.
    """
    if not path.exists():
        return {}
    try:
        results = [Result(**each) for each in json.loads(path.read_text())["results"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no results of this version ({error!r}); move it away, or"
            " name another --out."
        ) from error
    return {each.variant: each for each in results}


def table(results: list[Result]) -> str:
    """One row per variant, in Markdown."""
    rows = []
    for each in results:
        ways = {way.partition(" (")[0]: p for way, p in each.perplexity.items()}
        cache = next(f"{p:.2f}" for way, p in ways.items() if "cache" in way)
        rows.append(
            (
                each.variant,
                f"{each.num_params:,}",
                str(each.hidden_dim),
                f"{ways['']:.2f}",
                *(
                    f"{ways[way]:.2f}" if way in ways else ""
                    for way in ("reading disabled", "copying disabled")
                ),
                cache,
            )
        )
    header = ("variant", "parameters", "H", "validation perplexity")
    header += ("reading disabled", "copying disabled", "with a neural cache")
    return markdown_table(header, rows)


def plot(results: list[Result], path: Path) -> None:
    """Perplexity of every variant, alone and with the cache."""
    figure = Figure(figsize=(8, 1.5 + 0.35 * len(results)), layout="constrained")
    axes = figure.add_subplot()
    names = [each.variant for each in results]
    cached = [min(p for w, p in r.perplexity.items() if "cache" in w) for r in results]
    axes.plot([each.perplexity[""] for each in results], names, "o", label="alone")
    axes.plot(cached, names, "x", color="gray", label="with a neural cache")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set(xlabel="validation perplexity")
    axes.legend()
    figure.savefig(path, dpi=150)


def main(config: TrainConfig, only: list[str], out: str | Path) -> None:
    """Measures variants; leaves `ablation.json` and `ablation.png` in `out`.

    Raises:
      ValueError: a variant is not known, or a setting cannot be met.
    """
    for name in only:
        if name not in VARIANTS:
            raise ValueError(f"--only={name} is no variant; there are {[*VARIANTS]}.")
    out = results_dir(out)
    path = out / "ablation.json"
    known, chosen = read_results(path), only or list(VARIANTS)
    variants = configure(config, [n for n in VARIANTS if n in {*known, *chosen}])
    # In JSON a tuple is a list.
    wanted = {n: json.loads(json.dumps(to_settings(v))) for n, v in variants.items()}
    known = {n: r for n, r in known.items() if r.settings == wanted.get(n)}
    progress = Progress(len(chosen))
    for done, name in enumerate(chosen, 1):
        if name not in known:
            slots = config.model.num_slots
            known[name] = measure(name, variants[name], slots, out)
        found = known[name].perplexity[""]
        progress.say(done, f"{name} | validation perplexity {found:.2f}")
        results = [known[name] for name in VARIANTS if name in known]
        saved = {"results": [each._asdict() for each in results]}
        write_whole(path, json.dumps(saved, indent=1) + "\n")
    plot(results, out / "ablation.png")
    print(f"\n{table(results)}\n\nResults: {path}, {out}/ablation.png")


if __name__ == "__main__":
    _CONFIG = define_config(required=True)
    _ONLY = flags.DEFINE_multi_string("only", [], "A variant to measure; repeatable.")
    _OUT = flags.DEFINE_string("out", "runs/ablation", "Where results go.")
    stopped = "stopped; the same command resumes from the last checkpoint."
    run_script(
        lambda: main(given_config(_CONFIG), _ONLY.value, _OUT.value), stopped, keep=True
    )
