"""Where the rows of a batch are while a model computes: what a mesh says, if any.

Heads that are spread over an axis of a mesh need all rows on each of its devices.
Norms, MLPs and softmax know nothing of heads; there the rows are spread over that axis
too, or each of its devices would compute all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import jax
from jax.lax import with_sharding_constraint
from jax.sharding import NamedSharding

Array = jax.Array


class Rows(NamedTuple):
    """Of an array `[B, ...]`."""

    given: NamedSharding  # to all heads
    made: NamedSharding  # `[B, T, H]` by the heads
    elsewhere: NamedSharding


_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)


@contextmanager
def placed(rows: Rows | None) -> Iterator[None]:
    """What is traced inside has its rows there; None leaves that to the compiler."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def into_recurrence(xs: Array) -> Array:
    """`[B, ...]`, before the heads share it."""
    rows = _rows.get()
    return xs if rows is None else with_sharding_constraint(xs, rows.given)


def out_of_recurrence(ys: Array) -> Array:
    """`[B, T, H]`, as the heads made it and then where every token is by itself."""
    rows = _rows.get()
    if rows is None:
        return ys
    return by_token(with_sharding_constraint(ys, rows.made))


def by_token(xs: Array) -> Array:
    """`[B, ...]`, where every token is by itself."""
    rows = _rows.get()
    return xs if rows is None else with_sharding_constraint(xs, rows.elsewhere)
