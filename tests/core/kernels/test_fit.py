"""What the fused kernels take, and where a ring is written, without a loop."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.kernels.fused_cells import cell, used_carry
from tests.core.small_cells import assert_refuses
from wmlstm_jax import core
from wmlstm_jax.core.door import choose_backend
from wmlstm_jax.core.kernels import fit
from wmlstm_jax.core.kernels.ring import after_writes, ring_slots, times_of
from wmlstm_jax.core.loop_types import StepInputs
from wmlstm_jax.core.memories import empty_rows


@pytest.mark.parametrize(
    "seed", [1, 3, *(pytest.param(n, marks=pytest.mark.long) for n in (0, 2))]
)
def test_a_ring_is_written_where_the_policy_says(seed):
    """Against the writes themselves, one by one, with pins and resets."""
    rng = np.random.default_rng(seed)
    config, length, batch = cell(16, heads=2), 40, 3
    memory = used_carry(config, batch, seed).memory
    pinned = rng.random(memory.pinned.shape) < [0.0, 0.3, 0.9, 1.0][seed]
    memory = memory._replace(pinned=jnp.asarray(pinned))
    valid = rng.random((length, batch)) < 0.8
    reset = rng.random((length, batch)) < 0.05
    tags = rng.integers(0, 99, (length, batch)).astype(np.int32)
    request = core.Request(
        key=jnp.zeros((batch, 2, 32)),
        value=jnp.zeros((batch, 2, 32)),
        tag=jnp.full(batch, -1),
        valid=jnp.zeros(batch, bool),
    )
    written, wrote = memory, []
    write = jax.jit(config.slots.write)
    for t in range(length):
        written, evicted = write(written, request)
        wrote.append((evicted.slots[..., 0], evicted.weights[..., 0], evicted.clock))
        written = empty_rows(written, jnp.asarray(reset[t]))
        request = request._replace(
            tag=jnp.asarray(tags[t]), valid=jnp.asarray(valid[t])
        )
    slots, weights, clock = map(jnp.stack, zip(*wrote, strict=True))
    times = times_of(memory, jnp.asarray(valid), jnp.asarray(reset))
    found = ring_slots(memory, times)
    np.testing.assert_array_equal(found, np.where(weights > 0, slots, -1))
    np.testing.assert_array_equal(times.clock, clock)
    xs = StepInputs({}, jnp.asarray(valid), jnp.asarray(tags), jnp.asarray(reset), None)
    after = after_writes(found, times, memory, xs)
    for field in ("slot_epoch", "written", "tags", "pinned", "epoch", "clock", "head"):
        same = getattr(after, field), getattr(written, field)
        np.testing.assert_array_equal(*same, err_msg=field)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (core.CellConfig(3, 64, num_heads=2, memory=core.SlotMemory(16)), "num_blocks"),
        (replace(cell(), memory=core.SlotMemory(16, core.LeastUsed())), "LeastUsed"),
        (replace(cell(), memory=core.MatrixMemory()), "MatrixMemory"),
        (replace(cell(), source=True), "source"),
        (replace(cell(), read=False, copy=True), "read"),
        (cell(read_modes=("content", 1)), "read_modes"),
        (cell(cap_input_gate=True), "cap_input_gate"),
        (cell(gradient_clip=1.0), "gradient_clip"),
        (cell(dtype="float64"), "float64"),
        (cell(memory_dtype="float16"), "memory_dtype"),
        (cell(hidden=48), "48"),
        (cell(key=160), "key_dim is 160"),
        (cell(value=24), "value_dim is 24"),
        (cell(8), "num_slots is 8"),
        (cell(256, key=64), "16384"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(config, said):
    reason = fit.why_not_fused(config)
    assert reason is not None and said in reason
    choose = functools.partial(choose_backend, config, points=False, trace=False)
    assert_refuses(lambda: choose("fused"), 'backend "fused"', reason)
    assert choose(None) in ("rollback", "remat")


def test_it_is_the_default_where_it_was_checked(monkeypatch):
    choose = functools.partial(choose_backend, cell(), None, points=False)
    assert choose(trace=False) == "rollback"
    device = SimpleNamespace(compute_capability="9.0")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert choose(trace=False) == "rollback"
    monkeypatch.setattr(fit, "CHECKED_ON", frozenset({"9.0"}))
    assert choose(trace=False) == "fused"
    assert choose(trace=True) == "scan"
    device.compute_capability = "8.0"
    assert choose(trace=False) == "rollback"


def test_more_rows_share_a_program_where_there_are_many():
    config = cell(64, heads=12, hidden=64, key=64, value=64, dtype="bfloat16")
    rows = {b: fit.layout_of(config, b, backward=False).rows for b in (1, 11, 16, 256)}
    assert rows == {1: 1, 11: 1, 16: 2, 256: 2}
    # With their cotangents slots take twice as much: of 128, those of two rows no more.
    back = {n: replace(config, memory=core.SlotMemory(n)) for n in (64, 128)}
    back = {n: fit.layout_of(c, 16, backward=True) for n, c in back.items()}
    assert {n: one.rows for n, one in back.items()} == {64: 2, 128: 1}
    assert all(one.hidden_on_chip and one.read_on_chip for one in back.values())


def test_weights_that_do_not_fit_stay_outside():
    config = cell(64, heads=12, hidden=64, key=64, value=64)
    forward, back = (fit.layout_of(config, 16, backward=b) for b in (False, True))
    assert forward.hidden_on_chip and forward.read_on_chip
    assert back.hidden_on_chip and not back.read_on_chip
