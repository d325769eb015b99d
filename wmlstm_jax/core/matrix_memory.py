"""Fast weights: a matrix for each head instead of slots, written by the delta rule.

    r = q S        S <- S + b k (v - k S)        k a unit vector, b in (0, 1)

What a key finds is corrected towards the value, so a key that is told again is told
anew, and keys that are not alike do not disturb each other (Widrow & Hoff 1960; Schlag
et al. 2021, section 4.2). Nothing has an age or a tag, so there is nothing to point at.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp

from wmlstm_jax.core.policies import Policy
from wmlstm_jax.core.slots import align, contract, to_heads
from wmlstm_jax.core.types import Array, Memory, Query, Read, Request

if TYPE_CHECKING:
    from wmlstm_jax.core.config import CellConfig


@dataclass(frozen=True)
class DeltaRule(Policy):
    """The policy of a `MatrixMemory`: the gate says how much is written."""

    request_fields: ClassVar[frozenset[str]] = frozenset({"gate"})
    hard: ClassVar[bool] = False


@dataclass(frozen=True)
class MatrixMemory:
    """A working memory of one matrix per row and head; its capacity is the key's width.

    It stands where a `SlotMemory` does. The matrix is in `Memory.values`, `[B, R, K,
    W]`; what a slot is elsewhere is a row of it here, and keys have a width of 0.
    """

    policy: ClassVar[Policy] = DeltaRule()
    num_slots: ClassVar[int] = 1

    def init(self, config: "CellConfig", batch_size: int) -> Memory:
        """An empty memory for `batch_size` rows."""
        rows = (batch_size, config.num_blocks, config.key_dim)
        matrix = (batch_size, config.num_heads, config.key_dim, config.value_dim)
        return Memory(
            keys=jnp.zeros((*matrix[:3], 0), config.memory_dtype),
            values=jnp.zeros(matrix, config.memory_dtype),
            slot_epoch=jnp.full(rows, -1, jnp.int32),
            written=jnp.zeros(rows, jnp.int32),
            tags=jnp.full(rows, -1, jnp.int32),
            pinned=jnp.zeros(rows, bool),
            salience=None,
            usage=None,
            epoch=jnp.zeros((batch_size,), jnp.int32),
            clock=jnp.zeros((batch_size,), jnp.int32),
            head=jnp.zeros((batch_size, config.num_blocks), jnp.int32),
            weights=None,
        )

    def read(
        self, memory: Memory | None, query: Query, **beside: object
    ) -> tuple[Memory, Read]:
        """`q S`; there are no weights, and what a cell gives `beside` is for slots."""
        del beside
        assert memory is not None
        value = contract(
            "brk,brkw->brw", query.vector, _matrix(memory), query.vector.dtype
        )
        null = jnp.zeros(query.vector.shape[:2], query.vector.dtype)
        return memory, Read(value, None, None, null)

    def write(self, memory: Memory, request: Request) -> tuple[Memory, None]:
        """Corrects what the key finds; a row that is not valid changes nothing."""
        held = memory.values
        assert held is not None
        assert request.gate is not None and request.value is not None
        heads, width = request.key.shape[1:]
        matrix, dtype = _matrix(memory), request.key.dtype
        key = request.key * width**-0.5
        found = contract("brk,brkw->brw", key, matrix, dtype)
        gate = to_heads(jnp.where(request.valid[:, None], request.gate, 0), heads)
        error = gate[..., None] * (request.value - found)
        # Not finite is not written: it would stay in the matrix for good.
        step = jnp.einsum("brk,brw->brkw", key, error)
        step = jnp.where(jnp.isfinite(step), step, 0).astype(matrix.dtype)
        valid = request.valid[:, None, None]
        epoch = memory.epoch[:, None, None]
        return memory._replace(
            values=jnp.where(valid[..., None], matrix + step, held),
            slot_epoch=jnp.where(valid, epoch, memory.slot_epoch),
            written=jnp.where(valid, memory.clock[:, None, None], memory.written),
            clock=memory.clock + request.valid.astype(jnp.int32),
        ), None


def _matrix(memory: Memory) -> Array:
    """The matrix, zero where nothing was written since the row was emptied."""
    assert memory.values is not None
    return jnp.where(align(memory.live, memory.values), memory.values, 0)
