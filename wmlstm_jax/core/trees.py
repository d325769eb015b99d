"""Trees of arrays, taken apart into what has a gradient and what has not."""

from typing import Any

import jax
import jax.numpy as jnp


def add(left: Any, right: Any) -> Any:
    """The sum of two trees of one structure."""
    return jax.tree.map(jnp.add, left, right)


def partition(tree: Any) -> tuple[Any, Any]:
    """A tree's floating leaves, and its others; None where the other part is."""

    def is_float(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)

    floats = jax.tree.map(lambda leaf: leaf if is_float(leaf) else None, tree)
    others = jax.tree.map(lambda leaf: None if is_float(leaf) else leaf, tree)
    return floats, others


def combine(floats: Any, others: Any) -> Any:
    """The tree that `partition` took apart."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, floats, others, is_leaf=lambda x: x is None
    )
