"""What `unroll` refuses, in one sentence each: what, what it was, should be."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    B,
    Blend,
    D,
    H,
    K,
    N,
    R,
    T,
    W,
    assert_refuses,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core
from wmlstm_jax.core.door import choose_backend

CELL = small_cell(copy=True)
SOURCE_CELL = small_cell(source=True)
TIMES = (T, B)


def bank(*, batch=B, heads=R, keys=K, values=W):
    shapes = [(4, batch, heads, width) for width in (keys, values)]
    return core.fill(*(np.zeros(shape, np.float32) for shape in shapes))


def unrolled(config, **arguments):
    """Calls `unroll` with what is right, but for the arguments that are given."""
    right = {
        "params": random_params(config),
        "carry": core.init_carry(config, B),
        "xs": random_inputs(config),
    }
    core.unroll(config=config, **right | arguments)


zeros = np.zeros


@pytest.mark.parametrize(
    ("name", "was", "said"),
    [
        ("xs", zeros((T, D), np.float32), [(T, D), f"D = {D}"]),
        ("xs", zeros((T, B, D + 1), np.float32), [(T, B, D + 1), f"D = {D}"]),
        ("xs", zeros((0, B, D), np.float32), [(0, B, D), "T >= 1"]),
        ("xs", zeros((T, B, D), np.int32), ["int32", "floating"]),
        ("valid", zeros((B, T), bool), [(B, T), TIMES]),
        ("valid", zeros(TIMES, np.float32), ["float32", "bool"]),
        ("reset", zeros((T,), bool), [(T,), TIMES]),
        ("reset", zeros(TIMES, np.int32), ["int32", "bool"]),
        ("tags", zeros((T, B, 1), np.int32), [(T, B, 1), TIMES]),
        ("tags", zeros(TIMES, np.float32), ["float32", "integer"]),
        ("targets", zeros((T + 1, B), np.int32), [(T + 1, B), TIMES]),
        ("targets", zeros(TIMES, bool), ["bool", "integer"]),
        ("read_mask", zeros((B, R), np.float32), [(B, R), (B, R * W)]),
        ("read_mask", zeros(R * W, np.float32), [(R * W,), (B, R * W)]),
        ("unroll", 0, ["0", "at least 1"]),
        ("unroll", -1, ["-1", "at least 1"]),
        ("unroll", 2.0, ["2.0", "an integer"]),
        ("backend", "fast", ["'fast'", "rollback"]),
    ],
)
def test_unroll_refuses(name, was, said):
    refused = {name: was}
    assert_refuses(lambda: unrolled(CELL, **refused), f"unroll: {name} ", *said)


@pytest.mark.parametrize(
    ("name", "was", "said"),
    [
        ("source", lambda: None, ["None", "CellConfig.source is True"]),
        ("source.keys", lambda: bank(batch=B + 1), [(B + 1, R, 4, K), (B, R, "S", K)]),
        ("source.keys", lambda: bank(heads=R + 1), [(B, R + 1, 4, K), (B, R, "S", K)]),
        ("source.keys", lambda: bank(keys=K + 1), [(B, R, 4, K + 1), (B, R, "S", K)]),
        (
            "source.values",
            lambda: bank(values=W + 1),
            [(B, R, 4, W + 1), (B, R, "S", W)],
        ),
    ],
)
def test_unroll_refuses_a_source(name, was, said):
    said = f"unroll: {name} ", *said
    assert_refuses(lambda: unrolled(SOURCE_CELL, source=was()), *said)


def test_unroll_refuses_a_source_that_the_cell_does_not_read():
    said = "unroll: source is given", "CellConfig.source is False"
    assert_refuses(lambda: unrolled(CELL, source=bank()), *said)


def test_targets_need_a_pointer():
    said = "unroll with targets: CellConfig.copy is False", "True"
    targets = zeros(TIMES, np.int32)
    assert_refuses(lambda: unrolled(small_cell(), targets=targets), *said)


@pytest.mark.parametrize("backend", ["loop", "rollback", "remat"])
def test_a_trace_needs_scan(backend):
    said = f"unroll: backend is '{backend}'", "trace=True", '"scan"'
    assert_refuses(lambda: unrolled(CELL, backend=backend, trace=True), *said)


def test_rollback_needs_writes_that_can_be_undone():
    for policy in (Blend(), core.Gated()):
        said = 'unroll: backend is "rollback"', repr(policy), '"remat"'
        assert_refuses(
            lambda p=policy: unrolled(small_cell(p), backend="rollback"), *said
        )
    config, targets = small_cell(core.TopK(), copy=True), zeros(TIMES, np.int32)
    said = repr(core.TopK()) + " with targets", '"remat"'
    assert_refuses(lambda: unrolled(config, targets=targets, backend="rollback"), *said)


@pytest.mark.parametrize(
    ("policy", "points", "trace", "backend"),
    [
        (core.Fifo(), False, False, "rollback"),
        (core.Fifo(), True, False, "rollback"),
        (core.Fifo(), False, True, "scan"),
        (core.TopK(), False, False, "rollback"),
        (core.TopK(), True, False, "remat"),
        (core.Gated(), False, False, "remat"),
        (Blend(), False, False, "remat"),
    ],
)
def test_the_default_is_the_fastest_backend_that_applies(
    policy, points, trace, backend
):
    config = small_cell(policy)
    assert choose_backend(config, None, points=points, trace=trace) == backend


def carry_of(batch=B, **settings):
    return core.init_carry(small_cell(**settings), batch)


def carry_with(cell):
    return carry_of()._replace(cell=cell)


@pytest.mark.parametrize(
    ("name", "was", "said"),
    [
        ("hidden", lambda: carry_of(batch=B + 1), [(B + 1, H), (B, H)]),
        ("hidden", lambda: carry_of(hidden_dim=2 * H), [(B, 2 * H), (B, H)]),
        ("cell", lambda: carry_with(zeros((1, H), np.float32)), [(1, H), (B, H)]),
        (
            "cell",
            lambda: carry_with(zeros((B, H), jnp.bfloat16)),
            ["bfloat16", "float32"],
        ),
        (
            "memory",
            lambda: carry_of(num_slots=0),
            ["None", "capacity", N, "init_carry"],
        ),
        (
            "memory.keys",
            lambda: carry_of(num_slots=N + 1),
            [(B, R, N + 1, K), (B, R, N, K)],
        ),
        (
            "memory.keys",
            lambda: carry_of(num_heads=R + 1),
            [(B, R + 1, N, K), (B, R, N, K)],
        ),
        (
            "memory.keys",
            lambda: carry_of(key_dim=K + 1),
            [(B, R, N, K + 1), (B, R, N, K)],
        ),
        (
            "memory.values",
            lambda: carry_of(value_dim=W + 1),
            [(B, R, N, W + 1), (B, R, N, W)],
        ),
        (
            "memory.keys",
            lambda: carry_of(memory_dtype="bfloat16"),
            ["bfloat16", "float32"],
        ),
    ],
)
def test_unroll_refuses_a_carry(name, was, said):
    said = f"unroll: carry.{name} ", *said
    assert_refuses(lambda: unrolled(CELL, carry=was()), *said)


def test_unroll_refuses_a_memory_where_there_is_none():
    said = "unroll: carry.memory is a memory", "capacity is 0", "init_carry"
    assert_refuses(lambda: unrolled(small_cell(num_slots=0), carry=carry_of()), *said)


@pytest.mark.parametrize(
    ("origin", "other"),
    [
        ("input", small_cell(hidden_dim=2 * H, copy=True)),
        ("input", small_cell(num_blocks=2, copy=True)),
        ("input", small_cell(core.Salience(), copy=True)),
        ("input", small_cell(read_modes=("content", 1), copy=True)),
        ("input", small_cell(key_dim=K + 1, copy=True)),
        ("input", small_cell(key_from=("input", "previous"), copy=True)),
        ("hidden", small_cell(key_from=("current",), copy=True)),
        ("current", small_cell(value_dim=W + 1, copy=True)),
        ("current", small_cell()),
        ("input", small_cell(num_slots=0)),
    ],
)
def test_unroll_refuses_params_of_another_cell(origin, other):
    params = random_params(other)
    widths = {to: kernel.shape[-1] for to, kernel in params[origin].items()}
    said = f"unroll: params['{origin}'] has the widths {widths}", "init_params"
    assert_refuses(lambda: unrolled(CELL, params=params), *said)
