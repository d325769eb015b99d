"""What each policy discards, how policies compare, and that anyone may write one."""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.small_cells import (
    POLICIES,
    B,
    Blend,
    K,
    N,
    R,
    W,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core

per_policy = pytest.mark.parametrize("policy", POLICIES)


def ask(valid=True, salience=0.0, decay=0.0) -> core.Request:
    """Asks for a slot; all but the salience is ones."""
    ones = np.ones((B, R, max(K, W)), np.float32)
    return core.Request(
        key=ones[..., :K],
        value=ones[..., :W],
        tag=np.zeros(B, np.int32),
        valid=np.broadcast_to(valid, B),
        salience=np.broadcast_to(np.float32(salience), (B, 1)),
        decay=np.full(1, decay, np.float32),
    )


@functools.partial(jax.jit, static_argnums=0)
def write(config, memory, request):
    return config.memory.write(memory, request)


def choices(config, requests, memory=None):
    """The slot of each row and request, -1 where nothing is written; the memory."""
    memory = config.memory.init(config, B) if memory is None else memory
    chosen = []
    for request in requests:
        memory, evicted = write(config, memory, request)
        chosen.append(np.where(evicted.weights > 0, evicted.slots, -1)[:, 0, 0])
    return np.stack(chosen, 1).tolist(), memory


def test_fifo_goes_around_the_ring():
    requests = [ask(valid=[True, turn != 1]) for turn in range(2 * N)]
    chosen, memory = choices(small_cell(), requests)
    assert chosen == [[0, 1, 2, 0, 1, 2], [0, -1, 1, 2, 0, 1]]
    np.testing.assert_array_equal(memory.head, [[0], [2]])


def test_a_selective_fifo_gives_no_place_to_what_it_refuses():
    config = small_cell(core.SelectiveFifo(threshold=-0.5))
    told = [0.0, -0.5, -0.75, 3.0, -8.0, -0.25]
    chosen, memory = choices(config, [ask(salience=worth) for worth in told])
    assert chosen == [[0, 1, -1, 2, -1, 0]] * B
    np.testing.assert_array_equal(memory.head, [[1]] * B)
    np.testing.assert_array_equal(memory.written[0, 0], [5, 1, 3])


def test_fifo_passes_over_pins_and_keeps_the_order_of_the_others():
    config = small_cell(num_slots=4)
    memory = config.memory.init(config, B)
    _, memory = choices(config, [ask()] * 4, memory)
    pinned = np.zeros((B, 1, 4), bool)
    pinned[0, 0, [0, 2]] = pinned[1, 0, 3] = True
    chosen, memory = choices(config, [ask()] * 5, memory._replace(pinned=pinned))
    assert chosen == [[1, 3, 1, 3, 1], [0, 1, 2, 0, 1]]
    memory = memory._replace(pinned=np.zeros_like(pinned))
    assert choices(config, [ask()] * 4, memory)[0] == [[2, 3, 0, 1]] * B


# Halves and small integers: every worth is exact, and ties are common.
scores = st.integers(-2, 2).map(float)


@given(
    st.lists(st.tuples(scores, scores, st.booleans()), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sets(st.integers(0, N - 1), max_size=N),
)
@settings(max_examples=60)
def test_salience_discards_the_lowest_of_slots_and_newcomer(stream, decay, pins):
    config = small_cell(core.Salience())
    requests = [
        ask([True, valid], [[first], [second]], decay)
        for first, second, valid in stream
    ]
    memory = config.memory.init(config, B)
    pinned = np.isin(np.arange(N), list(pins))
    memory = memory._replace(pinned=np.broadcast_to(pinned, (B, 1, N)))
    chosen, _ = choices(config, requests, memory)
    for row in range(B):
        slots, clock = {}, 0  # slot: (salience, when it was written)
        for turn, request in enumerate(requests):
            wanted, newcomer = -1, request.salience[row, 0]
            free = [n for n in range(N) if n not in slots and n not in pins]
            if request.valid[row]:
                full = {
                    n: (salience - decay * (clock - when), when)
                    for n, (salience, when) in slots.items()
                }
                if free:
                    wanted = free[0]
                elif full:
                    # The lowest; of equals the oldest, and the newcomer is younger.
                    lowest = min(full, key=full.get)
                    wanted = lowest if newcomer >= full[lowest][0] else -1
                if wanted >= 0:
                    slots[wanted] = (newcomer, clock)
                clock += 1
            assert chosen[row][turn] == wanted


# Exact in float32 down to many products by a decay of a half.
shares = st.integers(0, 8).map(lambda eighths: eighths / 8)
turns = st.tuples(
    st.lists(st.lists(shares, min_size=N, max_size=N), min_size=R, max_size=R),
    st.booleans(),
)


@pytest.mark.parametrize(
    "policy", [core.LeastRecentlyRead(), core.LeastUsed(decay=0.5)], ids=str
)
@given(st.lists(turns, min_size=1, max_size=9), st.sets(st.integers(0, N - 1)))
@settings(max_examples=60)
def test_what_is_read_stays(policy, stream, pins):
    config = small_cell(policy)
    memory = config.memory.init(config, B)
    pinned = np.isin(np.arange(N), list(pins))
    memory = memory._replace(pinned=np.broadcast_to(pinned, (B, 1, N)))
    slots, clock = {}, 0  # slot: [usage, when it was written]
    for weights, valid in stream:
        weights = np.asarray(weights, np.float32)
        seen = np.broadcast_to(weights, (B, R, N))
        memory = memory._replace(usage=policy.observe(memory, seen))
        for n, slot in slots.items():
            if policy == core.LeastRecentlyRead():
                read = (weights[:, n] * len(slots) > 1).any()
                slot[0] = 0 if read else slot[0] + 1
            else:
                slot[0] = 0.5 * slot[0] + weights[:, n].sum()
        memory, evicted = write(config, memory, ask([valid, False]))
        wanted = None
        if valid:
            free = [n for n in range(N) if n not in slots and n not in pins]
            full = {n: slot for n, slot in slots.items() if n not in pins}
            sign = -1 if policy == core.LeastRecentlyRead() else 1
            if free:
                wanted = free[0]
            elif full:
                wanted = min(full, key=lambda n: (sign * full[n][0], full[n][1]))
            if wanted is not None:
                slots[wanted] = [policy == core.LeastUsed(decay=0.5), clock]
            clock += 1
        assert (evicted.weights[0, 0, 0] > 0) == (wanted is not None)
        assert wanted is None or evicted.slots[0, 0, 0] == wanted
        assert not evicted.weights[1].any()


def test_a_wrong_decay_is_refused():
    with pytest.raises(ValueError, match=r"LeastUsed.decay is 1.5; .* in \[0, 1\]"):
        core.LeastUsed(decay=1.5)


def test_who_ranks_by_reads_must_read():
    with pytest.raises(ValueError, match="read is False; it must be True, since Least"):
        small_cell(core.LeastUsed(), read=False, copy=True)


@per_policy
def test_settings_compare_by_value(policy):
    same, config = replace(policy), small_cell(policy)
    assert policy == same and hash(policy) == hash(same)
    assert core.SlotMemory(N, policy=same) == config.memory
    assert config == small_cell(same) and hash(config) == hash(small_cell(same))
    others = [p for p in POLICIES if p != policy]
    assert len(others) == len(POLICIES) - 1
    for different in (small_cell(others[0]), small_cell(policy, N + 1)):
        assert config != different and len({config, different}) == 2


def test_equal_settings_are_traced_once():
    traced = []

    @functools.partial(jax.jit, static_argnums=0)
    def run(config, params, carry, xs):
        traced.append(config.memory.policy)
        return core.unroll(params, config, carry, xs)[1]

    for policy in (core.Fifo, core.Salience, core.Fifo, core.Salience):
        config = small_cell(policy())
        xs = random_inputs(config, length=2)
        run(config, random_params(config), core.init_carry(config, B), xs)
    assert traced == [core.Fifo(), core.Salience()]


@per_policy
def test_a_cell_computes_what_its_policy_declares(policy):
    config = small_cell(policy, num_blocks=2)
    params, memory = random_params(config), config.memory.init(config, B)
    declared = "salience" in policy.request_fields
    assert declared == isinstance(policy, core.Salience | core.SelectiveFifo)
    for origin in ("input", "hidden", "bias"):
        assert ("salience" in params[origin]) == declared
    assert ("decay" in params["memory"]) == declared
    assert (memory.salience is not None) == declared
    assert (memory.usage is not None) == policy.ranks_by_reads


@pytest.mark.parametrize("num_slots", [1, 16, 1024])
def test_at_the_start_the_oldest_of_a_full_memory_has_lost_one(num_slots):
    config = small_cell(core.Salience(), num_slots)
    decay = core.init_params(jax.random.key(0), config)["memory"]["decay"]
    np.testing.assert_allclose(num_slots * jax.nn.softplus(decay), 1, rtol=1e-5)


def test_a_soft_write_mixes_by_its_weights():
    config = small_cell(Blend(most=0.5))
    rng = np.random.default_rng(0)
    memory, values = config.memory.init(config, B), np.zeros((B, R, N, W))
    # What dead slots hold is no part of the mixture.
    memory = memory._replace(values=memory.values + 7)
    for _ in range(3):
        value = rng.normal(size=(B, R, W)).astype(np.float32)
        request = ask()._replace(value=value)
        _, share = config.memory.policy.select(memory, request)
        share = np.asarray(share)[..., None]  # [B, 1, N, 1]: one group
        values = (1 - share) * values + share * value[:, :, None]
        memory, _ = write(config, memory, request)
        np.testing.assert_allclose(memory.values, values, rtol=1e-5, atol=1e-6)
        assert memory.live.all()
