"""The compiled steps: one update, one batch of evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from wmlstm_jax.core.equations import rows_apart
from wmlstm_jax.metrics import (
    Likelihood,
    MemoryCounts,
    count_likelihood,
    count_memory,
)
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.models.placement import placed
from wmlstm_jax.training.losses import LanguageLoss, mean_nats
from wmlstm_jax.training.objectives import Batch, Objective
from wmlstm_jax.training.optimizer_config import OptimizerConfig
from wmlstm_jax.training.sharding import (
    gather,
    replicated,
    rows_of,
    shard_of,
    shard_of_carry,
)
from wmlstm_jax.training.state import TrainState

Array = jax.Array


class StepMetrics(NamedTuple):
    """What an update reports."""

    loss: Array  # [] nats per token, with dropout
    grad_norm: Array  # [] of the whole gradient, before clipping
    finite: Array  # [] bool: False if the update was skipped


def make_train_step(
    objective: Objective,
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    state: TrainState,
    loss: LanguageLoss,
    settings: OptimizerConfig,
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
    """Compiles one update; it takes over the buffers of the state given to it.

    Where loss or gradient is not finite, parameters, optimiser and carry stay as they
    were: a carry that met a NaN would keep it.

    Args:
      objective: what is trained on.
      graph: from `model_graph`.
      optimizer: from `make_optimizer`.
      mesh: from `make_mesh`.
      state: a state, or its shapes, to read the structure from.
      loss: what is minimised; the nats of the mixture are what is reported.
      settings: in how many parts a batch is computed, and what is averaged.
    """
    predict = _predict_on(mesh, objective, graph)

    def loss_fn(params, carry, batch, rng, count):
        carry, said = predict(params, carry, batch, rng)
        minimised = loss(said, batch["valid"], count)
        return minimised, (mean_nats(said.log_probs, batch["valid"], count), carry)

    gradient = accumulated(
        jax.value_and_grad(loss_fn, has_aux=True), settings.accumulate
    )

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        rng = jax.random.fold_in(state.rng, state.step)
        count = batch["valid"].sum()
        with rows_apart(mesh.size > 1):
            grads, nats, carry = gradient(state.params, state.carry, batch, rng, count)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(nats) & jnp.isfinite(norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if average is not None:
            rate = 1 - settings.average
            average = optax.incremental_update(params, average, rate)
        updated = state._replace(
            params=params, opt_state=opt_state, average=average, carry=carry
        )
        # The random key has no arithmetic, and stays.
        rng = state.rng
        updated, state = updated._replace(rng=None), state._replace(rng=None)
        kept = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), updated, state
        )
        state = kept._replace(step=state.step + 1, rng=rng)
        return state, StepMetrics(nats, norm, finite)

    out = (shard_of(state, mesh), replicated(mesh))
    return jax.jit(step, donate_argnums=0, out_shardings=out)


def _predict_on(mesh: Mesh, objective: Objective, graph: nnx.GraphDef) -> Callable:
    """`objective.predict` of spread parameters in the place of a model."""

    def predict(params, carry, batch, *more, **options):
        model = nnx.merge(graph, gather(params, mesh))
        rows = rows_of(mesh, len(batch["valid"]))
        with rows_apart(mesh.size > 1), placed(rows):
            return objective.predict(model, carry, batch, *more, **options)

    return predict


def accumulated(value_and_grad: Callable, parts: int) -> Callable:
    """The gradient of a batch, part after part: the sum, to rounding.

    Args:
      value_and_grad: of a loss that is divided by the count of the whole batch.
      parts: how many; each has every `parts`-th row, so that every device has rows of
        each.

    Returns:
      Of the same arguments: gradient, nats and carry.
    """
    if parts == 1:

        def whole(*given):
            (_, (nats, carry)), grads = value_and_grad(*given)
            return grads, nats, carry

        return whole

    def split(leaf):
        by_row = leaf.reshape(leaf.shape[0] // parts, parts, *leaf.shape[1:])
        return by_row.swapaxes(0, 1)

    def join(leaf):
        return leaf.swapaxes(0, 1).reshape(-1, *leaf.shape[2:])

    def run(params, carry, batch, rng, count):
        def turn(total, given):
            carry, batch, part = given
            (_, (nats, carry)), grads = value_and_grad(
                params, carry, batch, jax.random.fold_in(rng, part), count
            )
            return jax.tree.map(jnp.add, total, (grads, nats)), carry

        nothing = jax.tree.map(jnp.zeros_like, params), jnp.zeros(())
        given = jax.tree.map(split, (carry, batch))
        total, carry = jax.lax.scan(turn, nothing, (*given, jnp.arange(parts)))
        return *total, jax.tree.map(join, carry)

    return run


def make_eval_step(
    objective: Objective, graph: nnx.GraphDef, byte_counts: Array, mesh: Mesh
) -> Callable[[Any, Any, Batch], tuple[Any, Likelihood]]:
    """Compiles one batch of evaluation: no dropout, the carry handed on.

    Args:
      objective: what is trained on.
      graph: from `model_graph`.
      byte_counts: `[V]` int32, bytes per token.
      mesh: from `make_mesh`.
    """
    predict = _predict_on(mesh, objective, graph)

    def step(params, carry, batch):
        carry, said = predict(params, carry, batch)
        # A word outside the vocabulary would be scored as itself where it can be copied
        # and as any unknown word where it cannot: it is not scored.
        known = batch["targets"] < len(byte_counts)
        counts = count_likelihood(
            said.log_probs, batch["targets"], batch["valid"] & known, byte_counts
        )
        places = shard_of_carry(carry, mesh), replicated(mesh)
        return jax.lax.with_sharding_constraint((carry, counts), places)

    return jax.jit(step, donate_argnums=1)


def make_memory_step(
    objective: Objective, graph: nnx.GraphDef, model: ModelConfig, mesh: Mesh
) -> Callable[[Any, Any, Batch], MemoryCounts | None]:
    """Compiles a look at what the memory of the last layer does with a batch.

    Args:
      objective: what is trained on.
      graph: from `model_graph`.
      model: its settings.
      mesh: from `make_mesh`.

    Returns:
      Of parameters, carry and batch the counts, or None where nothing can be traced.
    """
    last = model.num_layers - 1
    predict = _predict_on(mesh, objective, graph)

    def step(params, carry, batch):
        _, said = predict(params, carry, batch, trace=last)
        if said.trace is None:
            return None
        valid, share = batch["valid"].T, said.copy_share
        share = None if share is None else share.T
        return count_memory(said.trace, valid, model.num_slots, share)

    return jax.jit(step, out_shardings=replicated(mesh))
