"""The source bank: read beside the slots, and never where it is padding."""

import functools

import chex
import jax
import numpy as np
import pytest

from tests.core.small_cells import (
    BACKENDS,
    B,
    K,
    N,
    R,
    W,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core

T, S = 3, 4
CLOSE = dict(rtol=1e-5, atol=1e-6)
# Float64, and a few hundred products; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)

# Row 0 has a token less than row 1.
VALID = np.array([[True, True], [True, True], [True, True], [False, True]])


def encoded(seed=0, padding=np.nan) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values of an encoder, which leaves anything in the padding."""
    rng = np.random.default_rng(seed)
    keys, values = rng.normal(size=(S, B, R, K)), rng.normal(size=(S, B, R, W))
    keys[~VALID] = values[~VALID] = padding
    return keys, values


def rms(x):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)


def test_fill_normalises_keys_and_leaves_nothing_in_padding():
    keys, values = encoded()
    tags = np.arange(S * B, dtype=np.int32).reshape(S, B)
    bank = core.fill(keys, values, tags=tags, valid=VALID)
    there = VALID[..., None, None]
    wanted = np.where(there, rms(keys), 0).transpose(1, 2, 0, 3)
    np.testing.assert_allclose(bank.keys, wanted, **CLOSE)
    wanted = np.where(there, values, 0).transpose(1, 2, 0, 3)
    np.testing.assert_allclose(bank.values, wanted, **CLOSE)
    np.testing.assert_array_equal(bank.tags, [[0, 2, 4, -1], [1, 3, 5, 7]])
    np.testing.assert_array_equal(bank.live, VALID.T)


def test_a_bank_is_all_live_and_without_tags_unless_said():
    bank = core.fill(*encoded(padding=1.0))
    np.testing.assert_array_equal(bank.tags, np.full((B, S), -1))
    np.testing.assert_array_equal(bank.live, True)


@pytest.mark.parametrize(
    ("name", "shapes", "others", "was"),
    [
        ("keys", [(S, B, R), (S, B, R, W)], {}, (S, B, R)),
        ("values", [(S, B, R, K), (S, B, W)], {}, (S, B, W)),
        ("values", [(S, B, R, K), (S + 1, B, R, W)], {}, (S + 1, B, R, W)),
        ("values", [(S, B, R, K), (S, B, R + 1, W)], {}, (S, B, R + 1, W)),
        ("tags", [(S, B, R, K), (S, B, R, W)], {"tags": (B, S)}, (B, S)),
        ("valid", [(S, B, R, K), (S, B, R, W)], {"valid": (S,)}, (S,)),
    ],
)
def test_fill_refuses_shapes_that_do_not_belong_together(name, shapes, others, was):
    keys, values = (np.zeros(shape, np.float32) for shape in shapes)
    others = {to: np.ones(shape, np.int32) for to, shape in others.items()}
    with pytest.raises(ValueError) as refusal:
        core.fill(keys, values, **others)
    message = str(refusal.value)
    assert message.startswith("fill: ") and name in message and str(was) in message
    assert "must be" in message and message.index(".") == len(message) - 1


@functools.partial(jax.jit, static_argnums=0)
def write_and_read(config, requests, query, bank):
    memory = config.memory.init(config, B)
    for request in requests:
        memory, _ = config.memory.write(memory, request)
    return config.memory.read(memory, query, read_modes=config.read_modes, source=bank)[
        1
    ]


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("writes", [0, 2])
def test_slots_and_source_share_one_softmax(writes, ordered):
    config = small_cell(
        source=True, read_modes=("content", 1) if ordered else ("content",)
    )
    rng = np.random.default_rng(1)
    bank = core.fill(*encoded(), valid=VALID)
    requests = [
        core.Request(
            key=rng.normal(size=(B, R, K)).astype(np.float32),
            value=rng.normal(size=(B, R, W)).astype(np.float32),
            tag=np.zeros(B, np.int32),
            valid=np.ones(B, bool),
        )
        for _ in range(writes)
    ]
    # All of a last weight is gone, since the write took it: only content is read.
    content = 0.75 if ordered else 1.0
    modes = np.broadcast_to(np.float32([content, 1 - content]), (B, R, 2))
    query = core.Query(
        vector=rng.normal(size=(B, R, K)).astype(np.float32),
        null_logit=rng.normal(size=R).astype(np.float32),
        modes=modes if ordered else None,
    )
    got = write_and_read(config, requests, query, bank)
    for b, r in np.ndindex(B, R):
        there = np.flatnonzero(VALID[:, b])
        keys = [request.key[b, r] for request in requests]
        keys += [bank.keys[b, r, s] for s in there]
        values = [request.value[b, r] for request in requests]
        values += [bank.values[b, r, s] for s in there]
        logits = [query.vector[b, r] @ key for key in keys] + [query.null_logit[r]]
        weights = content * np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(
            got.weights[b, r, :writes], weights[:writes], **CLOSE
        )
        np.testing.assert_array_equal(got.weights[b, r, writes:], 0)
        np.testing.assert_allclose(
            got.source_weights[b, r, there], weights[writes:-1], **CLOSE
        )
        np.testing.assert_array_equal(got.source_weights[b, r][~VALID[:, b]], 0)
        np.testing.assert_allclose(got.null[b, r], weights[-1], **CLOSE)
        value = weights[:-1] @ np.array(values)
        np.testing.assert_allclose(got.value[b, r], value, **CLOSE)


def test_a_source_that_is_all_padding_reads_zero():
    bank = core.fill(*encoded(), valid=np.zeros((S, B), bool))
    query = core.Query(np.ones((B, R, K), np.float32), np.zeros(R, np.float32))
    memory, got = core.SlotMemory(0).read(None, query, source=bank)
    assert memory is None and got.weights is None
    np.testing.assert_array_equal(got.value, np.zeros((B, R, W)))
    np.testing.assert_array_equal(got.null, 1)


def differentiated(config, backend):
    """Outputs, and gradients in the parameters and in what the encoder gave."""
    params, xs = random_params(config), random_inputs(config, length=T)
    tags = np.random.default_rng(2).integers(0, 3, size=(S + 2 * T, B))
    source_tags, tags, targets = np.split(tags.astype(np.int32), [S, S + T])

    def loss(params, keys, values):
        bank = core.fill(keys, values, tags=source_tags, valid=VALID)
        carry, outputs = core.unroll(
            params,
            config,
            core.init_carry(config, B),
            xs,
            tags=tags,
            targets=targets,
            source=bank,
            backend=backend,
        )
        total = (outputs.hidden**2).sum() + outputs.copy.sum() + carry.cell.sum()
        return total, (outputs.hidden, outputs.copy, outputs.copy_live)

    gradients = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    return quick_jit(gradients)(params, *encoded())


@pytest.mark.parametrize(
    ("read", "num_slots"),
    [
        (True, N),
        (False, N),
        *(pytest.param(r, 0, marks=pytest.mark.long) for r in (0, 1)),
    ],
)
def test_every_backend_looks_at_the_source_alike(num_slots, read, x64, monkeypatch):
    # The three steps are undone in two pieces.
    monkeypatch.setattr("wmlstm_jax.core.rollback.PIECE", 2)
    config = small_cell(
        num_slots=num_slots,
        source=True,
        copy=True,
        read=read,
        dtype="float64",
        memory_dtype="float64",
    )
    wanted = differentiated(config, "loop")
    (_, d_keys, d_values), (_, copy, copy_live) = wanted
    for leaf, used in ((d_keys, True), (d_values, read)):
        np.testing.assert_array_equal(leaf[~VALID], 0)
        assert (np.abs(leaf[VALID]) > 0).all() == used
    assert copy_live.all() and (copy > 0).any()
    for backend in BACKENDS[1:]:
        chex.assert_trees_all_close(differentiated(config, backend), wanted, **EXACT)
