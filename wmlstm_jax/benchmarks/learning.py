"""Training on a task that makes its own data, all on the device.

Many updates are one call, so that a small model is not kept waiting. One compilation
serves every learning rate and seed of a model on a task.
"""

import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from wmlstm_jax.benchmarks.gpt import GPTConfig, gpt_features, init_gpt
from wmlstm_jax.models import ModelConfig, SequenceModel
from wmlstm_jax.tasks import Batch, Form, Task, accuracy, correct, nats

Array = jax.Array


@dataclass(frozen=True)
class Course:
    """How a model is trained on a task.

    Args:
      task: what is learned.
      num_steps: updates at most.
      batch_size: B.
      eval_every: updates in one call, and between evaluations.
      eval_batch_size: B of an evaluation, on samples never seen before.
      target: the accuracy of an evaluation at which training stops; above 1 never.
      warmup: the share of the updates in which the rate rises; then it falls by a
        cosine.
    """

    task: Task
    num_steps: int = 2000
    batch_size: int = 32
    eval_every: int = 50
    eval_batch_size: int = 256
    target: float = 0.999
    warmup: float = 0.05


class Run(NamedTuple):
    """One training, as it is written down."""

    rate: float
    seed: int
    num_params: int
    steps: list[int]  # of the evaluations
    loss: list[float]  # nats, the mean over the updates before each
    accuracy: list[float]
    seconds: float  # compilation included


def build(model: ModelConfig | GPTConfig, form: Form) -> tuple[Callable, Callable]:
    """A model for a task.

    Returns:
      `init(rng) -> params`, and `apply(params, inputs, places=None) -> outputs`, which
      are those of `places [B, A]` only, where they are given.
    """
    if isinstance(model, GPTConfig):
        return _build_gpt(model, form)
    graph, init = sequence_model(model, form)

    def apply(params, inputs, places=None):
        module = nnx.merge(graph, params)
        return module.outputs(_at(places, module.features(inputs)[1]))

    return init, apply


def _at(places, leaf):
    """`[B, T, ..]` to `[B, A, ..]`; all of it where `places` is None."""
    if places is None:
        return leaf
    return jax.vmap(lambda row, at: row[at])(leaf, places)


def scored_places(task: Task, batch: Batch) -> tuple[Array | None, Batch]:
    """Where answers are asked for, so that no others are computed.

    Args:
      task: says how many there are at most.
      batch: its samples.

    Returns:
      The places, `[B, A]`, and what was asked there; None and all of it where any place
      may be scored.
    """
    if task.max_scored == task.length:
        return None, batch
    places = jax.lax.top_k(batch.scored.astype(jnp.int32), task.max_scored)[1]
    targets, scored = _at(places, batch.targets), _at(places, batch.scored)
    return places, Batch(batch.inputs, targets, scored)


def sequence_model(model: ModelConfig, form: Form) -> tuple[nnx.GraphDef, Callable]:
    """One of ours for a task: its graph, and `init(rng) -> params`."""

    def make(rng):
        return SequenceModel(
            model,
            num_tokens=form.num_tokens,
            input_dim=form.input_dim,
            num_outputs=form.num_outputs,
            rngs=nnx.Rngs(rng),
        )

    graph, _ = nnx.split(nnx.eval_shape(make, jax.random.key(0)))
    return graph, lambda rng: nnx.to_pure_dict(nnx.state(make(rng)))


def _build_gpt(config, form):
    width = config.embed_dim

    def init(rng):
        gpt_rng, enter_rng, leave_rng = jax.random.split(rng, 3)
        rows = form.num_tokens or form.input_dim
        scale = 1.0 if form.num_tokens else rows**-0.5
        leave = (width, form.num_outputs)
        params = init_gpt(gpt_rng, config)
        blocks = {name: params[name] for name in ("blocks", "norm")}
        return blocks | {
            "enter": scale * jax.random.normal(enter_rng, (rows, width)),
            "leave": width**-0.5 * jax.random.normal(leave_rng, leave),
            "bias": jnp.zeros(form.num_outputs),
        }

    def apply(params, inputs, places=None):
        enter = params["enter"]
        xs = enter[inputs] if form.num_tokens else inputs @ enter
        features = _at(places, gpt_features(config, params, xs))
        return features @ params["leave"] + params["bias"]

    return init, apply


def count_params(model: ModelConfig | GPTConfig, form: Form) -> int:
    """How many numbers a model learns."""
    init, _ = build(model, form)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


class State(NamedTuple):
    """What training carries."""

    params: Any
    opt_state: Any
    rng: Array
    step: Array  # []


@functools.partial(jax.jit, static_argnums=(0, 1))
def first_state(model, course: Course, rng: Array) -> State:
    """Parameters and optimiser before the first update; `rng` is consumed."""
    init_rng, rng = jax.random.split(rng)
    params = build(model, course.task.form)[0](init_rng)
    return State(params, optax.scale_by_adam().init(params), rng, jnp.int32(0))


def _rate(course: Course, peak: Array, step: Array) -> Array:
    """Up in a line, and down by a cosine to a twentieth."""
    rise = course.warmup * course.num_steps
    along = jnp.clip((step - rise) / (course.num_steps - rise), 0, 1)
    fall = 0.05 + 0.95 * 0.5 * (1 + jnp.cos(jnp.pi * along))
    return peak * jnp.where(step < rise, (step + 1) / rise, fall)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_steps(model, course: Course, state: State, peak: Array):
    """`eval_every` updates: the state after them, and their mean loss, `[]`."""
    task, (_, apply) = course.task, build(model, course.task.form)
    adam, clip = optax.scale_by_adam(), optax.clip_by_global_norm(1.0)

    def update(state, _):
        batch = task.sample(
            jax.random.fold_in(state.rng, state.step), course.batch_size
        )
        places, batch = scored_places(task, batch)

        def loss_fn(params):
            return nats(task.form, apply(params, batch.inputs, places), batch)

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        grads, _ = clip.update(grads, clip.init(grads))
        updates, opt_state = adam.update(grads, state.opt_state)
        rate = _rate(course, peak, state.step)
        params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
        return State(params, opt_state, state.rng, state.step + 1), loss

    state, losses = jax.lax.scan(update, state, length=course.eval_every)
    return state, losses.mean()


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def answer(model, task: Task, batch_size: int, params, rng: Array, *sizes: Array):
    """Fresh samples, and which answers to them are right, `[B, T]` bool."""
    apply = build(model, task.form)[1]
    batch = task.sample(rng, batch_size, *sizes)
    places, asked = scored_places(task, batch)
    right = correct(task.form, apply(params, batch.inputs, places), asked)
    if places is None:
        return batch, right
    rows = jnp.arange(batch_size)[:, None]
    return batch, jnp.zeros_like(batch.scored).at[rows, places].set(right)


def evaluate(model, task: Task, batch_size: int, params, rng: Array, *sizes) -> float:
    """The accuracy on fresh samples."""
    batch, right = answer(model, task, batch_size, params, rng, *sizes)
    return float(accuracy(right, batch.scored))


def train(
    model: ModelConfig | GPTConfig,
    course: Course,
    rate: float,
    seed: int,
    tell: Callable[[float, str], None] = lambda part, text: None,
) -> tuple[Run, Any]:
    """Trains until the target or the last update, whichever comes first.

    Args:
      model: the settings of a model.
      course: how it is trained.
      rate: the peak learning rate.
      seed: of parameters and samples.
      tell: given the part that is done, in (0, 1], and a line about it.

    Returns:
      The run and the parameters.
    """
    began = time.perf_counter()
    train_rng, eval_rng = jax.random.split(jax.random.key(seed))
    state = first_state(model, course, train_rng)
    run = Run(rate, seed, count_params(model, course.task.form), [], [], [], 0.0)
    for step in range(course.eval_every, course.num_steps + 1, course.eval_every):
        state, loss = train_steps(model, course, state, jnp.float32(rate))
        rng = jax.random.fold_in(eval_rng, step)
        accuracy = evaluate(
            model, course.task, course.eval_batch_size, state.params, rng
        )
        run.steps.append(step)
        run.loss.append(float(loss))
        run.accuracy.append(accuracy)
        seconds = time.perf_counter() - began
        run = run._replace(seconds=seconds)
        tell(
            step / course.num_steps,
            f"step {step}/{course.num_steps} | {step / seconds:.1f} steps/s | loss"
            f" {run.loss[-1]:.4f} | accuracy {run.accuracy[-1]:.1%}",
        )
        if run.accuracy[-1] >= course.target:
            break
    return run, state.params
