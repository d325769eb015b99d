"""Sequences of every length, in as many compiled programs as there are buckets."""

from typing import Any

import jax
import numpy as np


def bucket_length(length: int, smallest: int = 16) -> int:
    """The least of `smallest`, `2 smallest`, `4 smallest`, ... that holds `length`.

    Raises:
      ValueError: either is below 1.
    """
    for name, value in (("length", length), ("smallest", smallest)):
        if value < 1:
            raise ValueError(
                f"bucket_length: {name} is {value}; it must be at least 1."
            )
    doublings = (-(-length // smallest) - 1).bit_length()
    return smallest * 2**doublings


def pad_to_bucket(batch: Any, smallest: int = 16) -> tuple[Any, np.ndarray]:
    """Fills a batch up with zeros to the length of its bucket.

    Args:
      batch: a tree of arrays, `[T, B, ...]` each.
      smallest: the length of the shortest bucket.

    Returns:
      The tree, in NumPy so that nothing is compiled for T, and `valid [T', B]` bool, as
      `unroll` takes it.

    Raises:
      ValueError: the arrays differ in T or B, or T is 0.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batch)]
    sizes = {leaf.shape[:2] for leaf in leaves}
    if len(sizes) != 1 or len(next(iter(sizes))) != 2:
        raise ValueError(
            f"pad_to_bucket: batch has leaves of {sorted(sizes)} steps and rows; they"
            " must all be the same two."
        )
    ((length, rows),) = sizes
    missing = bucket_length(length, smallest) - length

    def fill_up(leaf):
        leaf = np.asarray(leaf)
        return np.pad(leaf, [(0, missing)] + [(0, 0)] * (leaf.ndim - 1))

    valid = np.pad(np.ones((length, rows), bool), [(0, missing), (0, 0)])
    return jax.tree.map(fill_up, batch), valid
