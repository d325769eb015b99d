import numpy as np
import pytest

from wmlstm_jax.data import StreamWindows, batches

TOKENS = np.arange(103)


def rows(windows):
    """The inputs and the targets of each row, over one pass."""
    everything = [windows[i] for i in range(len(windows))]
    joined = {
        name: np.concatenate([batch[name] for batch in everything], 1)
        for name in everything[0]
    }
    valid = joined.pop("valid")
    return [
        {name: joined[name][row][valid[row]] for name in joined}
        for row in range(len(valid))
    ]


def test_every_token_is_a_target_once_and_in_order():
    targets = np.concatenate([r["targets"] for r in rows(StreamWindows(TOKENS, 4, 7))])
    np.testing.assert_array_equal(targets, TOKENS[1:])


def test_the_target_is_the_next_token():
    for row in rows(StreamWindows(TOKENS, 4, 7)):
        np.testing.assert_array_equal(row["targets"], row["inputs"] + 1)


def test_streams_differ_by_one_token_at_most():
    lengths = [len(row["inputs"]) for row in rows(StreamWindows(TOKENS, 4, 7))]
    assert sorted(lengths) == [25, 25, 26, 26]


def test_padding_is_zero_and_not_valid():
    windows = StreamWindows(TOKENS, 4, 7)
    last = windows[len(windows) - 1]
    assert last["valid"].sum(1).tolist() == [4, 5, 4, 5]
    for name in ("inputs", "targets"):
        assert last[name].dtype == np.int32
        assert not last[name][~last["valid"]].any()


def test_only_the_first_position_of_a_pass_resets():
    windows = StreamWindows(TOKENS, 4, 7)
    reset = [batch["reset"] for batch in batches(windows, 0, 2 * len(windows))]
    marked = [(k, *where) for k, r in enumerate(reset) for where in np.argwhere(r)]
    assert marked == [(k, row, 0) for k in (0, len(windows)) for row in range(4)]


@pytest.mark.parametrize("start", [0, 1, 3, 4, 9])
def test_a_batch_depends_on_its_position_alone(start):
    windows = StreamWindows(TOKENS, 4, 7)
    ahead = list(batches(windows, 0, 12))[start:]
    again = list(batches(windows, start, 12))
    assert len(again) == 12 - start
    for a, b in zip(ahead, again, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("hosts", [2, 4])
def test_the_batch_is_the_same_for_any_number_of_hosts(hosts):
    whole = StreamWindows(TOKENS, 4, 7)
    parts = [
        StreamWindows(TOKENS, 4, 7, shard=i, num_shards=hosts) for i in range(hosts)
    ]
    for k in range(len(whole)):
        for name in whole[k]:
            joined = np.concatenate([part[k][name] for part in parts])
            np.testing.assert_array_equal(joined, whole[k][name])
    assert {len(part) for part in parts} == {len(whole)}


def test_a_text_shorter_than_a_batch_is_refused():
    with pytest.raises(ValueError, match="the test text has 8 tokens, too few"):
        StreamWindows(np.arange(8), 8, 4, name="test text")
    assert len(StreamWindows(np.arange(9), 8, 4)) == 1


def test_a_batch_that_does_not_divide_by_the_hosts_is_refused():
    with pytest.raises(ValueError, match="divide by the 3 hosts"):
        StreamWindows(TOKENS, 4, 7, num_shards=3)
