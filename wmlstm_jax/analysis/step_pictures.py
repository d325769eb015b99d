"""A picture of single heads at work: what each read, in which mode, step by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wmlstm_jax.analysis.exhibits import Exhibit, mode_name
from wmlstm_jax.analysis.heat_map import (
    FONT,
    LONGEST,
    new_figure,
    paint_weights,
    save_figure,
    visible,
)
from wmlstm_jax.analysis.traces import MemoryTrace, Writes, by_token, held_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP = 0.2
"""Inches for a step: its name must be readable."""
GREEN = "#2a9d5c"
_LEGEND = "dark: is read · green dot: is written now · gray: is not in the memory"


def draw_steps(exhibit: Exhibit, path: str | Path) -> None:
    """Draws, for each head, which remembered step every step read, and in which mode.

    Time runs to the right. A row of the upper part is what one step wrote, with the
    slot that most of it went into; a dot stands where it is written, and what is not in
    the memory is gray. The lower part has the probabilities of the read modes, where
    there are several.

    Args:
      exhibit: of a memory that is read.
      path: the picture, `.png` or what else matplotlib writes.

    Raises:
      ValueError: nothing is read, the problem is too long, the ending is of no format,
        or the picture cannot be written.
    """
    trace, steps = exhibit.trace, len(exhibit.tokens)
    if trace.reads is None or trace.reads.slots is None or trace.writes is None:
        raise ValueError(
            "the memory is not read (model.read is False); look at one that is."
        )
    if steps > LONGEST:
        raise ValueError(
            f"the problem to draw has {steps} steps; {LONGEST} at most can be told"
            " apart in a picture."
        )
    heads, modes = trace.reads.null.shape[1], [*map(mode_name, exhibit.cell.read_modes)]
    strip = len(modes) if trace.reads.modes is not None else 0
    ratios = [steps, strip] if strip else [steps]
    figure = new_figure(heads * (STEP * steps + 1) + 1, STEP * sum(ratios) + 2.5)
    grid = figure.subplots(
        len(ratios), heads, squeeze=False, sharex=True, height_ratios=ratios
    )
    names, images = [visible(name) for name in exhibit.tokens], []
    for head, column in enumerate(grid.T):
        group = head * exhibit.cell.num_blocks // heads
        weights = trace.reads.slots[:, [head]]
        images.append(_draw_reads(column[0], trace, weights, group))
        _mark_answers(column[0], exhibit.said)
        column[0].set_title(f"What head {head + 1} reads", pad=20)
        rows = [
            f"{name} {_slot(trace.writes, t, group)}" for t, name in enumerate(names)
        ]
        column[0].set_yticks(np.arange(steps), rows, **FONT)
        if trace.reads.modes is not None:
            paint_weights(column[1], trace.reads.modes[:, head])
            column[1].set_yticks(np.arange(strip), modes, **FONT)
            column[1].set_title("and how it comes to that", fontsize="medium")
        column[-1].set_xticks(np.arange(steps), names, rotation=90, **FONT)
        column[-1].set_xlabel("what comes in, or → what is answered")
    grid[0, 0].set_ylabel("what is in the memory, and its slot")
    figure.colorbar(images[0], ax=grid, shrink=0.5, pad=0.01, label="probability")
    figure.suptitle(f"{exhibit.title}\n{_LEGEND}")
    save_figure(figure, path)


def _draw_reads(axes: "Axes", trace: MemoryTrace, weights: np.ndarray, group: int):
    assert trace.writes is not None
    owners = held_before(trace)[:, [group]]
    held = by_token((owners >= 0).astype(float), owners) > 0
    image = paint_weights(axes, np.where(held, by_token(weights, owners), np.nan))
    (written,) = np.nonzero(trace.writes.settled[:, group].any(-1))
    axes.plot(written, written, ".", color=GREEN, markersize=4)
    return image


def _mark_answers(axes: "Axes", said: Sequence[str]) -> None:
    """A bar over the steps that answer, and lines down from its ends."""
    asked = np.array([False, *map(bool, said), False])
    (edges,) = np.nonzero(asked[1:] != asked[:-1])
    above = axes.get_xaxis_transform()
    for first, end in edges.reshape(-1, 2):
        ends = [first - 0.5, end - 0.5]
        axes.plot(ends, [1, 1], color=GREEN, lw=4, transform=above, clip_on=False)
        place = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center"}
        axes.annotate("answers", (sum(ends) / 2, 1), xycoords=above, **place)
        axes.vlines(ends, 0, 1, color=GREEN, lw=0.7, transform=above)


def _slot(writes: Writes, step: int, group: int) -> str:
    """Where most of a token went, two characters wide."""
    at = step, group
    if not writes.settled[at].any():
        return " -"
    return f"{writes.slots[at][writes.weights[at].argmax()]:>2}"
