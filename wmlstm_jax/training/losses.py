"""Losses."""

import jax
import jax.numpy as jnp

from wmlstm_jax.models.language_model import Prediction

Array = jax.Array


def language_loss(said: Prediction, valid: Array, vocab_share: float) -> Array:
    """Nats per token, `[]`: of the mixture and, by its share, of the vocabulary alone.

    Args:
      said: what a model says of the targets.
      valid: `[B, T]` bool.
      vocab_share: in [0, 1].
    """
    mixed, alone = mean_nats(said.log_probs, valid), mean_nats(said.log_vocab, valid)
    return (1 - vocab_share) * mixed + vocab_share * alone


def mean_nats(log_probs: Array, valid: Array) -> Array:
    """`-mean log p(target)` over valid targets, `[]`; 0 where there are none.

    Args:
      log_probs: `[B, T]` float, of the targets.
      valid: `[B, T]` bool.
    """
    total = -jnp.where(valid, log_probs, 0).sum()
    return total / jnp.maximum(valid.sum(), 1)
