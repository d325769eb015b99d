"""The lives of what a memory held: written when, read how much, discarded why."""

from typing import NamedTuple

import numpy as np

from wmlstm_jax.analysis.traces import MemoryTrace, Writes, held_before
from wmlstm_jax.core import (
    Fifo,
    LeastRecentlyRead,
    LeastUsed,
    Policy,
    Salience,
    SelectiveFifo,
)


class Occupants(NamedTuple):
    """Whatever was in a slot from one write to the next; all leaves `[n]`.

    They stand in the order in which they came.
    """

    step: np.ndarray  # int32: of the token that was written
    group: np.ndarray  # int32
    slot: np.ndarray  # int32
    end: np.ndarray  # int32: the step whose write took the slot; T where none did
    read: np.ndarray  # float: weights of all heads at all times
    copied: np.ndarray  # float: probabilities of being copied, at all times
    why: list[str]  # for people: why it was discarded


def find_occupants(
    trace: MemoryTrace, policy: Policy
) -> tuple[Occupants, np.ndarray, np.ndarray]:
    """All that was ever held.

    Args:
      trace: of a memory with slots.
      policy: of the memory.

    Returns:
      The occupants, and which of them was where when the step read and when its copy
      head looked, `[T, G, N]` int32 each, -1 for nobody.
    """
    assert trace.writes is not None and trace.owners is not None
    writes, (steps, groups, slots) = trace.writes, trace.owners.shape
    step, group, place = np.nonzero(writes.settled)
    slot = writes.slots[step, group, place]
    index = np.full((groups, slots, steps), -1, np.int32)
    index[group, slot, step] = np.arange(len(step))
    before, after = (
        _occupants_of(owners, index) for owners in (held_before(trace), trace.owners)
    )
    end = np.full(len(step), steps, np.int32)
    why = ["kept to the end"] * len(step)
    # What a write took the place of, by the write.
    for t, g, k in zip(step, group, place, strict=True):
        if (gone := before[t, g, writes.slots[t, g, k]]) >= 0:
            end[gone] = t
            why[gone] = _why_discarded(policy, writes, (t, g, k), slots)
    read = copied = None
    if trace.reads is not None:
        read = trace.reads.slots
    if trace.copies is not None:
        copied = trace.copies.slots
    read, copied = (_total(read, before, len(step)), _total(copied, after, len(step)))
    return Occupants(step, group, slot, end, read, copied, why), before, after


def why_refused(policy: Policy, writes: Writes, step: int, group: int) -> str:
    """For people: why a token was not written, or was mixed into what was there."""
    if writes.weights[step, group].any():
        return "mixed into what was there"
    newcomer = None if writes.newcomer is None else writes.newcomer[step, group]
    if isinstance(policy, SelectiveFifo) and newcomer is not None:
        if newcomer < policy.threshold:
            return f"its salience {newcomer:.2f} is below {policy.threshold:g}"
    if isinstance(policy, Salience) and newcomer is not None:
        assert writes.worth is not None
        least = writes.worth[step, group, 0]
        if newcomer < least:
            return f"its salience {newcomer:.2f} is below the least worth {least:.2f}"
    return "every slot is pinned"


def _why_discarded(policy, writes: Writes, at, slots: int) -> str:
    if not policy.hard:
        return f"overwritten by a write of weight {writes.weights[at]:.2f}"
    if isinstance(policy, Fifo):
        return f"the oldest of {slots}"
    assert writes.worth is not None
    worth = writes.worth[at]
    if isinstance(policy, Salience):
        assert writes.newcomer is not None
        newcomer = writes.newcomer[at[:2]]
        return f"its worth {worth:.2f} was the lowest; the newcomer had {newcomer:.2f}"
    if isinstance(policy, LeastRecentlyRead):
        return f"unread for {-worth:.0f} tokens, longest of all"
    if isinstance(policy, LeastUsed):
        return f"its usage {worth:.2g} was the lowest"
    return f"its worth {worth:.2f} was the lowest"


def _occupants_of(owners: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Which occupant is where, `[T, G, N]`."""
    groups, slots, _ = index.shape
    found = index[np.arange(groups)[:, None], np.arange(slots), owners]
    return np.where(owners >= 0, found, -1)


def _total(weights: np.ndarray | None, where: np.ndarray, count: int) -> np.ndarray:
    """What each got in all, of `weights [T, heads, N]` in any grouping of heads."""
    total = np.zeros(count)
    if weights is not None:
        steps, groups, slots = where.shape
        by_group = weights.reshape(steps, groups, -1, slots).sum(2)
        np.add.at(total, where[where >= 0], by_group[where >= 0])
    return total
