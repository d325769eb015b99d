"""What the loop of the recurrence carries, takes and emits; see `body`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from wmlstm_jax.core.pointer import Pointed
from wmlstm_jax.core.types import Array, Source

Parts = dict[str, Array]
"""What the projections of a step give, by what they are for, each `[B, G, width]`."""


class Kernels(NamedTuple):
    """The large weights of the loop; their gradients are products after it."""

    hidden: Array  # [G, Hg, P]: everything that is projected from the hidden state
    read: Array | None  # [G, Rg*W, 4*Hg]
    bias: Parts  # [G, width] each, of projections that the input has a part in


class Scalars(NamedTuple):
    """What is small, or read as it is; gradients add up inside the loop.

    Parameters are there once for each row: rows are spread over devices, and their sum,
    which is sent, comes after the loop.
    """

    memory: dict  # params["memory"], [B, ...] each
    key_bias: Array | None  # [B, G, Rg*K]
    copy_bias: Array | None  # [B, G, Rg*K]
    read_mask: Array | None  # [B, R*W]
    source: Source | None


class StepInputs(NamedTuple):
    """What one step is given; stacked over time outside the loop."""

    projected: Parts  # the input's part of every projection
    valid: Array  # [B] bool
    tag: Array  # [B] int32
    reset: Array | None  # [B] bool
    target: Array | None  # [B] int32: of the step before, whose write comes first
    asked: Array | None = None  # [B] bool: the step before was valid, with coverage


class Pending(NamedTuple):
    """The request of the step before, without what its hidden state gives."""

    key: Array  # [B, G, Rg*K], not yet normalised
    scores: Parts  # [B, G, 1] each: those of `SCORES` that the policy asks for
    tag: Array  # [B] int32
    valid: Array  # [B] bool


class State(NamedTuple):
    """What the loop carries beside the memory."""

    hidden: Array  # [B, H]
    cell: Array  # [B, H]
    pending: Pending | None  # None without slots
    coverage: Array | None = None  # [B, G, S], as in `Carry`


class Products(NamedTuple):
    """How the large products inside a step are computed.

    `direct` computes them; a backward pass that has kept them does not.
    """

    gates: Callable  # (part [B, G, 4*Hg], seen [B, R*W]) -> part + W_r seen
    keys: Callable  # (vector [B, R, K], memory) -> [B, R, N]
    values: Callable  # (weights [B, R, N], memory) -> [B, R, W]


class Write(NamedTuple):
    """Where a request went; `Evicted` without what had been there."""

    slots: Array  # [B, G, k] int32
    weights: Array  # [B, G, k]: 1, or 0 where nothing was written
    clock: Array  # [B] int32, before the write


class Emitted(NamedTuple):
    """What a step gives out."""

    hidden: Array  # [B, H]
    seen: Array | None  # [B, R*W]: what the read gave
    pointed: Pointed | None  # of the step before
    trace: Any  # (read, gates, modes) when traced
    write: Write | None = None  # of the step before, by the backends that hold it back
