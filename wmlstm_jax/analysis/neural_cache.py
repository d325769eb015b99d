"""The neural cache: a memory that nothing has learned, for comparison.

It remembers the last features with the token that followed each, and mixes in

    p_cache(w) ~ sum_i [x_{i+1} = w] exp(theta h_t h_i / |h|^2)

by a constant share (Grave et al. 2017, "Improving neural language models with a
continuous cache"). Sharpness and share are chosen on the validation text.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

SHARPNESS = (2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 70.0)
"""Candidates for theta; the logit of a feature with itself is about theta."""
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Candidates for how much of the probability is the cache's."""


class Cache(NamedTuple):
    """The last C features and what followed them, of one stream."""

    features: Array  # [C, D]
    tokens: Array  # [C] int32, -1 where there is nothing yet


def empty_cache(num_slots: int, width: int) -> Cache:
    """A cache of `num_slots` features of `width`, with nothing in it."""
    return Cache(jnp.zeros((num_slots, width)), jnp.full(num_slots, -1, jnp.int32))


def mix_cache(
    cache: Cache, features: Array, targets: Array, log_probs: Array, scale: Array
) -> tuple[Cache, Array]:
    """The log probabilities of a model and a cache together, for every candidate.

    Args:
      cache: before the first step.
      features: `[T, D]`.
      targets: `[T]` int32, what follows each; -1 where nothing does.
      log_probs: `[T]`, of the targets, by the model alone.
      scale: [] the mean squared length of a feature.

    Returns:
      The cache after the last step, and `[len(SHARPNESS), len(SHARES), T]`.
    """
    length, num_slots = len(targets), len(cache.tokens)
    remembered = jnp.concatenate([cache.features, features])
    tokens = jnp.concatenate([cache.tokens, targets])
    item, now = jnp.arange(num_slots + length), jnp.arange(length)[:, None]
    # A step sees the C items before its own, whose followers are known by then.
    seen = (item >= now) & (item < now + num_slots) & (tokens >= 0)
    logits = features @ remembered.T / scale
    matches = tokens == targets[:, None]

    def cached(sharpness):
        weights = jax.nn.softmax(sharpness * logits, where=seen)
        return jnp.where(matches, weights, 0).sum(-1)

    found = jnp.log(jax.lax.map(cached, jnp.array(SHARPNESS)))[:, None]
    share = jnp.array(SHARES)[:, None]
    mixed = jnp.logaddexp(jnp.log1p(-share) + log_probs, jnp.log(share) + found)
    after = Cache(remembered[length:], tokens[length:])
    return after, jnp.where(seen.any(-1), mixed, log_probs)
