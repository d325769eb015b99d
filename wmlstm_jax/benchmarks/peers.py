"""Who is measured against whom: each contestant is built for a shape, ready to be run.

All have the same widths, float32, the same cores and the same job: the outputs
`[T, B, H]` of a sequence from an empty state, and the gradient of parameters and inputs
for a given cotangent of the outputs. The peers are the extra `bench`; one that is not
installed is named as absent.
"""

import importlib.metadata
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.benchmarks.sweeps import ROLLBACK, SCAN, TORCH, Shape
from wmlstm_jax.core import init_carry, init_params, unroll


class Absent(Exception):
    """A contestant cannot run here; says why."""


class Pass(NamedTuple):
    """The forward pass, or forward and backward."""

    run: Callable[[], Any]  # returns when the result is there
    compile_seconds: float | None  # tracing included; None where nothing is compiled
    temporary_bytes: int | None  # as the compiler planned them, or None


class Built(NamedTuple):
    """A contestant, ready to be run."""

    forward: Pass
    both: Pass
    num_params: int


class Contestant(NamedTuple):
    """Who runs."""

    package: str  # as pip names it
    counted: bool  # whether `cost.step_cost` counts its equations
    build: Callable[[Shape], Built]


def build(name: str, shape: Shape) -> Built:
    """Builds a contestant.

    Raises:
      Absent: its package is not installed, or it does not fit this machine.
    """
    try:
        importlib.metadata.version(CONTESTANTS[name].package)
        return CONTESTANTS[name].build(shape)
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        raise Absent(f"not installed ({error})") from error


def versions() -> dict[str, str | None]:
    """The version of each contestant's package, None for one that is absent."""
    found = {}
    for contestant in CONTESTANTS.values():
        try:
            version = importlib.metadata.version(contestant.package)
        except importlib.metadata.PackageNotFoundError:
            version = None
        found[contestant.package] = version
    return found


def num_cores() -> int:
    """How many cores this process may use: for XLA and for PyTorch alike."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _jax(apply, params, shape: Shape, *, batch_major: bool = False) -> Built:
    """Compiles `apply(params, xs) -> ys` and its gradient."""
    lead = (shape.length, shape.batch)
    lead = lead[::-1] if batch_major else lead
    xs = jnp.asarray(_draw(*lead, shape.input_dim))
    cotangent = jnp.asarray(_draw(*lead, shape.hidden_dim))

    def both(params, xs, cotangent):
        ys, pull = jax.vjp(apply, params, xs)
        return ys, pull(cotangent)

    return Built(
        forward=_compile(apply, params, xs),
        both=_compile(both, params, xs, cotangent),
        num_params=sum(leaf.size for leaf in jax.tree.leaves(params)),
    )


def _compile(function, *args) -> Pass:
    began = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    seconds = time.perf_counter() - began
    analysis = compiled.memory_analysis()
    temporary = None if analysis is None else analysis.temp_size_in_bytes
    return Pass(lambda: jax.block_until_ready(compiled(*args)), seconds, temporary)


def _ours(shape: Shape, *, backend: str) -> Built:
    config = shape.config
    params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), config)

    def apply(params, xs):
        carry = init_carry(config, shape.batch)
        return unroll(params, config, carry, xs, backend=backend, unroll=shape.unroll)[
            1
        ]

    return _jax(apply, params, shape)


def _nnx(shape: Shape, *, cell: Any) -> Built:
    """With zeros for a carry: by default Flax draws it anew at every call."""
    layer = cell(shape.input_dim, shape.hidden_dim, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(layer, time_major=True, rngs=False)
    graph, params, others = nnx.split(rnn, nnx.Param, ...)

    def apply(params, xs):
        zeros = jnp.zeros((shape.batch, shape.hidden_dim))
        rnn = nnx.merge(graph, params, others)
        return rnn(xs, initial_carry=(zeros, zeros))

    return _jax(apply, params, shape)


def _haiku(shape: Shape) -> Built:
    import haiku as hk

    def forward(xs):
        core = hk.LSTM(shape.hidden_dim)
        return hk.dynamic_unroll(core, xs, core.initial_state(shape.batch))[0]

    network = hk.without_apply_rng(hk.transform(forward))
    example = jnp.zeros((1, shape.batch, shape.input_dim))
    params = jax.jit(network.init)(jax.random.key(0), example)
    return _jax(network.apply, params, shape)


def _equinox(shape: Shape) -> Built:
    import equinox as eqx

    cell = eqx.nn.LSTMCell(shape.input_dim, shape.hidden_dim, key=jax.random.key(0))
    params, static = eqx.partition(cell, eqx.is_array)

    def apply(params, xs):
        cell = eqx.combine(params, static)
        zeros = jnp.zeros((shape.batch, shape.hidden_dim))

        def body(carry, x):
            carry = jax.vmap(cell)(x, carry)
            return carry, carry[0]

        return jax.lax.scan(body, (zeros, zeros), xs)[1]

    return _jax(apply, params, shape)


def _keras(shape: Shape) -> Built:
    os.environ.setdefault("KERAS_BACKEND", "jax")  # Read when Keras is imported.
    import keras

    if keras.backend.backend() != "jax":
        raise Absent(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=jax")
    layer = keras.layers.LSTM(shape.hidden_dim, return_sequences=True)
    layer.build((shape.batch, shape.length, shape.input_dim))
    params = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def apply(params, xs):
        return layer.stateless_call(params, others, xs)[0]

    return _jax(apply, params, shape, batch_major=True)


def _torch(module, run, shape: Shape, *, out: int, batch_major: bool = False) -> Built:
    """PyTorch runs as it is: there is nothing to compile."""
    import torch

    torch.set_num_threads(num_cores())
    lead = (shape.length, shape.batch)
    lead = lead[::-1] if batch_major else lead
    xs = torch.from_numpy(_draw(*lead, shape.input_dim))
    cotangent = torch.from_numpy(_draw(*lead, out))
    leaf = xs.clone().requires_grad_()
    parameters = [p for p in module.parameters() if p.requires_grad]

    def forward():
        with torch.inference_mode():
            return run(xs)

    def both():
        ys = run(leaf)
        grads = torch.autograd.grad(
            ys, [leaf, *parameters], cotangent, allow_unused=True
        )
        return ys, grads

    num_params = sum(p.numel() for p in parameters)
    return Built(Pass(forward, None, None), Pass(both, None, None), num_params)


def _torch_lstm(shape: Shape) -> Built:
    import torch

    module = torch.nn.LSTM(shape.input_dim, shape.hidden_dim)
    return _torch(module, lambda xs: module(xs)[0], shape, out=shape.hidden_dim)


def _dnc(shape: Shape) -> Built:
    """With one controller layer; it also projects its outputs to D."""
    # The matrix of temporal links, [B, N, N], is kept about six times in every step.
    needed = 6 * 4 * shape.length * shape.batch * shape.num_slots**2
    if needed > physical_bytes() // 2:
        raise Absent(f"its links would need about {needed / 1e9:.0f} GB")
    from dnc import DNC

    module = DNC(
        shape.input_dim,
        shape.hidden_dim,
        num_hidden_layers=1,
        nr_cells=shape.num_slots,
        read_heads=shape.num_heads,
        cell_size=shape.head_dim,
    )

    def run(xs):
        return module(xs, (None, None, None), reset_experience=True)[0]

    return _torch(module, run, shape, out=shape.input_dim, batch_major=True)


def _slstm(shape: Shape) -> Built:
    """Of its own kernels, those that need no GPU; a dense projection of the input."""
    import torch
    from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig

    config = sLSTMCellConfig(
        hidden_size=shape.hidden_dim,
        num_heads=shape.num_heads,
        backend="vanilla",
        dtype="float32",
        input_shape="SBGNH",
        output_shape="SBH",
        recurrent_weight_init="standard",
    )
    project = torch.nn.Linear(shape.input_dim, 4 * shape.hidden_dim, bias=False)
    module = torch.nn.ModuleList([project, sLSTMCell(config)])

    def run(xs):
        return module[1](module[0](xs))[0]

    return _torch(module, run, shape, out=shape.hidden_dim)


CONTESTANTS = {
    ROLLBACK: Contestant("wmlstm_jax", True, partial(_ours, backend="rollback")),
    SCAN: Contestant("wmlstm_jax", True, partial(_ours, backend="scan")),
    "ours, remat": Contestant("wmlstm_jax", True, partial(_ours, backend="remat")),
    TORCH: Contestant("torch", True, _torch_lstm),
    "nnx.LSTMCell": Contestant("flax", True, partial(_nnx, cell=nnx.LSTMCell)),
    "nnx.OptimizedLSTMCell": Contestant(
        "flax", True, partial(_nnx, cell=nnx.OptimizedLSTMCell)
    ),
    "haiku.LSTM": Contestant("dm-haiku", True, _haiku),
    "equinox.nn.LSTMCell": Contestant("equinox", True, _equinox),
    "keras.layers.LSTM": Contestant("keras", True, _keras),
    "dnc.DNC": Contestant("dnc", False, _dnc),
    "xlstm sLSTM": Contestant("xlstm", False, _slstm),
}
"""By the name in the tables."""
