"""Are the fused kernels right on this GPU, and how fast are they?

    python -m wmlstm_jax.benchmarks.fused --out=runs/fused

First they are compared with float64, outputs and gradients: nothing is measured where
they are further from it than our scan in the same dtype. Then all contestants run once
in every round, at each shape; times are medians. The floor beside them is the larger of
operations and bytes by the rates of this machine; it knows nothing of what a step waits
for. `--quick` shows on any machine, interpreted, that it runs.
"""

import json
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure

from wmlstm_jax.benchmarks import Progress, results_dir
from wmlstm_jax.benchmarks.fused_contestants import (
    CONTESTANTS,
    FUSED,
    OURS,
    SCAN,
    Absent,
    Shape,
    build,
    draw,
    outputs,
    work,
)
from wmlstm_jax.core import init_params
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.provenance import provenance

PASSES = ("forward", "both")
WORSE = 4.0
"""How much further than our scan from float64 the kernels may be, for the largest of a
few million roundings that fall differently."""


class Plan(NamedTuple):
    """What is measured."""

    shape: Shape
    axes: dict[str, tuple[int, ...]]  # what is varied, one at a time
    rounds: int
    checked: Shape  # what is compared with float64, with each number of slots
    dtypes: tuple[str, ...]  # likewise
    matrix: int  # the side of the square product that gives the rate


FULL = Plan(
    shape=Shape(),
    axes={
        "num_slots": (0, 32, 64, 128),
        "batch": (1, 16, 64, 256),
        "length": (256, 1024, 4096),
        "num_heads": (4, 12, 24),
    },
    rounds=7,
    checked=Shape(batch=16, length=256),
    dtypes=("float32", "bfloat16"),
    matrix=8192,
)
_TINY = Shape(2, 3, num_heads=1, head_dim=32, num_slots=16, dtype="float32")
QUICK = Plan(_TINY, {"num_slots": (0, 16)}, 1, _TINY, ("float32",), 64)


class Rates(NamedTuple):
    """What this machine does in a second."""

    operations: float
    bytes: float


class Row(NamedTuple):
    """What was measured of a contestant at a shape."""

    axis: str
    name: str
    shape: Shape
    seconds: dict[str, list[float]]  # of each round, by pass


def require_gpu() -> None:
    """Refuses a machine that the kernels are not for.

    Raises:
      ValueError: there is no NVIDIA GPU of Hopper or later.
    """
    capability = getattr(jax.devices()[0], "compute_capability", "0")
    if jax.default_backend() != "gpu" or float(capability) < 9:
        raise ValueError(
            "the fused kernels need an NVIDIA GPU of compute capability 9.0 or later,"
            f" and this is a {jax.devices()[0].device_kind}; --quick runs them"
            " interpreted."
        )


def errors(shape: Shape) -> dict[str, dict[str, float]]:
    """How far outputs and gradients are from float64, relative to their largest.

    Returns:
      By name of ours; then "outputs", "parameters" and "inputs".
    """
    config = shape.config
    params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), config)
    lead = shape.length, shape.batch, shape.hidden_dim
    params, xs = jax.tree.map(np.asarray, params), draw(*lead)
    cotangent = draw(*lead)

    def run(config, backend):
        def all_of_it(params, xs, cotangent):
            ys, pull = jax.vjp(
                lambda params, xs: outputs(config, backend, params, xs), params, xs
            )
            return ys, *pull(cotangent)

        point = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, config.state_dtype), (params, xs, cotangent)
        )
        found = jax.jit(all_of_it)(*point)
        return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)

    with jax.enable_x64(True):
        exact = run(replace(config, dtype="float64", memory_dtype="float64"), "scan")

    def distance(found, wanted):
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
        return max(float(np.abs(f - w).max() / np.abs(w).max()) for f, w in pairs)

    what = ("outputs", "parameters", "inputs")
    return {
        name: {
            part: distance(f, w)
            for part, f, w in zip(what, run(config, backend), exact, strict=True)
        }
        for name, backend in ((FUSED, "fused"), (SCAN, "scan"))
    }


def require_right(found: dict[str, dict[str, float]], shape: Shape) -> None:
    """Refuses to measure what computes something else.

    Raises:
      ValueError: the kernels are further from float64 than they may be.
    """
    for part, error in found[FUSED].items():
        allowed = WORSE * found[SCAN][part] + 1e-6
        if not error <= allowed:
            raise ValueError(
                f"the fused kernels are wrong on this device: their {part} are"
                f" {error:.2g} from float64 at {shape}, and {allowed:.2g} is allowed."
            )


def rates(side: int, dtype: str) -> Rates:
    """A large product, and the copy of a large array, each the best of five."""
    square = jnp.ones((side, side), dtype)
    product, copy = jax.jit(jnp.matmul), jax.jit(lambda leaf: leaf + 1)
    big = jnp.ones((4 * side, side), jnp.float32)

    def best(call):
        jax.block_until_ready(call())
        times = []
        for _ in range(5):
            began = time.perf_counter()
            jax.block_until_ready(call())
            times.append(time.perf_counter() - began)
        return min(times)

    operations = 2 * side**3 / best(lambda: product(square, square))
    return Rates(operations, 2 * big.nbytes / best(lambda: copy(big)))


def floors(shape: Shape, machine: Rates) -> dict[str, float]:
    """Seconds below which a pass cannot be."""
    return {
        name: max(one.operations / machine.operations, one.bytes / machine.bytes)
        for name, one in zip(PASSES, work(shape), strict=True)
    }


def measure(plan: Plan) -> tuple[list[Row], dict[str, str]]:
    """Runs everyone in turn, round after round; and who is absent, and why."""
    shapes = [
        (axis, replace(plan.shape, **{axis: value}))
        for axis, values in plan.axes.items()
        for value in values
    ]
    rows, absent, progress = [], {}, Progress(len(shapes))
    for done, (axis, shape) in enumerate(shapes, 1):
        built = {}
        for name in CONTESTANTS:
            if name not in OURS and shape.num_slots and axis == "num_slots":
                continue  # They have no slots.
            try:
                built[name] = build(name, shape)
            except Absent as error:
                absent[name] = str(error)
        seconds = {name: {which: [] for which in PASSES} for name in built}
        for one in built.values():
            for which in PASSES:
                getattr(one, which)()
        for _ in range(plan.rounds):
            for name, one in built.items():
                for which in PASSES:
                    began = time.perf_counter()
                    getattr(one, which)()
                    seconds[name][which].append(time.perf_counter() - began)
        rows += [Row(axis, name, shape, seconds[name]) for name in built]
        progress.say(done, f"{axis} {getattr(shape, axis)}")
    return rows, absent


def table(rows: list[Row], machine: Rates) -> str:
    """Milliseconds, with what the floor is of them, by what was varied."""
    header = ("", "", "forward, ms", "of floor", "forward + backward, ms", "of floor")
    cells = []
    for row in rows:
        bounds, line = floors(row.shape, machine), []
        for which in PASSES:
            median = statistics.median(row.seconds[which])
            line += [f"{1e3 * median:.3g}", f"{bounds[which] / median:.0%}"]
        at = f"{row.axis} {getattr(row.shape, row.axis)}"
        cells.append((row.name, at, *line))
    return markdown_table(header, cells)


def plot(rows: list[Row], path: Path) -> None:
    """Forward and backward against everything that was varied."""
    axes = list(dict.fromkeys(row.axis for row in rows))
    figure = Figure(figsize=(4 * len(axes), 4), layout="constrained")
    panels = figure.subplots(1, len(axes), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for number, name in enumerate(CONTESTANTS):
            mine = [row for row in rows if row.axis == axis and row.name == name]
            at = [getattr(row.shape, axis) for row in mine]
            times = [1e3 * statistics.median(row.seconds["both"]) for row in mine]
            panel.plot(at, times, f"C{number}o-", label=name)
        panel.set(xlabel=axis, yscale="log")
    panels[0].set_ylabel("forward + backward, ms")
    panels[0].legend()
    figure.savefig(path, dpi=150)


def main(plan: Plan, out: str | Path) -> None:
    """Checks, measures; leaves `fused.json` and `fused.png` in `out`."""
    out = results_dir(out)
    checked = {}
    for num_slots in plan.axes["num_slots"]:
        for dtype in plan.dtypes:
            shape = replace(plan.checked, num_slots=num_slots, dtype=dtype)
            found = errors(shape)
            require_right(found, shape)
            checked[f"{dtype}, {num_slots} slots"] = found
            print(f"equal to float64: {dtype}, {num_slots} slots: {found[FUSED]}")
    machine = rates(plan.matrix, plan.shape.dtype)
    rows, absent = measure(plan)
    saved = {
        **provenance(),
        "errors": checked,
        "rates": machine._asdict(),
        "absent": absent,
        "rows": [
            row._asdict()
            | {"shape": asdict(row.shape), "floor": floors(row.shape, machine)}
            for row in rows
        ],
    }
    (out / "fused.json").write_text(json.dumps(saved) + "\n")
    plot(rows, out / "fused.png")
    said = [f"Absent: {name}: {why}." for name, why in absent.items()]
    rate = f"{machine.operations:.3g} operations/s, {machine.bytes:.3g} bytes/s."
    print("\n".join(["", table(rows, machine), "", *said, f"Floor: {rate}"]))
    if jax.default_backend() == "gpu":
        capability = jax.devices()[0].compute_capability
        print(f"Checked on compute capability {capability}: see CHECKED_ON.")


if __name__ == "__main__":
    _QUICK = flags.DEFINE_bool("quick", False, "Only show that it runs.")
    _OUT = flags.DEFINE_string("out", "runs/fused", "Where JSON and plot go.")

    def _main():
        if not _QUICK.value:
            require_gpu()
        main(QUICK if _QUICK.value else FULL, _OUT.value)

    run_script(_main)
