"""A picture of a memory at work."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wmlstm_jax.analysis.traces import (
    MemoryTrace,
    by_token,
    held_before,
    trace_text,
)
from wmlstm_jax.training.manifest import writing
from wmlstm_jax.training.trained import Trained, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

TOKEN = 0.14
"""Inches for a token: its name must be readable."""
FONT = {"fontsize": 7, "family": "monospace"}
"""Of the names of tokens."""
SHOWN = 64
"""Tokens of the text that is drawn by default."""
LONGEST = 400
"""Tokens that a picture may have."""


def draw_text(trained: Trained, path: str | Path, text: str | None = None) -> None:
    """Draws what a model does with a text.

    Args:
      trained: the model.
      path: as in `draw`.
      text: what it reads; by default the begin of the validation text.

    Raises:
      ValueError: as in `trace_text` and `draw`.
    """
    tokenizer = trained.run.tokenizer
    if text is None:
        tokens = tokenizer.encode(text_of(trained).corpus.validation)[:SHOWN]
    else:
        tokens = tokenizer.encode(text)
    if len(tokens) > LONGEST:
        raise ValueError(
            f"the text to draw has {len(tokens)} tokens; {LONGEST} at most can be told"
            " apart in a picture."
        )
    trace = trace_text(trained, tokens)
    draw(trace, lambda token: tokenizer.decode([token]), path)


def draw(trace: MemoryTrace, name: Callable[[int], str], path: str | Path) -> None:
    """Draws which remembered tokens each step read, and which it would copy next.

    Time runs to the right, and the memory's tokens stand in the order in which they
    were written; a token that is not in the memory at that time is gray.

    Args:
      trace: of a memory with slots.
      name: the text of a token.
      path: the picture, `.png` or what else matplotlib writes.

    Raises:
      ValueError: the ending is of no format, or the picture cannot be written.
    """
    assert trace.owners is not None
    shown = []
    if trace.reads is not None and trace.reads.slots is not None:
        heads = trace.reads.slots.shape[1]
        shown.append(("read", held_before(trace), trace.reads.slots / heads))
    if trace.copies is not None and trace.copies.slots is not None:
        shown.append(("would copy next", trace.owners, trace.copies.slots))
    side = max(TOKEN * len(trace.tokens), 4)
    figure = new_figure(len(shown) * (side + 1.2), side + 1)
    names = [visible(name(int(token))) for token in trace.tokens]
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (what, owners, weights) in zip(grid, shown, strict=True):
        held = by_token((owners >= 0).astype(float), owners) > 0
        weights = np.where(held, by_token(weights, owners), np.nan)
        draw_weights(axes, weights, names, names)
        axes.set(
            title=f"What each step {what}",
            xlabel="token that came in",
            ylabel="token in the memory",
        )
    save_figure(figure, path)


def new_figure(width: float, height: float) -> "Figure":
    """An empty picture of that size in inches."""
    # Most of a second to import, and most that is done with a model draws nothing.
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Writes a picture.

    Raises:
      ValueError: the ending is of no format, or the picture cannot be written.
    """
    kinds = figure.canvas.get_supported_filetypes()
    if Path(path).suffix[1:] not in kinds:
        raise ValueError(
            f"{path} ends in {Path(path).suffix!r}; a picture ends in one of"
            f" {', '.join('.' + kind for kind in sorted(kinds))}."
        )
    with writing(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def draw_weights(
    axes: "Axes", weights: np.ndarray, across: list[str], down: list[str]
) -> None:
    """Draws probabilities, gray where there is nothing.

    Args:
      axes: where.
      weights: `[x, y]` float in [0, 1], or NaN for nothing.
      across: names of what stands on the x axis.
      down: likewise of the y axis.
    """
    image = paint_weights(axes, weights)
    axes.set_xticks(np.arange(len(across)), across, rotation=90, **FONT)
    axes.set_yticks(np.arange(len(down)), down, **FONT)
    axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.01, label="probability")


def paint_weights(axes: "Axes", weights: np.ndarray) -> "AxesImage":
    """Draws probabilities `[x, y]` and no labels, gray where there is nothing."""
    axes.set_facecolor("0.88")
    return axes.imshow(
        weights.T, cmap="magma_r", vmin=0, vmax=1, interpolation="nearest"
    )


def visible(text: str) -> str:
    """A token as a label: white space and what does not print made visible."""
    if text in (" ", ""):
        return "␣" if text else "?"
    # A dollar would begin a formula.
    return repr(text)[1:-1].replace("$", r"\$")
