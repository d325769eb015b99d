"""Where a ring is written, for all steps at once, and the bookkeeping of any writes.

What `Fifo` evicts depends on nothing that is learned: on masks, pins and the write head
alone. So its choice needs no loop. Epochs and clocks need none with any policy, and
once it is known where each turn wrote, neither do tags and ages.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.loop_types import StepInputs, Write
from wmlstm_jax.core.types import Array, Memory


class Times(NamedTuple):
    """Of the rows at the write of each turn, that of the request of the step before."""

    asked: Array  # [T, B] bool: there is a request
    epoch: Array  # [T, B] int32: before the turn's reset
    clock: Array  # [T, B] int32: likewise
    since: Array  # [T, B] int32: requests since the last reset, or the start
    last_epoch: Array  # [B] int32: after the last turn
    last_clock: Array  # [B] int32: likewise


def times_of(memory: Memory, valid: Array, reset: Array) -> Times:
    """The times of a loop that starts with nothing pending.

    Args:
      memory: before the loop.
      valid: `[T, B]` bool.
      reset: `[T, B]` bool.
    """
    # One turn more: what it would find is the state after the loop.
    nothing = jnp.zeros_like(valid[:1])
    asked = jnp.concatenate([nothing, valid])
    emptied = jnp.concatenate([nothing, reset])  # after the turn before
    resets = jnp.cumsum(emptied, axis=0, dtype=jnp.int32)
    before = jnp.cumsum(asked, axis=0, dtype=jnp.int32) - asked
    # The count at the last reset, which has the write of that turn in it.
    since = before - jax.lax.cummax(jnp.where(emptied, before, 0), axis=0)
    clock = jnp.where(resets > 0, since, memory.clock + since)
    epoch = memory.epoch + resets
    return Times(asked[:-1], epoch[:-1], clock[:-1], since[:-1], epoch[-1], clock[-1])


def ring_slots(memory: Memory, times: Times) -> Array:
    """The slot that each turn writes, `[T, B, G]` int32, or -1; see `Fifo.select`."""
    num_slots = memory.pinned.shape[-1]
    slot = jnp.arange(num_slots, dtype=jnp.int32)
    place = (slot - memory.head[..., None]) % num_slots
    # Those that are not pinned, from the head on, and how many they are.
    order = jnp.argsort(jnp.where(memory.pinned, place + num_slots, place), axis=-1)
    width = (~memory.pinned).sum(-1, dtype=jnp.int32)
    since = times.since[..., None]
    turn = since % jnp.maximum(width, 1)
    first = jnp.take_along_axis(order[None], turn[..., None], axis=-1)[..., 0]
    # A reset lifts all pins and starts the ring anew.
    fresh = (times.epoch != memory.epoch)[..., None]
    slots = jnp.where(fresh, since % num_slots, first)
    can = times.asked[..., None] & (fresh | (width > 0))
    return jnp.where(can, slots, -1).astype(jnp.int32)


def written_by(slots: Array, times: Times) -> Write:
    """The same, as the pointer wants to know it."""
    slots = slots[..., None]
    return Write(jnp.maximum(slots, 0), (slots >= 0).astype(jnp.float32), times.clock)


def after_writes(slots: Array, times: Times, memory: Memory, xs: StepInputs) -> Memory:
    """The memory after a loop, but for what its slots hold and are ranked by.

    Args:
      slots: `[T, B, G]`, where each turn wrote, or -1.
      times: of the loop.
      memory: before it.
      xs: what it was given.
    """
    num_slots, length = memory.pinned.shape[-1], slots.shape[0]
    turn = jnp.arange(length, dtype=jnp.int32)[:, None, None]
    rows = jnp.arange(slots.shape[1])[:, None]
    hit = slots[..., None] == jnp.arange(num_slots, dtype=jnp.int32)
    last = jnp.where(hit, turn[..., None], -1).max(0)

    def of_last(leaf, old):
        """`[T, B]` at the last write to each slot, else the old content."""
        found = leaf[jnp.maximum(last, 0), rows[..., None]]
        return jnp.where(last < 0, old, found)

    tags = jnp.concatenate([jnp.full_like(xs.tag[:1], -1), xs.tag[:-1]])
    emptied = (times.last_epoch != memory.epoch)[:, None]
    counts = (slots >= 0) & (times.epoch == times.last_epoch)[..., None]
    newest = jnp.where(counts, turn, -1).max(0)
    groups = jnp.arange(slots.shape[2])
    following = (slots[jnp.maximum(newest, 0), rows, groups] + 1) % num_slots
    head = jnp.where(emptied, 0, memory.head)
    return memory._replace(
        slot_epoch=of_last(times.epoch, memory.slot_epoch),
        written=of_last(times.clock, memory.written),
        tags=of_last(tags, memory.tags),
        pinned=memory.pinned & ~emptied[..., None],
        epoch=times.last_epoch,
        clock=times.last_clock,
        head=jnp.where(newest < 0, head, following),
    )
