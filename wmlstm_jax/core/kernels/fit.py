"""What the fused kernels take, and how they lay a recurrence out on a chip."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import fused_sizes
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.memories import SlotMemory
from wmlstm_jax.core.policies import Fifo, Salience

CHIP_BYTES = 227 * 1024
"""Shared memory that one program can have on compute capability 9.0 and 10.0 (CUDA C
programming guide, table of technical specifications per compute capability)."""
PROCESSORS = 132
"""Of an H100 SXM: as many programs run at once, if each fills its shared memory."""
LARGEST_PLANE = 8192
"""Elements that 128 threads hold in 64 registers each."""
_BESIDE = 8 * 1024  # small scratch, reductions across warps, alignment
CHECKED_ON: frozenset[str] = frozenset()
"""Compute capabilities, such as "9.0", of the GPUs on which `benchmarks.fused` found
the kernels equal to float64. Only there are they the default."""
GATES = ("enter", "forget", "candidate", "leave")
_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Layout:
    """What a kernel has to know of a cell, all of one group: a head and its units."""

    hidden: int  # H/G
    key: int
    value: int
    slots: int  # 0 without memory
    parts: tuple[tuple[str, int, int], ...]  # of the kernel of the hidden state, each
    # gate one: name, first row, rows
    dtype: str  # of the products
    memory_dtype: str
    ranked: bool  # what is written where is chosen by salience, in the loop
    rows: int  # of the batch that a program takes
    hidden_on_chip: bool  # the kernel of the hidden state fits there
    read_on_chip: bool  # that of the read does


def why_not_fused(config: CellConfig) -> str | None:
    """Why the fused kernels do not take this cell, or None where they do.

    Returns:
      The setting, what it was and what it must be, without a full stop.
    """
    memory, policy = config.memory, config.memory.policy
    hidden = config.hidden_dim // config.num_blocks
    if config.num_heads != config.num_blocks:
        return _must("num_blocks", config.num_blocks, f"num_heads = {config.num_heads}")
    if not isinstance(memory, SlotMemory) or (
        memory.num_slots and type(policy) not in (Fifo, Salience)
    ):
        kept = "a SlotMemory kept by Fifo or Salience, or of no slots"
        return _must("memory", memory, kept)
    for field, plain in (
        ("source", False),
        ("read", True),
        ("read_modes", ("content",)),
        ("cap_input_gate", False),
        ("gradient_clip", None),
    ):
        if getattr(config, field) != plain:
            return _must(field, getattr(config, field), repr(plain))
    for field in ("dtype", "memory_dtype"):
        if getattr(config, field) not in _DTYPES:
            return _must(field, repr(getattr(config, field)), f"one of {_DTYPES}")
    widths = {"hidden_dim / num_blocks": hidden}
    if memory.num_slots:
        widths |= {"key_dim": config.key_dim, "value_dim": config.value_dim}
    for field, width in widths.items():
        if width % 32 or width > 128:
            return _must(field, width, "a multiple of 32 up to 128")
    if memory.num_slots % 16:
        return _must("num_slots", memory.num_slots, "a multiple of 16")
    plane = memory.num_slots * max(config.key_dim, config.value_dim)
    if plane > LARGEST_PLANE:
        return _must("num_slots times a head's width", plane, f"<= {LARGEST_PLANE}")
    if memory.num_slots and _slot_bytes(config, True) + _BESIDE > CHIP_BYTES:
        return _must("num_slots", memory.num_slots, f"fewer, for {CHIP_BYTES} bytes")
    return None


def prefers_fused(config: CellConfig) -> bool:
    """Whether the fused kernels are what `unroll` uses unless told otherwise."""
    if why_not_fused(config) is not None or jax.default_backend() != "gpu":
        return False
    return getattr(jax.devices()[0], "compute_capability", None) in CHECKED_ON


def layout_of(config: CellConfig, batch: int, *, backward: bool) -> Layout:
    """How the forward or the backward kernel is laid out for a batch.

    A program takes one row if all programs then run at once, else more; all weights
    stay on the chip if they fit beside the slots of its rows, else those that do.
    """
    groups, parts, first = config.num_blocks, [], 0
    hidden = config.hidden_dim // groups
    sizes = fused_sizes(config)
    del sizes["gates"]  # they come first
    ranked = sizes.pop("salience", None) is not None  # it has a kernel of its own
    for name, width in (dict.fromkeys(GATES, hidden) | sizes).items():
        parts.append((name, first, width))
        first += width
    item = jnp.dtype(config.dtype).itemsize
    weights = item * hidden * first
    reading = item * 4 * hidden * config.value_dim if config.memory.num_slots else 0
    slots = _slot_bytes(config, backward)

    def fits(rows, kernels):
        return rows * slots + kernels + _BESIDE <= CHIP_BYTES

    # More of them would not fit the registers.
    rows, most = 1, min(2 if slots else 4, batch)
    while (
        2 * rows <= most
        and groups * -(-batch // rows) > PROCESSORS
        and fits(2 * rows, weights + reading)
    ):
        rows *= 2
    both = fits(rows, weights + reading)
    return Layout(
        hidden=hidden,
        key=config.key_dim,
        value=config.value_dim,
        slots=config.memory.num_slots,
        parts=tuple(parts),
        dtype=config.dtype,
        memory_dtype=config.memory_dtype,
        ranked=ranked,
        rows=rows,
        hidden_on_chip=fits(rows, weights),
        read_on_chip=both or (not fits(rows, weights) and fits(rows, reading)),
    )


def _slot_bytes(config, backward):
    """What the memory of one row and head takes, with its cotangents in float32."""
    numbers = config.memory.num_slots * (config.key_dim + config.value_dim)
    item = jnp.dtype(config.memory_dtype).itemsize
    return numbers * (item + 4 if backward else item)


def _must(name, was, should):
    return f"{name} is {was} and must be {should}"
