"""What does a working memory buy? Tasks that need one, at equal parameters.

    python -m wmlstm_jax.benchmarks.memory --out=runs/memory [--only="copy"]

Eight tasks; WM-LSTMs with four memories, a plain LSTM, the same with a neural cache
that nothing learned, and a small Transformer, all as large. `--full` has all other
tasks and policies too, and `--quick` only shows that it runs. Each is trained at three
learning rates with the first seed and at its best rate with two more; all runs are kept
in `runs.jsonl`, where the same command goes on. `--only` and `--model` choose among
tasks and models, `--num_seeds` says how many seeds the best rate gets. It ends in a
table, pictures, and `report_card.md`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from wmlstm_jax.benchmarks import Progress, cached, results_dir
from wmlstm_jax.benchmarks.challenges import (
    ALL_WAYS,
    CORE,
    GPT,
    LSTM,
    REST,
    TINY,
    WAYS,
    Challenge,
    contestants,
)
from wmlstm_jax.benchmarks.learning import answer, evaluate, train
from wmlstm_jax.benchmarks.report_card import table, write_card
from wmlstm_jax.benchmarks.retention import tally
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.provenance import provenance

CACHED = "LSTM + neural cache"
TEST_SEED = 2**31 - 1
"""Of the samples of tests: the same for all, and none that is trained on."""
CHOICE_SEED = TEST_SEED - 1
"""Of the samples on which the settings of the cache are chosen."""
TALLIED = 512
"""Sequences whose answers are counted by distance."""


@dataclass(frozen=True)
class Settings:
    """What all challenges have in common.

    Args:
      challenges: by name.
      ways: the memories, by name.
      width: D.
      rates: of Adam, each tried with the first seed.
      seeds: of parameters and samples.
    """

    challenges: Any
    ways: Any
    width: int = 64
    rates: tuple[float, ...] = (0.001, 0.003, 0.01)
    seeds: tuple[int, ...] = (0, 1, 2)


CARD = Settings(CORE, WAYS)
FULL = Settings(CORE | REST, ALL_WAYS)
QUICK = Settings(TINY, dict(list(WAYS.items())[:1]), 8, (0.001, 0.01), (0, 1))


class Record(NamedTuple):
    """A line of `runs.jsonl`."""

    challenge: str
    model: str
    settings: str  # of model and challenge: what a run is known again by
    rate: float
    seed: int
    num_params: int
    steps: list[int]
    loss: list[float]
    accuracy: list[float]
    seconds: float
    tests: dict[str, float]  # the accuracy of each, by its name
    kept: dict | None  # a `Tally` of the first test, where the challenge has one
    cached: dict[str, float] | None  # `tests` of an LSTM with a neural cache

    @property
    def known_by(self) -> tuple:
        """What no two runs have in common."""
        return self.challenge, self.model, self.settings, self.rate, self.seed


def read_records(path: Path) -> list[Record]:
    """The lines that are there; one that a stop has cut off is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(Record(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            continue
    return records


def summarize(record: Record) -> tuple[float, int, float]:
    """The better the lower: wrong answers at the end, updates to get there, loss."""
    return -record.accuracy[-1], record.steps[-1], record.loss[-1]


def _end_of(record: Record) -> dict[str, Any]:
    """A run without the way to where it came."""
    found = record._asdict()
    return found | {name: found[name][-1] for name in ("steps", "loss", "accuracy")}


class Bench:
    """All runs of one command, those of before among them.

    Args:
      settings: what there is.
      out: the directory of `runs.jsonl`.
      only: the challenges to run; all where it is empty.
      chosen: the models to run, likewise; they are as large as beside all others.
    """

    def __init__(
        self, settings: Settings, out: Path, only: Iterable[str], chosen: Iterable[str]
    ):
        self.settings, self._path = settings, out / "runs.jsonl"
        self.names = _choose(settings.challenges, only)
        records = read_records(self._path)
        # A line that a stop cut off has no end, and the next would go on in it.
        lines = [json.dumps(each._asdict()) + "\n" for each in records]
        self._path.write_text("".join(lines))
        self._known = {each.known_by: each for each in records}
        self.models = {}
        for name in self.names:
            challenge = settings.challenges[name]
            models = contestants(challenge, settings.width, settings.ways)
            self.models[name] = {m: models[m] for m in _choose(models, chosen)}
        per_model = len(settings.rates) + len(settings.seeds) - 1
        count = sum(len(each) * per_model for each in self.models.values())
        self._progress, self.runs = Progress(count), list[Record]()

    def best_runs(self, name: str, model: str) -> list[Record]:
        """The runs of a model at its best rate, one for each seed."""
        first, *others = self.settings.seeds
        tried = [self.run(name, model, rate, first) for rate in self.settings.rates]
        best = min(tried, key=summarize)
        return [best, *(self.run(name, model, best.rate, seed) for seed in others)]

    def run(self, name: str, model: str, rate: float, seed: int) -> Record:
        """One run, from the file if it is there; `runs` has it then."""
        record = self._run(name, model, rate, seed)
        self.runs.append(record)
        return record

    def _run(self, name: str, model: str, rate: float, seed: int) -> Record:
        challenge: Challenge = self.settings.challenges[name]
        config = self.models[name][model]
        settings = f"{config!r} {challenge!r}"
        done = len(self.runs) + 1
        known = self._known.get((name, model, settings, rate, seed))
        title = f"{name}, {model}, rate {rate:g}, seed {seed}"
        if known is not None:
            self._progress.say(done, f"{title} | known")
            return known

        def tell(part, text):
            self._progress.glimpse(part, f"{title} | {text}")

        found, params = train(config, challenge.course, rate, seed, tell)
        record = Record(
            challenge=name,
            model=model,
            settings=settings,
            **found._asdict(),
            tests=self._test(config, challenge, params),
            kept=self._kept(config, challenge, params),
            cached=self._cached(config, challenge, params),
        )
        with self._path.open("a") as file:
            file.write(json.dumps(record._asdict()) + "\n")
        self._known[record.known_by] = record
        shown = ", ".join(f"{label} {a:.1%}" for label, a in record.tests.items())
        self._progress.say(done, f"{title} | {record.seconds:.0f} s | {shown}")
        return record

    def _test(self, config, challenge, params) -> dict[str, float]:
        scores, batch_size = {}, challenge.course.eval_batch_size
        for index, (label, test) in enumerate(challenge.tests):
            rng = jax.random.fold_in(jax.random.key(TEST_SEED), index)
            model = config
            if isinstance(model, ModelConfig) and test.num_slots and model.num_slots:
                model = replace(model, num_slots=test.num_slots)
            scores[label] = evaluate(model, test.task, batch_size, params, rng)
        return scores

    def _cached(self, config, challenge, params) -> dict[str, float] | None:
        """The tests of a plain LSTM together with a cache, chosen as in training."""
        task, batch_size = challenge.course.task, challenge.course.eval_batch_size
        plain = isinstance(config, ModelConfig) and not config.num_slots
        if not plain or not cached.can_answer(task.form):
            return None
        rng = jax.random.key(CHOICE_SEED)
        choice = cached.choose(config, task, batch_size, params, rng)
        return {
            label: cached.evaluate(
                config,
                test.task,
                batch_size,
                params,
                jax.random.fold_in(jax.random.key(TEST_SEED), index),
                choice,
            )
            for index, (label, test) in enumerate(challenge.tests)
        }

    def _kept(self, config, challenge, params) -> dict | None:
        if not challenge.retention:
            return None
        rng = jax.random.key(TEST_SEED)
        (_, test), *_ = challenge.tests
        batch, right = answer(config, test.task, TALLIED, params, rng)
        return tally(*map(np.asarray, (batch.inputs, batch.scored, right)))


def _choose(known: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Those that are wanted, in the order in which they are known; or all."""
    wanted = set(wanted)
    return [name for name in known if name in wanted or not wanted]


def main(
    settings: Settings, out: str | Path, only: list[str], chosen: list[str]
) -> None:
    """Runs what is missing; leaves table, pictures and JSON in `out`.

    Raises:
      ValueError: a challenge or a model is not known, or `out` cannot be written.
    """
    for flag, what, wanted, there in (
        ("only", "challenge", only, list(settings.challenges)),
        ("model", "model", chosen, [*settings.ways, LSTM, GPT]),
    ):
        for name in wanted:
            if name not in there:
                raise ValueError(f"--{flag}={name} is no {what}; there are {there}.")
    out = results_dir(out)
    bench = Bench(settings, out, only, chosen)
    best, rates = {}, {}
    for name in bench.names:
        best[name] = {m: bench.best_runs(name, m) for m in bench.models[name]}
        rates[name] = {m: runs[0].rate for m, runs in best[name].items()}
        plain = best[name].get(LSTM, [])
        if plain and all(run.cached for run in plain):
            best[name][CACHED] = [
                run._replace(model=CACHED, tests=run.cached, kept=None) for run in plain
            ]
    about = provenance()
    saved = {
        **about,
        "width": settings.width,
        "best_rates": rates,
        "runs": [_end_of(record) for record in bench.runs],
    }
    (out / "memory.json").write_text(json.dumps(saved) + "\n")
    ways = [way for way in settings.ways if way in next(iter(best.values()))]
    write_card(best, ways, about, out)
    print(f"\n{table(best)}\n\nResults: {out}/report_card.md, {out}/memory.json")


if __name__ == "__main__":
    _QUICK = flags.DEFINE_bool("quick", False, "Only show that it runs.")
    _FULL = flags.DEFINE_bool("full", False, "All tasks, and no limit to minutes.")
    _ONLY = flags.DEFINE_multi_string("only", [], "A challenge to run; repeatable.")
    _MODEL = flags.DEFINE_multi_string("model", [], "A model to run; repeatable.")
    _SEEDS = flags.DEFINE_integer("num_seeds", None, "Of a best rate.", lower_bound=1)
    _OUT = flags.DEFINE_string("out", "runs/memory", "Where results go.")
    stopped = "stopped; the same command goes on with the runs that are missing."

    def run() -> None:
        """As the flags say."""
        settings = QUICK if _QUICK.value else FULL if _FULL.value else CARD
        if _SEEDS.value is not None:
            settings = replace(settings, seeds=tuple(range(_SEEDS.value)))
        main(settings, _OUT.value, _ONLY.value, _MODEL.value)

    run_script(run, stopped, keep=True)
