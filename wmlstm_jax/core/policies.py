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
    """Which of `SCORES` the policy looks at."""
    ordered: ClassVar[bool] = False
    """Slots are written in ring order, so reads may step along that order."""
    hard: ClassVar[bool] = True
    """Weights are 0 or 1 and carry no gradient."""
    replays: ClassVar[bool] = False
    """A write that mixes touches few slots, and `weigh` gives its weights again from
    what these held: so it can be undone too."""
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

    def worth(self, memory: Memory, request: Request) -> Array | None:
        """What live slots are ranked by, `[B, G, N]`: the lowest goes first.

        None where the oldest goes, or where what is new is mixed into what is there.
        """
        del memory, request

    def weigh(self, request: Request, old_keys: Array, may: Array) -> Array:
        """The weights of a write that mixes, `[B, G, k]`, from what its slots held.

        Args:
          request: what the cell wants kept.
          old_keys: `[B, R, k, K]`, of the slots that `select` named.
          may: `[B, G, k]` bool, whether a slot may be written.
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
class SelectiveFifo(Fifo):
    """A `Fifo` that refuses a newcomer whose salience is below a threshold.

    What is refused takes no place in the ring: reads step along the written order from
    one thing worth keeping to the next. As with `Salience`, `salience - decay * age` is
    added to a slot's read logits: what is in the way of reads sinks, until its like is
    not written any more.

    Args:
      threshold: the least salience that is written; low enough that at the start
        nearly everything is.
    """

    request_fields: ClassVar[frozenset[str]] = frozenset({"salience"})
    threshold: float = -2.0

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The slot of `Fifo`, or none; see `Policy`."""
        slots, weights = super().select(memory, request)
        assert request.salience is not None
        keep = request.salience[..., None] >= self.threshold
        return slots, weights * keep


@dataclass(frozen=True)
class Salience(Policy):
    """Discards what matters least: of the slots *and the newcomer*, the lowest goes.

    The worth of a slot is `salience - decay * age`: a learned score, and a learned
    loss per request. The same sum is added to the slot's read logits, which is where
    both get their gradient. Free slots go first; ties go to the oldest.
    """

    request_fields: ClassVar[frozenset[str]] = frozenset({"salience"})

    def worth(self, memory: Memory, request: Request) -> Array:
        """`salience - decay * age`."""
        assert request.decay is not None
        return slot_worth(memory, request.decay)

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The lowest slot, unless the newcomer is lower still; see `Policy`."""
        assert request.salience is not None
        worth = self.worth(memory, request)
        worth = jnp.where(memory.live, worth, -jnp.inf)
        worth = jnp.where(memory.pinned, jnp.inf, worth)
        written = jnp.where(memory.live, memory.written, -1)
        slots = first_lowest(worth, written)
        lowest = jnp.min(worth, axis=-1, keepdims=True)
        newcomer = request.salience[..., None]
        keep = (newcomer >= lowest) & (lowest < jnp.inf)
        return slots, keep.astype(jnp.float32)


@dataclass(frozen=True)
class LeastRecentlyRead(Policy):
    """Discards what no head has read for longest (Rae et al. 2016, section 3.2).

    A head reads a slot when it gives it more than an even share, 1 / live; to be
    written counts as to be read. `Memory.usage` is the number of tokens since. Free
    slots go first; ties go to the oldest.
    """

    ranks_by_reads: ClassVar[bool] = True

    def worth(self, memory: Memory, request: Request) -> Array:
        """Less by one for each token unread."""
        del request
        assert memory.usage is not None
        return -memory.usage

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The slot longest unread; see `Policy`."""
        return least_of(memory, self.worth(memory, request))

    def observe(self, memory: Memory, weights: Array) -> Array:
        """One token more for every slot, none for those that were read."""
        assert memory.usage is not None
        share = jnp.max(by_group(weights, memory), axis=2)
        was_read = share * memory.live.sum(-1, keepdims=True) > 1
        return jnp.where(was_read, 0, memory.usage + 1)

    def initial_usage(self, memory: Memory) -> Array:
        """Just read."""
        return jnp.zeros(memory.clock.shape)


@dataclass(frozen=True)
class LeastUsed(Policy):
    """Discards what was read least, lately: by read weights, decayed at every token.

    The usage of a slot is the sum over its heads' weights, each times `decay` for every
    token since (Santoro et al. 2016, section 3); new slots start at 1. Free slots go
    first; ties go to the oldest.

    Args:
      decay: in [0, 1]; 1 never forgets a read.

    Raises:
      ValueError: the decay is out of range.
    """

    ranks_by_reads: ClassVar[bool] = True
    decay: float = 0.99

    def __post_init__(self):
        if not 0 <= self.decay <= 1:
            raise ValueError(
                f"LeastUsed.decay is {self.decay!r}; it must be in [0, 1]."
            )

    def worth(self, memory: Memory, request: Request) -> Array:
        """The usage."""
        del request
        assert memory.usage is not None
        return memory.usage

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The slot least used; see `Policy`."""
        return least_of(memory, self.worth(memory, request))

    def observe(self, memory: Memory, weights: Array) -> Array:
        """The decayed sum, with what was read now."""
        assert memory.usage is not None
        return self.decay * memory.usage + by_group(weights, memory).sum(2)

    def initial_usage(self, memory: Memory) -> Array:
        """As if a head had read nothing else."""
        return jnp.ones(memory.clock.shape)


def by_group(weights: Array, memory: Memory) -> Array:
    """Read weights `[B, R, N]` by group of heads, `[B, G, R/G, N]`."""
    batch, heads, num_slots = weights.shape
    groups = memory.slot_epoch.shape[1]
    return weights.reshape(batch, groups, heads // groups, num_slots)


def least_of(memory: Memory, score: Array) -> tuple[Array, Array]:
    """A free slot, else that with the lowest score, the oldest of equals; no pins.

    Args:
      memory: the memory before the write.
      score: `[B, G, N]`.

    Returns:
      Slots and weights, as `Policy.select` gives them.
    """
    score = jnp.where(memory.live, score, -jnp.inf)
    score = jnp.where(memory.pinned, jnp.inf, score)
    written = jnp.where(memory.live, memory.written, -1)
    slots = first_lowest(score, written)
    can_write = jnp.min(score, axis=-1, keepdims=True) < jnp.inf
    return slots, can_write.astype(jnp.float32)


def slot_worth(memory: Memory, decay: Array) -> Array:
    """`salience - decay * age` of every slot, `[B, G, N]`; `decay` is `[..., G]`."""
    assert memory.salience is not None
    age = memory.age.astype(memory.salience.dtype)
    return memory.salience - decay[..., None] * age
