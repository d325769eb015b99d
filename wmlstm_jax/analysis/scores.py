"""What a trained model scores, and what its memory is worth to it.

A text is scored as one stream, from its first token to its last, whatever the batch was
in training: so the numbers do not depend on it.
"""

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
    empty_cache,
    mix_cache,
)
from wmlstm_jax.data import StreamWindows, batches
from wmlstm_jax.metrics import Likelihood, count_likelihood, markdown_table
from wmlstm_jax.training.trained import Trained, on_one_device

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
      splits: which texts, "validation" first: it chooses.
      cache_slots: of the neural cache; by default those of the model's memory.
    """
    model = trained.run.config.model
    slots = cache_slots or model.num_slots or CACHE_SLOTS
    ways = {"": {}}
    if model.num_slots and model.read:
        ways["reading disabled"] = {"reading": False}
    if model.copy:
        ways["copying disabled"] = {"copying": False}
    scores, chosen = [], None
    for split in splits:
        for way, changes in ways.items():
            counts, cached = _score(trained, split, 0 if way else slots, **changes)
            scores.append(Score(split, way, counts))
            if cached is None:
                continue
            if chosen is None:
                chosen = np.unravel_index(np.argmin(cached), cached.shape)
            sharpness, share = SHARPNESS[chosen[0]], SHARES[chosen[1]]
            name = f"neural cache of {slots} ({sharpness:g}, {share:g})"
            with_cache = counts._replace(nats=float(cached[chosen]))
            scores.append(Score(split, name, with_cache))
    return scores


def score_table(scores: list[Score]) -> str:
    """Perplexity and bits per byte, as a Markdown table."""
    rows = []
    for text, way, counts in scores:
        numbers = f"{counts.perplexity:.3f}", f"{counts.bits_per_byte:.3f}"
        rows.append((f"{text}, {way}" if way else text, *numbers))
    return markdown_table(("text", "perplexity per token", "bits per byte"), rows)


def write_scores(trained: Trained, scores: list[Score], path: Path) -> None:
    """Keeps the scores as JSON, with the checkpoint that they are of."""
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
    result = {"checkpoint_step": trained.step, "scores": rows}
    path.write_text(json.dumps(result, indent=2) + "\n")


def _score(trained, split, slots, **changes):
    """The counts of a split, and the nats by candidate of a cache, if it has slots."""
    run, params = trained.run, on_one_device(trained.params)
    byte_counts = jnp.asarray(run.tokenizer.byte_counts())

    def step(params, state, batch):
        model = nnx.merge(run.graph, params)
        targets, valid = batch["targets"], batch["valid"]
        carry, log_probs, features = model.predict(
            batch["inputs"], targets, state[0], valid=valid, **changes
        )
        counts = count_likelihood(log_probs, targets, valid, byte_counts)
        if not slots:
            return (carry, None), (counts, None)
        scale = (model.norm.scale[...] ** 2).sum()
        followers = jnp.where(valid[0], targets[0], -1)
        cache, mixed = mix_cache(state[1], features[0], followers, log_probs[0], scale)
        return (carry, cache), (counts, -jnp.where(valid[0], mixed, 0).sum(-1))

    step = jax.jit(step, donate_argnums=1)
    width = run.config.model.embed_dim
    cache = empty_cache(slots, width) if slots else None
    state = nnx.merge(run.graph, params).initialize_carry(1), cache
    total, cached = Likelihood(0.0, 0, 0), None
    for batch in _stream(trained, split):
        state, (counts, nats) = step(params, state, batch)
        total = total.plus(counts)
        if nats is not None:
            cached = np.asarray(nats, np.float64) + (0 if cached is None else cached)
    return total, cached


def _stream(trained: Trained, split: str) -> Iterator[dict[str, np.ndarray]]:
    """The windows of a split as one stream; a bar shows where it is."""
    tokens = trained.run.tokenizer.encode(getattr(trained.run.corpus(), split))
    windows = StreamWindows(tokens, 1, WINDOW, name=f"{split} text")
    steps = batches(windows, 0, len(windows))
    yield from tqdm(steps, split, len(windows), leave=False, disable=None)
