"""What goes into the fused kernels and comes out of them.

The arrays are in global memory, the kernels see them as refs. Heads and groups are one
here, so an axis G is an axis of heads. There is no bool: masks are int32.
"""

from typing import Any, NamedTuple

from wmlstm_jax.core.types import Array


class Ranking(NamedTuple):
    """What both kernels are told of a memory kept by `Salience`."""

    salience: Array  # [B, G, N], as are keys
    written: Array  # [B, G, N] int32
    asked: Array  # [T, B] int32: whether there is something to write
    clock: Array  # [T, B] int32: of the row at that write
    decay: Array  # [B, G]
    kernel: Array  # [G, H]: from the hidden state to the score
    pinned: Any  # [B, G, N] int32; from here on None for the backward kernel
    pins: Any  # [T, B] int32: whether pins are in force at the write of each turn
    score: Any  # [T, B, G]: what is added to the product with that kernel
    pending: Any  # [B, G]: the score of what is pending before the loop


class Ranked(NamedTuple):
    """What slots are ranked by, on the chip; or room for it."""

    salience: Any  # [R, N]
    written: Any  # [R, N] int32


class Memories(NamedTuple):
    """What both kernels are told of the memory."""

    slots: Any  # [T, B, G] int32: where each turn writes, -1 for nowhere; None where
    # the forward kernel chooses
    epoch: Array  # [T, B] int32: of the row at that write
    keys: Array  # [B, G, N, K]: before the loop, or after it for the backward kernel
    values: Any  # [B, G, N, W]
    slot_epoch: Array  # [B, G, N] int32
    beta: Array  # [B, G]: what a normalised query is multiplied by
    gain: Array  # [B, G, W]: what is multiplied with what is read
    ranking: Ranking | None


class Weights(NamedTuple):
    """The large weights, turned, in the dtype of the products."""

    hidden: Any  # [G, P, H]
    read: Any  # [G, 4*H, W]


class Given(NamedTuple):
    """What the forward kernel is given."""

    weights: Weights
    gates: Array  # [T, B, G, 4, H]: what is added to the product with the hidden state
    query: Array | None  # [T, B, G, K], likewise
    key: Array | None  # [T, B, G, K], likewise
    valid: Array  # [T, B] int32
    reset: Array  # [T, B] int32
    hidden: Array  # [B, G, H], before the loop
    cell: Array  # [B, G, H]
    pending: Array | None  # [B, G, K]: the key that is to be written, not normalised
    null: Array | None  # [B, G]: the logit of reading nothing
    memory: Memories | None


class Kept(NamedTuple):
    """What the backward kernel wants to know of every turn; with slots all of it."""

    cell: Any  # [T, B, G, H], before the turn
    gates: Any  # [T, B, G, 4, H], before their squashing
    query: Any  # [T, B, G, K], not normalised
    key: Any  # [T, B, G, K]: that was written, not normalised
    log_total: Any  # [T, B, G]: the logarithm of what the softmax was divided by
    old_keys: Any  # [T, B, G, K]: evicted
    old_values: Any  # [T, B, G, W]
    old_epoch: Any  # [T, B, G] int32
    # Where slots are ranked:
    score: Any  # [T, B, G]: of what was written
    old_salience: Any  # [T, B, G]
    old_written: Any  # [T, B, G] int32


class Ran(NamedTuple):
    """What the forward kernel gives."""

    hidden: Any  # [T, B, G, H]
    read: Any  # [T, B, G, W]: what the slots gave
    cell: Any  # [B, G, H], after the loop
    pending: Any  # [B, G, K]
    keys: Any  # [B, G, N, K]
    values: Any  # [B, G, N, W]
    kept: Any  # Kept, or None where no gradient is wanted
    slots: Any  # [T, B, G] int32; this and the next where slots are ranked
    score: Any  # [B, G]: of what is pending after the loop
    salience: Any  # [B, G, N]


class Returned(NamedTuple):
    """What the backward kernel is given: cotangents, and what was kept."""

    weights: Weights
    kept: Kept
    valid: Array  # [T, B] int32
    reset: Array  # [T, B] int32
    hidden: Array  # [T, B, G, H]: of each turn's output
    seen: Array | None  # [T, B, G, W]: of each turn's read, after its gain
    last_hidden: Array  # [B, G, H]: of the state after the loop
    last_cell: Array  # [B, G, H]
    pending: Array | None  # [B, G, K]
    keys: Array | None  # [B, G, N, K] float32
    values: Array | None  # [B, G, N, W] float32
    score: Array | None  # [B, G]; this and the next where slots are ranked
    salience: Array | None  # [B, G, N]
    memory: Memories | None  # after the loop


class Gradients(NamedTuple):
    """What the backward kernel gives, all of it cotangents in float32."""

    gates: Any  # [T, B, G, 4, H]
    seen: Any  # [T, B, G, W]
    query: Any  # [T, B, G, K]: before normalisation
    beta: Any  # [T, B, G]
    key: Any  # [T, B, G, K]: of what the turn wrote, before normalisation
    value: Any  # [T, B, G, W]
    hidden: Any  # [B, G, H]: of the state before the loop
    cell: Any  # [B, G, H]
    keys: Any  # [B, G, N, K]
    values: Any  # [B, G, N, W]
    score: Any  # [T, B, G]: of what the turn wrote; this and the next as before
    decay: Any  # [T, B, G]
    salience: Any  # [B, G, N]
