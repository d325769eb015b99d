"""The lives of what was held, and why each ended."""

import re

import numpy as np
import pytest

from tests.analysis.test_traces import LENGTH, SLOTS, random_model
from wmlstm_jax.analysis import trace_text
from wmlstm_jax.analysis.occupants import find_occupants, why_refused
from wmlstm_jax.analysis.traces import Writes, held_before
from wmlstm_jax.core import Fifo, Salience, SelectiveFifo

TOKENS = np.random.default_rng(1).integers(0, 4, LENGTH).astype(np.int32)
WHY = {
    "fifo": "the oldest of 8",
    "selective": "the oldest of 8",
    "salience": r"its worth -?\d+\.\d\d was the lowest; the newcomer had -?\d+\.\d\d",
    "least_recently_read": r"unread for \d+ tokens, longest of all",
    "least_used": r"its usage \S+ was the lowest",
    "top_k": r"overwritten by a write of weight [01]\.\d\d",
}


@pytest.fixture(params=WHY, scope="module")
def looked(request, config):
    model = random_model(config, policy=request.param)
    trace = trace_text(model, TOKENS)
    policy = model.run.config.model.cell(0).memory.policy
    return request.param, trace, *find_occupants(trace, policy)


def test_each_life_is_what_the_owners_say(looked):
    _, trace, lives, before, after = looked
    for at, (step, group, slot, end) in enumerate(
        zip(lives.step, lives.group, lives.slot, lives.end, strict=True)
    ):
        mine = trace.owners[:, group, slot] == step
        np.testing.assert_array_equal(np.flatnonzero(mine), np.arange(step, end))
        np.testing.assert_array_equal(after[:, group, slot] == at, mine)
    assert (np.diff(lives.step) >= 0).all()
    assert ((after >= 0) == (trace.owners >= 0)).all()
    assert ((before >= 0) == (held_before(trace) >= 0)).all()
    assert (lives.end == LENGTH).sum() == (trace.owners[-1] >= 0).sum() == SLOTS


def test_what_all_got_is_what_was_given(looked):
    _, trace, lives, before, _ = looked
    np.testing.assert_allclose(lives.read.sum(), trace.reads.slots.sum(), rtol=1e-5)
    np.testing.assert_allclose(lives.copied.sum(), trace.copies.gate.sum(), rtol=1e-5)
    at = 3
    heads = trace.reads.slots.reshape(LENGTH, 1, -1, SLOTS).sum(2)
    np.testing.assert_allclose(lives.read[at], heads[before == at].sum(), rtol=1e-5)


def test_each_end_has_its_reason(looked):
    name, _, lives, *_ = looked
    discarded = 0
    for end, why in zip(lives.end, lives.why, strict=True):
        wanted = WHY[name] if end < LENGTH else "kept to the end"
        assert re.fullmatch(wanted, why), why
        discarded += end < LENGTH
    assert discarded


def writes(weight=0.0, newcomer=None, worth=None):
    at = (1, 1, 1)

    def filled(number, shape=at):
        return None if number is None else np.full(shape, number)

    nothing = np.zeros(at, bool)
    slots = np.zeros(at, np.int32)
    return Writes(
        slots,
        filled(weight),
        nothing,
        slots - 1,
        filled(worth),
        filled(newcomer, (1, 1)),
    )


@pytest.mark.parametrize(
    ("policy", "given", "why"),
    [
        (Fifo(), writes(), "every slot is pinned"),
        (
            SelectiveFifo(threshold=-1),
            writes(newcomer=-1.5),
            "its salience -1.50 is below -1",
        ),
        (SelectiveFifo(threshold=-1), writes(newcomer=0.5), "every slot is pinned"),
        (
            Salience(),
            writes(newcomer=0.25, worth=0.5),
            "its salience 0.25 is below the least worth 0.50",
        ),
        (Salience(), writes(newcomer=0.25, worth=0.1), "every slot is pinned"),
        (Fifo(), writes(weight=0.3), "mixed into what was there"),
    ],
)
def test_a_token_that_got_no_slot_has_a_reason(policy, given, why):
    assert why_refused(policy, given, 0, 0) == why


def test_refusals_of_a_run(config):
    model = random_model(config, policy="salience")
    cell = model.params["blocks"][0]["recurrence"]["params"]
    cell["memory"]["decay"] -= 20.0  # What was salient once stays so.
    trace = trace_text(model, TOKENS)
    policy = model.run.config.model.cell(0).memory.policy
    refused = np.flatnonzero(~trace.writes.settled[:, 0, 0])
    assert len(refused)
    for step in refused:
        assert "below the least worth" in why_refused(policy, trace.writes, step, 0)
