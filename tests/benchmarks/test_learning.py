import jax
import numpy as np
import pytest

from wmlstm_jax.benchmarks import learning
from wmlstm_jax.benchmarks.gpt import (
    Cache,
    GPTConfig,
    gpt_features,
    gpt_step,
    init_gpt,
)
from wmlstm_jax.benchmarks.learning import (
    Course,
    build,
    count_params,
    evaluate,
    train,
)
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.tasks import Copy, MultiQueryRecall, ParityCheck, correct, nats

MODEL = ModelConfig(8, 8, num_heads=1, key_dim=4, value_dim=4, num_slots=4)
GPT = GPTConfig(8, num_heads=2, num_layers=2, mlp_dim=12, vocab_size=0)
COURSE = Course(
    ParityCheck(3), num_steps=6, batch_size=4, eval_every=2, eval_batch_size=8, target=2
)
both_models = pytest.mark.parametrize(
    "model",
    [
        pytest.param(MODEL, id="ours"),
        pytest.param(GPT, id="gpt", marks=pytest.mark.long),
    ],
)


@both_models
@pytest.mark.parametrize("task", [Copy(3, num_bits=2), ParityCheck(4)], ids=["v", "t"])
def test_both_models_take_both_kinds_of_input(model, task):
    init, apply = map(jax.jit, build(model, task.form))
    params = init(jax.random.key(0))
    batch = task.sample(jax.random.key(1), 3)
    outputs = apply(params, batch.inputs)
    assert outputs.shape == (3, task.length, task.form.num_outputs)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count_params(model, task.form) == size
    # Nothing is known of what comes later.
    changed = batch.inputs.at[:, -1].set(1 - batch.inputs[:, -1])
    np.testing.assert_allclose(
        apply(params, changed)[:, :-1], outputs[:, :-1], rtol=1e-5, atol=1e-6
    )


@both_models
def test_only_what_is_asked_needs_outputs(model):
    task = MultiQueryRecall(5, 5, num_pairs=2, num_queries=3, length=14)
    batch = task.sample(jax.random.key(0), 4)
    init, apply = build(model, task.form)
    params = init(jax.random.key(1))
    whole = apply(params, batch.inputs)
    places, asked = learning.scored_places(task, batch)
    outputs = apply(params, batch.inputs, places)
    assert outputs.shape == (4, 3, 11) and bool(asked.scored.all())
    np.testing.assert_array_equal(places, np.nonzero(batch.scored)[1].reshape(4, 3))
    np.testing.assert_allclose(
        nats(task.form, outputs, asked), nats(task.form, whole, batch), rtol=1e-6
    )
    _, right = learning.answer(model, task, 4, params, jax.random.key(0))
    np.testing.assert_array_equal(right, correct(task.form, whole, batch))


def test_a_gpt_gives_step_by_step_what_it_gives_at_once():
    config = GPTConfig(8, num_heads=2, num_layers=2, mlp_dim=12, vocab_size=5)
    params = init_gpt(jax.random.key(0), config)
    params["embedding"] = 9 * params["embedding"]
    tokens = np.random.default_rng(0).integers(0, 5, (2, 6))
    features = jax.jit(gpt_features, static_argnums=0)(
        config, params, params["embedding"][tokens]
    )
    logits = features @ params["embedding"].T + params["output_bias"]
    empty = tuple(np.zeros((4, 4, 6), np.float32) for _ in range(2))
    cache = Cache(empty, empty, np.int32(0))
    step = jax.jit(gpt_step, static_argnums=0)
    for place in range(6):
        cache, log_probs = step(config, params, cache, tokens[:, place])
        wanted = jax.nn.log_softmax(logits[:, place])
        np.testing.assert_allclose(log_probs, wanted, rtol=1e-4, atol=1e-5)


def test_training_is_repeatable_and_stops_at_the_target():
    said = []
    run, params = train(MODEL, COURSE, 0.01, 0, lambda *told: said.append(told))
    again, _ = train(MODEL, COURSE, 0.01, 0)
    other, _ = train(MODEL, COURSE, 0.01, 1)
    assert run.steps == [2, 4, 6] and len(said) == 3
    assert (run.loss, run.accuracy) == (again.loss, again.accuracy)
    assert run.loss != other.loss
    assert said[-1][0] == 1 and "step 6/6 | " in said[-1][1]
    score = evaluate(MODEL, COURSE.task, 64, params, jax.random.key(3))
    assert 0.2 < score < 0.8
    easy = Course(**{**COURSE.__dict__, "target": 0.0})
    assert train(MODEL, easy, 0.01, 0)[0].steps == [2]


def test_it_learns():
    course = Course(ParityCheck(3), num_steps=400, eval_every=50, target=1.0)
    run, _ = train(MODEL, course, 0.02, 0)
    assert run.accuracy[-1] == 1
    assert run.loss[-1] < 0.3 * run.loss[0]


def test_the_rate_rises_and_falls():
    """Adam's first update is the rate times the sign of the gradient."""
    course = Course(**{**COURSE.__dict__, "eval_every": 1, "num_steps": 40})
    rates = [float(learning._rate(course, 1.0, step)) for step in range(40)]
    assert rates[:3] == pytest.approx([0.5, 1, 1], abs=0.01)
    assert rates[21] == pytest.approx(0.525, abs=0.01)
    assert rates[39] == pytest.approx(0.05, abs=0.01)
    state = learning.first_state(MODEL, course, jax.random.key(0))
    before = np.asarray(state.params["norm"]["scale"])
    state, _ = learning.train_steps(MODEL, course, state, np.float32(0.02))
    moved = np.abs(np.asarray(state.params["norm"]["scale"]) - before)
    np.testing.assert_allclose(moved, 0.01, rtol=1e-3)
