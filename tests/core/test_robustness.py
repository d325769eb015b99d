"""Near ties, long runs, large numbers and small ones: nothing breaks or drifts."""

import functools
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    B,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core
from wmlstm_jax.core.equations import project_groups, project_input, project_turned

CELLS = {
    "fifo": small_cell(read_modes=("content", 0, 1, -1)),
    "salience": small_cell(core.Salience()),
}
per_cell = pytest.mark.parametrize("config", CELLS.values(), ids=CELLS)


def assert_finite(tree):
    for path, leaf in jax.tree.leaves_with_path(tree):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)


@functools.partial(jax.jit, static_argnums=(0, 1))
def differentiate(config, backend, params, xs):
    """Gradients in parameters and inputs, outputs and the final carry."""

    def loss(params, xs):
        carry = core.init_carry(config, B)
        carry, ys = core.unroll(params, config, carry, xs, backend=backend)
        # A write that nothing was read of counts too.
        total = ys.sum() + carry.cell.sum() + carry.memory.values.sum()
        return total, (ys, carry)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)


def test_near_ties_are_broken_alike_forward_and_backward():
    config = CELLS["salience"]
    params = random_params(config)
    # Saliences of 1 and a few roundings of it, in slots that hardly decay.
    for origin in ("input", "hidden"):
        params[origin]["salience"] *= 1e-7
    params["bias"]["salience"] = np.ones((1, 1), np.float32)
    params["memory"]["decay"] = np.full(1, -18, np.float32)
    xs = random_inputs(config, length=50)
    wanted, (ys, carry) = differentiate(config, "scan", params, xs)
    got, (same_ys, same_carry) = differentiate(config, "rollback", params, xs)
    salience = carry.memory.salience
    assert 0 < np.ptp(salience) < 4 * np.spacing(np.float32(1))
    np.testing.assert_array_equal(same_carry.memory.written, carry.memory.written)
    np.testing.assert_allclose(same_ys, ys, rtol=1e-5, atol=1e-6)
    # Sums of 50 steps in float32; a flipped choice moves whole gradients elsewhere.
    chex.assert_trees_all_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_rollback_chooses_in_the_forward_pass_only():
    chosen = []

    @dataclass(frozen=True)
    class Watched(core.Salience):
        def select(self, memory, request):
            chosen.append(memory)
            return super().select(memory, request)

    config = small_cell(Watched())
    xs = random_inputs(config, length=2)

    def outputs(params):
        carry = core.init_carry(config, B)
        return core.unroll(params, config, carry, xs, backend="rollback")[1]

    def trace_both_ways(params):
        ys, pull_back = jax.vjp(outputs, params)
        before = len(chosen)
        gradient = pull_back(jnp.ones_like(ys))
        assert len(chosen) == before > 0
        return gradient

    jax.eval_shape(trace_both_ways, random_params(config))


@per_cell
def test_a_memory_of_100_000_steps_stays_finite(config):
    length = 100_000
    params = random_params(config)
    params["current"]["value"] *= 1e3
    xs = random_inputs(config, length=length)

    @jax.jit
    def run(params, xs):
        carry = core.init_carry(config, B)
        return core.unroll(params, config, carry, xs, backend="scan")

    carry, ys = run(params, xs)
    assert_finite((carry, ys))
    np.testing.assert_array_equal(carry.memory.clock, length)
    assert np.ptp(ys[-100:]) > 0
    assert np.max(np.abs(carry.memory.values)) > 100


@per_cell
def test_gradients_of_2_000_steps_are_finite(config):
    params = random_params(config)
    # With more the recurrence is chaotic, and the gradient itself outgrows float32.
    params["current"]["value"] *= 10
    # The first key is then 0, which has no direction.
    params["bias"]["key"] *= 0
    xs = random_inputs(config, length=2_000)
    gradients, outputs = differentiate(config, "rollback", params, xs)
    assert_finite((gradients, outputs))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))


@per_cell
@pytest.mark.parametrize("size", [1e6, -1e6])
def test_activations_of_a_million_give_finite_gradients(config, size):
    xs = size * (1 + np.abs(random_inputs(config, length=2_000)))
    gradients, outputs = differentiate(config, "rollback", random_params(config), xs)
    assert_finite((gradients, outputs))


def test_bfloat16_products_stay_near_float32():
    length, scale = 200, 0.3
    wide = small_cell()
    params, xs = random_params(wide, scale=scale), random_inputs(wide, length=length)

    @functools.partial(jax.jit, static_argnums=0)
    def run(config, params, xs):
        return core.unroll(params, config, core.init_carry(config, B), xs)

    _, wanted = run(wide, params, xs)
    for narrow in (
        small_cell(dtype="bfloat16"),
        small_cell(dtype="bfloat16", memory_dtype="bfloat16"),
    ):
        carry, ys = run(narrow, params, xs)
        for leaf in (ys, carry.hidden, carry.cell):
            assert leaf.dtype == np.float32
        assert carry.memory.values.dtype == narrow.memory_dtype
        # Rounding to 8 bits moves a factor by 2^-9 at most. A gate sums about ten
        # products of size `scale`: 10 * 2 * 2^-9 * 0.3, times the slope of a sigmoid,
        # 1/4; a cell that forgets half of itself a step doubles it.
        bound = 10 * 2 * 2**-9 * scale / 4 * 2
        error = np.max(np.abs(ys - wanted), axis=(1, 2))
        assert np.max(error) < bound
        assert np.max(error) > 1e-5  # the products were narrow indeed
        # Nothing adds up over time.
        assert np.max(error[-50:]) < 2 * np.max(error[:50])


def test_bfloat16_products_are_summed_in_float32():
    count = 1001  # which bfloat16, with its 8 bits, rounds to 1000
    config = small_cell(dtype="bfloat16")
    ones = jnp.ones((1, count))
    grouped = project_groups(config, ones, jnp.ones((1, count, 1)))
    from_input = project_input(config, ones, jnp.ones((count, 1, 1)))
    turned = project_turned(config, ones, jnp.ones((1, 1, count), jnp.bfloat16))
    for total in (grouped, from_input, turned):
        assert total.dtype == np.float32 and total.item() == count
