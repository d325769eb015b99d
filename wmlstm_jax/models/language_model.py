"""A language model: embedding, WM-LSTM blocks, the embedding again, a copy head."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from wmlstm_jax.core import Carry, Outputs, Source, Trace, pointer_distribution
from wmlstm_jax.models.blocks import Block, drop, run_block
from wmlstm_jax.models.config import ModelConfig
from wmlstm_jax.models.copying import mix
from wmlstm_jax.models.softmax import target_log_prob
from wmlstm_jax.nn.layer import as_arrays

Array = jax.Array
Carries = tuple[Carry, ...]
Sources = tuple[Source, ...]
"""The source bank of every layer."""
EMBEDDING_SCALE = 0.02
"""Small beside what the blocks add to it; else a tied output repeats its input."""
NEVER = -30.0
"""The log probability of what the vocabulary cannot say; a loss of it is finite."""
COPY_BIAS = -2.0
"""Where the copy gate starts: it first has to learn what the memory is good for."""


class Prediction(NamedTuple):
    """What a model says of given targets."""

    log_probs: Array  # [B, T]
    log_vocab: Array  # [B, T]: of the output embedding alone, without the copy head;
    # of the unknown word where the vocabulary has not the target
    features: Array  # [B, T, D]: normalised; they meet the output embedding
    log_even: Array  # [B, T]: the mean of `log_vocab` over the vocabulary
    repeated: Array | None = None  # [B, T]: the pointer's weight where it had been
    copy_share: Array | None = None  # [B, T]: of the mixture; None without a copy head
    trace: Trace | None = None  # of one layer, time-major, where it was asked for


class LanguageModel(nnx.Module):
    """Predicts the next token; all state is in the carries that it takes and returns.

    Example:
      >>> config = ModelConfig(embed_dim=64, hidden_dim=64, num_slots=32, copy=True)
      >>> model = LanguageModel(config, 256, rngs=nnx.Rngs(0))
      >>> tokens = jnp.zeros((2, 10), jnp.int32)
      >>> carries, log_probs = model.prefill(tokens)  # log_probs [2, 256]

    Args:
      config: the settings.
      vocab_size: V. A token of V or more is a word that one example has and the
        vocabulary has not: only the copy head says it.
      unknown: the token that such a word is taken in as.
      rngs: gives the `params` keys.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocab_size: int,
        *,
        unknown: int = 0,
        rngs: nnx.Rngs,
    ):
        self.config, self.unknown = config, unknown
        self.embedding = nnx.Embed(
            vocab_size,
            config.embed_dim,
            embedding_init=nnx.initializers.normal(EMBEDDING_SCALE),
            rngs=rngs,
        )
        blocks = range(config.num_layers)
        self.blocks = nnx.List([Block(config, layer, rngs=rngs) for layer in blocks])
        self.norm = nnx.RMSNorm(config.embed_dim, rngs=rngs)
        self.output_bias = nnx.Param(jnp.zeros(vocab_size))
        start = nnx.initializers.constant(COPY_BIAS)
        gate = nnx.Linear(config.embed_dim, 1, bias_init=start, rngs=rngs)
        self.copy_gate = gate if config.copy else None

    def initialize_carry(self, batch_size: int, source_length: int = 0) -> Carries:
        """The state of every layer before the first token; see `init_carry`."""
        return tuple(
            block.recurrence.initialize_carry(batch_size, source_length)
            for block in self.blocks
        )

    def predict(
        self,
        tokens: Array,
        targets: Array,
        carries: Carries,
        *,
        valid: Array | None = None,
        reset: Array | None = None,
        sources: Sources | None = None,
        rng: Array | None = None,
        reading: bool | Array = True,
        trace: int | None = None,
    ) -> tuple[Carries, Prediction]:
        """How probable each target is, given the tokens up to its own position.

        Args:
          tokens: `[B, T]` int32.
          targets: `[B, T]` int32, the token that follows each.
          carries: from `initialize_carry` or an earlier call.
          valid: `[B, T]` bool; elsewhere the state stands still.
          reset: `[B, T]` bool; the state is emptied before these tokens.
          sources: the source banks, with `config.source`.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          reading: where False, `[B]` or one for all rows, the memory reads as zeros;
            the copy head still points.
          trace: also gives what the memory of this block did, counted from 0.

        Returns:
          The carries after, and a `Prediction`.
        """
        carries, features, copied = self.features(
            self.embed(tokens),
            carries,
            tags=tokens,
            targets=targets,
            valid=valid,
            reset=reset,
            sources=sources,
            rng=rng,
            reading=reading,
            trace=trace,
        )
        traced = None if copied is None else copied.trace
        log_vocab, log_even = self._log_prob(features, self._known(targets))
        if self.copy_gate is None:
            return carries, Prediction(
                log_vocab, log_vocab, features, log_even, trace=traced
            )
        assert copied is not None
        assert copied.copy is not None and copied.copy_live is not None
        gate = self.copy_gate(features)[..., 0]
        said = jnp.where(targets < self.embedding.num_embeddings, log_vocab, NEVER)
        log_probs = mix(said, copied.copy, copied.copy_live, gate)
        share = jnp.where(copied.copy_live, jax.nn.sigmoid(gate), 0)
        return carries, Prediction(
            log_probs, log_vocab, features, log_even, copied.repeated, share, traced
        )

    def _log_prob(self, features: Array, targets: Array) -> tuple[Array, Array]:
        """Of the targets, and its mean over the vocabulary.

        All logits have one normaliser, so that the two differ as the logit of the
        target and that of the mean embedding do.
        """
        dtype, bias = self.config.dtype, self.output_bias[...]
        embedding = self.embedding.embedding[...]
        log_prob = target_log_prob(
            features.astype(dtype), embedding.astype(dtype), bias, targets
        )
        away = embedding.mean(0) - embedding[targets]
        apart = (features * away).sum(-1) + bias.mean() - bias[targets]
        return log_prob, log_prob + apart

    def embed(self, tokens: Array) -> Array:
        """Tokens `[...]` as vectors `[..., D]`."""
        return self.embedding(self._known(tokens))

    def _known(self, tokens: Array) -> Array:
        """The tokens, with the unknown word for what the vocabulary has not."""
        return jnp.where(tokens < self.embedding.num_embeddings, tokens, self.unknown)

    def features(
        self,
        xs: Array,
        carries: Carries,
        *,
        tags: Array,
        targets: Array | None = None,
        valid: Array | None = None,
        reset: Array | None = None,
        sources: Sources | None = None,
        rng: Array | None = None,
        reading: bool | Array = True,
        trace: int | None = None,
    ) -> tuple[Carries, Array, Outputs | None]:
        """Embedded tokens through all blocks; see `predict`.

        Args:
          xs: `[B, T, D]` float, the embedded tokens.
          carries: the state before.
          tags: `[B, T]` int32, the tokens themselves, for the memory to remember.
          targets: `[B, T]` int32, for the copy head.
          valid: `[B, T]` bool.
          reset: `[B, T]` bool.
          sources: the source banks, with `config.source`.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          reading: where False, the memory reads as zeros.
          trace: also gives what the memory of this block did, counted from 0.

        Returns:
          The carries after, normalised features `[B, T, D]`, and, if there is any, what
          the copy head says of the targets and the trace.
        """
        after, outputs, traced, rate = [], None, None, self.config.dropout
        outside = None if rng is None else jax.random.fold_in(rng, len(self.blocks))
        xs = drop(xs, rate, outside, 0)
        for layer, (block, carry) in enumerate(zip(self.blocks, carries, strict=True)):
            last = layer == len(self.blocks) - 1
            points = last and self.copy_gate is not None
            carry, xs, outputs = run_block(
                block,
                xs,
                carry,
                valid=valid,
                reset=reset,
                tags=tags,
                targets=targets if points else None,
                source=None if sources is None else sources[layer],
                rng=None if rng is None else jax.random.fold_in(rng, layer),
                reading=reading,
                trace=trace is not None and (last or trace == layer),
            )
            after.append(carry)
            if trace == layer and outputs is not None:
                traced = outputs.trace
        if traced is not None and outputs is not None:
            outputs = outputs._replace(trace=traced)
        return tuple(after), drop(self.norm(xs), rate, outside, 1), outputs

    def prefill(
        self, tokens: Array, valid: Array | None = None
    ) -> tuple[Carries, Array]:
        """Reads a prompt from an empty state.

        Args:
          tokens: `[B, T]` int32, T at least 1.
          valid: `[B, T]` bool; the last position must be valid (pad on the left).

        Returns:
          The carries after it, and `[B, V]` log probabilities of the next token.
        """
        carries = self.initialize_carry(tokens.shape[0])
        return self.further(carries, tokens, valid)

    def step(self, carries: Carries, tokens: Array) -> tuple[Carries, Array]:
        """One token further, `tokens [B]`: the `step_fn` of `wmlstm_jax.inference`.

        A model is a pytree, so `jax.tree_util.Partial(LanguageModel.step, model)`
        compiles once for all its parameters.
        """
        return self.further(carries, tokens[:, None])

    def further(
        self,
        carries: Carries,
        tokens: Array,
        valid: Array | None = None,
        *,
        sources: Sources | None = None,
        num_words: int = 0,
    ) -> tuple[Carries, Array]:
        """Reads tokens, and says what may come next.

        Args:
          carries: the state before.
          tokens: `[B, T]` int32.
          valid: `[B, T]` bool; the last position must be valid.
          sources: the source banks, with `config.source`.
          num_words: E, words outside the vocabulary that may be copied.

        Returns:
          The carries after, and log probabilities `[B, V + E]`.
        """
        carries, features, _ = self.features(
            self.embed(tokens), carries, tags=tokens, valid=valid, sources=sources
        )
        log_probs = self._log_vocab(features[:, -1])
        never = ((0, 0), (0, num_words))
        log_probs = jnp.pad(log_probs, never, constant_values=NEVER)
        if self.copy_gate is None:
            return carries, log_probs
        last = self.blocks[-1].recurrence
        pointed, copy, live = pointer_distribution(
            as_arrays(last.params),
            last.config,
            carries[-1],
            log_probs.shape[-1],
            source=None if sources is None else sources[-1],
        )
        carries = (*carries[:-1], pointed)
        gate = self.copy_gate(features[:, -1])
        return carries, mix(log_probs, copy, live[:, None], gate)

    def _log_vocab(self, features: Array) -> Array:
        """`log softmax(E features + b)`, over the vocabulary."""
        logits = self.embedding.attend(features) + self.output_bias[...]
        return jax.nn.log_softmax(logits)
