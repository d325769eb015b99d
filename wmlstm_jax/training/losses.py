"""Losses."""

import jax
import jax.numpy as jnp

Array = jax.Array


def mean_nats(log_probs: Array, valid: Array) -> Array:
    """`-mean log p(target)` over valid targets, `[]`; 0 where there are none.

    Args:
      log_probs: `[B, T]` float, of the targets.
      valid: `[B, T]` bool.
    """
    total = -jnp.where(valid, log_probs, 0).sum()
    return total / jnp.maximum(valid.sum(), 1)
