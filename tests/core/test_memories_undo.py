"""Writes are undone bit for bit, whatever was written."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.core.small_cells import POLICIES, B, K, N, R, W, small_cell
from wmlstm_jax import core
from wmlstm_jax.core.memories import empty_rows


def as_bytes(memory: core.Memory) -> dict:
    leaves = memory._asdict().items()
    return {
        field: np.asarray(leaf).tobytes() for field, leaf in leaves if leaf is not None
    }


def streams(num_blocks):
    """Streams of what happens to a memory; each turn may reset and pin, then asks.

    Numbers are any float32: subnormal, infinite, NaN, negative zero.
    """
    single, flags = np.float32, st.booleans()
    turn = {
        "reset": arrays(bool, B, elements=flags),
        "pinned": arrays(bool, (B, num_blocks, N), elements=flags),
        "key": arrays(single, (B, R, K)),
        "value": arrays(single, (B, R, W)),
        "salience": arrays(single, (B, num_blocks)),
        "tag": arrays(np.int32, B, elements=st.integers(-1, 9)),
        "valid": arrays(bool, B, elements=flags),
        "weights": arrays(single, (B, R, N)),
    }
    return st.lists(st.fixed_dictionaries(turn), min_size=1, max_size=6)


@functools.partial(jax.jit, static_argnums=0)
def take_turn(config, memory, turn):
    """The memory before a write, after it, and after the write was undone."""
    turn = dict(turn)
    memory = empty_rows(memory, turn.pop("reset"))
    memory = memory._replace(pinned=turn.pop("pinned"))
    last = turn.pop("weights")
    if memory.weights is not None:
        memory = memory._replace(weights=last)
    decay = jnp.full(config.num_blocks, 0.5)
    request = core.Request(**turn, decay=decay)
    after, evicted = config.memory.write(memory, request)
    return memory, after, config.memory.undo(after, evicted)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("num_blocks", [1, 2])
def test_undo_gives_back_the_memory_before_the_write(policy, num_blocks):
    modes = ("content", 1) if policy.ordered else ("content",)
    config = small_cell(policy, read_modes=modes, num_blocks=num_blocks)

    @settings(max_examples=40)
    @given(streams(num_blocks))
    def check(stream):
        memory = config.memory.init(config, B)
        for turn in stream:
            before, memory, undone = take_turn(config, memory, turn)
            assert as_bytes(undone) == as_bytes(before)
            # What is written is finite, whatever was asked for.
            assert np.isfinite(memory.keys).all() and np.isfinite(memory.values).all()

    check()
