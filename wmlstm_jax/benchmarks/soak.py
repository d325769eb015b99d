"""Does anything grow? Memory, threads, files and compilations over a long run.

    python -m wmlstm_jax.benchmarks.soak --config=configs/lm_embedded.py \
        --config.num_steps=100000 --generate_seconds=1800 --out=runs/soak

Trains, then generates text after text from what was trained, while a thread looks at
the process. The median of the second quarter of each phase stands beside that of the
last: the first is for compiling and for caches to fill. Linux only: it reads `/proc`.
"""

import json
import os
import statistics
import threading
import time
from pathlib import Path
from typing import NamedTuple

import jax
from absl import flags
from matplotlib.figure import Figure

from wmlstm_jax.benchmarks import results_dir
from wmlstm_jax.inference import Sample
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.training.command_line import define_config, given_config, run_script
from wmlstm_jax.training.config import TrainConfig
from wmlstm_jax.training.loop import train
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.provenance import provenance
from wmlstm_jax.training.trained import continue_text, load

COMPILED = "/jax/core/compile/backend_compile_duration"
TRAINING, GENERATION = "training", "generation"


class Look(NamedTuple):
    """The process at one moment."""

    phase: str
    seconds: float  # since the start
    resident: int  # bytes
    threads: int
    files: int  # that are open
    compilations: int  # since the start


class Watch:
    """Looks at the process again and again; a context manager.

    Args:
      interval: seconds between two looks.
    """

    def __init__(self, interval: float):
        self.phase, self.looks = TRAINING, list[Look]()
        self._interval, self._ended = interval, threading.Event()
        self._began, self._compilations = time.perf_counter(), 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        jax.monitoring.register_event_duration_secs_listener(self._count)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        self._thread.join()
        jax.monitoring.unregister_event_duration_listener(self._count)

    def _count(self, event: str, duration: float, **more) -> None:
        del duration, more
        self._compilations += event == COMPILED

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.looks.append(self._look())

    def _look(self) -> Look:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Look(
            self.phase,
            time.perf_counter() - self._began,
            pages * os.sysconf("SC_PAGE_SIZE"),
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
            self._compilations,
        )


def early_and_late(looks: list[Look], phase: str) -> tuple[Look, Look]:
    """The medians of the second and of the last quarter of a phase.

    Raises:
      ValueError: it was looked at fewer than four times.
    """
    found = [look for look in looks if look.phase == phase]
    if (part := len(found) // 4) < 1:
        raise ValueError(
            f"the {phase} was looked at {len(found)} times; it must be 4: make it"
            " longer, or --interval smaller."
        )
    return _median(found[part : 2 * part]), _median(found[-part:])


def _median(looks: list[Look]) -> Look:
    _, *numbers = ([getattr(look, field) for look in looks] for field in Look._fields)
    return Look(looks[0].phase, *map(statistics.median, numbers))


def table(looks: list[Look]) -> str:
    """Early beside late, as Markdown."""
    rows = []
    for phase in (TRAINING, GENERATION):
        early, late = early_and_late(looks, phase)
        shown = [
            ("resident memory, MB", early.resident / 1e6, late.resident / 1e6),
            ("threads", early.threads, late.threads),
            ("open files", early.files, late.files),
            ("programs compiled", early.compilations, late.compilations),
        ]
        rows += [(f"{phase}: {name}", f"{a:,.0f}", f"{b:,.0f}") for name, a, b in shown]
    return markdown_table(("", "second quarter", "last quarter"), rows)


def plot(looks: list[Look], path: Path) -> None:
    """Each number over time."""
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.subplots(4, sharex=True)
    minutes = [look.seconds / 60 for look in looks]
    drawn = (
        ("resident memory, MB", [look.resident / 1e6 for look in looks]),
        ("threads", [look.threads for look in looks]),
        ("open files", [look.files for look in looks]),
        ("programs compiled", [look.compilations for look in looks]),
    )
    for each, (name, numbers) in zip(axes, drawn, strict=True):
        each.plot(minutes, numbers)
        each.set_ylabel(name)
        each.set_ylim(bottom=0)
        each.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=120)


def main(
    config: TrainConfig, out: str | Path, generate_seconds: float, interval: float
) -> None:
    """Trains, generates, and leaves `soak.json` and `soak.png` in `out`.

    Raises:
      ValueError: a setting cannot be met, or `out` cannot be written.
    """
    out = results_dir(out)
    with Watch(interval) as watch:
        train(config, out / "run")
        trained = load(out / "run")
        watch.phase = GENERATION
        ends, seed = time.perf_counter() + generate_seconds, 0
        sample = config.sample
        while time.perf_counter() < ends:
            pieces = continue_text(
                trained,
                sample.prompt,
                sampler=Sample(temperature=sample.temperature, top_p=sample.top_p),
                num_tokens=sample.num_tokens,
                seed=seed,
            )
            print(f"text {seed}: {len(''.join(pieces))} characters", flush=True)
            seed += 1
    saved = {**provenance(), "looks": [look._asdict() for look in watch.looks]}
    write_whole(out / "soak.json", json.dumps(saved) + "\n")
    plot(watch.looks, out / "soak.png")
    print(f"\n{table(watch.looks)}\n\nResults: {out}/soak.json, {out}/soak.png")


if __name__ == "__main__":
    _CONFIG = define_config(required=True)
    _OUT = flags.DEFINE_string("out", "runs/soak", "Where run and results go.")
    _SECONDS = flags.DEFINE_float("generate_seconds", 1800, "After the training.")
    _INTERVAL = flags.DEFINE_float("interval", 5, "Seconds between two looks.")
    run_script(
        lambda: main(
            given_config(_CONFIG), _OUT.value, _SECONDS.value, _INTERVAL.value
        ),
        keep=True,
    )
