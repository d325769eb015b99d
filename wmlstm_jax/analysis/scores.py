"""What a trained model scores, and what its memory is worth to it.

A text is scored as one stream, from its first token to its last, whatever the batch was
in training: so the numbers do not depend on it.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tqdm import tqdm

from wmlstm_jax.analysis.neural_cache import (
    SHARES,
    SHARPNESS,
    Cache,
    empty_cache,
    mix_cache,
)
from wmlstm_jax.data import StreamWindows, batches
from wmlstm_jax.metrics import Likelihood, markdown_table
from wmlstm_jax.models.language_model import Carries
from wmlstm_jax.training.config import to_settings
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.objectives import num_params
from wmlstm_jax.training.provenance import provenance
from wmlstm_jax.training.trained import (
    Trained,
    check_text,
    language_model_of,
    text_of,
)

SPLITS = ("validation", "test")
WINDOW = 256
"""Tokens scored at once; no score depends on it."""
CACHE_SLOTS = 512
"""Of the neural cache, where the model has no memory to take the capacity from."""


class Score(NamedTuple):
    """What a text scored, under one name."""

    text: str  # a split
    way: str  # "", or what is different
    counts: Likelihood


def score(
    trained: Trained,
    splits: tuple[str, ...] = SPLITS,
    *,
    cache_slots: int | None = None,
) -> list[Score]:
    """Scores texts in every way that says something.

    As trained; together with a neural cache, whose two settings are those that are best
    on the first text; with reading disabled; with copying disabled.

    Args:
      trained: the model.
      splits: which texts, "validation" first: it chooses. Those that the run has not
        are left out.
      cache_slots: of the neural cache; by default those of the model's memory.

    Raises:
      ValueError: the model has another task, or the text is not that of the run.
    """
    model = language_model_of(trained).config
    check_text(trained)
    slots = cache_slots or model.num_slots or CACHE_SLOTS
    first, step = _make_step(trained, slots)
    scores, chosen = [], None
    for split in (s for s in splits if getattr(text_of(trained).corpus, s)):
        nats, tokens, size = _count(trained, split, first, step)
        cached = nats.pop("cached")
        if chosen is None:
            chosen = np.unravel_index(np.argmin(cached), cached.shape)
        sharpness, share = SHARPNESS[chosen[0]], SHARES[chosen[1]]
        nats[f"neural cache of {slots} ({sharpness:g}, {share:g})"] = cached[chosen]
        scores += [
            Score(split, way, Likelihood(float(part), tokens, size))
            for way, part in nats.items()
        ]
    return scores


def score_table(scores: list[Score]) -> str:
    """Perplexity and bits per byte, as a Markdown table."""
    rows = []
    for text, way, counts in scores:
        numbers = f"{counts.perplexity:.3f}", f"{counts.bits_per_byte:.3f}"
        rows.append((f"{text}, {way}" if way else text, *numbers))
    return markdown_table(("text", "perplexity per token", "bits per byte"), rows)


def write_scores(trained: Trained, scores: list[Score], path: Path) -> None:
    """Keeps the scores as JSON, with all that they depend on.

    Raises:
      ValueError: the file cannot be written.
    """
    rows = [
        {
            "text": text,
            "way": way,
            **counts._asdict(),
            "nats_per_token": counts.loss,
            "perplexity": counts.perplexity,
            "bits_per_byte": counts.bits_per_byte,
        }
        for text, way, counts in scores
    ]
    write_evaluation(trained, rows, path)


def write_evaluation(trained: Trained, scores: list[dict], path: Path) -> None:
    """Keeps scores of any task as JSON, with all that they depend on.

    Raises:
      ValueError: the file cannot be written.
    """
    result = {
        **provenance(),
        "settings": to_settings(trained.run.config),
        "num_params": num_params(trained.run.objective),
        "checkpoint_step": trained.step,
        "training": {
            name: trained.about.get(name)
            for name in ("seconds", "commit", "versions", "hardware", "text")
        },
        "scores": scores,
    }
    write_whole(path, json.dumps(result, indent=2) + "\n")


class _State(NamedTuple):
    """What goes from window to window; its rows are as trained, and without reading."""

    carry: Carries
    cache: Cache


def _make_step(trained: Trained, slots: int):
    """The first state of a text, and a compiled step over one window of it.

    The step counts the nats in every way, those with the cache by candidate.
    """
    run, params = trained.run, trained.params
    config = run.config.model
    # All ways take one pass: reading disabled is a second row of the batch.
    reading = jnp.array([True, False][: 1 + (config.num_slots > 0 and config.read)])

    def first():
        carry = nnx.merge(run.graph, params).initialize_carry(len(reading))
        return _State(carry, empty_cache(slots, config.embed_dim))

    @functools.partial(jax.jit, donate_argnums=1)
    def count(params, state, batch):
        model, valid = nnx.merge(run.graph, params), batch["valid"][0]
        inputs, targets, both_valid = (
            jnp.repeat(batch[name], len(reading), axis=0)
            for name in ("inputs", "targets", "valid")
        )
        carry, said = model.predict(
            inputs, targets, state.carry, valid=both_valid, reading=reading
        )
        cache, mixed = mix_cache(
            state.cache,
            said.features[0],
            jnp.where(valid, targets[0], -1),
            said.log_probs[0],
            (model.norm.scale[...] ** 2).sum(),
        )
        ways = {"": said.log_probs[0], "cached": mixed}
        if len(reading) > 1:
            ways["reading disabled"] = said.log_probs[1]
        if config.copy:
            ways["copying disabled"] = said.log_vocab[0]
        nats = {way: -jnp.where(valid, part, 0).sum(-1) for way, part in ways.items()}
        return _State(carry, cache), nats

    return first, functools.partial(count, params)


def _count(
    trained: Trained, split: str, first, step
) -> tuple[dict[str, np.ndarray], int, int]:
    """The nats of a split in every way, its tokens, and its bytes."""
    byte_counts = trained.run.tokenizer.byte_counts()
    state, total, tokens, size = first(), {}, 0, 0
    for batch in _stream(trained, split):
        state, nats = step(state, batch)
        for way, part in jax.device_get(nats).items():
            total[way] = total.get(way, 0) + part.astype(np.float64)
        followers = batch["targets"][batch["valid"]]
        tokens, size = tokens + len(followers), size + int(byte_counts[followers].sum())
    return total, tokens, size


def _stream(trained: Trained, split: str) -> Iterator[dict[str, np.ndarray]]:
    """The windows of a split as one stream; a bar shows where it is."""
    tokens = trained.run.tokenizer.encode(getattr(text_of(trained).corpus, split))
    windows = StreamWindows(tokens, 1, WINDOW, name=f"{split} text")
    steps = batches(windows, 0, len(windows))
    yield from tqdm(steps, split, len(windows), leave=False, disable=None)
