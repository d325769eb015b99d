"""What is trained on: how a model is made, and what it says of a batch."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
from flax import nnx

from wmlstm_jax.models import (
    AnswerModel,
    ConditionalModel,
    DecoderConfig,
    LanguageModel,
    ModelConfig,
    ReadoutConfig,
    Seq2Seq,
    Seq2SeqConfig,
    SingleStream,
)
from wmlstm_jax.models.language_model import Carries, Prediction
from wmlstm_jax.training.config import LANGUAGE_MODELING, TrainConfig

Array = jax.Array
Batch = dict[str, Array]


class Objective(Protocol):
    """A kind of model with its batches; hashable, equal for equal settings."""

    def build(self, rngs: nnx.Rngs) -> Any:
        """The model."""
        ...

    def initialize_carry(self, model: Any, batch_size: int) -> Any:
        """What passes from batch to batch, before the first."""
        ...

    def predict(
        self,
        model: Any,
        carry: Any,
        batch: Batch,
        rng: Array | None = None,
        trace: int | None = None,
    ) -> tuple[Any, Prediction]:
        """What the model says of `batch["targets"]`, where `batch["valid"]`.

        Args:
          model: from `build`.
          carry: after the batch before.
          batch: as the data of this kind has them.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          trace: also gives what the memory of this layer did, where the model is one
            that says word after word.
        """
        ...


@dataclass(frozen=True)
class LanguageModeling:
    """The next token of a text, window after window.

    Args:
      config: of the model.
      vocab_size: V.
    """

    config: ModelConfig
    vocab_size: int

    def build(self, rngs: nnx.Rngs) -> LanguageModel:
        """The model."""
        return LanguageModel(self.config, self.vocab_size, rngs=rngs)

    def initialize_carry(self, model: LanguageModel, batch_size: int) -> Carries:
        """The state of the streams before the first token."""
        return model.initialize_carry(batch_size)

    def predict(
        self,
        model: LanguageModel,
        carry: Carries,
        batch: Batch,
        rng: Array | None = None,
        trace: int | None = None,
    ) -> tuple[Carries, Prediction]:
        """What it says of a window; the carry goes on."""
        return model.predict(
            batch["inputs"],
            batch["targets"],
            carry,
            valid=batch["valid"],
            reset=batch["reset"],
            rng=rng,
            trace=trace,
        )


@dataclass(frozen=True)
class Turns:
    """Targets, given all that came in and was said before, in one stream.

    Args:
      config: of the model.
      vocab_size: V.
      unknown: the token for what the vocabulary has not.
      unheard: as in `SingleStream`.
    """

    config: ModelConfig
    vocab_size: int
    unknown: int
    unheard: int | None = None

    def build(self, rngs: nnx.Rngs) -> SingleStream:
        """The model."""
        return SingleStream(
            self.config,
            self.vocab_size,
            unknown=self.unknown,
            unheard=self.unheard,
            rngs=rngs,
        )

    def initialize_carry(self, model: SingleStream, batch_size: int) -> tuple[()]:
        """Nothing: streams know nothing of each other."""
        return ()

    def predict(
        self,
        model: SingleStream,
        carry: tuple[()],
        batch: Batch,
        rng: Array | None = None,
        trace: int | None = None,
    ) -> tuple[tuple[()], Prediction]:
        """What it says of whole streams, of which the targets are scored."""
        inputs, decoder = batch["inputs"], model.decoder
        _, said = decoder.predict(
            inputs,
            batch["targets"],
            decoder.initialize_carry(len(inputs)),
            valid=batch["present"],
            rng=rng,
            trace=trace,
        )
        return (), said


@dataclass(frozen=True)
class SourceToTarget:
    """Targets, given their sources.

    Args:
      config: of the model.
      vocab_size: V.
      unknown: the token for what the vocabulary has not.
      end: the token that ends a target.
    """

    config: Seq2SeqConfig | ReadoutConfig
    vocab_size: int
    unknown: int
    end: int

    def build(self, rngs: nnx.Rngs) -> ConditionalModel:
        """The model."""
        config, size, unknown = self.config, self.vocab_size, self.unknown
        if isinstance(config, ReadoutConfig):
            return AnswerModel(config, size, unknown=unknown, end=self.end, rngs=rngs)
        return Seq2Seq(config, size, unknown=unknown, rngs=rngs)

    def initialize_carry(self, model: ConditionalModel, batch_size: int) -> tuple[()]:
        """Nothing: examples know nothing of each other."""
        return ()

    def predict(
        self,
        model: ConditionalModel,
        carry: tuple[()],
        batch: Batch,
        rng: Array | None = None,
        trace: int | None = None,
    ) -> tuple[tuple[()], Prediction]:
        """What it says of the targets, having read the sources."""
        keys = (None, None) if rng is None else jax.random.split(rng)
        encoded = model.encode(batch["source"], batch["source_valid"], keys[0])
        said = model.predict(
            encoded,
            batch["tokens"],
            batch["targets"],
            valid=batch["valid"],
            rng=keys[1],
            trace=trace,
        )
        return (), said


def make_objective(
    config: TrainConfig,
    vocab_size: int,
    *,
    unknown: int = 0,
    start: int = 0,
    end: int = 0,
) -> Objective:
    """What a config trains on.

    Args:
      config: the settings.
      vocab_size: V.
      unknown: the token for what the vocabulary has not, where there are examples.
      start: the token that starts a target, likewise.
      end: the token that ends a target, likewise.
    """
    model, encoder = config.model, config.encoder
    if config.task == LANGUAGE_MODELING:
        return LanguageModeling(model, vocab_size)
    if encoder.readout:
        return SourceToTarget(ReadoutConfig(**vars(model)), vocab_size, unknown, end)
    if not encoder.num_layers:
        return Turns(model, vocab_size, unknown, None if config.hear_targets else start)
    both = Seq2SeqConfig(
        DecoderConfig(**vars(model), coverage=encoder.coverage > 0),
        encoder_dim=encoder.hidden_dim,
        encoder_layers=encoder.num_layers,
        encoder_slots=encoder.num_slots,
        bidirectional=encoder.bidirectional,
    )
    return SourceToTarget(both, vocab_size, unknown, end)


def model_graph(objective: Objective) -> nnx.GraphDef:
    """The model without its parameters: hashable, equal for equal objectives."""
    return nnx.split(_shapes(objective), nnx.Param)[0]


def num_params(objective: Objective) -> int:
    """How many numbers the model learns."""
    leaves = jax.tree.leaves(nnx.state(_shapes(objective), nnx.Param))
    return sum(leaf.size for leaf in leaves)


def _shapes(objective: Objective) -> Any:
    return nnx.eval_shape(lambda: objective.build(nnx.Rngs(0)))
