"""A memory over several turns at once: the slots before them, and what they write.

The backward pass takes the loop in pieces of C turns. Over a piece the memory is looked
at as columns, N slots as they were before and one more for each item written since, of
which a turn sees those that its slots show. So the piece needs no memory of its own for
each turn; what reads want from the keys, and give back to them, are matrix products
over the whole piece.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.loop_types import Write
from wmlstm_jax.core.mixing import mixed, settles
from wmlstm_jax.core.slots import align, contract, put, take
from wmlstm_jax.core.types import Array, Evicted, Memory, Request


class Window(NamedTuple):
    """The columns of a piece: N slots and I = C*k items; `E = N + I`."""

    start: Memory  # before the first write of the piece
    keys: Array  # [B, R, I, K], of the items
    values: Array | None  # [B, R, I, W]; None where only keys are looked at
    slot_epoch: Array  # [B, G, E]
    written: Array  # [B, G, E]
    tags: Array  # [B, G, E]
    salience: Array | None  # [B, G, E]
    slots: Array  # [B, G, I]: where the items were written
    owner: Array  # [C, B, G, N]: the column that each slot shows to each turn


def open_window(
    config: CellConfig,
    start: Memory,
    write: Write | Evicted,
    requests: Request,
    epoch: Array,
) -> Window:
    """The window over C turns.

    Args:
      config: the settings.
      start: the memory before the first turn.
      write: where the request of each turn went, and for a policy that mixes what it
        evicted; leaves lead with C.
      requests: what each turn wrote; leaves lead with C.
      epoch: `[C, B]`, of the rows when it was written.
    """
    num_slots, copies = config.memory.num_slots, write.slots.shape[-1]

    def columns(leaf, dtype):
        """`[C, B, R, ..]` to `[B, R, I, ..]`, a request for every slot it went to."""
        items = jnp.moveaxis(config.slots.stored(leaf, dtype), 0, 2)
        return jnp.repeat(items, copies, axis=2)

    def beside(leaf, items):
        groups = (*leaf.shape[:2], items.shape[-1])
        return jnp.concatenate([leaf, jnp.broadcast_to(items, groups)], axis=-1)

    def after_slots(name, items):
        leaf = getattr(start, name)
        return beside(leaf, columns(items, leaf.dtype))

    salience = values = None
    if start.salience is not None:
        salience = after_slots("salience", requests.salience)
    if start.values is not None and requests.value is not None:
        values = columns(requests.value, start.values.dtype)
    window = Window(
        start=start,
        keys=columns(requests.key, start.keys.dtype),
        values=values,
        slot_epoch=after_slots("slot_epoch", epoch[..., None]),
        written=after_slots("written", write.clock[..., None]),
        tags=after_slots("tags", requests.tag[..., None]),
        salience=salience,
        slots=_in_a_row(write.slots),
        owner=_owner(num_slots, write),
    )
    if config.memory.policy.hard:
        return window
    assert isinstance(write, Evicted)
    mix = jax.vmap(functools.partial(mixed_items, config))
    items = {f: _in_a_row(leaf) for f, leaf in mix(write, requests, epoch).items()}
    stays = jax.vmap(functools.partial(settles, config.memory.policy))(epoch, write)
    stays = _in_a_row(stays)
    for field in ("written", "tags"):
        old, new = _in_a_row(getattr(write, field)), getattr(window, field)
        told = jnp.where(stays, new[..., num_slots:], old)
        items[field] = jnp.concatenate([new[..., :num_slots], told], axis=-1)
    return window._replace(**items)


def mixed_items(
    config: CellConfig, evicted: Evicted, request: Request, epoch: Array
) -> dict[str, Array]:
    """What slots hold after a write that mixes: keys and values `[B, R, k, width]`."""
    memory, items = config.slots, {}
    for field, fresh in (("keys", request.key), ("values", request.value)):
        old = getattr(evicted, field)
        if old is not None and fresh is not None:
            fresh = memory.stored(fresh[:, :, None], old.dtype)
            items[field] = mixed(memory.policy, epoch, evicted, old, fresh)
    return items


def _in_a_row(leaf: Array) -> Array:
    """`[C, B, G, k, ..]` to `[B, G, C*k, ..]`."""
    leaf = jnp.moveaxis(leaf, 0, 2)
    return leaf.reshape(*leaf.shape[:2], -1, *leaf.shape[4:])


def undo_all(config: CellConfig, end: Memory, evicted: Evicted) -> Memory:
    """The memory before the writes that evicted this; leaves lead with C."""

    def back(memory, evicted):
        return config.slots.undo(memory, evicted), None

    return jax.lax.scan(back, end, evicted, reverse=True)[0]


def _owner(num_slots: int, write: Write | Evicted) -> Array:
    """Which column each slot shows, `[C, B, G, N]`: its own until it is written."""
    turns, _, _, copies = write.slots.shape
    slot = jnp.arange(num_slots, dtype=jnp.int32)
    item = num_slots + jnp.arange(turns * copies, dtype=jnp.int32)
    item = item.reshape(turns, 1, 1, copies, 1)
    hit = (write.slots[..., None] == slot) & (write.weights[..., None] > 0)
    newest = jnp.where(hit, item, slot).max(axis=3)
    return jax.lax.cummax(newest, axis=0)


def survivors(window: Window) -> tuple[Array, Array]:
    """Which slots `[B, G, N]` the piece overwrote, and which items `[B, G, I]` stay."""
    num_slots = window.owner.shape[-1]
    items = jnp.arange(window.slots.shape[-1], dtype=jnp.int32)
    last = window.owner[-1]
    overwritten = last != jnp.arange(num_slots, dtype=jnp.int32)
    return overwritten, take(last, window.slots) == num_slots + items


def end_of(window: Window, epoch: Array, clock: Array) -> Memory:
    """The memory after a piece, as far as a pointer looks at it.

    Args:
      window: the columns.
      epoch: `[B]`, after the last turn.
      clock: `[B]`, likewise.
    """
    last = window.owner[-1]
    keys = jnp.concatenate([window.start.keys, window.keys], axis=2)
    salience = window.salience
    return window.start._replace(
        keys=take(keys, last),
        slot_epoch=take(window.slot_epoch, last),
        written=take(window.written, last),
        tags=take(window.tags, last),
        salience=None if salience is None else take(salience, last),
        epoch=epoch,
        clock=clock,
    )


def view(window: Window, ordered: bool, rows: dict, owner: Array, salience) -> Memory:
    """The memory that a turn reads; its keys and values are those before the piece.

    Args:
      window: the columns.
      ordered: reads step along the written order, so slots come in their ring.
        Otherwise all columns come, and those that no slot shows are dead.
      rows: the row leaves of the memory at that turn.
      owner: `[B, G, N]`, of that turn.
      salience: `[B, G, E]` or None.
    """
    slot_epoch, written, tags = window.slot_epoch, window.written, window.tags
    if ordered:
        slot_epoch, written, tags = (
            take(leaf, owner) for leaf in (slot_epoch, written, tags)
        )
        salience = None if salience is None else take(salience, owner)
    else:
        num_slots = owner.shape[-1]
        items = num_slots + jnp.arange(window.slots.shape[-1], dtype=jnp.int32)
        shown = jnp.concatenate(
            [
                owner == jnp.arange(num_slots, dtype=jnp.int32),
                take(owner, window.slots) == items,
            ],
            axis=-1,
        )
        slot_epoch = jnp.where(shown, slot_epoch, -1)
    return window.start._replace(
        slot_epoch=slot_epoch,
        written=written,
        tags=tags,
        pinned=jnp.zeros_like(slot_epoch, bool),
        salience=salience,
        usage=None,
        **rows,
    )


def to_view(ordered: bool, owner: Array, columns: Array) -> Array:
    """`[B, R, E]` to what a turn's view has as its slots."""
    return take(columns, owner) if ordered else columns


def to_columns(ordered: bool, owner: Array, shown: Array, num_columns: int) -> Array:
    """The inverse of `to_view`, zero in columns that no slot shows."""
    if not ordered:
        return shown
    blank = jnp.zeros((*shown.shape[:-1], num_columns), shown.dtype)
    return put(blank, owner, shown)


def match_all(window: Window, vectors: Array) -> Array:
    """`q k_e` of every turn and column: `[C, B, R, K]` to `[C, B, R, E]`."""
    spec, dtype = "cbrk,brek->cbre", vectors.dtype
    slots = contract(spec, vectors, window.start.keys, dtype)
    items = contract(spec, vectors, window.keys, dtype)
    return jnp.concatenate([slots, items], axis=-1)


def meet(name: str, spec: str, window: Window, left: Array) -> Array:
    """A contraction of `left` with the keys or values of all columns.

    Args:
      name: "keys" or "values".
      spec: of the contraction, the columns as `e` on the right and maybe on the left.
      window: the columns.
      left: `[B, R, ..]`.
    """
    slots, items = getattr(window.start, name), getattr(window, name)
    if spec.endswith("e"):  # One result for each column.
        parts = [contract(spec, left, leaf, left.dtype) for leaf in (slots, items)]
        return jnp.concatenate(parts, axis=-1)
    cut = slots.shape[2]
    first = contract(spec, left[..., :cut], slots, left.dtype)
    return first + contract(spec, left[..., cut:], items, left.dtype)


def inherit(cotangent: Array, window: Window, stays: Array, turns: int) -> Array:
    """What requests get from after the piece: `[B, R, N, K]` to `[C, B, R, K]`."""
    share = take(cotangent, window.slots)
    share = jnp.where(align(stays, share), share, 0)
    share = share.reshape(*share.shape[:2], turns, -1, *share.shape[3:]).sum(3)
    return jnp.moveaxis(share, 2, 0)


def before_the_piece(cotangent: Array, overwritten: Array, gained: Array) -> Array:
    """The slots' cotangent before a piece: what it gave them, and what came through."""
    return jnp.where(align(overwritten, cotangent), 0, cotangent) + gained
