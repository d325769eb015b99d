"""Tasks that make their own data: each samples a batch on the device, from a PRNG key.

A task is a frozen dataclass of hashable scalars, and everything that trains on one sees
no more of it than `Task`: so a new task is one class in one module here.
"""

from typing import Protocol

import jax

from wmlstm_jax.tasks.recall import Batch, MultiQueryRecall


class Task(Protocol):
    """A source of sequences with known answers."""

    @property
    def vocab_size(self) -> int:
        """V: tokens of inputs and targets are `0 .. V-1`."""
        ...

    def sample(self, rng: jax.Array, batch_size: int) -> Batch:
        """Draws `batch_size` sequences; pure and jittable, equal for equal `rng`."""
        ...


__all__ = ["Batch", "MultiQueryRecall", "Task"]
