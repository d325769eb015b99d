"""The residual block that models are stacked from."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from wmlstm_jax.core import Carry, Outputs, Source
from wmlstm_jax.models.config import ModelConfig
from wmlstm_jax.models.placement import (
    by_token,
    into_recurrence,
    out_of_recurrence,
)
from wmlstm_jax.nn import WMLSTM

Array = jax.Array

ADDRESSES = (
    ("current", "copy"),
    ("hidden", "key"),
    ("input", "key"),
    ("current", "key"),
    ("hidden", "query"),
    ("input", "query"),
)
"""The kernels of keys and queries, by what they are of and what they make."""


class GatedMLP(nnx.Module):
    """`W_2 (silu(W_g n) * W_1 n)` with `n = norm(x)` (Shazeer 2020, "GLU variants").

    Args:
      width: D, of what goes in and comes out.
      hidden: the width between.
      dtype: of the products.
      rngs: gives the `params` keys.
    """

    def __init__(self, width: int, hidden: int, *, dtype: str, rngs: nnx.Rngs):
        self.norm = nnx.RMSNorm(width, rngs=rngs)
        settings = {"use_bias": False, "dtype": dtype, "rngs": rngs}
        self.enter = nnx.Linear(width, 2 * hidden, **settings)
        self.leave = nnx.Linear(hidden, width, **settings)

    def __call__(self, xs: Array) -> Array:
        """`[..., D]` to the same shape."""
        gate, value = jnp.split(self.enter(self.norm(xs)), 2, axis=-1)
        return self.leave(nnx.silu(gate) * value)


class Block(nnx.Module):
    """`x + drop(P WMLSTM(norm(x)))`, P only where H differs from D.

    With `mlp_dim` it goes on as `x + drop(GatedMLP(x))`.

    Args:
      config: the model's settings.
      layer: which block this is, from 0.
      rngs: gives the `params` keys.
    """

    def __init__(self, config: ModelConfig, layer: int, *, rngs: nnx.Rngs):
        self.config = config
        self.norm = nnx.RMSNorm(config.embed_dim, rngs=rngs)
        self.recurrence = WMLSTM(config.cell(layer), rngs=rngs)
        widths, dtype = (config.hidden_dim, config.embed_dim), config.dtype
        # Drawn in any case: what comes after it draws the same.
        project = nnx.Linear(*widths, use_bias=False, dtype=dtype, rngs=rngs)
        self.project = None if widths[0] == widths[1] else project
        mlp = config.mlp_dim
        self.mlp = (
            GatedMLP(config.embed_dim, mlp, dtype=dtype, rngs=rngs) if mlp else None
        )

    def __call__(
        self,
        xs: Array,
        carry: Carry,
        *,
        valid: Array | None = None,
        reset: Array | None = None,
        tags: Array | None = None,
        targets: Array | None = None,
        source: Source | None = None,
        rng: Array | None = None,
        reading: bool | Array = True,
        trace: bool = False,
    ) -> tuple[Carry, Array, Outputs | None]:
        """Runs the block.

        Args:
          xs: `[B, T, D]` float.
          carry: the state before.
          valid: `[B, T]` bool.
          reset: `[B, T]` bool.
          tags: `[B, T]` int32, the tokens behind the inputs.
          targets: `[B, T]` int32, for the copy head, in the last block only.
          source: read-only slots, with `config.source`.
          rng: a PRNG key for dropout, consumed; None for no dropout.
          reading: where False, `[B]` or one for all rows, the memory reads as zeros.
          trace: also gives what the memory did.

        Returns:
          The carry after, `[B, T, D]`, and with `targets` or `trace` what the
          recurrence said beside its hidden outputs.
        """
        config, xs = self.config, by_token(xs)
        read_mask = self._read_mask(xs.shape[0], rng, reading)
        carry, outputs = self.recurrence(
            into_recurrence(self.norm(xs)),
            carry,
            valid=valid,
            reset=reset,
            tags=tags,
            targets=targets,
            read_mask=read_mask,
            weight_masks=self._weight_masks(rng),
            source=source,
            trace=trace,
        )
        if isinstance(outputs, Outputs):
            # The trace leads with T, and the heads' own rows are in it.
            placed = jax.tree.map(into_recurrence, outputs._replace(trace=None))
            beside, ys = placed._replace(trace=outputs.trace), outputs.hidden
        else:
            beside, ys = None, outputs
        ys = out_of_recurrence(ys)
        ys = ys if self.project is None else self.project(ys)
        xs = xs + drop(ys, config.dropout, rng, 0)
        if self.mlp is not None:
            xs = xs + drop(self.mlp(xs), config.dropout, rng, 1)
        return carry, xs, beside

    def _read_mask(
        self, batch: int, rng: Array | None, reading: bool | Array
    ) -> Array | None:
        """`[B, R*W]`, or None where every read passes."""
        config = self.config
        if not self.recurrence.config.reads:
            return None
        shape = (batch, config.num_heads * config.value_dim)
        mask = None
        if rng is not None and config.read_dropout:
            mask = _keep(jax.random.fold_in(rng, 2), config.read_dropout, shape)
        if reading is True:
            return mask
        on = jnp.broadcast_to(jnp.asarray(reading, float), batch)[:, None]
        return jnp.broadcast_to(on, shape) if mask is None else mask * on

    def _weight_masks(self, rng: Array | None) -> dict[str, dict[str, Array]] | None:
        """By the names of kernels; what is not named counts whole."""
        if rng is None:
            return None
        params, masks = self.recurrence.params, {}

        def drop_weights(origin, to, rng, rate):
            if rate and to in params[origin]:
                mask = _keep(rng, rate, params[origin][to].shape)
                masks.setdefault(origin, {})[to] = mask

        gates_rng, address_rng = (jax.random.fold_in(rng, n) for n in (3, 7))
        drop_weights("hidden", "gates", gates_rng, self.config.weight_dropout)
        for number, (origin, to) in enumerate(ADDRESSES):
            each = jax.random.fold_in(address_rng, number)
            drop_weights(origin, to, each, self.config.address_dropout)
        return masks


def run_block(
    block: Block,
    xs: Array,
    carry: Carry,
    *,
    reading: bool | Array = True,
    trace: bool = False,
    **given: Any,
) -> tuple[Carry, Array, Outputs | None]:
    """Runs a block; with `remat` a backward pass computes its inside again.

    Args:
      block: from a stack.
      xs: as in `Block`, like everything else.
      carry: likewise.
      reading: likewise.
      trace: likewise.
      **given: likewise.
    """
    if not block.config.remat:
        return block(xs, carry, reading=reading, trace=trace, **given)
    graph, params = nnx.split(block)

    @jax.checkpoint
    def again(params, xs, carry, given):
        block = nnx.merge(graph, params)
        return block(xs, carry, reading=reading, trace=trace, **given)

    return again(params, xs, carry, given)


def drop(xs: Array, rate: float, rng: Array | None, which: int) -> Array:
    """Variational dropout: one mask per row for all of a window.

    So what the memory holds and what reads it were masked alike (Gal & Ghahramani
    2016).

    Args:
      xs: `[B, T, D]`.
      rate: the probability of zero.
      rng: a PRNG key; None for no dropout.
      which: tells the masks of one key apart.
    """
    if rng is None or not rate:
        return xs
    batch, _, width = xs.shape
    return xs * _keep(jax.random.fold_in(rng, which), rate, (batch, 1, width))


def _keep(rng: Array, rate: float, shape: tuple[int, ...]) -> Array:
    """Zero with probability `rate`, else 1 / (1 - rate): one on average."""
    return jax.random.bernoulli(rng, 1 - rate, shape) / (1 - rate)
