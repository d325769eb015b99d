"""The sequence layer for Flax NNX: the fast path into the core, batch-major."""

from typing import Any

import jax
from flax import nnx

from wmlstm_jax.core import Carry, CellConfig, Outputs, Source, init_carry, init_params
from wmlstm_jax.core import unroll as core_unroll

Array = jax.Array


def as_params(params: dict):
    """The core's parameters as `nnx.Param`, in the same nested dict."""
    return nnx.data(jax.tree.map(nnx.Param, params))


def as_arrays(params: dict) -> dict:
    """The core's parameters again, from `as_params`."""
    return jax.tree.map(
        lambda param: param[...], params, is_leaf=lambda x: isinstance(x, nnx.Variable)
    )


class WMLSTM(nnx.Module):
    """An LSTM with a working memory over a whole sequence.

    Example:
      >>> config = CellConfig(input_dim=8, hidden_dim=16, memory=SlotMemory(32))
      >>> layer = WMLSTM(config, rngs=nnx.Rngs(0))
      >>> carry, ys = layer(jnp.zeros((4, 10, 8)))  # ys [4, 10, 16]

    Args:
      config: the cell's settings.
      rngs: gives the `params` key.
    """

    def __init__(self, config: CellConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.params = as_params(init_params(rngs.params(), config))

    def initialize_carry(self, batch_size: int, source_length: int = 0) -> Carry:
        """The carry before the first token of `batch_size` rows; see `init_carry`."""
        return init_carry(self.config, batch_size, source_length)

    def __call__(
        self,
        xs: Array,
        carry: Carry | None = None,
        *,
        valid: Array | None = None,
        reset: Array | None = None,
        tags: Array | None = None,
        targets: Array | None = None,
        read_mask: Array | None = None,
        weight_masks: dict[str, dict[str, Array]] | None = None,
        source: Source | None = None,
        backend: str | None = None,
        unroll: int = 1,
        trace: bool = False,
    ) -> tuple[Carry, Array | Outputs]:
        """Runs the layer; see `wmlstm_jax.core.unroll`, here with the batch first.

        Args:
          xs: `[B, T, D]` floating.
          carry: from `initialize_carry` or an earlier call; None starts afresh.
          valid: `[B, T]` bool.
          reset: `[B, T]` bool.
          tags: `[B, T]` int32.
          targets: `[B, T]` int32.
          read_mask: `[B, R*W]` floating.
          weight_masks: floating, multiply the kernels of the same names in
            `self.params` and are shaped like them; what is not named stays as it is.
          source: read-only slots.
          backend: which loop.
          unroll: steps in one turn of the compiled loop.
          trace: also gives what the memory did; its leaves stay time-major.

        Returns:
          The carry, and `[B, T, H]`; with `targets` or `trace` an `Outputs`, whose
          leaves before the trace are batch-major too.
        """
        if carry is None:
            length = 0 if source is None else source.tags.shape[1]
            carry = self.initialize_carry(xs.shape[0], length)
        params = as_arrays(self.params)
        for origin, masks in (weight_masks or {}).items():
            masked = {to: params[origin][to] * mask for to, mask in masks.items()}
            params = params | {origin: params[origin] | masked}
        carry, ys = core_unroll(
            params,
            self.config,
            carry,
            _swap(xs),
            valid=_swap(valid),
            reset=_swap(reset),
            tags=_swap(tags),
            targets=_swap(targets),
            read_mask=read_mask,
            source=source,
            backend=backend,
            unroll=unroll,
            trace=trace,
        )
        if isinstance(ys, Outputs):
            names = ("hidden", "copy", "copy_live", "repeated")
            swapped = {name: _swap(getattr(ys, name)) for name in names}
            return carry, ys._replace(**swapped)
        return carry, _swap(ys)


def _swap(array: Any) -> Any:
    """Batch-major to time-major and back; None stays None."""
    return None if array is None else array.swapaxes(0, 1)
