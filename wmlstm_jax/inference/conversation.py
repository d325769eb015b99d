"""The memory of a conversation as a thing of its own: kept, looked into, changed.

A carry is a value, so a branch of a conversation is another name for it. Everything
here takes the carries of a model's layers, each leaf leading with B, and gives new
ones; a slot is known by the position of the token that wrote it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wmlstm_jax.core import Carry, Memory
from wmlstm_jax.inference.conversation_files import load, save

Array = jax.Array
Carries = tuple[Carry, ...]
__all__ = [
    "Slot",
    "branch",
    "forget",
    "load",
    "pin",
    "remembered",
    "reset",
    "save",
]


class Slot(NamedTuple):
    """What one slot of a row remembers."""

    position: int  # of the token that wrote it: how many came before it in this row
    token: int
    pinned: bool
    salience: float | None  # where the policy looks at it
    usage: float | None  # likewise


def remembered(carries: Carries, row: int = 0, layer: int = -1) -> list[Slot]:
    """What the memory of a layer holds, the oldest first.

    With groups of heads, whose slots differ, a token counts as held if one group holds
    it; of pins, saliences and uses the largest is told.

    Args:
      carries: the state.
      row: which row.
      layer: which layer, the last by default.

    Raises:
      ValueError: the layer has no slots.
    """
    memory = jax.device_get(_slots(carries[layer]))
    live, written = memory.live[row], memory.written[row]

    def most(leaf, there):
        return None if leaf is None else float(leaf[row][there].max())

    found = []
    for position in np.unique(written[live]):
        there = live & (written == position)
        found.append(
            Slot(
                int(position),
                int(memory.tags[row][there].max()),
                bool(memory.pinned[row][there].any()),
                most(memory.salience, there),
                most(memory.usage, there),
            )
        )
    return found


def reset(carries: Carries, empty: Carries) -> Carries:
    """Forgets everything, the state of the LSTM and pins too.

    Args:
      carries: the state; only its structure is looked at.
      empty: what `initialize_carry` gives for as many rows.
    """
    return jax.tree.map(lambda _, leaf: leaf, carries, empty)


def pin(carries: Carries, positions: Array, pinned: bool = True) -> Carries:
    """Keeps what was written at some positions, whatever comes; or lets it go again.

    A policy never names a pinned slot; when all are pinned, nothing is written.

    Args:
      carries: the state.
      positions: `[n]` int, in every row; where no slot holds it, nothing happens.
      pinned: False lifts the pins.

    Raises:
      ValueError: no layer has slots.
    """

    def mark(memory: Memory, there: Array) -> Memory:
        return memory._replace(pinned=jnp.where(there, pinned, memory.pinned))

    return _change(carries, positions, mark)


def forget(carries: Carries, positions: Array) -> Carries:
    """Empties the slots that were written at some positions.

    What the LSTM itself still knows of them stays in its state.

    Args:
      carries: the state.
      positions: `[n]` int, in every row.

    Raises:
      ValueError: no layer has slots.
    """

    def empty(memory: Memory, there: Array) -> Memory:
        return memory._replace(
            slot_epoch=jnp.where(there, -1, memory.slot_epoch),
            tags=jnp.where(there, -1, memory.tags),
            pinned=jnp.where(there, False, memory.pinned),
        )

    return _change(carries, positions, empty)


def branch(carries: Carries) -> Carries:
    """A copy whose buffers are its own, so that either may be donated."""
    return jax.tree.map(jnp.copy, carries)


def _slots(carry: Carry) -> Memory:
    memory = carry.memory
    # A matrix of fast weights has no keys of its own.
    if memory is None or not memory.keys.size:
        raise ValueError("this memory has no slots; there is nothing to tell of it.")
    return memory


def _change(
    carries: Carries, positions: Array, change: Callable[[Memory, Array], Memory]
) -> Carries:
    """Every layer's memory, changed in the slots that were written there."""
    wanted, found = jnp.atleast_1d(jnp.asarray(positions)), []
    for carry in carries:
        if carry.memory is None:
            found.append(carry)
            continue
        memory = _slots(carry)
        there = (memory.written[..., None] == wanted).any(-1) & memory.live
        found.append(carry._replace(memory=change(memory, there)))
    if all(carry.memory is None for carry in carries):
        raise ValueError("the model has no memory; there is nothing to pin or forget.")
    return tuple(found)
