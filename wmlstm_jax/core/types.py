"""The arrays that the recurrence carries, asks with and returns.

Dimensions, everywhere in the package: **B** batch, **T** time, **D** input, **H**
hidden, **R** heads, **K** key and **W** value width per head, **N** slots, **S**
source slots, **G** groups of heads (``num_blocks``), **k** slots touched by a write,
**M** read modes. Arrays of the core are time-major, `[T, B, ...]`.
"""

from typing import Any, NamedTuple

import jax

Array = jax.Array

SCORES = ("salience", "gate", "novelty")
"""Fields of a request that the cell computes where the policy asks for them."""


class Memory(NamedTuple):
    """A working memory of N slots per row and head.

    A slot is live when its epoch is its row's: so emptying a row is one addition, and
    undoing that is one too. What a dead slot holds is never seen by a read.
    """

    keys: Array  # [B, R, N, K] memory dtype: addresses, RMS-normalised
    values: Array | None  # [B, R, N, W] memory dtype: what a read returns
    slot_epoch: Array  # [B, G, N] int32: the row's epoch when it was written
    written: Array  # [B, G, N] int32: the row's clock when it was written
    tags: Array  # [B, G, N] int32: the token that wrote it, -1 for none
    pinned: Array  # [B, G, N] bool: a policy never names a pinned slot
    salience: Array | None  # [B, G, N] float: for policies that declare it
    usage: Array | None  # [B, G, N] float: for policies that rank slots by their reads
    epoch: Array  # [B] int32: how often the row was emptied
    clock: Array  # [B] int32: valid tokens since the row was emptied
    head: Array  # [B, G] int32: ring position of the next write in written order
    weights: Array | None  # [B, R, N] float: the last read, for ordered reads

    @property
    def live(self) -> Array:
        """Which slots hold something, `[B, G, N]` bool."""
        return self.slot_epoch == self.epoch[:, None, None]

    @property
    def age(self) -> Array:
        """Write requests since the slot was written, `[B, G, N]` int32."""
        return self.clock[:, None, None] - self.written


class Source(NamedTuple):
    """Read-only slots beside the writable ones, filled from an encoder."""

    keys: Array  # [B, R, S, K]
    values: Array  # [B, R, S, W]
    tags: Array  # [B, S] int32, -1 for none
    live: Array  # [B, S] bool


class Query(NamedTuple):
    """What a read asks with."""

    vector: Array  # [B, R, K]: RMS-normalised, times the head's sharpness
    null_logit: (
        Array | None
    )  # [..., R]: the logit of reading nothing; a pointer has none
    modes: Array | None = None  # [B, R, M]: probabilities of the read modes
    decay: Array | None = None  # [..., G]: how much salience a slot loses per request


class Read(NamedTuple):
    """What a read returns. The weights over live slots and null sum to at most 1."""

    value: Array  # [B, R, W]
    weights: Array | None  # [B, R, N], None without slots
    source_weights: Array | None  # [B, R, S], None without a source
    null: Array  # [B, R]: the weight of the null slot


class Request(NamedTuple):
    """What the cell asks the memory to keep; a policy declares what it looks at."""

    key: Array  # [B, R, K]: RMS-normalised
    value: Array | None  # [B, R, W]; None where nothing is read
    tag: Array  # [B] int32, -1 for none
    valid: Array  # [B] bool: False asks for nothing
    salience: Array | None = None  # [B, G]
    decay: Array | None = None  # [..., G]
    gate: Array | None = None  # [B, G]: how much of the slots is written, in (0, 1)
    novelty: Array | None = None  # [B, G]: the logit of a fresh slot
    routing: Array | None = None  # [..., G]: how much it counts that keys are alike


class Evicted(NamedTuple):
    """What a write replaced, and where: enough to undo it and to replay its choice."""

    slots: Array  # [B, G, k] int32
    weights: Array  # [B, G, k] float: 1 replaces, 0 writes nothing, else mixes
    keys: Array  # [B, R, k, K]
    values: Array | None  # [B, R, k, W]
    slot_epoch: Array  # [B, G, k]
    written: Array  # [B, G, k]
    tags: Array  # [B, G, k]
    salience: Array | None  # [B, G, k]
    usage: Array | None  # [B, G, k]
    last_weights: Array | None  # [B, R, k]: the slot's share of the last read
    clock: Array  # [B]
    head: Array  # [B, G]


class Carry(NamedTuple):
    """The state between two tokens: `WM_t` and `LSTM_t`."""

    hidden: Array  # [B, H]
    cell: Array  # [B, H]
    memory: Any  # Memory, or None when the capacity is 0
    coverage: Array | None = None  # [B, G, S]: the weight that the pointer has put on
    # each source token, where the cell keeps it


class Eviction(NamedTuple):
    """Where a write went, and what had been there: `Evicted` without its contents."""

    slots: Array  # [B, G, k] int32
    weights: Array  # [B, G, k]: 0 where nothing was written
    settled: Array  # [B, G, k] bool: the slot is the newcomer's now
    live: Array  # [B, G, k] bool: the slot held something
    written: Array  # [B, G, k] int32: the clock when that was written
    tags: Array  # [B, G, k] int32: the token that had written it
    worth: Array | None  # [B, G, k]: what the policy ranked it by, lowest first
    newcomer: Array | None  # [B, G]: the newcomer's salience
    clock: Array  # [B] int32, as in `Memory`, when it was written


class Trace(NamedTuple):
    """What the memory did at each step; every leaf leads with T."""

    read: Read | None  # None where nothing is read
    eviction: Eviction | None  # None without slots
    gates: Array  # [T, B, 4, H]: input, forget, candidate, output
    modes: Array | None  # [T, B, R, M]: the probabilities of the read modes
    pointer: Array | None  # [T, B, G, R/G, n]: weights over slots, then source tokens,
    # after the write of the step; None without targets


class Outputs(NamedTuple):
    """What `unroll` gives beside the hidden outputs when it is asked for more."""

    hidden: Array  # [T, B, H]
    copy: Array | None  # [T, B]: probability that the pointer gives the target
    copy_live: Array | None  # [T, B] bool: there was something to copy
    repeated: Array | None  # [T, B]: weight put where it had been, with coverage
    trace: Trace | None
