"""How fast is the recurrence, beside other LSTMs and beside what is possible?

    python -m wmlstm_jax.benchmarks.recurrence --sweep=main --out=runs/recurrence

Every contestant of a sweep is run once in every round, so that all see the same
machine; a ratio is the median over rounds of the ratio inside a round. Times are
medians with the least and the greatest; the floor is that of docs/benchmarks.md with
the best rates seen in any round. `--quick` only shows that it runs.
"""

import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from wmlstm_jax.benchmarks import Progress, cost, peers, results_dir
from wmlstm_jax.benchmarks.sweeps import (
    MEMORIES,
    ROLLBACK,
    SCAN,
    SWEEPS,
    TORCH,
    Case,
    Sweep,
    cases,
    plain,
    quick,
)
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.provenance import provenance

PASSES = ("forward", "both")


class Timing(NamedTuple):
    """What was measured of a pass."""

    seconds: list[float]  # of each round
    compile_seconds: float | None
    temporary_bytes: int | None
    floor: float | None  # seconds, where the model of the cost is theirs

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


class Result(NamedTuple):
    """What came of a sweep."""

    timings: dict[Case, dict[str, Timing]]  # by pass
    num_params: dict[Case, int]
    absent: dict[Case, str]  # and why
    machine: cost.Machine


def run(sweep: Sweep) -> Result:
    """Builds everyone, then runs round after round."""
    everyone = cases(sweep)
    progress = Progress(len(everyone) * (1 + sweep.rounds))
    built, absent, calls = {}, {}, {}
    for done, case in enumerate(everyone, 1):
        try:
            built[case] = build(case)
            calls[case] = [warm_up(p.run, sweep.shortest) for p in built[case][:2]]
            said = "ready"
        except peers.Absent as error:
            said = absent[case] = str(error)
        progress.say(done, f"{describe(case, sweep)}: {said}")
    sizes = [cost.working_set(case.shape.config, case.shape.batch) for case in built]
    machine, order = cost.measure(sizes), list(built)
    seconds = {case: ([], []) for case in order}
    for number in range(1, sweep.rounds + 1):
        machine = cost.faster(machine, cost.measure(sizes))
        for case in order:
            for which, times in enumerate(seconds[case]):
                times.append(timed(built[case][which].run, calls[case][which]))
        order.reverse()  # So that what ran before is not always the same.
        progress.say(len(everyone) * (1 + number), f"round {number}/{sweep.rounds}")
    timings = {}
    for case in built:
        bounds = floors(case, machine)
        timings[case] = {
            name: Timing(times, one.compile_seconds, one.temporary_bytes, bound)
            for name, times, one, bound in zip(
                PASSES, seconds[case], built[case][:2], bounds, strict=True
            )
        }
    num_params = {case: built[case].num_params for case in built}
    return Result(timings, num_params, absent, machine)


def build(case: Case) -> peers.Built:
    """Builds a contestant that fits into memory.

    Raises:
      Absent: it does not, or its package is missing.
    """
    built = peers.build(*case)
    needed = max(one.temporary_bytes or 0 for one in built[:2])
    if needed > 0.6 * peers.physical_bytes():
        raise peers.Absent(f"it would need {needed / 1e9:.0f} GB")
    return built


def warm_up(call, shortest: float) -> int:
    """How many calls take as long as that, of a contestant that never ran."""
    call()
    return int(shortest // max(timed(call, 1), 1e-7)) + 1


def timed(call, calls: int) -> float:
    """Seconds of a call, the mean of several in a row."""
    began = time.perf_counter()
    for _ in range(calls):
        result = call()
    seconds = (time.perf_counter() - began) / calls
    del result  # What it takes to free it is not measured.
    return seconds


def floors(case: Case, machine: cost.Machine) -> tuple[float | None, float | None]:
    """Seconds below which the passes cannot be; None for other equations than ours."""
    if not peers.CONTESTANTS[case.name].counted:
        return None, None
    config, shape = case.shape.config, case.shape
    step = cost.step_cost(config, shape.batch, shape.length)
    size = cost.working_set(config, shape.batch)
    forward, both = (
        shape.length * cost.floor(products, machine, size)
        for products in (step.forward, step.both)
    )
    return forward, both


def ratio(result: Result, case: Case, other: Case, which: str = "both") -> float | None:
    """How many times as long as another it takes: the median over rounds."""
    if other not in result.timings:
        return None
    pairs = zip(
        result.timings[case][which].seconds,
        result.timings[other][which].seconds,
        strict=True,
    )
    return statistics.median(mine / theirs for mine, theirs in pairs)


def describe(case: Case, sweep: Sweep) -> str:
    """A case in the words of its sweep."""
    return f"{case.name}, {sweep.axis} {getattr(case.shape, sweep.axis)}"


def table(result: Result, sweep: Sweep) -> str:
    """One row per case, in Markdown; then who is absent, and the machine's rates."""
    header = (
        *("", sweep.axis, "forward, ms", "of floor", "forward + backward, ms"),
        *("of floor", "x torch", "x our scan", "memory, MB", "compile, s"),
    )
    rows = []
    for case, timings in result.timings.items():
        both = timings["both"]
        memory = both.temporary_bytes
        numbers = (
            ratio(result, case, Case(TORCH, plain(case.shape))),
            ratio(result, case, Case(SCAN, case.shape)),
            None if memory is None else memory / 1e6,
            both.compile_seconds,
        )
        cells = [cell for which in PASSES for cell in _cells(timings[which])]
        cells += [
            "-" if number is None else f"{number:.{digits}f}"
            for number, digits in zip(numbers, (2, 2, 1, 1), strict=True)
        ]
        rows.append((case.name, str(getattr(case.shape, sweep.axis)), *cells))
    said = [f"Absent: {describe(c, sweep)}: {why}." for c, why in result.absent.items()]
    return "\n".join(
        [markdown_table(header, rows), "", *said, cost.describe(result.machine)]
    )


def _cells(timing: Timing) -> tuple[str, str]:
    """Milliseconds with their spread, and the share of them that the floor is."""
    middle, least, most = (
        f"{1e3 * seconds:.3g}" if seconds < 0.999 else f"{1e3 * seconds:.0f}"
        for seconds in (timing.median, min(timing.seconds), max(timing.seconds))
    )
    share = "-" if timing.floor is None else f"{timing.floor / timing.median:.0%}"
    return f"{middle} ({least} to {most})", share


def plot(result: Result, sweep: Sweep, path: Path) -> None:
    """Tokens per second of forward and backward, and temporary memory."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    for number, name in enumerate(sweep.names):
        rows = [
            (c.shape, t["both"]) for c, t in result.timings.items() if c.name == name
        ]
        at = [sweep.values.index(getattr(shape, sweep.axis)) for shape, _ in rows]
        look = {"color": f"C{number}", "label": name, "marker": "o", "capsize": 3}
        if not rows:
            continue
        if sweep.axis == "policy":
            look |= {"linestyle": ""}
        if sweep.axis == "num_slots" and name not in MEMORIES:  # A line right across.
            at, rows = [0, len(sweep.values) - 1], 2 * rows
            look |= {"linestyle": "--", "linewidth": 1, "marker": "", "capsize": 0}
        timings = [timing for _, timing in rows]
        tokens = np.array([shape.batch * shape.length for shape, _ in rows])
        middle, most, least = (
            tokens / [quantile(timing.seconds) for timing in timings]
            for quantile in (statistics.median, min, max)
        )
        speed.errorbar(at, middle, (middle - least, most - middle), **look)
        if name == ROLLBACK:
            speed.plot(
                at, tokens / [t.floor for t in timings], "k:", label="floor of ours"
            )
        sizes = [t.temporary_bytes / 1e6 for t in timings if t.temporary_bytes]
        if len(sizes) == len(at):
            memory.errorbar(at, sizes, **look)
    label = {"num_slots": "slots N", "length": "steps T", "batch": "rows B"}
    for axes in (speed, memory):
        axes.set_xticks(range(len(sweep.values)), [str(v) for v in sweep.values])
        axes.set(xlabel=label.get(sweep.axis, sweep.axis), yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter("")
        axes.grid(axis="y", alpha=0.3)
    speed.set(title="forward + backward", ylabel="tokens / s")
    memory.set(title="temporary memory, as compiled", ylabel="MB")
    handles = speed.get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150)


def main(name: str, sweep: Sweep, out: str | Path) -> None:
    """Runs a sweep; leaves `recurrence_<name>.json` and `.png` in `out`."""
    out, began = results_dir(out), time.perf_counter()
    result = run(sweep)
    rows = [
        {
            **{"contestant": case.name, "shape": asdict(case.shape)},
            **{"num_params": result.num_params[case]},
            **{which: timings[which]._asdict() for which in PASSES},
        }
        for case, timings in result.timings.items()
    ]
    saved: dict[str, Any] = {
        **provenance(),
        "packages": peers.versions(),
        "num_cores_used": peers.num_cores(),
        "seconds": time.perf_counter() - began,
        "sweep": {"name": name, **asdict(sweep)},
        "machine": result.machine._asdict(),
        "rows": rows,
        "absent": [
            {"contestant": case.name, "shape": asdict(case.shape), "why": why}
            for case, why in result.absent.items()
        ],
    }
    stem = out / f"recurrence_{name}"
    stem.with_suffix(".json").write_text(json.dumps(saved) + "\n")
    plot(result, sweep, stem.with_suffix(".png"))
    print(f"\n{table(result, sweep)}\n\nResults: {stem}.json, {stem}.png")


if __name__ == "__main__":
    _QUICK = flags.DEFINE_bool("quick", False, "Only show that it runs.")
    _OUT = flags.DEFINE_string("out", "runs/recurrence", "Where JSON and plot go.")
    _SWEEP = flags.DEFINE_enum("sweep", "main", list(SWEEPS), "What is varied.")

    def _main():
        sweep = SWEEPS[_SWEEP.value]
        main(_SWEEP.value, quick(sweep) if _QUICK.value else sweep, _OUT.value)

    run_script(_main)
