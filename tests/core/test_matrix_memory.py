"""Fast weights by themselves: what a key finds after it was told, and told again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import B, H, K, R, W, assert_refuses, small_cell
from wmlstm_jax import core
from wmlstm_jax.core.memories import empty_rows, wipe

# Float32, and sums of three terms of size 1.
CLOSE = dict(rtol=1e-5, atol=1e-6)
CONFIG = core.CellConfig(
    4, H, num_heads=R, key_dim=K, value_dim=W, memory=core.MatrixMemory()
)
write = jax.jit(CONFIG.memory.write)


def ask(key, value, gate=1.0, valid=True):
    fields = {
        "key": np.broadcast_to(np.float32(key), (B, R, K)),
        "value": np.broadcast_to(np.float32(value), (B, R, W)),
        "gate": np.full((B, 1), gate, np.float32),
        "valid": np.broadcast_to(valid, B),
    }
    return core.Request(tag=np.zeros(B, np.int32), **fields)


def found(memory, key):
    """What a unit vector along a key finds."""
    vector = jnp.broadcast_to(jnp.float32(key) / np.sqrt(K), (B, R, K))
    return CONFIG.memory.read(memory, core.Query(vector, None))[1].value


KEYS = np.sqrt(K) * np.eye(K)


def test_a_key_finds_its_value_and_the_last_one():
    memory, rng = CONFIG.memory.init(CONFIG, B), np.random.default_rng(0)
    np.testing.assert_array_equal(found(memory, KEYS[0]), 0)
    values = rng.normal(size=(2, K, W))
    for told in values:
        for key, value in zip(KEYS, told, strict=True):
            memory, evicted = write(memory, ask(key, value))
            assert evicted is None
    for key, value in zip(KEYS, values[1], strict=True):
        wanted = np.broadcast_to(value, (B, R, W))
        np.testing.assert_allclose(found(memory, key), wanted, **CLOSE)
    np.testing.assert_array_equal(memory.clock, 2 * K)


def test_a_half_open_gate_goes_half_the_way():
    memory = CONFIG.memory.init(CONFIG, B)
    for part in (0.5, 0.75, 0.875):
        memory, _ = write(memory, ask(KEYS[1], 1.0, gate=0.5))
        np.testing.assert_allclose(found(memory, KEYS[1]), part, **CLOSE)


def test_what_is_not_valid_or_not_finite_changes_nothing():
    memory, _ = write(CONFIG.memory.init(CONFIG, B), ask(KEYS[0], 2.0))
    for request in (ask(KEYS[1], 1.0, valid=False), ask(KEYS[1], np.nan)):
        after, _ = write(memory, request)
        np.testing.assert_array_equal(after.values, memory.values)


def test_an_emptied_row_reads_and_starts_from_zero():
    memory, _ = write(CONFIG.memory.init(CONFIG, B), ask(KEYS[0], 2.0))
    emptied = empty_rows(memory, jnp.array([True, False]))
    for each in (emptied, wipe(emptied)):
        np.testing.assert_array_equal(found(each, KEYS[0])[0], 0)
        np.testing.assert_allclose(found(each, KEYS[0])[1], 2, **CLOSE)
        after, _ = write(each, ask(KEYS[1], 1.0))
        np.testing.assert_array_equal(found(after, KEYS[0])[0], 0)
        np.testing.assert_allclose(found(after, KEYS[1]), 1, **CLOSE)


@pytest.mark.parametrize("field", ["copy", "source"])
def test_there_is_nothing_to_point_at(field):
    assert_refuses(
        lambda: core.CellConfig(4, H, memory=core.MatrixMemory(), **{field: True}),
        f"CellConfig.{field} is True",
        "MatrixMemory has no slots",
    )


def test_the_default_backend_computes_again():
    xs = np.ones((3, B, 4), np.float32)
    params = core.init_params(jax.random.key(0), CONFIG)
    carry = core.init_carry(CONFIG, B)
    assert_refuses(
        lambda: core.unroll(params, CONFIG, carry, xs, backend="rollback"), '"remat"'
    )
    _, outputs = core.unroll(params, CONFIG, carry, xs, trace=True)
    assert outputs.trace.eviction is None and outputs.trace.read.weights is None
    other = core.init_carry(small_cell(core.Fifo(), 1, input_dim=4), B)
    assert_refuses(lambda: core.unroll(params, CONFIG, other, xs), "carry.memory.keys")
