"""Narrow products beside a wide state: the error of a step does not pile up."""

import jax
import numpy as np
import pytest

from wmlstm_jax import CellConfig, SlotMemory, init_carry, init_params, unroll

STEPS, BATCH = 2_000, 4


def outputs(**settings):
    config = CellConfig(
        input_dim=16, hidden_dim=32, num_heads=2, key_dim=16, value_dim=16, **settings
    )
    params = init_params(jax.random.key(0), config)
    xs = jax.random.normal(jax.random.key(1), (STEPS, BATCH, 16))
    ys = jax.jit(lambda p, xs: unroll(p, config, init_carry(config, BATCH), xs)[1])
    return np.asarray(ys(params, xs), np.float32)


@pytest.mark.parametrize("num_slots", [0, 24])
@pytest.mark.parametrize("memory_dtype", ["float32", "bfloat16"])
def test_bfloat16_does_not_drift(num_slots, memory_dtype):
    memory = SlotMemory(num_slots)
    exact = outputs(memory=memory)
    narrow = outputs(memory=memory, dtype="bfloat16", memory_dtype=memory_dtype)
    error = np.abs(narrow - exact).max((1, 2))
    # Outputs are up to 1, and bfloat16 has 8 bits.
    assert 0 < error.max() < 0.012
    first, last = error[: STEPS // 4].mean(), error[-STEPS // 4 :].mean()
    assert last < 0.004 and last < 1.2 * first
