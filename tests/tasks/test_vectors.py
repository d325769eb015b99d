import numpy as np
import pytest

from tests.tasks.samples import sampled
from wmlstm_jax import tasks

MAX = 7


def rows(batch):
    return zip(*batch, strict=True)


def begins(channel):
    assert channel.sum() == 1 and channel[0] == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_copy(reverse):
    task, sizes = tasks.Copy(MAX, num_bits=3, reverse=reverse), set()
    for inputs, targets, scored in rows(sampled(task)):
        begins(inputs[:, 3])
        (end,) = np.flatnonzero(inputs[:, 4])
        told = inputs[1:end, :3]
        said = targets[end + 1 : end + 1 + len(told)]
        np.testing.assert_array_equal(said, told[::-1] if reverse else told)
        assert scored.sum() == len(told) and scored[end + 1 : 2 * end].all()
        assert not inputs[end + 1 :].any() and not targets[~scored].any()
        sizes.add(len(told))
    assert sizes == set(range(1, MAX + 1))


def test_repeat_copy():
    task, seen = tasks.RepeatCopy(MAX, num_bits=3, max_repeats=4), set()
    for inputs, targets, scored in rows(sampled(task, batch_size=200)):
        begins(inputs[:, 3])
        (end,) = np.flatnonzero(inputs[:, 4])
        repeats = round(4 * inputs[end, 4])
        told = inputs[1:end, :3]
        said = targets[end + 1 :][: len(told) * repeats + 1]
        np.testing.assert_array_equal(said[:-1, :3], np.tile(told, (repeats, 1)))
        np.testing.assert_array_equal(said[-1], [0, 0, 0, 1])
        assert not said[:-1, 3].any()
        assert scored.sum() == len(said) and scored[end + 1 :][: len(said)].all()
        seen.add((len(told), repeats))
    assert len(seen) == 4 * MAX


def test_associative_recall():
    task, sizes, asked = tasks.AssociativeRecall(MAX, item_length=2), set(), set()
    for inputs, targets, scored in rows(sampled(task)):
        starts = np.flatnonzero(inputs[:, 6])
        items = [inputs[start + 1 : start + 3, :6] for start in starts]
        first, last = np.flatnonzero(inputs[:, 7])
        query = inputs[first + 1 : last, :6]
        assert len(query) == 2
        matches = [i for i, item in enumerate(items) if (item == query).all()]
        wanted = [items[i + 1] for i in matches if i + 1 < len(items)]
        assert any((targets[last + 1 : last + 3] == each).all() for each in wanted)
        np.testing.assert_array_equal(np.flatnonzero(scored), last + 1 + np.arange(2))
        assert not inputs[last + 1 :].any()
        sizes.add(len(items))
        asked.add(matches[0])
    assert sizes == set(range(2, MAX + 1)) and len(asked) > 3


def test_priority_sort():
    task, sizes = tasks.PrioritySort(MAX, num_bits=9), set()
    for inputs, targets, scored in rows(sampled(task)):
        begins(inputs[:, 10])
        (end,) = np.flatnonzero(inputs[:, 11])
        told, priority = inputs[1:end, :9], inputs[1:end, 9]
        assert (np.abs(priority) <= 1).all()
        count = -(-4 * len(told) // 5)
        wanted = told[np.argsort(-priority)][:count]
        np.testing.assert_array_equal(targets[scored], wanted)
        np.testing.assert_array_equal(
            np.flatnonzero(scored), end + 1 + np.arange(count)
        )
        sizes.add(len(told))
    assert sizes == set(range(1, MAX + 1))


def test_adding():
    task, sizes = tasks.Adding(MAX), set()
    for inputs, targets, scored in rows(sampled(task)):
        (last,) = np.flatnonzero(scored)
        first, second = np.flatnonzero(inputs[:, 1])
        size = last + 1
        assert first < size // 2 <= second < size
        assert targets[last] == pytest.approx(inputs[[first, second], 0].sum())
        assert not inputs[size:].any() and not targets[~scored].any()
        sizes.add(size)
    assert sizes == set(range(2, MAX + 1))


@pytest.mark.parametrize("group", ["parity", "S3", "S5"])
def test_the_product_so_far(group):
    task = tasks.StateTracking(MAX, group=group)
    table = tasks.groups.multiplication_table(tasks.groups.DEGREES[group])
    order = {"parity": 2, "S3": 6, "S5": 120}[group]
    assert table.shape == (order, order)
    # A group: an identity, inverses, and no matter where the brackets are.
    np.testing.assert_array_equal(table[0], np.arange(order))
    np.testing.assert_array_equal(table[:, 0], np.arange(order))
    assert ((table == 0).sum(0) == 1).all() and ((table == 0).sum(1) == 1).all()
    a, b, c = np.random.default_rng(0).integers(0, order, (3, 50))
    np.testing.assert_array_equal(table[table[a, b], c], table[a, table[b, c]])
    assert (table != table.T).any() == (order > 2)
    for inputs, targets, scored in rows(sampled(task)):
        product = 0
        for token, target in zip(inputs[scored], targets[scored], strict=True):
            product = table[product, token - 1]
            assert target == product
        assert (inputs[~scored] == 0).all()
        assert scored[: scored.sum()].all()


def test_an_unknown_group_is_refused():
    with pytest.raises(ValueError, match="group is 'S4'; it must be one of"):
        tasks.StateTracking(3, group="S4")
