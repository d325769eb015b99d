"""What is carried and differentiated keeps its structure, shapes and dtypes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    BACKENDS,
    POLICIES,
    B,
    D,
    K,
    R,
    W,
    random_params,
    small_cell,
)
from wmlstm_jax import core


def every_cell():
    """Settings in all combinations that change what is carried."""
    memories = [(policy, 3) for policy in POLICIES] + [(POLICIES[0], 0)]
    dtypes = [("float32", "float32"), ("bfloat16", "float32"), ("bfloat16", "bfloat16")]
    for memory, blocks, (dtype, memory_dtype) in itertools.product(
        memories, (1, 2), dtypes
    ):
        (policy, num_slots), source = memory, blocks == 2
        yield small_cell(
            *memory,
            num_blocks=blocks,
            read_modes=("content", 1) if policy.ordered and num_slots else ("content",),
            copy=num_slots > 0 or source,
            source=source,
            dtype=dtype,
            memory_dtype=memory_dtype,
        )


def described(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), tree)


def carried(config, backend, carry, params):
    """The carry and outputs of two steps."""
    flags, bank = np.ones((2, B), bool), None
    if config.source:
        bank = core.fill(jnp.zeros((4, B, R, K)), jnp.zeros((4, B, R, W)))
    return core.unroll(
        params,
        config,
        carry,
        jnp.zeros((2, B, D)),
        valid=flags,
        reset=flags,
        source=bank,
        backend=backend,
    )


def shapes_of(config):
    carry = jax.eval_shape(functools.partial(core.init_carry, config, B))
    return carry, jax.eval_shape(functools.partial(random_params, config))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_carried_out_is_as_what_was_carried_in(backend):
    for config in every_cell():
        carry, params = shapes_of(config)
        run = functools.partial(carried, config, backend)
        after, ys = jax.eval_shape(run, carry, params)
        assert described(after) == described(carry)
        assert ys.dtype == after.hidden.dtype == after.cell.dtype == np.float32
        if after.memory is not None:
            assert after.memory.values.dtype == config.memory_dtype


def test_gradients_are_as_what_they_are_of():
    """Those of the carry in bfloat16 too, which add up in float32 on the way."""

    def gradient(config, carry, params):
        def loss(carry, params):
            after, ys = carried(config, "rollback", carry, params)
            return ys.sum() + after.cell.sum()

        return jax.grad(loss, argnums=(0, 1), allow_int=True)(carry, params)

    for config in every_cell():
        carry, params = shapes_of(config)
        d_carry, d_params = jax.eval_shape(
            functools.partial(gradient, config), carry, params
        )
        assert described(d_params) == described(params)
        for got, leaf in zip(*map(jax.tree.leaves, (d_carry, carry)), strict=True):
            assert got.shape == leaf.shape
            assert got.dtype == leaf.dtype or got.dtype == jax.dtypes.float0
