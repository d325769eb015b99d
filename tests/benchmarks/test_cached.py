import jax
import numpy as np
import pytest

from wmlstm_jax.benchmarks import cached, learning
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.tasks import Copy, MultiQueryRecall, ParityCheck

TASK = MultiQueryRecall(6, 6, num_pairs=2, num_queries=2, length=12)
MODEL = ModelConfig(16, 16)


def trained(steps):
    course = learning.Course(TASK, num_steps=steps, eval_every=steps, target=2)
    return learning.train(MODEL, course, 0.01, 0)[1]


def test_it_answers_where_answers_are_tokens():
    assert cached.can_answer(TASK.form)
    assert not cached.can_answer(Copy(3).form)
    assert not cached.can_answer(ParityCheck(3).form)


def test_no_share_is_the_model_alone():
    params, rng = trained(2), jax.random.key(5)
    alone = learning.evaluate(MODEL, TASK, 64, params, rng)
    found = cached.evaluate(MODEL, TASK, 64, params, rng, (20.0, 0.0))
    assert found == pytest.approx(alone, rel=1e-6)


def test_by_hand():
    """The mixture, one place after another."""
    params, rng = trained(2), jax.random.key(6)
    graph, _ = learning.sequence_model(MODEL, TASK.form)
    module = learning.nnx.merge(graph, params)
    batch = TASK.sample(rng, 5)
    features = np.asarray(module.features(batch.inputs)[1], np.float64)
    alone = np.asarray(jax.nn.softmax(module(batch.inputs)[1]), np.float64)
    sharpness, share, right = 7.0, 0.6, 0
    for b, t in np.argwhere(np.asarray(batch.scored)):
        unit = features[b] / np.linalg.norm(features[b], axis=-1, keepdims=True)
        weights = np.exp(sharpness * unit[:t] @ unit[t])
        mixed = (1 - share) * alone[b, t]
        followers = np.asarray(batch.inputs)[b, 1 : t + 1]
        np.add.at(mixed, followers, share * weights / weights.sum())
        right += mixed.argmax() == batch.targets[b, t]
    got = cached.evaluate(MODEL, TASK, 5, params, rng, (sharpness, share))
    # Every sequence has as many answers.
    wanted = float(right) / np.asarray(batch.scored).sum()
    assert got == pytest.approx(wanted, rel=1e-6)


def test_the_choice_is_the_best_of_all():
    params, rng = trained(300), jax.random.key(7)
    best = cached.choose(MODEL, TASK, 64, params, rng)
    top = cached.evaluate(MODEL, TASK, 64, params, rng, best)
    for other in ((2.5, 0.02), (20.0, 0.3), (70.0, 0.5)):
        assert top >= cached.evaluate(MODEL, TASK, 64, params, rng, other)
