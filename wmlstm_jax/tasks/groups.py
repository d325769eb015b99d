"""State tracking: the running product of group elements (Merrill et al. 2024).

Parity is the group of two elements. S3 needs an order; S5 is not solvable, and so is
beyond what a fixed number of parallel layers computes.
"""

import functools
import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from wmlstm_jax.tasks.task import Array, Batch, Form, SizedTask, refuse

DEGREES = {"parity": 2, "S3": 3, "S5": 5}
"""The groups by name: all permutations of so many things."""


@functools.cache
def multiplication_table(degree: int) -> np.ndarray:
    """`[n!, n!]` int32: first one permutation, then the other; 0 is the identity."""
    permutations = list(itertools.permutations(range(degree)))
    index = {each: i for i, each in enumerate(permutations)}
    table = [
        [index[tuple(then[place] for place in first)] for then in permutations]
        for first in permutations
    ]
    return np.array(table, np.int32)


@dataclass(frozen=True)
class StateTracking(SizedTask):
    """After every element, the product of all so far.

        inputs    a  b   c
        targets   a  ab  abc

    Args:
      group: a name in `DEGREES`.
    """

    group: str = "parity"

    def __post_init__(self):
        super().__post_init__()
        if self.group not in DEGREES:
            refuse(self, "group", f"one of {[*DEGREES]}")

    @property
    def order(self) -> int:
        """How many elements the group has."""
        return len(multiplication_table(DEGREES[self.group]))

    @property
    def form(self) -> Form:
        """Blank and the elements; the elements."""
        return Form(1 + self.order, 0, self.order, "classes")

    @property
    def length(self) -> int:
        """T."""
        return self.max_size

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        table = jnp.asarray(multiplication_table(DEGREES[self.group]))
        elements = jax.random.randint(rng, (self.length,), 0, self.order)

        def multiply(product, element):
            product = table[product, element]
            return product, product

        _, products = jax.lax.scan(multiply, jnp.int32(0), elements)
        scored = jnp.arange(self.length) < size
        return Batch(
            inputs=jnp.where(scored, 1 + elements, 0),
            targets=jnp.where(scored, products, 0),
            scored=scored,
        )
