"""What a memory did with a problem whose answers are known, step by step.

A trace is as that of a text, see `traces`; the inputs may also be vectors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wmlstm_jax.analysis.traces import MemoryTrace, arrange, layer_to_show
from wmlstm_jax.core import Trace
from wmlstm_jax.metrics import MemoryCounts, count_memory
from wmlstm_jax.models import SequenceModel
from wmlstm_jax.tasks import Batch, Form, correct

Array = jax.Array


class Answers(NamedTuple):
    """What a model said to one problem."""

    outputs: np.ndarray  # [T, O]: logits of classes or bits
    right: np.ndarray  # [T] bool: the answer is asked for, and right


def trace_task(
    model: SequenceModel, form: Form, problem: Batch, layer: int | None = None
) -> tuple[Answers, MemoryTrace]:
    """Runs a model over a problem.

    Args:
      model: of the task.
      form: of the task; its answers are classes or bits.
      problem: without the axis of the batch, as `SizedTask.one` gives it.
      layer: of the stack, from 0; by default the last.

    Raises:
      ValueError: the answers are real numbers, the model has no memory, or there is no
        such layer.
    """
    if form.answers == "reals":
        raise ValueError(
            "the answers of the task are real numbers, to which a model gives no"
            " probability; look at a task that asks for classes or bits."
        )
    layer = layer_to_show(model.config, layer)
    run = jax.jit(_run, static_argnums=(1, 3))
    outputs, right, trace, given, counts = jax.device_get(
        run(model, form, problem, layer)
    )
    tokens = np.asarray(problem.inputs)
    if tokens.ndim > 1:
        tokens = np.arange(len(tokens), dtype=np.int32)
    slots = model.config.cell(layer).memory.num_slots
    trace = arrange(trace, tokens, slots, None, given, counts)
    return Answers(outputs, right), trace


def _run(
    model: SequenceModel, form: Form, problem: Batch, layer: int
) -> tuple[Array, Array, Trace, Array, MemoryCounts]:
    """The outputs `[T, O]`, which are right `[T]`, the trace of the row, what was given
    to the right answer `[T]`, and counts."""
    batch = jax.tree.map(lambda leaf: leaf[None], problem)
    _, features, trace = model.features(batch.inputs, trace=layer)
    assert trace is not None
    outputs = model.outputs(features)
    valid, slots = jnp.ones((len(problem.scored), 1), bool), model.config.cell(layer)
    counts = count_memory(trace, valid, slots.memory.num_slots)
    if form.answers == "classes":
        log_probs = jax.nn.log_softmax(outputs)
        log_probs = jnp.take_along_axis(log_probs, batch.targets[..., None], -1)
        given = jnp.exp(log_probs[0, :, 0])
    else:
        # Of all bits together.
        signs = 2 * batch.targets[0] - 1
        given = jnp.exp(jax.nn.log_sigmoid(signs * outputs[0]).sum(-1))
    given, right = jnp.where(problem.scored, given, 0), correct(form, outputs, batch)
    trace = jax.tree.map(lambda leaf: leaf[:, 0], trace)
    return outputs[0], right[0], trace, given, counts
