"""A trained model and a neural cache on a task: what an unlearned memory gives.

The cache holds the features of a sequence with the token that came in after each, and
mixes them into the answer; see `wmlstm_jax.analysis.neural_cache`. It can answer where
answers are tokens that were told.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from wmlstm_jax.analysis.neural_cache import SHARES, SHARPNESS
from wmlstm_jax.benchmarks.learning import sequence_model
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.tasks import Form, Task, accuracy

Array = jax.Array
Choice = tuple[float, float]
"""Sharpness and share."""


def can_answer(form: Form) -> bool:
    """Whether answers are tokens of the input."""
    return form.num_tokens > 0 and form.num_tokens == form.num_outputs


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _accuracies(
    model: ModelConfig, task: Task, batch_size: int, params, rng: Array, choices: Array
):
    """The accuracy by each choice `[C, 2]`: `[C]`."""
    graph, _ = sequence_model(model, task.form)
    batch = task.sample(rng, batch_size)
    module = nnx.merge(graph, params)
    _, features, _ = module.features(batch.inputs)
    alone = jax.nn.softmax(module.outputs(features))
    unit = features / jnp.linalg.norm(features, axis=-1, keepdims=True)
    alike = jnp.einsum("btd,bsd->bts", unit, unit)
    time = jnp.arange(task.length)
    # What followed is known for all places before this one.
    seen = time < time[:, None]
    following = jnp.roll(batch.inputs, -1, axis=1)
    tokens = jax.nn.one_hot(following, task.form.num_outputs)

    def score(choice):
        sharpness, share = choice
        weights = jax.nn.softmax(sharpness * alike, where=seen)
        weights = jnp.where(seen.any(-1)[:, None], weights, 0)
        cached = jnp.einsum("bts,bsv->btv", weights, tokens)
        answers = ((1 - share) * alone + share * cached).argmax(-1)
        return accuracy((answers == batch.targets) & batch.scored, batch.scored)

    return jax.lax.map(score, choices)


def choose(
    model: ModelConfig, task: Task, batch_size: int, params: Any, rng: Array
) -> Choice:
    """Sharpness and share that answer best; `rng` is consumed."""
    choices = jnp.array(list(itertools.product(SHARPNESS, SHARES)))
    found = _accuracies(model, task, batch_size, params, rng, choices)
    sharpness, share = choices[int(jnp.argmax(found))].tolist()
    return sharpness, share


def evaluate(
    model: ModelConfig,
    task: Task,
    batch_size: int,
    params: Any,
    rng: Array,
    choice: Choice,
) -> float:
    """The accuracy on fresh samples, with the cache."""
    choices = jnp.array([choice])
    return float(_accuracies(model, task, batch_size, params, rng, choices)[0])
