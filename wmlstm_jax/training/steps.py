"""The compiled steps: one update, one batch of evaluation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from wmlstm_jax.metrics import (
    Likelihood,
    MemoryCounts,
    count_likelihood,
    count_memory,
)
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.training.losses import LanguageLoss, mean_nats
from wmlstm_jax.training.objectives import Batch, Objective
from wmlstm_jax.training.sharding import replicated, shard_of
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
    """

    def loss_fn(params, carry, batch, rng):
        carry, said = objective.predict(nnx.merge(graph, params), carry, batch, rng)
        minimised = loss(said, batch["valid"])
        return minimised, (mean_nats(said.log_probs, batch["valid"]), carry)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        rng = jax.random.fold_in(state.rng, state.step)
        (_, (nats, carry)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
            state.params, state.carry, batch, rng
        )
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(nats) & jnp.isfinite(norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params, opt_state, carry = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state, carry),
            (state.params, state.opt_state, state.carry),
        )
        state = TrainState(state.step + 1, params, opt_state, carry, state.rng)
        return state, StepMetrics(nats, norm, finite)

    out = (shard_of(state, mesh), replicated(mesh))
    return jax.jit(step, donate_argnums=0, out_shardings=out)


def make_eval_step(
    objective: Objective, graph: nnx.GraphDef, byte_counts: Array
) -> Callable[[Any, Any, Batch], tuple[Any, Likelihood]]:
    """Compiles one batch of evaluation: no dropout, the carry handed on.

    Args:
      objective: what is trained on.
      graph: from `model_graph`.
      byte_counts: `[V]` int32, bytes per token.
    """

    def step(params, carry, batch):
        carry, said = objective.predict(nnx.merge(graph, params), carry, batch)
        # A word outside the vocabulary would be scored as itself where it can be copied
        # and as any unknown word where it cannot: it is not scored.
        known = batch["targets"] < len(byte_counts)
        counts = count_likelihood(
            said.log_probs, batch["targets"], batch["valid"] & known, byte_counts
        )
        return carry, counts

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

    def step(params, carry, batch):
        _, said = objective.predict(nnx.merge(graph, params), carry, batch, trace=last)
        if said.trace is None:
            return None
        valid, share = batch["valid"].T, said.copy_share
        share = None if share is None else share.T
        return count_memory(said.trace, valid, model.num_slots, share)

    return jax.jit(step, out_shardings=replicated(mesh))
