"""Sequence to sequence: an encoder fills a source bank that a language model reads."""

from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
from flax import nnx

from wmlstm_jax.core import Carry, fill
from wmlstm_jax.models.blocks import drop
from wmlstm_jax.models.conditional import ConditionalModel, Encoded
from wmlstm_jax.models.config import DecoderConfig, ModelConfig
from wmlstm_jax.models.language_model import LanguageModel
from wmlstm_jax.nn import WMLSTM

Array = jax.Array


@dataclass(frozen=True)
class Seq2SeqConfig:
    """An encoder and a decoder that share one embedding.

    Args:
      decoder: of the language model that says the target. Heads, widths of keys and
        values, policy and `dropout` are the encoder's too, dropout of reads, weights
        and addresses is not.
      encoder_dim: the hidden width of each encoder cell.
      encoder_layers: how many.
      encoder_slots: N of the working memory of each encoder cell; 0 is an LSTM.
      bidirectional: whether the source is also read from its end.

    Raises:
      ValueError: a setting is out of range.
    """

    decoder: DecoderConfig
    encoder_dim: int
    encoder_layers: int = 1
    encoder_slots: int = 0
    bidirectional: bool = True

    def __post_init__(self):
        for field, least in (
            ("encoder_dim", 1),
            ("encoder_layers", 1),
            ("encoder_slots", 0),
        ):
            if getattr(self, field) < least:
                raise ValueError(
                    f"{field} is {getattr(self, field)}; it must be at least {least}."
                )

    @property
    def encoder(self) -> ModelConfig:
        """The settings of the encoder's cells."""
        of_both = {field.name for field in fields(ModelConfig)}
        settings = {n: v for n, v in vars(self.decoder).items() if n in of_both} | {
            "hidden_dim": self.encoder_dim,
            "num_layers": self.encoder_layers,
            "num_slots": self.encoder_slots,
            "read": True,
            "copy": False,
        }
        return ModelConfig(**settings)


class Encoder(nnx.Module):
    """A stack of `x + drop(P [forward(norm(x)); backward(norm(x))])`.

    Args:
      config: of the whole model.
      rngs: gives the `params` keys.
    """

    def __init__(self, config: Seq2SeqConfig, *, rngs: nnx.Rngs):
        self.config = config
        settings, width = config.encoder, config.decoder.embed_dim
        layers, ways = range(config.encoder_layers), range(1 + config.bidirectional)
        self.norms = nnx.List([nnx.RMSNorm(width, rngs=rngs) for _ in layers])
        self.recurrences = nnx.List(
            [WMLSTM(settings.cell(i), rngs=rngs) for i in layers for _ in ways]
        )
        joined = len(ways) * config.encoder_dim
        self.projects = nnx.List(
            [nnx.Linear(joined, width, use_bias=False, rngs=rngs) for _ in layers]
        )
        self.norm = nnx.RMSNorm(width, rngs=rngs)

    def __call__(
        self, xs: Array, valid: Array, rng: Array | None = None
    ) -> tuple[Array, Array]:
        """Reads sources.

        Args:
          xs: `[B, S, D]` float, the embedded tokens.
          valid: `[B, S]` bool.
          rng: a PRNG key for dropout, consumed; None for no dropout.

        Returns:
          Normalised states `[B, S, D]`, and the final states of the last layer, hidden
          and cell of each direction, `[B, 2 * ways * encoder_dim]`.
        """
        rate, ways = self.config.decoder.dropout, 1 + self.config.bidirectional
        final = []
        for layer, (norm, project) in enumerate(
            zip(self.norms, self.projects, strict=True)
        ):
            found, final = [], []
            for way in range(ways):
                turn = slice(None, None, -1 if way else 1)
                carry, ys = self.recurrences[layer * ways + way](
                    norm(xs)[:, turn], valid=valid[:, turn]
                )
                assert isinstance(ys, jax.Array)  # Nothing more was asked for.
                found.append(ys[:, turn])
                final += [carry.hidden, carry.cell]
            ys = project(jnp.concatenate(found, axis=-1))
            xs = xs + drop(ys, rate, rng, layer)
        return self.norm(xs), jnp.concatenate(final, axis=-1)


class Seq2Seq(ConditionalModel):
    """Says a target, having read a source.

    Example:
      >>> decoder = DecoderConfig(64, 64, num_slots=16, copy=True)
      >>> config = Seq2SeqConfig(decoder, encoder_dim=64)
      >>> model = Seq2Seq(config, 100, unknown=1, rngs=nnx.Rngs(0))
      >>> source = jnp.zeros((2, 7), jnp.int32)
      >>> encoded = model.encode(source, jnp.ones((2, 7), bool))

    Args:
      config: the settings.
      vocab_size: V, of sources and targets together.
      unknown: the token for what the vocabulary has not; see `LanguageModel`.
      rngs: gives the `params` keys.
    """

    def __init__(
        self,
        config: Seq2SeqConfig,
        vocab_size: int,
        *,
        unknown: int = 0,
        rngs: nnx.Rngs,
    ):
        self.config = config
        self.decoder = LanguageModel(
            config.decoder, vocab_size, unknown=unknown, rngs=rngs
        )
        self.encoder = Encoder(config, rngs=rngs)
        model, layers = config.decoder, range(config.decoder.num_layers)
        final = 2 * (1 + config.bidirectional) * config.encoder_dim
        heads = model.num_heads

        def linears(wide, narrow):
            return nnx.List([nnx.Linear(wide, narrow, rngs=rngs) for _ in layers])

        self.keys = linears(model.embed_dim, heads * model.key_dim)
        self.values = linears(model.embed_dim, heads * model.value_dim)
        self.starts = linears(final, 2 * model.hidden_dim)

    def encode(self, source: Array, valid: Array, rng: Array | None = None) -> Encoded:
        """Reads sources into the banks, word by word.

        Args:
          source: `[B, S]` int32; V and more for words outside the vocabulary.
          valid: `[B, S]` bool.
          rng: a PRNG key for dropout, consumed; None for no dropout.
        """
        model, layers = self.config.decoder, self.config.encoder_layers
        xs = drop(self.decoder.embed(source), model.dropout, rng, layers)
        states, final = self.encoder(xs, valid, rng)
        carries, sources = [], []
        empty = self.decoder.initialize_carry(*source.shape)
        for carry, start, keys, values in zip(
            empty, self.starts, self.keys, self.values, strict=True
        ):
            carries.append(_begin(carry, start(final)))
            heads = (*source.shape, model.num_heads, -1)
            sources.append(
                fill(
                    keys(states).reshape(heads).swapaxes(0, 1),
                    values(states).reshape(heads).swapaxes(0, 1),
                    tags=source.T,
                    valid=valid.T,
                )
            )
        return Encoded(tuple(carries), tuple(sources))


def _begin(carry: Carry, state: Array) -> Carry:
    """An empty carry that starts from what an encoder ended with."""
    hidden, cell = jnp.split(state, 2, axis=-1)
    dtype = carry.hidden.dtype
    return carry._replace(
        hidden=jnp.tanh(hidden).astype(dtype), cell=cell.astype(dtype)
    )
