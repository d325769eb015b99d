"""Which words of a source stand behind each word that a model says."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

from wmlstm_jax.analysis.heat_map import TOKEN, draw_weights, save_figure, visible
from wmlstm_jax.analysis.memory_use import by_token, copy_weights
from wmlstm_jax.training.datasets import ExampleData
from wmlstm_jax.training.speaking import Said, ask, say, vocabulary_of
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
    ((_, said),) = say(trained, [ask(trained, texts)])
    model = trained.run.config.model
    if not model.copy and not (model.read and _has_bank(trained)):
        raise ValueError(
            "the model neither reads nor copies its source word by word; train one with"
            " model.read or model.copy."
        )
    start = vocabulary_of(trained).start
    tokens = np.concatenate([[start], said.tokens[:-1]]).astype(np.int32)
    run = jax.jit(_run, static_argnums=0)
    found = run(trained.run.graph, trained.params, said.encoded.source, tokens)
    read, copied = jax.device_get(found)
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
    special = {vocabulary.end: "(end)", vocabulary.between: "(next text)"}
    across, down = (
        [
            special.get(int(token)) or visible(vocabulary.decode([token], words))
            for token in tokens
        ]
        for tokens in (found.said.tokens, found.said.encoded.source)
    )
    shown = [(what, getattr(found, what)) for what in ("read", "copied")]
    shown = [(what, weights) for what, weights in shown if weights is not None]
    wide, high = (max(TOKEN * len(names), 3) for names in (across, down))
    figure = Figure((len(shown) * (wide + 1.6), high + 1.2), layout="constrained")
    for axes, (what, weights) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        draw_weights(axes, weights, across, down)
        axes.set(title=f"What is {what}", xlabel="said", ylabel="source")
    save_figure(figure, path)
    return found


def _has_bank(trained: Trained) -> bool:
    return trained.run.config.encoder.num_layers > 0


def _run(graph, params, source, tokens):
    """Reads and copies by source token, `[T, S]` each."""
    model, length = nnx.merge(graph, params), len(source)
    carries, sources = model.encode(source[None], jnp.ones((1, length), bool))
    decoder = model.decoder
    config = decoder.blocks[-1].recurrence.config
    bank = None if sources is None else sources[-1]

    def turn(carries, token):
        token = token[None, None]
        carries, features, outputs = decoder.features(
            decoder.embed(token), carries, tags=token, sources=sources, trace=True
        )
        read = copied = None
        if config.reads and bank is not None:
            read = outputs.trace.read.source_weights[0, 0].mean(0)
        if decoder.copy_gate is not None:
            last, weights = copy_weights(decoder, carries[-1], features[0, 0], bank)
            carries, memory = (*carries[:-1], last), last.memory
            slots = 0 if memory is None else memory.tags.shape[-1]
            if bank is not None:
                copied = weights[0, :, :, slots:].sum((0, 1))
            elif memory is not None:
                copied = by_token(memory, weights, length)
        return carries, (read, copied)

    return jax.lax.scan(turn, carries, tokens)[1]
