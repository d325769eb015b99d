"""How many slots? Quality, speed and bytes over a range of capacities.

    python -m wmlstm_jax.analysis.capacity --config=configs/lm_embedded.py \
        --workdir=runs/capacity [--slots=16,64,256]
    python -m wmlstm_jax.analysis.capacity --trained=runs/lm --workdir=runs/capacity

With `--config` a model is trained for each capacity; with `--trained` one that is there
is only evaluated, with fewer or more slots than it was trained with: no parameter
depends on their number. The smallest capacity within 1 % of the best is recommended.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
from absl import flags
from matplotlib.figure import Figure

from wmlstm_jax.metrics import Likelihood, markdown_table
from wmlstm_jax.training.command_line import define_config, given_config, run_script
from wmlstm_jax.training.config import MeshConfig, TrainConfig
from wmlstm_jax.training.loop import train
from wmlstm_jax.training.manifest import write_whole, writing
from wmlstm_jax.training.run import Evaluator, build
from wmlstm_jax.training.trained import Trained, check_text, load, text_of

SLOTS = (8, 16, 32, 64, 128, 256, 512)
NEAR = 0.01
"""How much worse than the best a recommended capacity may be, of the loss."""


class Point(NamedTuple):
    """What a capacity came to."""

    num_slots: int
    validation: Likelihood
    tokens_per_second: float  # of evaluation, after compiling
    bytes_per_row: int  # of the state of one stream, the memory in it


def with_slots(config: TrainConfig, num_slots: int) -> TrainConfig:
    """The config of another capacity.

    Raises:
      ValueError: a capacity of 0 has other parameters, or there is no memory to change.
    """
    if num_slots < 1 or not config.model.num_slots:
        raise ValueError(
            f"a capacity of {num_slots} cannot be compared with"
            f" {config.model.num_slots}: without slots the model is another; give"
            " capacities of at least 1, of a model with a memory."
        )
    return replace(config, model=replace(config.model, num_slots=num_slots))


def evaluate(trained: Trained, num_slots: int) -> Point:
    """Scores a trained model with another number of slots.

    Args:
      trained: the model.
      num_slots: N, at least 1.

    Raises:
      ValueError: see `with_slots`; or the model has another task, or another text.
    """
    config = with_slots(trained.run.config, num_slots)
    text_of(trained)
    check_text(trained)
    run = build(config, trained.run.tokenizer, MeshConfig(data=1))
    run = run._replace(data=trained.run.data)
    validate = Evaluator(run, "validation")
    validate(trained.params)
    began = time.perf_counter()
    validation = validate(trained.params)
    seconds = time.perf_counter() - began
    rows = config.data.batch_size
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(run.carry_init()()))
    speed = float(validation.tokens) / seconds
    return Point(num_slots, validation, speed, state // rows)


def recommend(points: list[Point]) -> Point:
    """The smallest capacity whose loss is within 1 % of the best."""
    best = min(point.validation.loss for point in points)
    near = [p for p in points if p.validation.loss <= (1 + NEAR) * best]
    return min(near, key=lambda point: point.num_slots)


def table(points: list[Point]) -> str:
    """One row per capacity, in Markdown."""
    header = ("slots", "validation perplexity", "bits per byte", "tokens/s", "bytes")
    rows = [
        (
            str(point.num_slots),
            f"{point.validation.perplexity:.3f}",
            f"{point.validation.bits_per_byte:.3f}",
            f"{point.tokens_per_second:,.0f}",
            f"{point.bytes_per_row:,}",
        )
        for point in points
    ]
    return markdown_table(header, rows)


def plot(points: list[Point], path: Path) -> None:
    """Quality, speed and bytes against the capacity, one under another.

    Raises:
      ValueError: the picture cannot be written.
    """
    figure = Figure(figsize=(7, 8), layout="constrained")
    axes = figure.subplots(3, sharex=True)
    slots = [point.num_slots for point in points]
    drawn = (
        ("bits per byte", [point.validation.bits_per_byte for point in points]),
        ("tokens/s", [point.tokens_per_second for point in points]),
        ("bytes of state per stream", [point.bytes_per_row for point in points]),
    )
    chosen = recommend(points).num_slots
    for each, (label, values) in zip(axes, drawn, strict=True):
        each.plot(slots, values, "o-")
        each.set_ylabel(label)
        each.axvline(chosen, color="gray", linestyle=":")
        each.grid(alpha=0.3)
    axes[1].set_ylim(bottom=0)
    axes[2].set_yscale("log", base=2)
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks(slots, [str(n) for n in slots])
    axes[2].set_xlabel("slots")
    axes[0].set_title(f"{chosen} slots are within {NEAR:.0%} of the best")
    with writing(path):
        figure.savefig(path, dpi=150)


def measure(
    config: TrainConfig | None,
    trained: str | None,
    workdir: str | Path,
    slots: tuple[int, ...],
) -> list[Point]:
    """Goes through capacities; leaves `capacity.json` and `capacity.png`.

    Args:
      config: of the model to train for each capacity, or None.
      trained: the workdir of a trained one, or None.
      workdir: for the results, and what is trained; begun runs are finished.
      slots: the capacities.

    Raises:
      ValueError: neither or both are given, or a capacity is not possible, or there
        is only one.
    """
    if (config is None) == (trained is None):
        raise ValueError("give either --config, to train, or --trained, to evaluate.")
    if len(set(slots)) < 2:
        raise ValueError(f"--slots is {slots}; give at least two, to choose from.")
    workdir, points = Path(workdir), []
    held = None if trained is None else load(trained)
    for num_slots in sorted(set(slots)):
        if config is not None:
            where = workdir / f"slots_{num_slots}"
            train(with_slots(config, num_slots), where)
            held = load(where)
        assert held is not None
        points.append(evaluate(held, num_slots))
        print(f"{num_slots} slots: {points[-1].validation.perplexity:.3f}", flush=True)
    chosen = recommend(points)
    saved = {
        "trained": trained,
        "points": [
            point._asdict() | {"validation": point.validation._asdict()}
            for point in points
        ],
        "recommended": chosen.num_slots,
    }
    write_whole(workdir / "capacity.json", json.dumps(saved, indent=1) + "\n")
    plot(points, workdir / "capacity.png")
    print(
        f"\n{table(points)}\n\nRecommended: {chosen.num_slots} slots, the fewest within"
        f" {NEAR:.0%} of the best.\nPicture: {workdir / 'capacity.png'}"
    )
    return points


def _whole(slots: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in slots)
    except ValueError:
        raise ValueError(
            f"--slots is {','.join(slots)}; it must be whole numbers, as in 16,64."
        ) from None


if __name__ == "__main__":
    _CONFIG = define_config(required=False)
    _TRAINED = flags.DEFINE_string("trained", None, "The workdir of a trained model.")
    _WORKDIR = flags.DEFINE_string("workdir", None, "For results.", required=True)
    _SLOTS = flags.DEFINE_list("slots", [str(n) for n in SLOTS], "The capacities.")

    def main() -> None:
        """Flags to a table and a picture."""
        config = None if _CONFIG.value is None else given_config(_CONFIG)
        measure(config, _TRAINED.value, _WORKDIR.value, _whole(_SLOTS.value))

    run_script(
        main, "stopped; the same command resumes from the last checkpoint.", keep=True
    )
