import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wmlstm_jax.data import example_batches
from wmlstm_jax.data.example_batches import (
    ExampleBatches,
    fill_pairs,
    fill_streams,
    lengths_of,
    plan_buckets,
)
from wmlstm_jax.data.example_tokens import EncodedExample
from wmlstm_jax.data.turns import Stream

START = 99
sizes = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=40
)


def examples(lengths):
    """Each says its own number, and its own number plus 100."""
    return [
        EncodedExample(np.full(s, i, np.int32), np.full(t, 100 + i, np.int32))
        for i, (s, t) in enumerate(lengths)
    ]


def make(lengths, batch_size, num_buckets=3, **options):
    given = examples(lengths)
    buckets = plan_buckets(lengths_of(given), num_buckets)
    return ExampleBatches(fill_pairs(given, START), buckets, batch_size, **options)


@given(sizes, st.integers(1, 6))
def test_every_example_has_a_bucket_that_holds_it(lengths, num_buckets):
    buckets = plan_buckets(np.array(lengths), num_buckets)
    assert len(buckets) <= num_buckets
    assert len({bucket.lengths for bucket in buckets}) == len(buckets)
    members = np.concatenate([bucket.members for bucket in buckets])
    assert sorted(members) == list(range(len(lengths)))
    for size, members in buckets:
        longest = np.array([lengths[i] for i in members]).max(axis=0)
        assert size == tuple(-(-longest // 4) * 4)


def padded(buckets):
    return sum(len(bucket.members) * sum(bucket.lengths) for bucket in buckets)


@given(sizes, st.integers(1, 4))
@example(
    [(1, 1), (1, 1), (1, 17), (1, 25), (5, 1), (5, 21), (13, 1), (13, 5), (17, 1)], 2
)
def test_no_other_cut_has_less_padding(lengths, num_buckets):
    found = padded(plan_buckets(np.array(lengths), num_buckets))
    longer = [[-(-n // 4) * 4 for n in each] for each in lengths]
    # Exactly, so that what is as long is never cut apart.
    ways = [
        (min(way), Fraction(sum(way), len(way))) for way in zip(*longer, strict=True)
    ]

    def size(each):
        of_all = zip(each, ways, strict=True)
        return max((n - low) / (mean - low or 1) for n, (low, mean) in of_all)

    longer.sort(key=size)
    places = [i for i in range(1, len(longer)) if size(longer[i]) > size(longer[i - 1])]
    for number in range(num_buckets):
        for cuts in itertools.combinations(places, number):
            parts = itertools.pairwise([0, *cuts, len(longer)])
            cost = sum((j - i) * np.max(longer[i:j], axis=0).sum() for i, j in parts)
            assert found <= cost


def test_many_lengths_are_cut_too(monkeypatch):
    lengths = np.arange(4, 404, 4)[:, None]
    best = padded(plan_buckets(lengths, 4))
    monkeypatch.setattr(example_batches, "_PLACES", 10)
    assert best <= padded(plan_buckets(lengths, 4)) < 1.1 * best


def test_short_sources_are_not_filled_up_for_one_long_target():
    lengths = [(4, 4)] * 20 + [(4, 40), (40, 4)] + [(40, 40)] * 20
    buckets = plan_buckets(np.array(lengths), 2)
    assert [(b.lengths, len(b.members)) for b in buckets] == [
        ((4, 4), 20),
        ((40, 40), 22),
    ]


def test_what_is_of_one_length_does_not_count():
    lengths = np.stack([np.arange(4, 44, 4), np.full(10, 4)], axis=1)
    assert len(plan_buckets(lengths, 10)) == 10


def test_examples_of_one_length_share_a_bucket():
    lengths = [(4, 8)] * 20 + [(12, 8)] * 20
    assert [b.lengths for b in plan_buckets(np.array(lengths), 4)] == [(4, 8), (12, 8)]


@given(sizes, st.integers(1, 5), st.integers(0, 9) | st.none())
def test_a_pass_has_every_example_once(lengths, batch_size, seed):
    batches = make(lengths, batch_size, seed=seed)
    for turn in range(2):
        places = range(turn * len(batches), (turn + 1) * len(batches))
        seen = np.concatenate([batches[k]["examples"] for k in places])
        assert sorted(seen[seen >= 0]) == list(range(len(lengths)))
        # Rows that fill up are fewer than a batch for each bucket.
        assert (seen < 0).sum() <= 3 * (batch_size - 1)


@given(sizes, st.integers(1, 5))
def test_rows_are_their_examples(lengths, batch_size):
    batches = make(lengths, batch_size, seed=1)
    for k in range(len(batches)):
        batch = batches[k]
        for row, number in enumerate(batch["examples"]):
            source, target = lengths[number] if number >= 0 else (0, 0)
            assert batch["source_valid"][row].sum() == source
            assert batch["valid"][row].sum() == target
            assert batch["source_valid"][row, :source].all()
            assert batch["valid"][row, :target].all()
            assert (batch["source"][row, :source] == number).all()
            assert (batch["targets"][row, :target] == 100 + number).all()
            assert batch["tokens"][row, 0] == START
            assert (batch["tokens"][row, 1:target] == 100 + number).all()


LENGTHS = [(1 + i % 9, 1 + i % 7) for i in range(50)]


def order(batches, count):
    return [batches[k]["examples"].tolist() for k in range(count)]


def test_a_batch_is_a_function_of_the_seed_and_its_number():
    first, second = (make(LENGTHS, 4, seed=7) for _ in range(2))
    wanted = order(first, 3 * len(first))
    for k in reversed(range(len(wanted))):
        assert second[k]["examples"].tolist() == wanted[k]
    one, two = wanted[: len(first)], wanted[len(first) : 2 * len(first)]
    assert one != two
    assert order(make(LENGTHS, 4, seed=8), len(first)) != one


def test_both_the_batches_and_who_shares_them_are_shuffled():
    batches = make(LENGTHS, 4, seed=7)
    found = order(batches, 2 * len(batches))
    first, second = found[: len(batches)], found[len(batches) :]
    # Of the batches that are not filled up, some may be the same by chance.
    full = [[rows for rows in turn if -1 not in rows] for turn in (first, second)]
    shared = [{frozenset(rows) for rows in turn} for turn in full]
    assert not shared[0] & shared[1]
    lengths = [batches[k]["source"].shape[1] for k in range(len(batches))]
    assert lengths != sorted(lengths)


def test_an_evaluation_has_one_order():
    batches = make(LENGTHS, 4)
    assert order(batches, 2 * len(batches)) == 2 * order(batches, len(batches))


def test_hosts_share_the_rows():
    whole = make(LENGTHS, 6, seed=3)
    parts = [make(LENGTHS, 6, seed=3, shard=i, num_shards=3) for i in range(3)]
    for k in range(len(whole)):
        joined = [part[k] for part in parts]
        for name, rows in whole[k].items():
            got = np.concatenate([part[name] for part in joined])
            np.testing.assert_array_equal(got, rows)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="0 examples cannot go into 3 buckets"):
        plan_buckets(np.zeros((0, 2)), 3)
    with pytest.raises(ValueError, match="1 examples cannot go into 0 buckets"):
        plan_buckets(np.ones((1, 2)), 0)
    with pytest.raises(ValueError, match="data.batch_size is 4; it must divide by the"):
        make(LENGTHS, 4, num_shards=3)


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=20), min_size=1))
def test_streams_are_predicted_token_by_token(rows):
    streams = [
        Stream(
            np.arange(1, 1 + len(said), dtype=np.int32),
            np.arange(101, 101 + len(said), dtype=np.int32),
            np.array(said),
            np.zeros(0, int),
            (),
        )
        for said in rows
    ]
    buckets = plan_buckets(lengths_of(streams), 2)
    batches = ExampleBatches(fill_streams(streams), buckets, 3)
    for k in range(len(batches)):
        batch = batches[k]
        assert (batch["targets"] == batch["inputs"] + 101)[batch["present"]].all()
        assert not (batch["valid"] & ~batch["present"]).any()
        for row, number in enumerate(batch["examples"]):
            said = rows[number][1:] if number >= 0 else []
            assert batch["present"][row].sum() == len(said)
            assert batch["valid"][row, : len(said)].tolist() == said
