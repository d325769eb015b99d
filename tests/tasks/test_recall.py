import functools
from dataclasses import replace

import jax
import numpy as np
import pytest

from wmlstm_jax.tasks import Batch, MultiQueryRecall

TASKS = [
    MultiQueryRecall(),
    MultiQueryRecall(8, 8, num_pairs=8, num_queries=8, length=32),
    MultiQueryRecall(9, 5, num_pairs=3, num_queries=2, length=20, power=1.0),
    MultiQueryRecall(4, 7, num_pairs=2, num_queries=5, length=16),
    MultiQueryRecall(1, 1, num_pairs=1, num_queries=1, length=4),
]
SMALL = MultiQueryRecall(5, 6, num_pairs=3, num_queries=4, length=18)
per_task = pytest.mark.parametrize("task", TASKS, ids=str)


@functools.partial(jax.jit, static_argnums=(0, 2))
def sample(task, rng, batch_size):
    return task.sample(rng, batch_size)


def sampled(task, seed=0, batch_size=64):
    return Batch(*map(np.asarray, sample(task, jax.random.key(seed), batch_size)))


@per_task
def test_a_dictionary_answers_every_question(task):
    batch = sampled(task)
    for inputs, targets, scored in zip(*batch, strict=True):
        told = 2 * task.num_pairs
        answers = dict(zip(inputs[:told:2], inputs[1:told:2], strict=True))
        assert len(answers) == task.num_pairs, "a key is told twice"
        for place in np.flatnonzero(scored):
            assert targets[place] == answers[inputs[place]]
        assert scored.sum() == task.num_queries
        assert not scored[:told].any()


@per_task
def test_keys_and_values_are_of_their_kinds(task):
    inputs, targets, scored = sampled(task)
    told = inputs[:, : 2 * task.num_pairs]
    keys, values = told[:, ::2], told[:, 1::2]
    assert keys.min() >= 1 and keys.max() <= task.num_keys
    assert values.min() > task.num_keys and values.max() < task.form.num_tokens
    for row in values:
        assert len(set(row)) == task.num_pairs
    tail = inputs[:, 2 * task.num_pairs :]
    assert (tail[:, 1::2] == 0).all(), "a query is followed by a blank"
    assert (inputs > 0).sum() == 64 * (2 * task.num_pairs + task.num_queries)
    assert (targets[~scored] == 0).all()


def test_every_token_is_used():
    batch = sampled(SMALL, batch_size=256)
    assert set(batch.inputs.flat) == set(range(SMALL.form.num_tokens))
    assert SMALL.form.num_tokens == 1 + 5 + 6
    assert set(batch.targets[batch.scored]) == set(range(6, 12))


@pytest.mark.parametrize("num_queries", [1, 3, 4, 6, 7])
def test_pairs_are_asked_for_equally_often(num_queries):
    task = replace(SMALL, num_queries=num_queries, length=20)
    inputs, _, scored = sampled(task)
    for row, asked in zip(inputs, scored, strict=True):
        counts = [(row[asked] == key).sum() for key in row[:6:2]]
        assert sum(counts) == num_queries
        assert max(counts) - min(counts) <= 1


def test_any_pair_may_be_asked_for():
    task = replace(SMALL, num_queries=1)
    inputs, _, scored = sampled(task, batch_size=3000)
    which = np.argmax(inputs[:, :6:2] == inputs[scored][:, None], axis=1)
    # Three equal shares; four standard deviations of a share of 3000 draws.
    np.testing.assert_allclose(np.bincount(which) / 3000, 1 / 3, atol=0.035)


@pytest.mark.parametrize("power", [0.01, 0.5, 1.0, 2.0])
def test_places_follow_the_law_of_gaps(power):
    task = MultiQueryRecall(4, 4, num_pairs=2, num_queries=1, length=14, power=power)
    place = sampled(task, batch_size=4000).scored.argmax(axis=1)
    wanted = np.arange(1, 6) ** (power - 1)
    share = np.bincount((place - 4) // 2, minlength=5) / 4000
    # Four standard deviations of a share of 4000 draws.
    np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.032)


def test_equal_keys_give_equal_batches():
    first, again = sampled(SMALL, seed=3), sampled(SMALL, seed=3)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert (sampled(SMALL, seed=4).inputs != first.inputs).any()
    assert len({row.tobytes() for row in first.inputs}) == 64, "rows are alike"


def test_it_is_compiled_into_its_caller():
    traced = []

    def draw(task, rng):
        traced.append(task)
        return task.sample(rng, 8)

    jitted = jax.jit(draw, static_argnums=0)
    batch = jitted(SMALL, jax.random.key(1))
    jitted(replace(SMALL), jax.random.key(2))
    assert len(traced) == 1, "equal settings were traced twice"
    jax.tree.map(
        np.testing.assert_array_equal, batch, SMALL.sample(jax.random.key(1), 8)
    )


@per_task
def test_shapes_and_dtypes(task):
    batch = jax.eval_shape(lambda rng: task.sample(rng, 5), jax.random.key(0))
    assert {leaf.shape for leaf in batch} == {(5, task.length)}
    assert [leaf.dtype for leaf in batch] == ["int32", "int32", "bool"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_keys": 0}, "num_keys is 0; it must be an integer of at least 1."),
        ({"num_values": 2.0}, "num_values is 2.0; it must be an integer"),
        ({"num_pairs": True}, "num_pairs is True; it must be an integer"),
        ({"num_queries": -1}, "num_queries is -1; it must be an integer"),
        ({"num_keys": 7}, "num_keys is 7; it must be at least num_pairs = 8"),
        ({"num_values": 7}, "num_values is 7; it must be at least num_pairs = 8"),
        ({"length": 30}, r"length is 30; it must be even and at least .* = 32."),
        ({"length": 41}, "length is 41; it must be even"),
        ({"power": 0.0}, "power is 0.0; it must be positive."),
        ({"power": float("nan")}, "power is nan; it must be positive."),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^MultiQueryRecall.{message}") as refusal:
        MultiQueryRecall(**settings)
    assert len(str(refusal.value).splitlines()) == 1
