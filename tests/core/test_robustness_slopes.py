"""Forward mode, reverse mode and differences see the same slope."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    B,
    Blend,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": core.Fifo(), "read_modes": ("content", 0, 1)},
        {"policy": core.Salience(), "num_blocks": 2},
        {"policy": Blend(), "num_slots": 2},
    ],
    ids=["ordered", "salience", "soft"],
)
def test_forward_mode_agrees_with_reverse_mode_and_differences(settings, x64):
    config = small_cell(**settings, dtype="float64", memory_dtype="float64")

    def loss(params, xs):
        carry = core.init_carry(config, B)
        carry, ys = core.unroll(params, config, carry, xs, backend="scan")
        content = (carry.memory.keys**3).sum() + (carry.memory.values**2).sum()
        return (ys**2).sum() + carry.cell.sum() + content

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
