"""What the forward and the backward kernel have in common."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from wmlstm_jax.core.kernels.arrays import Memories, Weights
from wmlstm_jax.core.kernels.device import DOWN, FLAT, PLANE, Device
from wmlstm_jax.core.kernels.fit import LARGEST_PLANE, Layout
from wmlstm_jax.core.types import Array

Weight = Callable[[Any, Any], Array]
"""`(rows, columns)`, both slices, to that plane of a turned kernel, in float32."""


def select(flag: Array, new: Array, old: Array) -> Array:
    """`new` where a flag, of the whole vector or of each number, else `old`."""
    return jax.lax.select(jnp.broadcast_to(flag, old.shape), new, old)


def keep_if(flag: Array, value: Array) -> Array:
    """`value`, or zeros."""
    return select(flag, value, jnp.zeros_like(value))


def across(vector: Array, plane: Array) -> Array:
    """The same vector in each row of a plane."""
    return jax.lax.broadcast_in_dim(vector, plane.shape, (1,))


def down(vector: Array, plane: Array) -> Array:
    """The same vector in each column of a plane."""
    return jax.lax.broadcast_in_dim(vector, plane.shape, (0,))


def rounded(value: Array, dtype: str) -> Array:
    """As a product in `dtype` sees it; summed in float32 all the same."""
    return value.astype(dtype).astype(jnp.float32)


def wide(plane: Array) -> Array:
    """A stored plane, to compute with."""
    return plane.astype(jnp.float32)


def inverse_rms(raw: Array) -> Array:
    """`1 / sqrt(mean(x^2) + 1e-6)`, a scalar."""
    return jax.lax.rsqrt(jnp.sum(raw * raw) * (1 / raw.shape[0]) + 1e-6)


def fill(device: Device, on_chip: Any, there: Any, lead: tuple, place: tuple = ()):
    """Copies `there[lead]` to `on_chip[place]`, a plane, some rows at a time."""
    rows, width = on_chip.shape[len(place) :]
    step = LARGEST_PLANE // width // 16 * 16
    for first in range(0, rows, step):
        some = pl.ds(first, min(step, rows - first))
        plane = device.load(there, (*lead, some), FLAT)
        device.store(on_chip, (*place, some), plane)


class Program(NamedTuple):
    """All that a program knows while it runs; `given`, `gives` and `chip` hold refs."""

    device: Device
    layout: Layout
    given: Any
    gives: Any
    chip: Any
    weights: tuple[Weight, Weight]
    group: Array
    rows: list[Array]  # R, in the batch


class State(NamedTuple):
    """What a row hands on from turn to turn, or the cotangents of that; all down."""

    hidden: Array
    cell: Array
    pending: Array | None  # the key
    score: Array | None = None  # of what is pending, a scalar
    salience: Array | None = None  # its cotangent by slot


def run_programs(
    body: Callable[[Program], None],
    device: Device,
    layout: Layout,
    given: Any,
    results: Any,
    chip: Any,
) -> Any:
    """Runs a kernel: a program for each group and every R rows of the batch.

    Args:
      body: what a program does.
      device: what runs it.
      layout: of the cell.
      given: arrays, with `weights` and `valid [T, B]` among them.
      results: a `jax.ShapeDtypeStruct` for each array that is wanted.
      chip: what a program wants on the chip, with its `weights`.
    """
    batch, groups = given.valid.shape[1], given.weights.hidden.shape[0]

    def kernel(given, gives, chip):
        group, first = device.program_id(0), device.program_id(1) * layout.rows
        weights = _place_weights(device, given.weights, chip.weights, group)
        # What would go past the batch is its last row once more, which computes and
        # stores the same again.
        rows = [jnp.minimum(first + i, batch - 1) for i in range(layout.rows)]
        body(Program(device, layout, given, gives, chip, weights, group, rows))

    grid = groups, -(-batch // layout.rows)
    return device.call(kernel, grid, results, chip)(given)


def chip_weights(device: Device, layout: Layout) -> Weights:
    """Room on the chip for the weights that fit there, None for the others."""
    width, hidden, read = sum(rows for *_, rows in layout.parts), None, None
    if layout.hidden_on_chip:
        hidden = device.scratch((width, layout.hidden), layout.dtype)
    if layout.slots and layout.read_on_chip:
        read = device.scratch((4 * layout.hidden, layout.value), layout.dtype)
    return Weights(hidden, read)


def _place_weights(device, there, on_chip, group) -> tuple[Weight, Weight]:
    """Fills what room there is on the chip; how to get at the two kernels."""

    def place(ref, room):
        if room is not None:
            fill(device, room, ref, (group,))
        home, lead = (ref, (group,)) if room is None else (room, ())

        def plane(rows, columns):
            return wide(device.load(home, (*lead, rows, columns), PLANE))

        return plane

    return place(there.hidden, on_chip.hidden), place(there.read, on_chip.read)


def fill_slots(device: Device, chip: Any, memory: Memories, here: tuple, i: int):
    """The memory of a row and group, to its place on the chip."""
    fill(device, chip.keys, memory.keys, here, (i,))
    fill(device, chip.values, memory.values, here, (i,))
    epochs = device.load(memory.slot_epoch, here, DOWN)
    device.store(chip.slot_epoch, (i,), epochs)


def change(device: Device, slots: Array, slot: Array, new: Array) -> Array:
    """A number of every slot, down, with a new one for one slot, or for -1 none."""
    index = device.cast(jax.lax.broadcasted_iota(jnp.int32, slots.shape, 0), DOWN)
    return select(index == slot, jnp.broadcast_to(new, slots.shape), slots)


def multiply(
    layout: Layout,
    weight: Weight,
    part: tuple[int, int],
    vectors: Sequence[Callable[[Any], Array]],
    width: int,
) -> list[Array]:
    """Some rows of a turned kernel by several vectors: `[rows]` each, down.

    Args:
      layout: of the cell.
      weight: the kernel.
      part: the first row and how many.
      vectors: each gives its numbers in some columns, across.
      width: of the vectors.
    """
    first, rows = part
    sums = []
    for columns in _pieces(width, rows):
        plane = weight(pl.ds(first, rows), columns)
        terms = [
            plane * across(rounded(vector(columns), layout.dtype), plane)
            for vector in vectors
        ]
        sums = [a + b for a, b in zip(sums, terms, strict=True)] if sums else terms
    return [jnp.sum(plane, axis=1) for plane in sums]


def multiply_back(
    device: Device,
    layout: Layout,
    weight: Weight,
    terms: Sequence[tuple[int, Sequence[Array]]],
    result: Any,
) -> None:
    """Vectors by rows of a turned kernel: the transposed product of `multiply`.

    Args:
      device: what runs it.
      layout: of the cell.
      weight: the kernel.
      terms: a first row, and from there on one vector for each row of the batch, down.
      result: memory on the chip, `[R, width]`.
    """
    tallest = max(vectors[0].shape[0] for _, vectors in terms)
    for columns in _pieces(result.shape[1], tallest):
        sums = {}  # of planes of one height, before anything crosses threads
        for first, vectors in terms:
            height = vectors[0].shape[0]
            plane = weight(pl.ds(first, height), columns)
            for i, vector in enumerate(vectors):
                term = plane * down(rounded(vector, layout.dtype), plane)
                held = sums.get((i, height))
                sums[i, height] = term if held is None else held + term
        for i in range(layout.rows):
            parts = [jnp.sum(plane, axis=0) for (j, _), plane in sums.items() if i == j]
            device.store(result, (i, columns), sum(parts[1:], parts[0]))


def _pieces(width, rows):
    """Columns of planes that registers can hold, as many in each."""
    step = width
    while step * rows > LARGEST_PLANE or width % step:
        step -= 32
    return [pl.ds(start, step) for start in range(0, width, step)]
