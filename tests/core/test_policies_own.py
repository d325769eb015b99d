"""Anyone may write a policy: it works in every backend that applies to it."""

from dataclasses import dataclass
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    BACKENDS,
    B,
    Blend,
    H,
    K,
    R,
    W,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core

# Float64, and a few hundred products; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)


@dataclass(frozen=True)
class Youngest(core.Policy):
    """Overwrites what came last, so that the first N - 1 stay for good."""

    def select(self, memory, request):
        del request
        when = jnp.where(memory.live, memory.written, jnp.iinfo(jnp.int32).max)
        when = jnp.where(memory.pinned, -1, when)
        slots = jnp.argmax(when, axis=-1, keepdims=True).astype(jnp.int32)
        can_write = jnp.max(when, axis=-1, keepdims=True) >= 0
        return slots, can_write.astype(jnp.float32)


@dataclass(frozen=True)
class LeastRead(core.Policy):
    """Fills the slots that were read least with copies; a policy with a setting."""

    ranks_by_reads: ClassVar[bool] = True
    copies: int = 2

    def select(self, memory, request):
        del request
        usage = jnp.where(memory.live, memory.usage, -1)
        slots = jnp.argsort(usage, axis=-1)[..., : self.copies].astype(jnp.int32)
        return slots, jnp.ones(slots.shape, jnp.float32)

    def observe(self, memory, weights):
        by_group = weights.reshape(*memory.usage.shape[:2], -1, weights.shape[-1])
        return 0.5 * memory.usage + by_group.sum(2)

    def initial_usage(self, memory):
        return jnp.ones(memory.clock.shape, memory.usage.dtype)


def differentiated(config, backend):
    """Gradients in all that has any, outputs and the final carry."""
    length = 3
    params, xs = random_params(config), random_inputs(config, length=length)
    valid, reset = np.ones((length, B), bool), np.zeros((length, B), bool)
    valid[1, 1], reset[2, 1] = False, True
    start = core.init_carry(config, B)

    def loss(params, xs, hidden):
        carry, ys = core.unroll(
            params,
            config,
            start._replace(hidden=hidden),
            xs,
            valid=valid,
            reset=reset,
            backend=backend,
        )
        content = (carry.memory.keys**3).sum() + (carry.memory.values**2).sum()
        return (ys**2).sum() + carry.cell.sum() + content, (ys, carry)

    hidden = 0.1 * np.arange(B * H, dtype=xs.dtype).reshape(B, H)
    gradients = quick_jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    return gradients(params, xs, hidden)


@pytest.mark.parametrize(
    ("policy", "num_slots", "piece", "written"),
    # How many steps are undone at once; and when the slots of a row were written that
    # asked three times.
    [
        pytest.param(Youngest(), 2, 3, [0, 2], marks=pytest.mark.long),
        (LeastRead(copies=2), 3, 2, [2, 2, 1]),
        (Blend(), 2, None, [2, 2]),
    ],
    ids=["youngest", "least_read", "blend"],
)
def test_a_policy_of_ones_own_works_in_every_backend(
    policy, num_slots, piece, written, x64, monkeypatch
):
    monkeypatch.setattr("wmlstm_jax.core.rollback.PIECE", piece)
    config = small_cell(policy, num_slots, dtype="float64", memory_dtype="float64")
    wanted = differentiated(config, "loop")
    _, (_, carry) = wanted
    np.testing.assert_array_equal(carry.memory.written[0, 0], written)
    for backend in BACKENDS[1:]:
        if backend != "rollback" or policy.hard:
            chex.assert_trees_all_close(
                differentiated(config, backend), wanted, **EXACT
            )


def test_usage_is_kept_for_policies_that_rank_by_reads():
    config = small_cell(LeastRead(copies=1), num_slots=2)
    ones = jnp.ones((B, R, K))
    request = core.Request(
        key=ones,
        value=ones[..., :W],
        tag=jnp.zeros(B, jnp.int32),
        valid=jnp.array([True, False]),
    )
    memory, _ = config.memory.write(config.memory.init(config, B), request)
    np.testing.assert_array_equal(memory.usage[:, 0], [[1, 0], [0, 0]])
    memory, read = config.memory.read(memory, core.Query(ones, jnp.zeros(R)))
    wanted = 0.5 * np.array([[1, 0], [0, 0]]) + read.weights.sum(1)
    np.testing.assert_allclose(memory.usage[:, 0], wanted, rtol=1e-6)
    assert memory.usage[0, 0, 0] > 1
