"""The recurrence under jit, vmap, grad and jvp."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    POLICIES,
    B,
    assert_trees_close,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core

# Float64, and a few hundred products; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)
WIDE = dict(dtype="float64", memory_dtype="float64")
ORDERED = ("content", 0, 1)


def loss_of(config, backend):
    """A scalar of parameters and inputs that sees all outputs and the final carry."""

    def loss(params, xs):
        carry = core.init_carry(config, B)
        carry, ys = core.unroll(params, config, carry, xs, backend=backend)
        content = (carry.memory.keys**3).sum() + (carry.memory.values**2).sum()
        return (ys**2).sum() + carry.cell.sum() + content

    return loss


def test_seeds_may_be_mapped_over(x64):
    config = small_cell(core.Salience(), **WIDE)
    loss, xs = loss_of(config, "rollback"), random_inputs(config)

    def train_from(rng):
        params = core.init_params(rng, config)
        return params, jax.value_and_grad(loss)(params, xs)

    seeds = jax.random.split(jax.random.key(0), 2)
    mapped, one = quick_jit(jax.vmap(train_from))(seeds), quick_jit(train_from)
    for index, rng in enumerate(seeds):
        row = jax.tree.map(operator.itemgetter(index), mapped)
        assert_trees_close(row, one(rng), **EXACT)
    assert np.ptp(mapped[1][0]) > 0


def test_jit_changes_nothing(x64):
    config = small_cell(core.Salience(), **WIDE)
    point = random_params(config), random_inputs(config)
    loss = loss_of(config, backend=None)
    np.testing.assert_allclose(loss(*point), jax.jit(loss)(*point), **EXACT)


@pytest.mark.parametrize("policy", POLICIES)
def test_forward_mode_agrees_with_reverse_mode_and_differences(policy, x64):
    modes = ORDERED if policy.ordered else ("content",)
    config = small_cell(policy, read_modes=modes, **WIDE)
    loss = loss_of(config, "scan")
    point = random_params(config), random_inputs(config)
    rng = np.random.default_rng(3)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), point)

    def forward(point, direction):
        value, slope = jax.jvp(loss, point, direction)
        gradient = jax.grad(loss, argnums=(0, 1))(*point)
        along = jax.tree.map(lambda g, d: (g * d).sum(), gradient, direction)
        return value, slope, jax.tree.reduce(jnp.add, along)

    value, slope, along = quick_jit(forward)(point, direction)
    np.testing.assert_allclose(slope, along, rtol=1e-9)
    value_at = quick_jit(
        lambda step: loss(*jax.tree.map(lambda p, d: p + step * d, point, direction))
    )
    np.testing.assert_allclose(value_at(0.0), value, rtol=1e-12)
    # The error of a central difference is of order step^2, that of rounding 1e-16/step.
    step = 1e-5
    difference = (value_at(step) - value_at(-step)) / (2 * step)
    np.testing.assert_allclose(difference, slope, rtol=1e-6)
