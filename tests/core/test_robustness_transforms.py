"""The recurrence under jit, vmap and grad."""

import operator

import chex
import jax
import numpy as np

from tests.core.small_cells import (
    B,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core

# Float64, and a few hundred products; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)
CONFIG = small_cell(core.Salience(), dtype="float64", memory_dtype="float64")


def loss(params, xs):
    """A scalar that sees all outputs and the final carry."""
    carry, ys = core.unroll(params, CONFIG, core.init_carry(CONFIG, B), xs)
    content = (carry.memory.keys**3).sum() + (carry.memory.values**2).sum()
    return (ys**2).sum() + carry.cell.sum() + content


def test_seeds_may_be_mapped_over(x64):
    xs = random_inputs(CONFIG)

    def train_from(rng):
        params = core.init_params(rng, CONFIG)
        return params, jax.value_and_grad(loss)(params, xs)

    seeds = jax.random.split(jax.random.key(0), 2)
    mapped, one = quick_jit(jax.vmap(train_from))(seeds), quick_jit(train_from)
    for index, rng in enumerate(seeds):
        row = jax.tree.map(operator.itemgetter(index), mapped)
        chex.assert_trees_all_close(row, one(rng), **EXACT)
    assert np.ptp(mapped[1][0]) > 0


def test_jit_changes_nothing(x64):
    point = random_params(CONFIG), random_inputs(CONFIG)
    np.testing.assert_allclose(loss(*point), jax.jit(loss)(*point), **EXACT)
