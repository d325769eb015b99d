"""The trace: what the memory did, beside a run that is the same without it."""

import chex
import jax
import numpy as np
import pytest

from tests.core.small_cells import (
    B,
    R,
    T,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core
from wmlstm_jax.core.pointer import point, pointer_logits, pointer_query

EXACT = dict(rtol=1e-11, atol=1e-13)
EVERY = (core.Fifo(), core.Salience(), core.LeastUsed(), core.TopK())
DOUBLE = dict(dtype="float64", memory_dtype="float64")
TAGS = np.random.default_rng(5).integers(0, 9, size=(T, B)).astype(np.int32)
VALID = np.ones((T, B), bool)
VALID[3, 1] = False


def cell(policy, **settings):
    return small_cell(policy, copy=True, num_blocks=2, **DOUBLE | settings)


def run(config, params, **given):
    job = quick_jit(
        lambda params: core.unroll(
            params,
            config,
            core.init_carry(config, B),
            random_inputs(config),
            tags=TAGS,
            targets=TAGS,
            valid=VALID,
            **given,
        )
    )
    return job(params)


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_a_traced_run_is_the_run(policy, x64):
    config = cell(policy)
    params = random_params(config)
    carry, outputs = run(config, params, trace=True)
    same, plain = run(config, params, backend="scan")
    assert plain.trace is None
    chex.assert_trees_all_close(
        (carry, outputs._replace(trace=None)), (same, plain), rtol=0, atol=0
    )


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_it_is_what_each_step_does(policy, x64):
    """Step after step: what was named, what was there, what is read and pointed at."""
    config = cell(policy)
    params, xs = random_params(config), random_inputs(config)
    _, outputs = run(config, params, trace=True)
    trace, carry = outputs.trace, core.init_carry(config, B)
    step = quick_jit(core.step, static_argnums=1)
    rows, groups = np.arange(B)[:, None, None], np.arange(config.num_blocks)[:, None]
    refused = discarded = 0
    for t in range(T):
        before = carry.memory
        carry, _ = step(params, config, carry, xs[t], TAGS[t], valid=VALID[t])
        eviction = trace.eviction._make(
            None if leaf is None else leaf[t] for leaf in trace.eviction
        )
        at = rows, groups, eviction.slots
        for field in ("written", "tags"):
            np.testing.assert_array_equal(
                getattr(eviction, field), getattr(before, field)[at]
            )
        np.testing.assert_array_equal(eviction.live, before.live[at])
        np.testing.assert_array_equal(eviction.clock, before.clock)
        now = before.clock[:, None, None]
        own = carry.memory.live[at] & (carry.memory.written[at] == now)
        here = VALID[t][:, None, None]
        np.testing.assert_array_equal(eviction.settled, own & here)
        discarded += (eviction.settled & eviction.live).sum()
        refused += (here & ~eviction.settled.any(-1, keepdims=True)).sum()
        query = pointer_query(params, config, carry.hidden)
        logits, _ = pointer_logits(config, params["memory"], query, carry.memory, None)
        weights, *_ = point(params["memory"], logits, None)
        np.testing.assert_allclose(trace.pointer[t], weights, **EXACT)
        read = trace.read.weights[t]
        np.testing.assert_array_equal(
            read[~np.repeat(before.live, R // config.num_blocks, 1)], 0
        )
        np.testing.assert_allclose(
            read.sum(-1)[VALID[t]] + trace.read.null[t][VALID[t]], 1, **EXACT
        )
    assert discarded > 0
    always = core.Fifo, core.LeastUsed, core.LeastRecentlyRead
    assert (refused == 0) or type(policy) not in always


@pytest.mark.parametrize("policy", EVERY, ids=repr)
def test_worth_says_who_goes(policy, x64):
    """Of a full memory the lowest goes; ties aside, it names the slot."""
    config = cell(policy)
    _, outputs = run(config, random_params(config), trace=True)
    eviction = outputs.trace.eviction
    ranks = isinstance(policy, core.Salience | core.LeastUsed | core.LeastRecentlyRead)
    assert (eviction.worth is not None) == ranks
    asks = "salience" in policy.request_fields
    assert (eviction.newcomer is not None) == asks
    if isinstance(policy, core.Salience):
        full = np.asarray(eviction.live).all(-1) & VALID[..., None]
        refused = ~np.asarray(eviction.settled).any(-1) & full
        lower = np.asarray(eviction.newcomer < eviction.worth[..., 0])
        np.testing.assert_array_equal(refused, lower & full)
        assert refused.any() and (full & ~refused).any()


def test_without_targets_or_slots_there_is_less(x64):
    config = cell(core.Fifo())
    params, xs = random_params(config), random_inputs(config)
    _, outputs = core.unroll(params, config, core.init_carry(config, B), xs, trace=True)
    assert outputs.trace.pointer is None
    plain = small_cell(num_slots=0, **DOUBLE)
    _, outputs = core.unroll(
        random_params(plain),
        plain,
        core.init_carry(plain, B),
        random_inputs(plain),
        trace=True,
    )
    assert outputs.trace.read is None and outputs.trace.eviction is None


def test_a_trace_that_nobody_wants_costs_nothing():
    """Dropped, it leaves the program of the run without it."""
    config = small_cell(core.Salience(), copy=True)
    params, xs = random_params(config), random_inputs(config)

    def program(trace, wanted):
        def job(params):
            carry, outputs = core.unroll(
                params,
                config,
                core.init_carry(config, B),
                xs,
                tags=TAGS,
                targets=TAGS,
                backend="scan",
                trace=trace,
            )
            return carry, outputs if wanted else outputs._replace(trace=None)

        return jax.jit(job).lower(params).as_text()

    plain = program(False, False)
    assert program(True, False) == plain
    assert program(True, True) != plain
