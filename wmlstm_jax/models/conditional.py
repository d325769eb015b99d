"""What says a target, however it has taken in the source."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from flax import nnx

from wmlstm_jax.models.language_model import (
    Carries,
    LanguageModel,
    Prediction,
    Sources,
)

Array = jax.Array


class Encoded(NamedTuple):
    """All that a decoder needs of a source."""

    carries: Any  # of the decoder, before its first token: what its `step_fn` takes
    sources: Sources | None  # the bank of every layer of the decoder, if it reads one


@dataclass(frozen=True)
class _Step:
    """One token further, `tokens [B]`; equal ones compile once."""

    num_words: int

    def __call__(
        self,
        model: "ConditionalModel",
        sources: Sources | None,
        carries: Carries,
        tokens: Array,
    ) -> tuple[Carries, Array]:
        return model.decoder.further(
            carries,
            model.hear(tokens)[:, None],
            sources=sources,
            num_words=self.num_words,
        )


class ConditionalModel(nnx.Module):
    """A language model of targets, given sources that `encode` takes in."""

    decoder: LanguageModel

    def encode(self, source: Array, valid: Array, rng: Array | None = None) -> Encoded:
        """Reads sources.

        Args:
          source: `[B, S]` int32; V and more for words outside the vocabulary.
          valid: `[B, S]` bool.
          rng: a PRNG key for dropout, consumed; None for no dropout.
        """
        raise NotImplementedError

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
        """How probable each target is, given the source and the tokens before it.

        Args:
          encoded: from `encode`.
          tokens: `[B, T]` int32, the targets behind the token that starts.
          targets: `[B, T]` int32.
          valid: `[B, T]` bool.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          trace: as in `LanguageModel.predict`.
        """
        carries, sources = encoded
        return self.decoder.predict(
            self.hear(tokens),
            targets,
            carries,
            valid=valid,
            sources=sources,
            rng=rng,
            trace=trace,
        )[1]

    def hear(self, said: Array) -> Array:
        """The tokens that come in where some were said; the same, of the same shape."""
        return said

    def step_fn(
        self, sources: Sources | None, num_words: int = 0
    ) -> jax.tree_util.Partial:
        """The `step_fn` of `wmlstm_jax.inference`; it compiles once for all parameters.

        Args:
          sources: from `encode`; for a beam search as `repeat_rows` gives them.
          num_words: E, words outside the vocabulary that may be copied; log
            probabilities are `[B, V + E]`.
        """
        return jax.tree_util.Partial(_Step(num_words), self, sources)
