"""Reads along the written order, against a plain list of what was written."""

import functools
from dataclasses import dataclass, field

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.small_cells import B, K, N, R, W, small_cell
from wmlstm_jax import core
from wmlstm_jax.core.memories import empty_rows

# A dozen sums of N float64 terms of size 1.
EXACT = dict(rtol=1e-10, atol=1e-12)
OFFSETS = (-1, 0, 1, 2)
MODES = (-1, 0, "content", 1, 2, "newest", "oldest")


@dataclass
class Order:
    """What one head of one row holds, oldest first: a list instead of a ring."""

    num_slots: int
    items: list = field(default_factory=list)  # [key, value, last weight]

    def write(self, key, value):
        self.items = [*self.items, [key, value, 0.0]][-self.num_slots :]

    def read(self, vector, null_logit, modes):
        """The value read, and the weights of the items."""
        logits = [vector @ key for key, _, _ in self.items] + [null_logit]
        content = np.exp(logits - np.max(logits))
        content = content[:-1] / content.sum()
        last = [weight for _, _, weight in self.items]
        weights = np.zeros(len(self.items))
        for p, mode in zip(modes, MODES, strict=True):
            for i in range(len(self.items)):
                if mode == "content":
                    weights[i] += p * content[i]
                elif mode in ("newest", "oldest"):
                    weights[i] += p * (i == (len(self.items) - 1) * (mode == "newest"))
                elif 0 <= i - mode < len(self.items):
                    weights[i] += p * last[i - mode]
        for item, weight in zip(self.items, weights, strict=True):
            item[2] = weight
        return sum((w * value for _, value, w in self.items), np.zeros(W)), weights


empty = jax.jit(empty_rows)
write = jax.jit(lambda config, *args: config.memory.write(*args)[0], static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def read(config, memory, query):
    return config.memory.read(memory, query, read_modes=config.read_modes)


@pytest.mark.parametrize("num_slots", [1, 2, 4])
def test_a_ring_reads_as_the_list_of_what_was_written(num_slots, x64):
    wide = dict(dtype="float64", memory_dtype="float64")
    config = small_cell(num_slots=num_slots, read_modes=MODES, **wide)

    @settings(max_examples=25)
    @given(
        st.integers(0, 2**32 - 1),
        st.lists(st.tuples(*[st.sampled_from("wsr")] * B), min_size=5, max_size=12),
    )
    def check(seed, stream):
        rng = np.random.default_rng(seed)
        memory = config.memory.init(config, B)
        orders = [[Order(num_slots) for _ in range(R)] for _ in range(B)]
        for turn in stream:
            # A row writes, skips its turn, or is emptied and then writes.
            valid = np.array([what != "s" for what in turn])
            reset = np.array([what == "r" for what in turn])
            request = core.Request(
                key=rng.normal(size=(B, R, K)),
                value=rng.normal(size=(B, R, W)),
                tag=np.zeros(B, np.int32),
                valid=valid,
            )
            query = core.Query(
                vector=rng.normal(size=(B, R, K)),
                null_logit=rng.normal(size=R),
                modes=rng.dirichlet(np.ones(len(MODES)), size=(B, R)),
            )
            memory = write(config, empty(memory, reset), request)
            memory, got = jax.device_get(read(config, memory, query))
            for b, r in np.ndindex(B, R):
                order = orders[b][r] = Order(num_slots) if reset[b] else orders[b][r]
                if valid[b]:
                    order.write(request.key[b, r], request.value[b, r])
                value, weights = order.read(
                    query.vector[b, r], query.null_logit[r], query.modes[b, r]
                )
                np.testing.assert_allclose(got.value[b, r], value, **EXACT)
                live = np.flatnonzero(memory.live[b, 0])
                slots = live[np.argsort(memory.written[b, 0][live])]
                np.testing.assert_allclose(
                    memory.weights[b, r][slots], weights, **EXACT
                )
                others = np.delete(memory.weights[b, r], slots)
                np.testing.assert_array_equal(others, 0)

    check()


def ask(valid=(True,) * B) -> core.Request:
    """Asks for a slot with ones in it."""
    ones = np.ones((B, R, K), np.float32)
    return core.Request(ones, ones[..., :W], np.zeros(B, np.int32), np.array(valid))


def written_and_asked(mode, writes):
    """A cell, its memory after some writes, and a query of one mode besides content."""
    config = small_cell(read_modes=("content", mode))
    memory = config.memory.init(config, B)
    for _ in range(writes):
        memory = write(config, memory, ask())
    only_mode = np.broadcast_to(np.array([0, 1], np.float32), (B, R, 2))
    query = core.Query(ask().key, np.zeros(R, np.float32), modes=only_mode)
    return config, memory, query


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("writes", [2, N, N + 2])
def test_all_mass_moves_by_the_offset_or_is_dropped(offset, writes):
    config, memory, query = written_and_asked(offset, writes)
    # Slots in written order, oldest first: the ring begins anew after N writes.
    slots = [n % N for n in range(max(0, writes - N), writes)]
    for place, slot in enumerate(slots):
        one = np.zeros((B, R, N), np.float32)
        one[..., slot] = 1
        after, got = read(config, memory._replace(weights=one), query)
        wanted = np.zeros((B, R, N))
        stays = 0 <= place + offset < len(slots)
        if stays:
            wanted[..., slots[place + offset]] = 1
        np.testing.assert_array_equal(after.weights, wanted)
        np.testing.assert_array_equal(got.weights, wanted)
        np.testing.assert_array_equal(got.value, np.full((B, R, W), float(stays)))
        # What is dropped reads zero; it does not go to the null slot.
        np.testing.assert_array_equal(got.null, 0)


def test_a_write_takes_away_the_last_weight_of_its_slot():
    config = small_cell(read_modes=("content", 0))
    memory = config.memory.init(config, B)
    held = memory._replace(weights=np.ones((B, R, N), np.float32))
    after = write(config, held, ask(valid=(True, False)))
    np.testing.assert_array_equal(after.weights[0], [[0, 1, 1]] * R)
    np.testing.assert_array_equal(after.weights[1], 1)


@pytest.mark.parametrize("mode", ["newest", "oldest"])
@pytest.mark.parametrize("writes", [0, 1, N, N + 2])
def test_an_end_of_the_order_is_one_live_slot_or_nothing(mode, writes):
    config, memory, query = written_and_asked(mode, writes)
    wanted = np.zeros((B, R, N))
    if writes:
        last = writes - 1 if mode == "newest" else max(0, writes - N)
        wanted[..., last % N] = 1
    _, got = read(config, memory, query)
    np.testing.assert_array_equal(got.weights, wanted)
    # Where the slot dies, the next one is at the end.
    dead = wanted[:, :1] > 0
    without = memory._replace(slot_epoch=np.where(dead, -1, memory.slot_epoch))
    left = min(writes, N) - 1
    _, got = read(config, without, query)
    np.testing.assert_array_equal(got.weights.sum(-1), float(left > 0))
    assert not (np.asarray(got.weights) * wanted).any()
