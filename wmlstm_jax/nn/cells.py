"""The cell in the forms that `flax.nnx.RNN` and `flax.linen.RNN` take.

Both are thin skins over `wmlstm_jax.core.step`. `WMLSTM` is faster: it takes what does
not depend on the state out of the loop, and undoes writes instead of storing memories.
"""

import jax
from flax import linen, nnx

from wmlstm_jax.core import Carry, CellConfig, init_carry, init_params, step
from wmlstm_jax.nn.layer import as_arrays, as_params

Array = jax.Array


class WMLSTMCell(nnx.RNNCellBase):
    """One step, for `flax.nnx.RNN(cell, rngs=False)` or a loop of one's own.

    Args:
      config: the cell's settings.
      rngs: gives the `params` key.
    """

    def __init__(self, config: CellConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.params = as_params(init_params(rngs.params(), config))

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs=None, carry_init=None
    ) -> Carry:
        """The carry before the first token; `input_shape` is `(B, D)`."""
        del rngs, carry_init
        return init_carry(self.config, _batch_size(input_shape))

    def __call__(
        self, carry: Carry, inputs: Array, tag: Array | None = None
    ) -> tuple[Carry, Array]:
        """One token: `inputs [B, D]` to the carry and `y [B, H]`."""
        return step(as_arrays(self.params), self.config, carry, inputs, tag)

    @property
    def num_feature_axes(self) -> int:
        """How many trailing axes of the input are features."""
        return 1


class LinenWMLSTMCell(linen.RNNCellBase):
    """One step, for `flax.linen.RNN`.

    Attributes:
      config: the cell's settings.
    """

    config: CellConfig

    @linen.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> Carry:
        """The carry before the first token; `input_shape` is `(B, D)`."""
        del rng
        return init_carry(self.config, _batch_size(input_shape))

    @linen.compact
    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """One token: `inputs [B, D]` to the carry and `y [B, H]`."""
        params = self.param("cell", init_params, self.config)
        return step(params, self.config, carry, inputs)

    @property
    def num_feature_axes(self) -> int:
        """How many trailing axes of the input are features."""
        return 1


def _batch_size(input_shape):
    if len(input_shape) != 2:
        raise ValueError(
            f"initialize_carry: input_shape is {input_shape}; it must be (B, D), with"
            " one batch axis."
        )
    return input_shape[0]
