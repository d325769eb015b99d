"""How well a text was predicted: perplexity and bits per byte, as addable counts."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Likelihood(NamedTuple):
    """Sums over predicted tokens; add two with `plus`, read scores at the end."""

    nats: Array | float  # [] sum of -log p(target)
    tokens: Array | int  # [] how many targets
    bytes: Array | int  # [] how many bytes of text they stand for

    def plus(self, other: "Likelihood") -> "Likelihood":
        """The counts of both texts together, as Python numbers."""
        pairs = zip(self, other, strict=True)
        return Likelihood(*(a + b for a, b in (map(_number, pair) for pair in pairs)))

    @property
    def loss(self) -> float:
        """Nats per token; NaN where nothing was predicted."""
        return _ratio(self.nats, self.tokens)

    @property
    def perplexity(self) -> float:
        """`exp(nats / tokens)`, infinite where that overflows."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def bits_per_byte(self) -> float:
        """`nats / (bytes log 2)`: comparable between tokenisers."""
        return _ratio(self.nats, self.bytes) / math.log(2)


def count_likelihood(
    log_probs: Array, targets: Array, valid: Array, byte_counts: Array
) -> Likelihood:
    """Counts one batch.

    Args:
      log_probs: `[B, T]` float, of the targets.
      targets: `[B, T]` int32.
      valid: `[B, T]` bool, which targets count.
      byte_counts: `[V]` int32, bytes per token.
    """
    return Likelihood(
        nats=-jnp.where(valid, log_probs, 0).sum(),
        tokens=valid.sum(),
        bytes=jnp.where(valid, byte_counts[targets], 0).sum(),
    )


def _number(count) -> Any:
    return count if isinstance(count, int | float) else count.item()


def _ratio(total, count) -> float:
    return _number(total) / _number(count) if _number(count) else math.nan
