"""A model of tasks with known answers: an output at every place of a sequence."""

import jax
from flax import nnx

from wmlstm_jax.core import Trace
from wmlstm_jax.models.blocks import Block, drop, run_block
from wmlstm_jax.models.config import ModelConfig
from wmlstm_jax.models.language_model import Carries

Array = jax.Array


class SequenceModel(nnx.Module):
    """Embedding or projection, WM-LSTM blocks, and an output layer.

    Where answers are the input's tokens, the output is the embedding again.

    Example:
      >>> config = ModelConfig(embed_dim=32, hidden_dim=32, num_slots=16)
      >>> model = SequenceModel(config, input_dim=10, num_outputs=8, rngs=nnx.Rngs(0))
      >>> _, outputs = model(jnp.zeros((4, 20, 10)))  # [4, 20, 8]

    Args:
      config: the settings; the copy head is not used.
      num_tokens: of the inputs; 0 if they are vectors.
      input_dim: the width of an input vector; 0 if they are tokens.
      num_outputs: O.
      rngs: gives the `params` keys.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        num_tokens: int = 0,
        input_dim: int = 0,
        num_outputs: int,
        rngs: nnx.Rngs,
    ):
        self.config = config
        width = config.embed_dim
        self.embedding = nnx.Embed(num_tokens, width, rngs=rngs) if num_tokens else None
        self.enter = nnx.Linear(input_dim, width, rngs=rngs) if input_dim else None
        blocks = range(config.num_layers)
        self.blocks = nnx.List([Block(config, layer, rngs=rngs) for layer in blocks])
        self.norm = nnx.RMSNorm(width, rngs=rngs)
        tied = num_tokens == num_outputs
        self.leave = None if tied else nnx.Linear(width, num_outputs, rngs=rngs)

    def initialize_carry(self, batch_size: int) -> Carries:
        """The state of every layer before the first place of `batch_size` rows."""
        return tuple(
            block.recurrence.initialize_carry(batch_size) for block in self.blocks
        )

    def __call__(
        self,
        inputs: Array,
        carries: Carries | None = None,
        *,
        rng: Array | None = None,
        reading: bool | Array = True,
    ) -> tuple[Carries, Array]:
        """Runs the model.

        Args:
          inputs: `[B, T]` int32 tokens or `[B, T, I]` float.
          carries: from `initialize_carry` or an earlier call; None starts afresh.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          reading: where False, the memory reads as zeros; see `Block`.

        Returns:
          The carries after, and `[B, T, O]`: logits or numbers.
        """
        carries, features, _ = self.features(inputs, carries, rng=rng, reading=reading)
        return carries, self.outputs(features)

    def features(
        self,
        inputs: Array,
        carries: Carries | None = None,
        *,
        rng: Array | None = None,
        reading: bool | Array = True,
        trace: int | None = None,
    ) -> tuple[Carries, Array, Trace | None]:
        """What the outputs are made of; see the call.

        Args:
          inputs: `[B, T]` int32 tokens or `[B, T, I]` float.
          carries: the state before; None starts afresh.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          reading: where False, the memory reads as zeros.
          trace: also gives what the memory of this block did, counted from 0.

        Returns:
          The carries after, normalised features `[B, T, D]`, and the trace, time-major,
          where it was asked for.
        """
        if carries is None:
            carries = self.initialize_carry(inputs.shape[0])
        if self.embedding is not None:
            xs, tags = self.embedding(inputs), inputs
        else:
            assert self.enter is not None
            xs, tags = self.enter(inputs), None
        after, traced, rate = [], None, self.config.dropout
        outside = None if rng is None else jax.random.fold_in(rng, len(self.blocks))
        xs = drop(xs, rate, outside, 0)
        for layer, (block, carry) in enumerate(zip(self.blocks, carries, strict=True)):
            rng_of = None if rng is None else jax.random.fold_in(rng, layer)
            carry, xs, beside = run_block(
                block,
                xs,
                carry,
                tags=tags,
                rng=rng_of,
                reading=reading,
                trace=trace == layer,
            )
            after.append(carry)
            if beside is not None:
                traced = beside.trace
        return tuple(after), drop(self.norm(xs), rate, outside, 1), traced

    def outputs(self, features: Array) -> Array:
        """Features to `[B, T, O]`."""
        if self.leave is not None:
            return self.leave(features)
        assert self.embedding is not None
        return self.embedding.attend(features)
