"""Beam search over worlds small enough to look at every hypothesis."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wmlstm_jax.inference import (
    Beam,
    Greedy,
    beam_search,
    generate,
    repeat_rows,
)

END, STATES, BATCH = 0, 61, 3


def world(vocab, seed):
    """What is said after each past, `[STATES, V]`; `follow` leads between them."""
    table = np.random.default_rng(seed).normal(size=(STATES, vocab)).astype(np.float32)
    return jax.nn.log_softmax(2 * table)


def follow(table, carry, words):
    past = (carry["past"] * 7 + words + 1) % STATES
    # A second leaf of another shape, which has to stay with its row.
    trail = jnp.roll(carry["trail"], 1, axis=1).at[:, 0].set(words)
    return {"past": past, "trail": trail}, table[past]


def start(table, batch=BATCH):
    past = jnp.arange(batch) * 5
    return {"past": past, "trail": jnp.zeros((batch, 2), jnp.int32)}, table[past]


def search(table, beam, batch=BATCH):
    step = jax.tree_util.Partial(follow, table)
    return jax.device_get(beam_search(step, *start(table, batch), beam))


def log_prob(table, row, words):
    """Of a hypothesis, added up one word at a time."""
    past, total = row * 5, 0.0
    for word in words:
        total += float(table[past, word])
        past = (past * 7 + word + 1) % STATES
    return total


def repeats(words, run):
    runs = [words[i : i + run] for i in range(len(words) - run + 1)]
    return run > 0 and len(set(runs)) < len(runs)


def score(table, beam, row, words):
    return log_prob(table, row, words) / float(beam.penalty(len(words)))


def brute_force(table, beam, row):
    """All that ends within the length, the best first."""
    others = [word for word in range(table.shape[1]) if word != END]
    ended = [
        (*words, END)
        for length in range(beam.max_length)
        for words in itertools.product(others, repeat=length)
    ]
    ended = [words for words in ended if not repeats(words, beam.block_ngram)]
    return sorted(ended, key=lambda words: -score(table, beam, row, words))


def said(found, row, k):
    return tuple(found.tokens[row, k, : found.lengths[row, k]].tolist())


@pytest.mark.parametrize("early_stop", [True, False])
@pytest.mark.parametrize("block_ngram", [0, 1, 2])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_is_brute_force(length_penalty, block_ngram, early_stop):
    table = world(3, 0)
    beam = Beam(
        END,
        max_length=4,
        size=48,
        length_penalty=length_penalty,
        block_ngram=block_ngram,
        early_stop=early_stop,
    )
    found = search(table, beam)
    for row in range(BATCH):
        wanted = brute_force(table, beam, row)
        assert len(wanted) == found.ended[row].sum()
        for k, words in enumerate(wanted):
            assert said(found, row, k) == words
            assert found.scores[row, k] == pytest.approx(
                score(table, beam, row, words), rel=1e-5
            )


@given(st.integers(0, 999))
@settings(max_examples=20)
def test_a_beam_of_one_is_greedy(seed):
    table = world(5, seed)
    found = search(table, Beam(END, max_length=12, size=1))
    step = jax.tree_util.Partial(follow, table)
    carry, log_probs = start(table)
    words = generate(
        step, carry, log_probs, sampler=Greedy(), rng=jax.random.key(0), num_tokens=12
    )
    words = np.stack(list(words), 1).tolist()
    for row in range(BATCH):
        greedy = words[row]
        greedy = greedy[: greedy.index(END) + 1] if END in greedy else greedy
        assert list(said(found, row, 0)) == greedy
        assert found.ended[row, 0] == (END in greedy)


def by_hand(table, beam, row):
    """The same search in Python: one hypothesis after another, without a bound."""
    alive, ended = [((), 0.0)], []
    for _ in range(beam.max_length):
        if not alive or (beam.early_stop and len(ended) >= beam.size):
            break
        more = []
        for words, _ in alive:
            for word in range(table.shape[1]):
                longer = (*words, word)
                if not repeats(longer, beam.block_ngram):
                    more.append((longer, log_prob(table, row, longer)))
        more.sort(key=lambda each: -each[1])
        ended += [w for w, _ in more[: beam.size] if w[-1] == END]
        alive = [each for each in more[: 2 * beam.size] if each[0][-1] != END]
        alive = alive[: beam.size]
    ended.sort(key=lambda words: -score(table, beam, row, words))
    return ended[: beam.size], [words for words, _ in alive]


@given(
    st.integers(0, 999),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.6, 2.0]),
    st.sampled_from([0, 2]),
    st.booleans(),
)
@settings(max_examples=12)
def test_it_is_the_search_by_hand(seed, size, penalty, run, early_stop):
    table = world(4, seed)
    beam = Beam(END, 7, size, penalty, run, early_stop)
    found = search(table, beam)
    for row in range(BATCH):
        ended, alive = by_hand(table, beam, row)
        assert found.ended[row].sum() == len(ended)
        assert [said(found, row, k) for k in range(len(ended))] == ended
        # What was cut off fills up.
        for k in range(len(ended), min(size, len(ended) + len(alive))):
            assert said(found, row, k) in alive
        for k in range(min(size, len(ended) + len(alive))):
            wanted = score(table, beam, row, said(found, row, k))
            assert found.scores[row, k] == pytest.approx(wanted, rel=1e-5)


def test_rows_do_not_see_each_other():
    table, beam = world(6, 3), Beam(END, max_length=9, size=3)
    together, alone = search(table, beam), search(table, beam, batch=1)
    for leaf, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(leaf[:1], other)


def test_the_carry_goes_with_its_hypothesis():
    """Its trail says what was said last; if it does not, nothing is a number."""
    table = world(4, 9)
    carry, log_probs = start(table)
    carry["last"] = jnp.zeros(BATCH, jnp.int32)
    step = functools.partial(_with_last, table)
    found = beam_search(step, carry, log_probs, Beam(END, 8, 4))
    assert np.isfinite(found.scores).all()


def _with_last(table, carry, words):
    after, log_probs = follow(table, carry, words)
    right = after["trail"][:, 1] == carry["last"]
    return after | {"last": words}, jnp.where(right[:, None], log_probs, jnp.nan)


def test_rows_are_repeated_in_place():
    repeated = repeat_rows({"a": jnp.array([1, 2])}, 3)
    assert repeated["a"].tolist() == [1, 1, 1, 2, 2, 2]


def test_it_compiles_once():
    traced = []

    def step(table, carry, words):
        traced.append(1)
        return follow(table, carry, words)

    beam = Beam(END, 5, 2)
    for seed in range(3):
        table = world(4, seed)
        beam_search(jax.tree_util.Partial(step, table), *start(table), replace(beam))
    assert len(traced) == 1


@pytest.mark.parametrize(
    "changes",
    [{"end": -1}, {"max_length": 0}, {"size": 0}, {"length_penalty": -0.5}],
    ids=str,
)
def test_a_setting_out_of_range_is_refused(changes):
    (field,) = changes
    with pytest.raises(ValueError, match=f"Beam.{field} is .*; it must be at least"):
        Beam(**{"end": END, "max_length": 3} | changes)
