"""A sequence in pieces of equal length, the last filled up with steps of zeros.

Such a step is not valid, so it changes nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp

from wmlstm_jax.core.types import Array


def piece_length(length: int, wanted: int) -> int:
    """The length nearest below `wanted` with the least to fill up."""
    return -(-length // -(-length // wanted))


def fold(tree: Any, piece: int) -> Any:
    """Leaves `[T, ...]` to `[pieces, piece, ...]`."""

    def fold_leaf(leaf):
        missing = -leaf.shape[0] % piece
        if missing:
            blank = jnp.zeros_like(leaf, shape=(missing, *leaf.shape[1:]))
            leaf = jnp.concatenate([leaf, blank])
        return leaf.reshape(-1, piece, *leaf.shape[1:])

    return jax.tree.map(fold_leaf, tree)


def unfold(leaf: Array) -> Array:
    """`[pieces, piece, ...]` to `[T, ...]`, what was filled up included."""
    return leaf.reshape(-1, *leaf.shape[2:])
