"""A small GPT, for benchmarks to compare with: whole sequences, or a key-value cache.

Its blocks are those of GPT-2 (Radford et al. 2019) with RMS normalisation and rotary
positions, its embedding is tied, and one step reads and extends the cache.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


@dataclass(frozen=True)
class GPTConfig:
    """The settings of a GPT; its embedding is tied and its positions are rotary.

    Args:
      embed_dim: D.
      num_heads: R, of D/R each; D/R is even.
      num_layers: how many blocks.
      mlp_dim: F, the width inside a block's second half.
      vocab_size: V.
    """

    embed_dim: int
    num_heads: int
    num_layers: int
    mlp_dim: int
    vocab_size: int


class Cache(NamedTuple):
    """What a GPT remembers of a text.

    The tokens are the last axis, as the slots of our memory. Rows and heads share one:
    XLA drops an axis of one, as B may be, and on CPU then copies the cache every token.
    """

    keys: tuple[Array, ...]  # of each layer, [B*R, K, T]
    values: tuple[Array, ...]
    position: Array  # [] int32: of the next token


def init_gpt(rng: Array, config: GPTConfig) -> dict:
    """Draws the parameters; `rng` is consumed."""
    width, inner = config.embed_dim, config.mlp_dim
    shapes = {
        **{"qkv": (width, 3 * width), "out": (width, width)},
        **{"up": (width, inner), "down": (inner, width)},
    }
    embedding_rng, *rngs = jax.random.split(rng, 1 + config.num_layers)
    blocks = []
    for block_rng in rngs:
        named = zip(shapes.items(), jax.random.split(block_rng, 4), strict=True)
        block = {n: jax.random.normal(k, s) * s[0] ** -0.5 for (n, s), k in named}
        blocks.append(block | {"norm": jnp.ones(width), "mlp_norm": jnp.ones(width)})
    return {
        "embedding": 0.02
        * jax.random.normal(embedding_rng, (config.vocab_size, width)),
        "blocks": blocks,
        "norm": jnp.ones(width),
        "output_bias": jnp.zeros(config.vocab_size),
    }


def fill_cache(
    rng: Array, config: GPTConfig, batch: int, size: int, used: int
) -> Cache:
    """A cache with room for `size` tokens, as after `used`; `rng` is consumed."""
    heads = config.num_heads
    shape = (batch * heads, config.embed_dim // heads, size)
    rngs = jax.random.split(rng, 2 * config.num_layers)
    drawn = [jax.random.normal(key, shape) for key in rngs]
    layers = config.num_layers
    return Cache(tuple(drawn[:layers]), tuple(drawn[layers:]), jnp.int32(used))


def gpt_step(
    config: GPTConfig, params: dict, cache: Cache, tokens: Array
) -> tuple[Cache, Array]:
    """One token further: `tokens [B]` to the cache and `[B, V]` log probabilities.

    x = x + W_o attention(W_qkv norm(x))        x = x + W_2 gelu(W_1 norm(x))
    """
    batch, heads = tokens.shape[0], config.num_heads
    xs, all_keys, all_values = params["embedding"][tokens], [], []
    for block, keys, values in zip(params["blocks"], *cache[:2], strict=True):
        qkv = _norm(xs, block["norm"]) @ block["qkv"]
        qkv = jnp.moveaxis(qkv.reshape(batch, 3, heads, -1), 1, 0)
        query, key, value = qkv.reshape(3, batch * heads, -1)
        query, key = (_rotate(vector, cache.position) for vector in (query, key))
        place = (0, 0, cache.position)
        keys = jax.lax.dynamic_update_slice(keys, key[..., None], place)
        values = jax.lax.dynamic_update_slice(values, value[..., None], place)
        logits = jnp.einsum("ck,ckt->ct", query * query.shape[-1] ** -0.5, keys)
        seen = jnp.arange(keys.shape[-1]) <= cache.position
        weights = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf))
        read = jnp.einsum("ct,ckt->ck", weights, values).reshape(batch, -1)
        xs = xs + read @ block["out"]
        hidden = jax.nn.gelu(_norm(xs, block["mlp_norm"]) @ block["up"])
        xs = xs + hidden @ block["down"]
        all_keys.append(keys)
        all_values.append(values)
    logits = _norm(xs, params["norm"]) @ params["embedding"].T + params["output_bias"]
    cache = Cache(tuple(all_keys), tuple(all_values), cache.position + 1)
    return cache, jax.nn.log_softmax(logits)


def gpt_features(config: GPTConfig, params: dict, xs: Array) -> Array:
    """Normalised features of whole embedded sequences, both `[B, T, D]`."""
    batch, length, width = xs.shape
    heads = config.num_heads
    time = jnp.arange(length)
    seen = time[:, None] >= time
    for block in params["blocks"]:
        qkv = (_norm(xs, block["norm"]) @ block["qkv"]).reshape(
            batch, length, 3, heads, width // heads
        )
        query, key, value = jnp.moveaxis(qkv, 2, 0)
        # The position meets [B, T, R, K/2].
        query, key = (_rotate(vector, time[:, None, None]) for vector in (query, key))
        logits = jnp.einsum("btrk,bsrk->brts", query * query.shape[-1] ** -0.5, key)
        weights = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf))
        read = jnp.einsum("brts,bsrk->btrk", weights, value)
        xs = xs + read.reshape(batch, length, width) @ block["out"]
        hidden = jax.nn.gelu(_norm(xs, block["mlp_norm"]) @ block["up"])
        xs = xs + hidden @ block["down"]
    return _norm(xs, params["norm"])


def _norm(xs, scale):
    return scale * xs * jax.lax.rsqrt(jnp.mean(xs * xs, -1, keepdims=True) + 1e-6)


def _rotate(vector, position):
    """Rotary positions (Su et al. 2021): pairs of numbers turn with the position."""
    half = vector.shape[-1] // 2
    angle = position * 10000.0 ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    one, two = vector[..., :half], vector[..., half:]
    return jnp.concatenate([one * cos - two * sin, one * sin + two * cos], -1)
