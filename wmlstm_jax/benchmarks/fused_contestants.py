"""Who is measured beside the fused kernels, at which shapes, and what is possible.

All do one job: from inputs `[T, B, D]`, D as wide as the hidden state, to outputs
`[T, B, H]`, and the gradient of parameters and inputs for a given cotangent.
"""

import importlib.metadata
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wmlstm_jax.core import CellConfig, SlotMemory, init_carry, init_params, unroll
from wmlstm_jax.core.params import projection_sizes

FUSED, ROLLBACK, SCAN = "ours, fused", "ours, rollback", "ours, scan"
TORCH, FLASH = "torch.nn.LSTM", "FlashRNN"
OURS = (FUSED, ROLLBACK, SCAN)


class Absent(Exception):
    """A contestant cannot run here; says why."""


@dataclass(frozen=True)
class Shape:
    """What is computed.

    Args:
      batch: B.
      length: T.
      num_heads: R, each with its own recurrence.
      head_dim: hidden units, K and W of a head.
      num_slots: N; 0 is an LSTM.
      dtype: of the products.
    """

    batch: int = 16
    length: int = 1024
    num_heads: int = 12
    head_dim: int = 64
    num_slots: int = 64
    dtype: str = "bfloat16"

    @property
    def hidden_dim(self) -> int:
        """H, and D."""
        return self.num_heads * self.head_dim

    @property
    def config(self) -> CellConfig:
        """The settings of our cell."""
        return CellConfig(
            input_dim=self.hidden_dim,
            hidden_dim=self.hidden_dim,
            num_heads=self.num_heads,
            num_blocks=self.num_heads,
            key_dim=self.head_dim,
            value_dim=self.head_dim,
            memory=SlotMemory(self.num_slots),
            dtype=self.dtype,
        )


class Work(NamedTuple):
    """What a pass cannot do without."""

    operations: float  # multiplications and additions, of products
    bytes: float  # to and from memory outside the chip


class Passes(NamedTuple):
    """A contestant that is ready to run; each returns when its result is there."""

    forward: Callable[[], Any]
    both: Callable[[], Any]


def work(shape: Shape) -> tuple[Work, Work]:
    """The work of the forward pass, and of forward and backward.

    Every product once forward and twice backward. Bytes of arguments and results, of
    the projections of the inputs, which are written and read, and in training of what
    is kept: hidden, cell and four gates; with slots six vectors more for each head.
    """
    config, steps = shape.config, shape.batch * shape.length
    sizes, item = projection_sizes(config), jnp.dtype(shape.dtype).itemsize
    groups, units = shape.num_heads, shape.head_dim
    from_input = groups * sum(sizes["input"].values())
    recurrent = sum(sizes["hidden"].values()) + sum(sizes["current"].values())
    recurrent += sum(sizes["read"].values())
    weights = config.input_dim * from_input + groups * units * recurrent
    slots = 2 * groups * shape.num_slots * units
    operations = 2 * steps * (weights + slots)
    outside = 4 * steps * (config.input_dim + shape.hidden_dim + 2 * from_input)
    forward = Work(operations, outside + item * weights)
    kept = 6 * shape.hidden_dim + (6 * shape.hidden_dim if shape.num_slots else 0)
    both = Work(3 * operations, 2 * outside + 3 * item * weights + 8 * steps * kept)
    return forward, both


def draw(*shape: int) -> np.ndarray:
    """Normal numbers, always the same."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def outputs(config: CellConfig, backend: str, params: dict, xs):
    """The outputs of our cell from an empty carry."""
    carry = init_carry(config, xs.shape[1])
    return unroll(params, config, carry, xs, backend=backend)[1]


def _ours(shape: Shape, *, backend: str) -> Passes:
    config = shape.config
    params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), config)
    lead = shape.length, shape.batch, shape.hidden_dim
    xs, cotangent = jnp.asarray(draw(*lead)), jnp.asarray(draw(*lead))
    apply = partial(outputs, config, backend)

    def both(params, xs, cotangent):
        ys, pull = jax.vjp(apply, params, xs)
        return ys, pull(cotangent)

    forward = jax.jit(apply).lower(params, xs).compile()
    both = jax.jit(both).lower(params, xs, cotangent).compile()
    needed = both.memory_analysis().temp_size_in_bytes
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", math.inf)
    if needed > 0.9 * limit:
        raise Absent(f"it would need {needed / 1e9:.0f} GB at {shape}")
    return Passes(
        lambda: jax.block_until_ready(forward(params, xs)),
        lambda: jax.block_until_ready(both(params, xs, cotangent)),
    )


def _torch_passes(shape: Shape, module, apply, parameters) -> Passes:
    """Of a function of inputs `[T, B, D]` in the dtype of the products."""
    import torch

    where = "cuda" if torch.cuda.is_available() else "cpu"
    kind = getattr(torch, shape.dtype)
    module.to(where, kind)
    lead = shape.length, shape.batch, shape.hidden_dim
    xs, cotangent = (torch.from_numpy(draw(*lead)).to(where, kind) for _ in range(2))
    leaf = xs.clone().requires_grad_()

    def wait(result):
        if where == "cuda":
            torch.cuda.synchronize()
        return result

    def forward():
        with torch.inference_mode():
            return wait(apply(xs))

    def both():
        ys = apply(leaf)
        grads = torch.autograd.grad(ys, [leaf, *parameters()], cotangent)
        return wait((ys, grads))

    return Passes(forward, both)


def _torch_lstm(shape: Shape) -> Passes:
    """On a GPU that is cuDNN, with a dense recurrence."""
    import torch

    module = torch.nn.LSTM(shape.hidden_dim, shape.hidden_dim)
    return _torch_passes(shape, module, lambda xs: module(xs)[0], module.parameters)


def _flash_rnn(shape: Shape) -> Passes:
    """Its fused kernels, with a product of the inputs before them."""
    import torch
    from flashrnn import flashrnn

    if not torch.cuda.is_available():
        raise Absent("it needs a GPU")
    heads, units = shape.num_heads, shape.head_dim
    module = torch.nn.Module()
    module.project = torch.nn.Linear(shape.hidden_dim, 4 * shape.hidden_dim)
    recurrent = torch.randn(4, heads, units, units) * units**-0.5
    module.recurrent = torch.nn.Parameter(recurrent)
    module.bias = torch.nn.Parameter(torch.zeros(4, heads, units))

    def apply(xs):
        gates = module.project(xs).transpose(0, 1)
        gates = gates.reshape(shape.batch, shape.length, 4, heads, units)
        states, _ = flashrnn(
            gates.contiguous(),
            module.recurrent,
            module.bias,
            function="lstm",
            backend="cuda_fused",
            dtype=shape.dtype,
        )
        hidden = states[0].reshape(shape.batch, shape.length, -1)
        return hidden.transpose(0, 1)

    return _torch_passes(shape, module, apply, module.parameters)


CONTESTANTS: dict[str, tuple[str, Callable[[Shape], Passes]]] = {
    FUSED: ("wmlstm_jax", partial(_ours, backend="fused")),
    ROLLBACK: ("wmlstm_jax", partial(_ours, backend="rollback")),
    SCAN: ("wmlstm_jax", partial(_ours, backend="scan")),
    TORCH: ("torch", _torch_lstm),
    FLASH: ("flashrnn", _flash_rnn),
}
"""By the name in the tables: the package, as pip names it, and how it is built."""


def build(name: str, shape: Shape) -> Passes:
    """Builds a contestant.

    Raises:
      Absent: its package is not installed, or it does not fit.
    """
    package, make = CONTESTANTS[name]
    try:
        importlib.metadata.version(package)
        return make(shape)
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        raise Absent(f"not installed ({error})") from error
