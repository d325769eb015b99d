"""Sequence to sequence without an encoder: one language model reads and says."""

import jax
import jax.numpy as jnp
from flax import nnx

from wmlstm_jax.models.conditional import ConditionalModel, Encoded
from wmlstm_jax.models.config import ModelConfig
from wmlstm_jax.models.language_model import LanguageModel

Array = jax.Array


class SingleStream(ConditionalModel):
    """Source, a token that starts the target, and target are one text.

    What it remembers of the source is in its carry: in the working memory the words, as
    long as the policy keeps them.

    Args:
      config: of the language model.
      vocab_size: V, of sources and targets together.
      unknown: the token for what the vocabulary has not; see `LanguageModel`.
      unheard: the token that is heard in place of what was said; None hears it.
      rngs: gives the `params` keys.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocab_size: int,
        *,
        unknown: int = 0,
        unheard: int | None = None,
        rngs: nnx.Rngs,
    ):
        self.config, self.unheard = config, unheard
        self.decoder = LanguageModel(config, vocab_size, unknown=unknown, rngs=rngs)

    def encode(self, source: Array, valid: Array, rng: Array | None = None) -> Encoded:
        """Reads sources; see `ConditionalModel`."""
        layers = self.config.num_layers  # Below and at it, the decoder folds itself.
        carries, _, _ = self.decoder.features(
            self.decoder.embed(source),
            self.decoder.initialize_carry(source.shape[0]),
            tags=source,
            valid=valid,
            rng=None if rng is None else jax.random.fold_in(rng, layers + 1),
        )
        return Encoded(carries, None)

    def hear(self, said: Array) -> Array:
        """The tokens that come in where some were said; see `ConditionalModel`."""
        return said if self.unheard is None else jnp.full_like(said, self.unheard)
