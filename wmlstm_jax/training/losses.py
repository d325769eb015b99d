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
    "Get to the point", equation 13). With label smoothing, the vocabulary is to say the
    target with a probability of 1 - it, and all tokens alike with the rest of it
    (Szegedy et al. 2016, "Rethinking the Inception architecture", section 7).

    Args:
      vocab_share: in [0, 1].
      coverage: the weight of that; above 0 only for a model with coverage.
      label_smoothing: in [0, 1).
    """

    vocab_share: float = 0.0
    coverage: float = 0.0
    label_smoothing: float = 0.0

    def __call__(self, said: Prediction, valid: Array, count: Array) -> Array:
        """The loss, `[]`.

        Args:
          said: what a model says of the targets.
          valid: `[B, T]` bool.
          count: as in `mean_nats`.
        """
        mixed = mean_nats(said.log_probs, valid, count)
        alone = mean_nats(said.log_vocab, valid, count)
        loss = (1 - self.vocab_share) * mixed + self.vocab_share * alone
        if self.label_smoothing:
            even = mean_nats(said.log_even, valid, count)
            loss += self.label_smoothing * (even - alone)
        if not self.coverage:
            return loss
        assert said.repeated is not None
        repeated = -mean_nats(said.repeated, valid, count)
        return loss + self.coverage * repeated


def mean_nats(log_probs: Array, valid: Array, count: Array) -> Array:
    """`-sum log p(target) / count` over valid targets, `[]`; 0 where there are none.

    Args:
      log_probs: `[B, T]` float, of the targets.
      valid: `[B, T]` bool.
      count: `[]`, of the valid targets in all parts of the batch.
    """
    return -jnp.where(valid, log_probs, 0).sum() / jnp.maximum(count, 1)
