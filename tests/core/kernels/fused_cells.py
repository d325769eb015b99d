"""Cells that the fused kernels take, and carries that have been used."""

import jax.numpy as jnp
import numpy as np

from tests.core.small_cells import quick_jit, random_params
from wmlstm_jax import core

FIFO = core.Fifo()


def cell(
    num_slots=16, heads=2, *, hidden=32, key=32, value=32, policy=FIFO, **settings
):
    """A cell of heads that see nothing of each other, as small as the kernels take."""
    return core.CellConfig(
        input_dim=3,
        hidden_dim=heads * hidden,
        num_heads=heads,
        num_blocks=heads,
        key_dim=key,
        value_dim=value,
        memory=core.SlotMemory(num_slots, policy),
        **settings,
    )


def used_carry(config, batch, seed):
    """A carry from an earlier call: its ring is somewhere, and in part pinned."""
    rng = np.random.default_rng(seed)
    carry = core.init_carry(config, batch)
    xs = rng.normal(size=(17, batch, config.input_dim)).astype(np.float32)
    valid = rng.random((17, batch)) < 0.8
    params = random_params(config, seed + 1, 0.4)
    carry, _ = quick_jit(core.unroll, static_argnames=("config", "backend"))(
        params, config, carry, xs, valid=valid, backend="scan"
    )
    if carry.memory is None:
        return carry
    pinned = rng.random(carry.memory.pinned.shape) < 0.2
    return carry._replace(memory=carry.memory._replace(pinned=jnp.asarray(pinned)))
