"""What a trace says of a problem is what the model did with it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.analysis import trace_task
from wmlstm_jax.models import ModelConfig, SequenceModel
from wmlstm_jax.tasks import Adding, Copy, Stories, correct

SLOTS = 4
MODEL = ModelConfig(
    8,
    6,
    num_layers=2,
    num_heads=2,
    key_dim=4,
    value_dim=4,
    num_slots=SLOTS,
    read_modes=("content", 0, 1, -1),
)
TASKS = {"vectors": Copy(4, num_bits=5), "tokens": Stories(2)}
# Float32, of which one program is a scan and the other is none.
SAME = {"rtol": 1e-4, "atol": 1e-6}


def random_model(task, config=MODEL):
    """A model with random weights, large enough that they show."""
    form, rng = task.form, np.random.default_rng(0)
    model = SequenceModel(
        config,
        num_tokens=form.num_tokens,
        input_dim=form.input_dim,
        num_outputs=form.num_outputs,
        rngs=nnx.Rngs(0),
    )
    graph, params = nnx.split(model)

    def draw(leaf):
        return jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype)

    return nnx.merge(graph, jax.tree.map(draw, params))


def problem_of(task):
    return task.one(jax.random.key(1), jnp.int32(task.max_size))


@pytest.fixture(params=TASKS, scope="module")
def task(request):
    return TASKS[request.param]


@pytest.fixture(scope="module", params=range(MODEL.num_layers))
def layer(request):
    return request.param


@pytest.fixture(scope="module")
def looked(task, layer):
    return trace_task(random_model(task), task.form, problem_of(task), layer)


def test_the_trace_of_a_run_is_the_run(task, layer, looked):
    """Step by step, by the same model."""
    (answers, trace), model, problem = looked, random_model(task), problem_of(task)
    carries, step = model.initialize_carry(1), jax.jit(type(model).__call__)
    for t in range(task.length):
        carries, outputs = step(model, problem.inputs[None, t : t + 1], carries)
        np.testing.assert_allclose(answers.outputs[t], outputs[0, 0], **SAME)
        memory = carries[layer].memory
        held = np.where(memory.live[0], memory.written[0], -1)
        np.testing.assert_array_equal(trace.owners[t], held)
        # The memory keeps what was read last, but of the slot that it wrote since.
        stays = np.arange(SLOTS) != trace.writes.slots[t, 0, 0]
        np.testing.assert_allclose(
            trace.reads.slots[t][:, stays], memory.weights[0][:, stays], **SAME
        )
    assert (held >= 0).all() and trace.reads.slots.any()
    np.testing.assert_array_equal(
        answers.right,
        correct(
            task.form, answers.outputs[None], jax.tree.map(lambda x: x[None], problem)
        )[0],
    )


def test_what_is_given_is_the_probability_of_the_right_answer(task, looked):
    (answers, trace), problem = looked, problem_of(task)
    assert problem.scored.any() and not problem.scored.all()
    for t, scored in enumerate(problem.scored):
        wanted = 0.0
        if scored and task.form.answers == "classes":
            wanted = jax.nn.softmax(answers.outputs[t])[problem.targets[t]]
        elif scored:
            one = jax.nn.sigmoid(answers.outputs[t])
            wanted = np.where(problem.targets[t] > 0, one, 1 - one).prod()
        np.testing.assert_allclose(trace.given[t], wanted, **SAME)


def test_tokens_are_those_that_came_or_the_steps(task, looked):
    _, trace = looked
    tokens = problem_of(task).inputs if task.form.num_tokens else np.arange(task.length)
    np.testing.assert_array_equal(trace.tokens, tokens)


def test_by_default_it_is_the_last_layer(task, looked, layer):
    _, last = trace_task(random_model(task), task.form, problem_of(task))
    assert np.allclose(last.gates, looked[1].gates) == (layer == 1)


def test_what_cannot_be_looked_at():
    adding, copying = Adding(3), TASKS["vectors"]
    with pytest.raises(ValueError, match="the answers of the task are real numbers"):
        trace_task(random_model(adding), adding.form, problem_of(adding))
    with pytest.raises(ValueError, match="the layer is 2; the model has the layers 0"):
        trace_task(random_model(copying), copying.form, problem_of(copying), 2)
    plain = random_model(copying, replace(MODEL, num_slots=0, read_modes=("content",)))
    with pytest.raises(ValueError, match="layer 1 of the model has no slots to look"):
        trace_task(plain, copying.form, problem_of(copying))
