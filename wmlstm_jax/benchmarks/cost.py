"""What a step costs at least: its products, its bytes, and how fast this machine is.

docs/benchmarks.md has the same formulas in letters. An operation is a multiplication or
an addition, so a product of `[B, I]` with `[I, O]` has `2 B I O`. What is done element
by element is not counted; what is kept from the forward for the backward pass is.
"""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core import CellConfig
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pieces import piece_length
from wmlstm_jax.core.rollback import PIECE

MATRIX_SIZE = 2048
"""Of the square product that gives the machine's rate."""


class Product(NamedTuple):
    """A product of one step, or what one step adds to a product over several."""

    name: str
    operations: float  # per step
    bytes: float  # per step: what has to come from, or go to, outside the registers


class StepCost(NamedTuple):
    """What a step needs."""

    forward: tuple[Product, ...]
    backward: tuple[Product, ...]  # without those of the forward pass, but with `kept`

    @property
    def both(self) -> tuple[Product, ...]:
        """Forward and backward."""
        return self.forward + self.backward


class Machine(NamedTuple):
    """How fast a machine is."""

    matrix_rate: float  # operations per second in a large float32 product
    bandwidth: dict[int, float]  # bytes per second, by the size of what is read


def step_cost(config: CellConfig, batch: int, length: int) -> StepCost:
    """The products of one step of `unroll` with `backend="rollback"`, without pointer.

    Args:
      config: the settings, without a source.
      batch: B.
      length: T; what is read once for a whole sequence costs a step 1/T of that.

    Raises:
      ValueError: the cell reads a source, which is not counted.
    """
    if config.source:
        raise ValueError("step_cost: CellConfig.source is True; it must be False.")
    item = jnp.dtype(config.dtype).itemsize
    forward, backward = [], []
    for name, fan_in, width, blocks, in_loop in _weights(config):
        parameters = fan_in * width // blocks
        operations = 2 * batch * parameters
        # A hoisted product reads its weights once, and the activations of each step.
        hoisted = item * (parameters / length + batch * (fan_in + width))
        read = item * parameters if in_loop else hoisted
        forward.append(Product(name, operations, read))
        backward.append(Product(f"{name}, transposed", operations, read))
        backward.append(Product(f"{name}, weights", operations, hoisted))
    if config.memory.num_slots:
        reads = _reads(config, batch, length)
        forward += reads.forward
        backward += reads.backward
    kept = 2 * batch * kept_width(config) * config.state_dtype.itemsize
    backward.append(Product("kept, written and read", 0, kept))
    return StepCost(tuple(forward), tuple(backward))


def _weights(config):
    """Name, inputs, outputs, blocks, and whether it is in the loop, of each product."""
    sizes, groups = projection_sizes(config), config.num_blocks
    widths = {
        origin: {to: groups * width for to, width in parts.items()}
        for origin, parts in sizes.items()
    }
    hidden = sum(widths["hidden"].values()) + sum(widths["current"].values())
    yield "input", config.input_dim, sum(widths["input"].values()), 1, False
    yield "hidden", config.hidden_dim, hidden, groups, True
    if config.reads:
        seen = config.num_heads * config.value_dim
        yield "read to gates", seen, widths["read"]["gates"], groups, True
        yield "read to output", seen, widths["read"]["output"], groups, False


def _reads(config, batch, length):
    """The products with keys and values."""
    slots, piece = config.memory.num_slots, piece_length(length, PIECE)
    columns = slots + piece  # A piece sees its slots, and what it wrote itself.
    stored = jnp.dtype(config.memory_dtype).itemsize
    added = config.state_dtype.itemsize
    forward, backward = [], []
    for name, width in ("keys", config.key_dim), ("values", config.value_dim):
        vectors = batch * config.num_heads * width
        once = vectors * slots * stored
        whole, windowed = 2 * vectors * slots, 2 * vectors * columns
        forward.append(Product(name, whole, once))
        backward.append(Product(f"{name}, transposed", windowed, once))
        if name != "values":
            backward.append(Product(f"{name}, again", windowed, once / piece))
        # Cotangents of a whole piece are added to those of the slots at once.
        twice = 2 * vectors * slots * added / piece
        backward.append(Product(f"{name}, outer", whole, twice))
        backward.append(Product(f"{name}, items", 2 * vectors * piece, 0))
    return StepCost(tuple(forward), tuple(backward))


def kept_width(config: CellConfig) -> int:
    """How many floats of a row the backward pass needs of each step.

    Hidden, cell and four gates; and with slots the query before and after its norm, the
    key, what was written, what that replaced, and the read before and after its scale.
    """
    kept = 6 * config.hidden_dim
    if config.memory.num_slots:
        kept += 4 * config.num_heads * (config.key_dim + config.value_dim)
    return kept


def working_set(config: CellConfig, batch: int) -> int:
    """The bytes that every step reads: the weights of the loop, and the memory."""
    item = jnp.dtype(config.dtype).itemsize
    loop = [w for w in _weights(config) if w[4]]
    weights = sum(i * o // blocks for _, i, o, blocks, _ in loop)
    slots = config.memory.num_slots * batch * config.num_heads
    stored = jnp.dtype(config.memory_dtype).itemsize
    return weights * item + slots * (config.key_dim + config.value_dim) * stored


def floor(products: tuple[Product, ...], machine: Machine, size: int) -> float:
    """Seconds below which these products cannot be.

        sum over products of max(operations / matrix rate, bytes / bandwidth)

    The larger of the two inside a product, since arithmetic and loads overlap there.
    The sum over products, since each waits for the one before: the query for the
    hidden state, the values for the weights, the gates for the read. Larger-of over
    the whole step would let a step read what it does not know yet that it wants.

    Args:
      products: of a step.
      machine: from `measure`.
      size: the bytes that every step reads, `working_set`; was measured.
    """
    bandwidth = machine.bandwidth[size_class(size)]
    times = (
        max(product.operations / machine.matrix_rate, product.bytes / bandwidth)
        for product in products
    )
    return sum(times)


def token_floor(
    num_params: int, state_bytes: int, batch: int, machine: Machine
) -> float:
    """Seconds below which one step of generation in float32 cannot be.

    Every parameter is read once, and so is the state: memory, or keys and values of the
    context. The larger of operations and bytes, as in a product of `floor`.
    """
    size = 4 * num_params + state_bytes
    operations = 2 * batch * num_params + 2 * (state_bytes / 4)
    read = size / machine.bandwidth[size_class(size)]
    return max(operations / machine.matrix_rate, read)


def size_class(num_bytes: int) -> int:
    """The power of two, from 1 MiB, that holds so many bytes."""
    return max(2**20, 2 ** math.ceil(math.log2(max(num_bytes, 1))))


def measure(sizes: list[int]) -> Machine:
    """The rates of this machine now, with bandwidths for these numbers of bytes."""
    classes = sorted({size_class(size) for size in sizes})
    return Machine(
        measure_matrix_rate(MATRIX_SIZE),
        {size: measure_bandwidth(size) for size in classes},
    )


def faster(one: Machine, other: Machine) -> Machine:
    """The best that either saw: a floor is set by an undisturbed machine."""
    seen = one.bandwidth, other.bandwidth
    sizes = sorted(set().union(*seen))
    bandwidth = {size: max(rates.get(size, 0) for rates in seen) for size in sizes}
    return Machine(max(one.matrix_rate, other.matrix_rate), bandwidth)


def describe(machine: Machine) -> str:
    """What the floor was computed with, in a sentence."""
    reads = ", ".join(
        f"{rate / 1e9:.0f} GB/s over {size / 2**20:.0f} MiB"
        for size, rate in machine.bandwidth.items()
    )
    return f"Floor: {machine.matrix_rate / 1e9:.0f} GFLOP/s; reads {reads}."


def measure_matrix_rate(size: int, repeats: int = 3) -> float:
    """Operations per second in the product of two float32 squares, at best."""
    square = jnp.ones((size, size))
    return 2 * size**3 / _shortest(_multiply, (square, square), repeats)


def measure_bandwidth(num_bytes: int, repeats: int = 7) -> float:
    """Bytes per second when float32 of so many bytes are read and nothing is written.

    The better of a sum and of a product with a vector: no compiler does both well.
    """
    matrix = jnp.ones((max(num_bytes // 2048, 1), 512))
    vector = jnp.ones(512)
    took = min(
        _shortest(_sum, (matrix,), repeats),
        _shortest(_multiply, (matrix, vector), repeats),
    )
    return 4 * matrix.size / took


_multiply = jax.jit(jnp.matmul)
_sum = jax.jit(jnp.sum)


def _shortest(function, args, repeats):
    """Seconds of the fastest of several calls, after one that compiles."""
    function(*args).block_until_ready()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function(*args).block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)
