"""Samplers: how a token is picked from a distribution over the vocabulary."""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp

Array = jax.Array


class Sampler(Protocol):
    """A hashable way to pick tokens."""

    def sample(self, rng: Array, log_probs: Array) -> Array:
        """Picks from `log_probs [B, V]` one token per row, `[B]` int32."""
        ...


@dataclass(frozen=True)
class Greedy:
    """The most probable token; the lowest id among equals."""

    def sample(self, rng: Array, log_probs: Array) -> Array:
        """Picks from `log_probs [B, V]`, `[B]` int32; `rng` is not used."""
        del rng
        return jnp.argmax(log_probs, axis=-1).astype(jnp.int32)


@dataclass(frozen=True)
class Sample:
    """Draws a token, at a temperature, from the head of the distribution.

    Temperature comes first, then the k most probable, then the fewest that hold p of
    what is left (Holtzman et al. 2020); ties with the last one in stay in.

    Args:
      temperature: positive; below 1 sharpens.
      top_k: at least 1, or None for all.
      top_p: in (0, 1]; 1 for all.

    Raises:
      ValueError: a setting is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self):
        if not self.temperature > 0:
            _refuse(
                "temperature", self.temperature, "positive; Greedy() is its limit 0"
            )
        if self.top_k is not None and self.top_k < 1:
            _refuse("top_k", self.top_k, "at least 1, or None")
        if not 0 < self.top_p <= 1:
            _refuse("top_p", self.top_p, "in (0, 1]")

    def sample(self, rng: Array, log_probs: Array) -> Array:
        """Picks from `log_probs [B, V]`, `[B]` int32.

        Args:
          rng: a PRNG key; consumed.
          log_probs: `[B, V]` float.
        """
        log_probs = jax.nn.log_softmax(log_probs / self.temperature)
        if self.top_k is not None and self.top_k < log_probs.shape[-1]:
            smallest = jax.lax.top_k(log_probs, self.top_k)[0][:, -1:]
            log_probs = _keep(log_probs, log_probs >= smallest)
        if self.top_p < 1:
            falling = -jnp.sort(-log_probs, axis=-1)
            before = jnp.cumsum(jnp.exp(falling), axis=-1) - jnp.exp(falling)
            head = jnp.where(before < self.top_p, falling, jnp.inf)
            smallest = head.min(axis=-1, keepdims=True)
            log_probs = _keep(log_probs, log_probs >= smallest)
        return jax.random.categorical(rng, log_probs).astype(jnp.int32)


def _keep(log_probs, kept):
    return jax.nn.log_softmax(jnp.where(kept, log_probs, -jnp.inf))


def _refuse(field, was, should):
    raise ValueError(f"Sample.{field} is {was!r}; it must be {should}.")
