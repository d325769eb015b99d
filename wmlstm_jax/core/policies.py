"""Policies: what a full memory discards, and whether the newcomer is kept at all.

A policy is a frozen dataclass of hashable scalars with one pure method, `select`. What
is learned about retention is computed by the cell and comes in the request; a policy
declares which fields of it, and which bookkeeping of the memory, it looks at.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from wmlstm_jax.core.types import Array, Memory, Request


class Policy:
    """What `SlotMemory` asks of a policy: subclass it as a frozen dataclass.

    Equal settings must compare equal and hash alike: they are compiled once.
    """

    request_fields: ClassVar[frozenset[str]] = frozenset()
    """Optional request fields that the policy looks at: `salience`, or none."""
    ordered: ClassVar[bool] = False
    """Slots are written in ring order, so reads may step along that order."""
    hard: ClassVar[bool] = True
    """Weights are 0 or 1 and carry no gradient, so a write can be undone."""
    ranks_by_reads: ClassVar[bool] = False
    """`Memory.usage` exists, and `observe` is called after every read."""

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """Names the slots to write.

        Args:
          memory: the memory before the write.
          request: what the cell wants kept. Rows that are not valid are dealt with
            by the caller.

        Returns:
          `slots [B, G, k]` int32, distinct in the last axis, and `weights [B, G, k]`
          float: 1 replaces the slot, 0 writes nothing, between them mixes
          `(1 - w) old + w new`.
        """
        raise NotImplementedError

    def observe(self, memory: Memory, weights: Array) -> Array:
        """The new usage `[B, G, N]` after heads read with `weights [B, R, N]`."""
        raise NotImplementedError

    def initial_usage(self, memory: Memory) -> Array:
        """The usage of a slot that is being written, `[B]`."""
        raise NotImplementedError


def first_lowest(score: Array, tie_break: Array) -> Array:
    """The index of the lowest score, ties to the lowest `tie_break`, then index.

    Args:
      score: `[..., N]`.
      tie_break: `[..., N]` int32.

    Returns:
      `[..., 1]` int32.
    """
    lowest = score == jnp.min(score, axis=-1, keepdims=True)
    last = jnp.iinfo(tie_break.dtype).max
    candidates = jnp.where(lowest, tie_break, last)
    return jnp.argmin(candidates, axis=-1, keepdims=True).astype(jnp.int32)


@dataclass(frozen=True)
class Fifo(Policy):
    """Discards the oldest: slots are a ring, and the write head passes over pins."""

    ordered: ClassVar[bool] = True

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The first slot at or after the head that is not pinned; see `Policy`."""
        del request
        num_slots = memory.written.shape[-1]
        place = jnp.arange(num_slots, dtype=jnp.int32) - memory.head[..., None]
        place = jnp.where(place < 0, place + num_slots, place)
        place = jnp.where(memory.pinned, num_slots, place)
        slots = jnp.argmin(place, axis=-1, keepdims=True).astype(jnp.int32)
        can_write = jnp.min(place, axis=-1, keepdims=True) < num_slots
        return slots, can_write.astype(jnp.float32)


@dataclass(frozen=True)
class Salience(Policy):
    """Discards what matters least: of the slots *and the newcomer*, the lowest goes.

    The worth of a slot is `salience - decay * age`: a learned score, and a learned
    loss per request. The same sum is added to the slot's read logits, which is where
    both get their gradient. Free slots go first; ties go to the oldest.
    """

    request_fields: ClassVar[frozenset[str]] = frozenset({"salience"})

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The lowest slot, unless the newcomer is lower still; see `Policy`."""
        assert request.salience is not None and request.decay is not None
        worth = slot_worth(memory, request.decay)
        worth = jnp.where(memory.live, worth, -jnp.inf)
        worth = jnp.where(memory.pinned, jnp.inf, worth)
        written = jnp.where(memory.live, memory.written, -1)
        slots = first_lowest(worth, written)
        lowest = jnp.min(worth, axis=-1, keepdims=True)
        newcomer = request.salience[..., None]
        keep = (newcomer >= lowest) & (lowest < jnp.inf)
        return slots, keep.astype(jnp.float32)


def slot_worth(memory: Memory, decay: Array) -> Array:
    """`salience - decay * age` of every slot, `[B, G, N]`; `decay` is `[G]`."""
    assert memory.salience is not None
    age = memory.age.astype(memory.salience.dtype)
    return memory.salience - decay[None, :, None] * age
