"""Cells that compile in seconds, with random parameters and inputs, for the tests."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax import core

# T is long enough for three slots to be overwritten, and no multiple of its root;
# R is enough for two blocks of two heads.
T, B, D, H, R, K, W, N = 7, 2, 2, 4, 4, 3, 2, 3

POLICIES = (
    core.Fifo(),
    core.Salience(),
    core.SelectiveFifo(threshold=-4.0),
    core.LeastRecentlyRead(),
    core.LeastUsed(),
)
BACKENDS = ("loop", "scan", "rollback", "remat")

# How XLA compiles is not the question in most tests, and its passes and fusions take
# most of the time.
QUICK: dict[str, int | bool] = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):  # Later ones have no such option.
    QUICK["xla_cpu_use_fusion_emitters"] = False
quick_jit = functools.partial(jax.jit, compiler_options=QUICK)


@dataclass(frozen=True)
class Blend(core.Policy):
    """Mixes every newcomer into all slots, more into those whose keys are like it."""

    hard: ClassVar[bool] = False
    most: float = 0.75

    def select(self, memory, request):
        likeness = jnp.einsum("brk,brnk->bn", request.key, memory.keys)[:, None]
        # Dead slots may still hold what was there before.
        likeness = jnp.where(memory.live, likeness, 0)
        weights = self.most * jax.nn.sigmoid(likeness)
        slots = jnp.arange(weights.shape[-1], dtype=jnp.int32)
        return jnp.broadcast_to(slots, weights.shape), weights


def small_cell(policy=POLICIES[0], num_slots=N, **settings) -> core.CellConfig:
    """A cell of four heads and three slots, but for the settings that are given."""
    sizes = dict(input_dim=D, hidden_dim=H, num_heads=R, key_dim=K, value_dim=W)
    memory = core.SlotMemory(num_slots, policy=policy)
    return core.CellConfig(**sizes | settings, memory=memory)


def random_params(config, seed=0, scale=0.7) -> dict:
    """Parameters of which none is zero: `init_params` starts biases and more there."""
    shapes = jax.eval_shape(
        lambda rng: core.init_params(rng, config), jax.random.key(0)
    )
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (scale * rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes
    )


def random_inputs(config, seed=1, length=T, batch=B) -> np.ndarray:
    """`xs [T, B, D]` in the dtype of the state."""
    xs = np.random.default_rng(seed).normal(size=(length, batch, config.input_dim))
    return xs.astype(config.state_dtype)


def assert_refuses(function, *said):
    """A refusal is one sentence with all of `said` in it."""
    with pytest.raises(ValueError) as refusal:
        function()
    message = str(refusal.value)
    one_sentence = message.endswith(".") and ". " not in message
    assert one_sentence and "\n" not in message and "must" in message, message
    for part in said:
        assert str(part) in message, f"{part} is not in: {message}"
