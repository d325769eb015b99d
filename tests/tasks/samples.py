"""Samples of tasks as NumPy arrays."""

import functools

import jax
import numpy as np

from wmlstm_jax.tasks import Batch


@functools.partial(jax.jit, static_argnums=(0, 2))
def _sample(task, rng, batch_size, *sizes):
    return task.sample(rng, batch_size, *sizes)


def sampled(task, *sizes, seed=0, batch_size=64) -> Batch:
    """A batch; with sizes from the lowest to the highest if they are given."""
    sizes = tuple(map(np.int32, sizes))
    batch = _sample(task, jax.random.key(seed), batch_size, *sizes)
    return Batch(*map(np.asarray, batch))
