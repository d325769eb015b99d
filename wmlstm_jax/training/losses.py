"""Losses."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from wmlstm_jax.models.language_model import Prediction

Array = jax.Array


@dataclass(frozen=True)
class LanguageLoss:
    """Nats per token: of the mixture and, by its share, of the vocabulary alone.

    With coverage, the pointer's weight where it had been is added (See et al. 2017,
    "Get to the point", equation 13).

    Args:
      vocab_share: in [0, 1].
      coverage: the weight of that; above 0 only for a model with coverage.
    """

    vocab_share: float = 0.0
    coverage: float = 0.0

    def __call__(self, said: Prediction, valid: Array) -> Array:
        """The loss, `[]`.

        Args:
          said: what a model says of the targets.
          valid: `[B, T]` bool.
        """
        mixed = mean_nats(said.log_probs, valid)
        alone = mean_nats(said.log_vocab, valid)
        loss = (1 - self.vocab_share) * mixed + self.vocab_share * alone
        if not self.coverage:
            return loss
        assert said.repeated is not None
        repeated = jnp.where(valid, said.repeated, 0).sum() / _count(valid)
        return loss + self.coverage * repeated


def mean_nats(log_probs: Array, valid: Array) -> Array:
    """`-mean log p(target)` over valid targets, `[]`; 0 where there are none.

    Args:
      log_probs: `[B, T]` float, of the targets.
      valid: `[B, T]` bool.
    """
    return -jnp.where(valid, log_probs, 0).sum() / _count(valid)


def _count(valid):
    return jnp.maximum(valid.sum(), 1)
