"""What training carries from step to step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from wmlstm_jax.models import LanguageModel, ModelConfig
from wmlstm_jax.models.language_model import Carries

Array = jax.Array


class TrainState(NamedTuple):
    """Parameters, optimiser and streams. Batch k is a function of `step` = k alone."""

    step: Array  # [] int32: updates done, and the position in the data
    params: dict  # nested, as nnx.to_pure_dict gives them
    opt_state: Any  # of Optax
    carry: Carries  # after the last window; every leaf leads with B
    rng: Array  # [] a PRNG key; dropout folds the step into it


def model_graph(config: ModelConfig, vocab_size: int) -> nnx.GraphDef:
    """The model without its parameters: hashable, equal for equal settings."""
    return nnx.split(
        nnx.eval_shape(lambda: LanguageModel(config, vocab_size, rngs=nnx.Rngs(0))),
        nnx.Param,
    )[0]


def init_state(
    config: ModelConfig,
    vocab_size: int,
    optimizer: optax.GradientTransformation,
    batch_size: int,
) -> Callable[[Array], TrainState]:
    """A pure function from a PRNG key to the first state, for `jit` or `eval_shape`."""

    def init(rng: Array) -> TrainState:
        params_rng, dropout_rng = jax.random.split(rng)
        model = LanguageModel(config, vocab_size, rngs=nnx.Rngs(params=params_rng))
        params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(params),
            carry=model.initialize_carry(batch_size),
            rng=dropout_rng,
        )

    return init


def num_params(config: ModelConfig, vocab_size: int) -> int:
    """How many numbers the model learns."""
    model = nnx.eval_shape(lambda: LanguageModel(config, vocab_size, rngs=nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
