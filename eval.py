"""Scores a trained model, tries it, or draws what its memory does.

    python eval.py --workdir=runs/lm [--which=latest]
    python eval.py --workdir=runs/lm --generate="The for statement" --top_p=0.9
    python eval.py --workdir=runs/lm --inspect=memory.html [--text="The for statement"]
    python eval.py --workdir=runs/translation --interactive < sentences.txt
    python eval.py --workdir=runs/lm --export=portable

The settings are those of the run; a `--config` is only checked against them.
"""

import io
import sys
from pathlib import Path
from typing import Any

from absl import flags

from wmlstm_jax.analysis import (
    converse,
    inspect,
    report,
    score,
    score_table,
    write_scores,
)
from wmlstm_jax.inference import Greedy, Sample, Sampler
from wmlstm_jax.training.checkpoints import WHICH
from wmlstm_jax.training.command_line import (
    define_config,
    given_config,
    refuse,
    require_utf8,
    run_script,
)
from wmlstm_jax.training.config import LANGUAGE_MODELING
from wmlstm_jax.training.portable import export_step
from wmlstm_jax.training.trained import Trained, continue_text, load
from wmlstm_jax.training.workdirs import claim_workdir

_CONFIG = define_config(required=False)
_WORKDIR = flags.DEFINE_string("workdir", None, "Of the trained model.", required=True)
_WHICH = flags.DEFINE_enum(
    "which", "best", WHICH, "Checkpoint: best on the validation text, or latest."
)
_CACHE = flags.DEFINE_integer(
    "cache_slots",
    None,
    "Of the neural cache that the scores are compared with; by default as many as the"
    " memory has.",
    lower_bound=1,
)
_GENERATE = flags.DEFINE_string("generate", None, "A prompt to continue.")
_NUM_TOKENS = flags.DEFINE_integer(
    "num_tokens", None, "To generate; by default the config's.", lower_bound=1
)
_GREEDY = flags.DEFINE_bool("greedy", False, "Take the most probable token each time.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "Below 1 is more sure; by default the config's."
)
_TOP_K = flags.DEFINE_integer("top_k", None, "Draw from the k most probable tokens.")
_TOP_P = flags.DEFINE_float(
    "top_p", None, "Draw from the fewest tokens that hold p; by default the config's."
)
_SEED = flags.DEFINE_integer("seed", None, "Of the draws; by default the config's.")
_INSPECT = flags.DEFINE_string(
    "inspect", None, "A page (.html) or a picture (.png) that shows the memory at work."
)
_TEXT = flags.DEFINE_multi_string(
    "text",
    None,
    "To look at; by default what is generated, or what comes first in validation. Twice"
    " where a source is two texts, such as a story and a question.",
)
_BESIDE = flags.DEFINE_multi_string(
    "beside", [], "The workdir of another model, to stand on the same page; repeatable."
)
_LAYER = flags.DEFINE_integer(
    "layer", None, "Of the stack, from 0, to look at; by default the last."
)
_EXPORT = flags.DEFINE_string(
    "export", None, "A directory for the generation step, to run with JAX alone."
)
_INTERACTIVE = flags.DEFINE_bool(
    "interactive", False, "Answer to every line that comes in."
)


def main() -> None:
    """Flags to tables, texts or a page."""
    _check_flags()
    workdir = Path(_WORKDIR.value)
    trained = load(workdir, _WHICH.value)
    if _CONFIG.value is not None:
        claim_workdir(workdir, given_config(_CONFIG))
    texts = None if _TEXT.value is None else tuple(_TEXT.value)
    if _GENERATE.value is not None:
        generated = _generate(trained, _GENERATE.value)
        texts = texts or (generated,)
    if _INSPECT.value is not None:
        models = [trained, *(load(each, _WHICH.value) for each in _BESIDE.value)]
        inspect(models, _INSPECT.value, texts, _LAYER.value)
        print(f"The memory at work: {_INSPECT.value}")
    if _EXPORT.value is not None:
        export_step(trained, _EXPORT.value)
        print(f"The generation step, and how to run it without us: {_EXPORT.value}")
    if _INTERACTIVE.value:
        seed = _chosen(_SEED, trained.run.config.seed)
        sampler = _sampler(trained)
        # What is no UTF-8 is refused line by line.
        given = io.TextIOWrapper(sys.stdin.buffer, "utf-8", errors="surrogateescape")
        converse(trained, given, sys.stdout, sampler=sampler, seed=seed)
    done = _GENERATE.value, _INSPECT.value, _EXPORT.value, _INTERACTIVE.value or None
    if all(value is None for value in done):
        print(f"{trained.checkpoint}\n\n{_score(trained, workdir)}")


def _check_flags() -> None:
    """Refuses what would be ignored, and text that is none."""
    inspects, generates = _INSPECT.value is not None, _GENERATE.value is not None
    says = generates or _INTERACTIVE.value
    drawn = _TEMPERATURE, _TOP_K, _TOP_P
    if not inspects:
        refuse((_TEXT, _BESIDE, _LAYER), "add --inspect")
    if not generates:
        refuse((_NUM_TOKENS,), "add --generate")
    if not says:
        refuse((_GREEDY, _SEED, *drawn), "add --generate or --interactive")
    if _GREEDY.value:
        refuse(drawn, "leave --greedy out")
    if says or inspects:
        refuse((_CACHE,), "it is for scores alone")
    require_utf8(_GENERATE.value or "", *(_TEXT.value or ()))


def _score(trained: Trained, workdir: Path) -> str:
    """Scores of the task as tables; they are kept in the workdir."""
    if trained.run.config.task != LANGUAGE_MODELING:
        return report(trained, workdir)
    scores = score(trained, cache_slots=_CACHE.value)
    write_scores(trained, scores, workdir / "eval.json")
    return score_table(scores)


def _chosen(flag: flags.FlagHolder, otherwise: Any) -> Any:
    return otherwise if flag.value is None else flag.value


def _sampler(trained: Trained) -> Sampler:
    """As the flags say, or else the config."""
    if _GREEDY.value:
        return Greedy()
    sample = trained.run.config.sample
    return Sample(
        temperature=_chosen(_TEMPERATURE, sample.temperature),
        top_k=_TOP_K.value,
        top_p=_chosen(_TOP_P, sample.top_p),
    )


def _generate(trained: Trained, prompt: str) -> str:
    """Prints a prompt and what follows, as it comes; returns the text."""
    config = trained.run.config
    pieces = continue_text(
        trained,
        prompt,
        sampler=_sampler(trained),
        num_tokens=_chosen(_NUM_TOKENS, config.sample.num_tokens),
        seed=_chosen(_SEED, config.seed),
    )
    # The first piece refuses a bad prompt before anything is printed.
    text = prompt + next(pieces, "")
    print(text, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
        text += piece
    print()
    return text


if __name__ == "__main__":
    run_script(main, keep=True)
