"""One-word answers from the final memory: a sequence is read, then its memory asked."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from wmlstm_jax.core import readout
from wmlstm_jax.models.blocks import drop
from wmlstm_jax.models.conditional import ConditionalModel, Encoded
from wmlstm_jax.models.config import ReadoutConfig
from wmlstm_jax.models.language_model import NEVER, LanguageModel, Prediction
from wmlstm_jax.nn.layer import as_arrays

Array = jax.Array


@dataclass(frozen=True)
class _Step:
    """First the answer, then its end."""

    num_words: int

    def __call__(
        self, model: "AnswerModel", carry: tuple[Array, Array], tokens: Array
    ) -> tuple[tuple[Array, Array], Array]:
        answer, answered = carry
        answer = jnp.pad(answer, ((0, 0), (0, self.num_words)), constant_values=NEVER)
        end = jnp.where(jnp.arange(answer.shape[1]) == model.end, 0.0, NEVER)
        return (carry[0], jnp.ones_like(answered)), jnp.where(
            answered[:, None], end, answer
        )


class AnswerModel(ConditionalModel):
    """Says one word: `softmax(E norm(P [h_T; read(WM_T, q)]) + b)`.

    The query is learned, and asked once of the memory that is left after the sequence
    (`wmlstm_jax.core.readout`).

    Args:
      config: of the layers, and of the embedding that is the output too.
      vocab_size: V.
      unknown: the token for what the vocabulary has not; see `LanguageModel`.
      end: the token that follows the answer.
      rngs: gives the `params` keys.
    """

    def __init__(
        self,
        config: ReadoutConfig,
        vocab_size: int,
        *,
        unknown: int = 0,
        end: int,
        rngs: nnx.Rngs,
    ):
        self.config, self.end = config, end
        self.decoder = LanguageModel(config, vocab_size, unknown=unknown, rngs=rngs)
        found = config.hidden_dim
        if config.num_slots:
            found += config.num_heads * config.value_dim
        self.project = nnx.Linear(found, config.embed_dim, use_bias=False, rngs=rngs)

    def encode(self, source: Array, valid: Array, rng: Array | None = None) -> Encoded:
        """Reads sources and asks their memory; see `ConditionalModel`.

        Returns:
          In place of carries, the log probability of every answer, `[B, V]`, and
          whether it was said, `[B]`.
        """
        decoder, rate = self.decoder, self.config.dropout
        carries, _, _ = decoder.features(
            decoder.embed(source),
            decoder.initialize_carry(source.shape[0]),
            tags=source,
            valid=valid,
            rng=rng,
        )
        layer = decoder.blocks[-1].recurrence
        found = carries[-1].hidden
        if layer.config.reads:
            found = readout(as_arrays(layer.params), layer.config, carries[-1])
        outside = self.config.num_layers + 1  # Beyond what the decoder folds in.
        rng = None if rng is None else jax.random.fold_in(rng, outside)
        found = drop(found[:, None], rate, rng, 0)[:, 0]
        features = decoder.norm(self.project(found))
        logits = decoder.embedding.attend(features) + decoder.output_bias[...]
        answered = jnp.zeros(source.shape[0], bool)
        return Encoded((jax.nn.log_softmax(logits), answered), None)

    def predict(
        self,
        encoded: Encoded,
        tokens: Array,
        targets: Array,
        *,
        valid: Array | None = None,
        rng: Array | None = None,
        trace: int | None = None,
    ) -> Prediction:
        """How probable each target is; see `ConditionalModel`.

        Only an answer of one word, and its end, can be said, and it is not traced.
        """
        answer: Any = encoded.carries[0]
        vocab_size = answer.shape[1]
        first = jnp.take_along_axis(answer, targets[:, :1] % vocab_size, axis=1)
        first = jnp.where(targets[:, :1] < vocab_size, first, NEVER)
        later = jnp.where(targets[:, 1:] == self.end, 0.0, NEVER)
        log_probs = jnp.concatenate([first, later], axis=1)
        even = log_probs.at[:, 0].set(answer.mean(1))
        nothing = jnp.zeros((*targets.shape, self.config.embed_dim), log_probs.dtype)
        return Prediction(log_probs, log_probs, nothing, even)

    def step_fn(self, sources: Any, num_words: int = 0) -> jax.tree_util.Partial:
        """See `ConditionalModel`."""
        return jax.tree_util.Partial(_Step(num_words), self)
