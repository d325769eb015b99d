"""`jax.lax.scan` over leaves without axes of one.

XLA lays an axis of one out at will. Where the body of a loop and what is around it want
it in different places, the leaf is copied, all steps of it; and reading across what is
no axis keeps the body's arithmetic from being vectorised.
"""

from collections.abc import Callable
from typing import Any

import jax

from wmlstm_jax.core.types import Array


def bare(leaf: Array) -> Array:
    """`[T, ...]` without the axes of one after the first."""
    return leaf.reshape(leaf.shape[0], *(n for n in leaf.shape[1:] if n != 1))


def scan(
    turn: Callable, carry: Any, xs: Any, *, unroll: int = 1, reverse: bool = False
) -> tuple[Any, Any]:
    """`jax.lax.scan`, with `xs` and `ys` bare around the loop; they look as ever."""
    shapes = []  # of the leaves of one `y`, as the trace of the body finds them

    def run(carry, x):
        x = jax.tree.map(lambda row, like: row.reshape(like.shape[1:]), x, xs)
        carry, y = turn(carry, x)
        shapes[:] = [leaf.shape for leaf in jax.tree.leaves(y)]
        return carry, jax.tree.map(lambda row: bare(row[None])[0], y)

    carry, ys = jax.lax.scan(
        run, carry, jax.tree.map(bare, xs), unroll=unroll, reverse=reverse
    )
    leaves, tree = jax.tree.flatten(ys)
    whole = [
        leaf.reshape(leaf.shape[0], *shape)
        for leaf, shape in zip(leaves, shapes, strict=True)
    ]
    return carry, jax.tree.unflatten(tree, whole)
