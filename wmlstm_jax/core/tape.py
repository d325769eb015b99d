"""A loop that overwrites what it is given, place by place.

What `jax.lax.scan` stacks is memory of its own, filled with zeros first: on a CPU that
costs as much as a product. The tape of the recurrence holds the projections of every
step, and after the backward pass their cotangents.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.bare import bare, scan
from wmlstm_jax.core.body import fused_sizes
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.loop_types import Parts

_OWN = ("gates", "query", "modes")


class Tape(NamedTuple):
    """The projections that the backward pass looks at, each `[T, B, G, width]`."""

    own: Parts  # of this step
    late: Parts  # of what the step before left undone


def blank_tape(config: CellConfig, projected: Parts) -> Tape:
    """The tape of a sequence, with the input's part of every projection on it.

    Args:
      config: the settings.
      projected: `[T, B, G, width]` each; those on the tape are consumed.
    """
    like = projected["gates"]
    own = {to: projected[to] for to in _OWN if to in projected}
    late = {
        to: jnp.zeros_like(like, shape=(*like.shape[:-1], width))
        for to, width in fused_sizes(config).items()
        if to.startswith("current_")
    }
    return Tape(own, late)


def scan_tape(
    turn: Callable, carry: Any, xs: Any, tape: Any, *, unroll=1, reverse=False
) -> tuple[Any, Any, Any]:
    """`jax.lax.scan` with a tape, of which each turn overwrites its own place.

    Args:
      turn: `(carry, x, old) -> (carry, new, y)`; `old` and `new` are alike.
      carry: before the first turn.
      xs: leaves `[T, ...]`.
      tape: leaves `[T, ...]`; consumed.
      unroll: how many turns one turn of the compiled loop holds.
      reverse: from the last place to the first.

    Returns:
      The last carry, the tape, and the stacked `y`.
    """
    length = jax.tree.leaves(tape)[0].shape[0]
    onward = -1 if reverse else 1
    rows = jax.tree.map(lambda leaf: leaf.shape[1:], tape)

    def take_off(tape, index):
        def one(leaf, shape):
            row = jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False)
            return row.reshape(shape)

        return jax.tree.map(one, tape, rows)

    def put_on(tape, index, new):
        def one(leaf, row):
            row = row.reshape(leaf.shape[1:])
            return jax.lax.dynamic_update_index_in_dim(leaf, row, index, 0)

        return jax.tree.map(one, tape, new)

    def run(state, step):
        carry, old, tape = state
        index, x = step
        carry, new, y = turn(carry, x, old)
        tape = put_on(tape, index, new)
        # The next place is read here, after the update: read at the start of a turn,
        # XLA moves the read past the update, and has to copy the whole tape.
        following = jnp.clip(index + onward, 0, length - 1)
        return (carry, take_off(tape, following), tape), y

    kept = jax.tree.map(bare, tape)
    index = jnp.arange(length, dtype=jnp.int32)
    start = carry, take_off(kept, length - 1 if reverse else 0), kept
    (carry, _, kept), ys = scan(run, start, (index, xs), unroll=unroll, reverse=reverse)
    tape = jax.tree.map(lambda leaf, like: leaf.reshape(like.shape), kept, tape)
    return carry, tape, ys
