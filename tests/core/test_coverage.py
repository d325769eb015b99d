"""Coverage: the pointer is told where in the source it has pointed."""

import jax
import numpy as np
import pytest

from tests.core.small_cells import (
    BACKENDS,
    K,
    R,
    W,
    assert_refuses,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core

T, B, S = 6, 2, 4
SETTINGS = dict(
    num_slots=0, source=True, copy=True, coverage=True, num_blocks=2, read=False
)
DOUBLE = small_cell(**SETTINGS, dtype="float64", memory_dtype="float64")
TAGS = np.array([[0, 1], [1, 2], [0, 2], [3, -1]], np.int32)
VALID = np.array([[True, True], [True, True], [True, True], [False, True]])
STEPS = np.ones((T, B), bool)
STEPS[2, 0] = STEPS[4:, 1] = False
TARGETS = np.random.default_rng(3).integers(0, 3, size=(T, B)).astype(np.int32)


def bank():
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(S, B, R, K)), rng.normal(size=(S, B, R, W))
    return core.fill(keys, values, tags=TAGS, valid=VALID)


def run(config, params, backend=None, **given):
    start = core.init_carry(config, B, source_length=S)
    return core.unroll(
        params,
        config,
        start,
        random_inputs(config, length=T, batch=B),
        source=bank(),
        backend=backend,
        **given,
    )


def by_hand(params, hiddens, resets):
    """Copy probabilities, repetitions and final coverage, a number at a time."""
    keys, groups, heads = np.asarray(bank().keys), DOUBLE.num_blocks, R // 2
    copies, repeated = np.zeros((T, B)), np.zeros((T, B))
    covered = np.zeros((B, groups, S))
    sharp = 8 / (1 + np.exp(-params["memory"]["copy_sharpness"])) / np.sqrt(K)
    for t, b in np.ndindex(T, B):
        if resets[t, b]:
            covered[b] = 0
        if not STEPS[t, b]:
            continue
        for g in range(groups):
            part = np.split(hiddens[t, b], groups)[g]
            query = part @ params["current"]["copy"][g] + params["bias"]["copy"][g]
            logits = np.full((heads, S), -np.inf)
            for i, q in enumerate(query.reshape(heads, K)):
                r = g * heads + i
                q = q / np.sqrt(np.mean(q**2) + 1e-6) * sharp[r]
                for s in np.flatnonzero(VALID[:, b] & (TAGS[:, b] >= 0)):
                    seen = params["memory"]["coverage"][r] * covered[b, g, s]
                    logits[i, s] = q @ keys[b, r, s] + seen
            weights = np.exp(logits) / np.exp(logits).sum()
            share = weights.sum(0)
            copies[t, b] += share[TAGS[:, b] == TARGETS[t, b]].sum() / groups
            repeated[t, b] += np.minimum(share, covered[b, g]).sum() / groups
            covered[b, g] += share
    return copies, repeated, covered


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_what_the_equations_say(backend, x64):
    params = random_params(DOUBLE)
    resets = np.zeros((T, B), bool)
    resets[3, 1] = True
    marks = dict(valid=STEPS, reset=resets, targets=TARGETS)
    job = quick_jit(lambda params: run(DOUBLE, params, backend, **marks))
    carry, outputs = job(params)
    wanted = by_hand(params, np.asarray(outputs.hidden), resets)
    assert (wanted[1] > 0).any() and (wanted[2] > 1).any()
    found = outputs.copy, outputs.repeated, carry.coverage
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_targets_it_stays_and_is_emptied_with_its_row(backend, x64):
    params = random_params(DOUBLE)
    before, _ = run(DOUBLE, params, targets=TARGETS)
    resets = np.zeros((T, B), bool)
    resets[4, 1] = True
    after, _ = core.unroll(
        params,
        DOUBLE,
        before,
        random_inputs(DOUBLE, length=T, batch=B),
        source=bank(),
        backend=backend,
        reset=resets,
    )
    np.testing.assert_array_equal(after.coverage[0], before.coverage[0])
    assert before.coverage.any((1, 2)).all() and not after.coverage[1].any()


def test_it_starts_without_effect():
    """Untrained, its weight is 0: then it is the pointer without coverage."""
    config = small_cell(**SETTINGS)
    plain = small_cell(**SETTINGS | {"coverage": False})
    params = core.init_params(jax.random.key(0), config)
    assert not params["memory"]["coverage"].any()
    _, outputs = run(config, params, targets=TARGETS)
    _, wanted = core.unroll(
        core.init_params(jax.random.key(0), plain),
        plain,
        core.init_carry(plain, B),
        random_inputs(plain, length=T, batch=B),
        source=bank(),
        targets=TARGETS,
    )
    np.testing.assert_allclose(outputs.copy, wanted.copy, rtol=1e-6)
    assert wanted.repeated is None


@pytest.mark.parametrize("change", [{"copy": False, "read": True}, {"source": False}])
def test_it_needs_a_pointer_at_a_source(change):
    settings = SETTINGS | {"num_slots": 3} | change
    assert_refuses(lambda: small_cell(**settings), "CellConfig.coverage is True")


def test_the_carry_must_have_it():
    config = small_cell(**SETTINGS)
    plain = small_cell(**SETTINGS | {"coverage": False})
    params, xs = random_params(config), random_inputs(config, length=T, batch=B)
    for start, said in (
        (core.init_carry(plain, B), "carry.coverage is None"),
        (core.init_carry(config, B), f"[B, G, S] = {(B, 2, S)}"),
    ):
        assert_refuses(
            lambda start=start: core.unroll(params, config, start, xs, source=bank()),
            said,
        )
    start = core.init_carry(config, B, source_length=S)
    assert_refuses(
        lambda: core.unroll(random_params(plain), plain, start, xs, source=bank()),
        "carry.coverage is given",
    )
