"""What training carries from step to step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from wmlstm_jax.training.objectives import Objective

Array = jax.Array


class TrainState(NamedTuple):
    """Parameters, optimiser and streams. Batch k is a function of `step` = k alone."""

    step: Array  # [] int32: updates done, and the position in the data
    params: dict  # nested, as nnx.to_pure_dict gives them
    opt_state: Any  # of Optax
    average: Any  # of the parameters over updates, or None
    carry: Any  # after the last batch; every leaf leads with B
    rng: Array  # [] a PRNG key; dropout folds the step into it

    @property
    def chosen(self) -> dict:
        """The parameters to use: the average, where there is one."""
        return self.params if self.average is None else self.average


def init_state(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    *,
    averaged: bool = False,
) -> Callable[[Array], TrainState]:
    """A pure function from a PRNG key to the first state, for `jit` or `eval_shape`."""

    def init(rng: Array) -> TrainState:
        params_rng, dropout_rng = jax.random.split(rng)
        model = objective.build(nnx.Rngs(params=params_rng))
        params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(params),
            # Of its own: a buffer that stands twice in a state cannot be donated.
            average=jax.tree.map(jnp.copy, params) if averaged else None,
            carry=objective.initialize_carry(model, batch_size),
            rng=dropout_rng,
        )

    return init
