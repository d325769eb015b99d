"""Which words of a source stand behind each word that a model says."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from wmlstm_jax.analysis.heat_map import (
    TOKEN,
    draw_weights,
    new_figure,
    save_figure,
    visible,
)
from wmlstm_jax.analysis.traces import by_token, held_before, trace_source
from wmlstm_jax.training.datasets import ExampleData
from wmlstm_jax.training.speaking import Said, vocabulary_of
from wmlstm_jax.training.trained import Trained


class Alignment(NamedTuple):
    """What the last layer looked at in a source, for each token that it said."""

    said: Said
    read: np.ndarray | None  # [T, S]: mean over heads; None where nothing is read
    copied: np.ndarray | None  # [T, S]: what is copied; None without a copy head


def align(trained: Trained, texts: tuple[str, ...]) -> Alignment:
    """Says something to a source, and looks at what stands behind it.

    Args:
      trained: a model of sources and targets.
      texts: of which the source is made.

    Raises:
      ValueError: the model has another task, nothing to look at, or a text is empty.
    """
    said, trace = trace_source(trained, texts)
    read = copied = None
    if trained.run.config.encoder.num_layers:
        if trace.reads is not None and trace.reads.source is not None:
            read = trace.reads.source.mean(1)
        copied = None if trace.copies is None else trace.copies.source
        return Alignment(said, read, copied)
    # One stream: what is held of the source, while the target is said.
    assert trace.owners is not None
    source, length = len(said.encoded.source), len(said.tokens)
    if trace.reads is not None and trace.reads.slots is not None:
        read = by_token(trace.reads.slots, held_before(trace))
        read = read[-length:, :source] / trace.reads.slots.shape[1]
    if trace.copies is not None and trace.copies.slots is not None:
        copied = by_token(trace.copies.slots, trace.owners)[-length:, :source]
    return Alignment(said, read, copied)


def draw_alignment(
    trained: Trained, path: str | Path, texts: tuple[str, ...] | None = None
) -> Alignment:
    """Draws what stands behind each word, source words down and said words across.

    Args:
      trained: a model of sources and targets.
      path: the picture, `.png` or what else matplotlib writes.
      texts: of which the source is made; by default those of the first validation
        example.

    Raises:
      ValueError: as in `align`; or the picture cannot be written.
    """
    vocabulary = vocabulary_of(trained)
    assert isinstance(trained.run.data, ExampleData)
    if texts is None:
        texts = trained.run.data.sets.validation[0].source
    found = align(trained, texts)
    words = found.said.encoded.words
    across, down = (
        [visible(vocabulary.name(token, words)) for token in tokens]
        for tokens in (found.said.tokens, found.said.encoded.source)
    )
    shown = [(what, getattr(found, what)) for what in ("read", "copied")]
    shown = [(what, weights) for what, weights in shown if weights is not None]
    wide, high = (max(TOKEN * len(names), 3) for names in (across, down))
    figure = new_figure(len(shown) * (wide + 1.6), high + 1.2)
    for axes, (what, weights) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        draw_weights(axes, weights, across, down)
        axes.set(title=f"What is {what}", xlabel="said", ylabel="source")
    save_figure(figure, path)
    return found
