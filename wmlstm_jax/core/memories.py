"""The slot memory: read, write, undo.

What a slot holds is contiguous, `[B, R, N, K]`: a read is two batched products of a
matrix with a vector, each over memory in its order, and a write touches k short rows
only. Every function is pure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from wmlstm_jax.core.mixing import mixed, settles
from wmlstm_jax.core.policies import Fifo, Policy
from wmlstm_jax.core.reading import (
    along_the_order,
    match_keys,
    mix_values,
    slot_logits,
    softmax_with_null,
    source_logits,
)
from wmlstm_jax.core.slots import align, put, take
from wmlstm_jax.core.types import (
    Array,
    Evicted,
    Memory,
    Query,
    Read,
    Request,
    Source,
)

if TYPE_CHECKING:
    from wmlstm_jax.core.config import CellConfig

# What a write replaces in a slot. Each leaf is `[B, R or G, N, ...]`.
SLOT_FIELDS = ("keys", "values", "slot_epoch", "written", "tags", "salience", "usage")


@dataclass(frozen=True)
class SlotMemory:
    """A working memory of `num_slots` per row and head, kept by `policy`.

    Args:
      num_slots: the capacity N; 0 makes the cell exactly an LSTM.
      policy: what a full memory discards.

    Raises:
      ValueError: the capacity is negative, or the policy is not one.
    """

    num_slots: int
    policy: Policy = Fifo()

    def __post_init__(self):
        if not isinstance(self.num_slots, int) or self.num_slots < 0:
            raise ValueError(
                f"SlotMemory.num_slots is {self.num_slots!r}; it must be an integer"
                " of at least 0."
            )
        if not isinstance(self.policy, Policy):
            raise ValueError(
                f"SlotMemory.policy is {self.policy!r}; it must be a policy such as"
                " Fifo() or Salience()."
            )

    def init(self, config: "CellConfig", batch_size: int) -> Memory | None:
        """An empty memory for `batch_size` rows, or None when the capacity is 0."""
        if self.num_slots == 0:
            return None
        num_slots, groups, heads = self.num_slots, config.num_blocks, config.num_heads
        slot = (batch_size, groups, num_slots)
        dtype, state = config.memory_dtype, config.state_dtype
        content = (batch_size, heads, num_slots)
        keeps_salience = "salience" in self.policy.request_fields
        ordered = len(config.read_modes) > 1
        return Memory(
            keys=jnp.zeros((*content, config.key_dim), dtype),
            values=jnp.zeros((*content, config.value_dim), dtype)
            if config.reads
            else None,
            slot_epoch=jnp.full(slot, -1, jnp.int32),
            written=jnp.zeros(slot, jnp.int32),
            tags=jnp.full(slot, -1, jnp.int32),
            pinned=jnp.zeros(slot, bool),
            salience=jnp.zeros(slot, state) if keeps_salience else None,
            usage=jnp.zeros(slot, state) if self.policy.ranks_by_reads else None,
            epoch=jnp.zeros((batch_size,), jnp.int32),
            clock=jnp.zeros((batch_size,), jnp.int32),
            head=jnp.zeros((batch_size, groups), jnp.int32),
            weights=jnp.zeros(content, state) if ordered else None,
        )

    def read(
        self,
        memory: Memory | None,
        query: Query,
        *,
        read_modes: tuple[str | int, ...] = ("content",),
        source: Source | None = None,
        keys: Callable[[Array, Memory], Array] = match_keys,
        values: Callable[[Array, Memory], Array] = mix_values,
    ) -> tuple[Memory | None, Read]:
        """Reads by content, and along the written order where the modes say so.

        `a = softmax(q k_n + bias_n)` over live slots, source slots and the null slot;
        with offsets, `a_t = p_content a + sum_j p_j shift(a_{t-1}, j)`; `r = a V`.

        Args:
          memory: what to read, or None when only a source is read. Its dead slots
            hold finite numbers, as `write` and `wipe` leave them.
          query: vector, null logit, mode probabilities, decay.
          read_modes: the names behind `query.modes`.
          source: read-only slots read by the same weights.
          keys: how the query meets the keys; a backward pass that has kept their
            product gives it here.
          values: how the weights meet the values, likewise.

        Returns:
          The memory with its bookkeeping of reads brought up to date, and the read.
        """
        dtype = query.vector.dtype
        assert query.null_logit is not None
        null_logit = query.null_logit.astype(dtype)
        null_logit = jnp.broadcast_to(null_logit, query.vector.shape[:2])
        logits = [] if memory is None else [slot_logits(memory, query, keys)]
        logits += [] if source is None else [source_logits(source, query)]
        blocks, null = softmax_with_null(logits, null_logit)
        content = None
        if query.modes is not None:
            content = query.modes[..., read_modes.index("content")]
            null = null * content
        found, weights, source_weights = [], None, None
        if memory is not None:
            weights = blocks[0]
            if query.modes is not None:
                weights = along_the_order(memory, weights, query.modes, read_modes)
            found.append(values(weights, memory))
            memory = self._note_read(memory, weights)
        if source is not None:
            source_weights = blocks[-1]
            if content is not None:
                source_weights = source_weights * content[..., None]
            found.append(mix_values(source_weights, source))
        value = sum(found[1:], found[0])
        return memory, Read(value, weights, source_weights, null)

    def _note_read(self, memory, weights):
        """Brings the bookkeeping of reads up to date."""
        if memory.usage is not None:
            seen = jax.lax.stop_gradient(weights)
            memory = memory._replace(usage=self.policy.observe(memory, seen))
        if memory.weights is not None:
            memory = memory._replace(weights=weights)
        return memory

    def write(self, memory: Memory, request: Request) -> tuple[Memory, Evicted]:
        """Writes the request where the policy says; the clock counts the request.

        Args:
          memory: the memory before.
          request: what to keep; a row that is not valid changes nothing.

        Returns:
          The memory after, and what was replaced.
        """
        slots, weights = self.policy.select(memory, request)
        weights = jnp.where(request.valid[:, None, None], weights, 0)
        evicted = Evicted(
            slots=slots,
            weights=weights,
            last_weights=_take_or_none(memory.weights, slots),
            clock=memory.clock,
            head=memory.head,
            **{f: _take_or_none(getattr(memory, f), slots) for f in SLOT_FIELDS},
        )
        new = self._content(memory, request)
        changed = {}
        settled = settles(self.policy, memory.epoch, evicted)
        for field in SLOT_FIELDS:
            leaf, old = getattr(memory, field), getattr(evicted, field)
            if leaf is None:
                continue
            fresh = self.stored(new[field][:, :, None], leaf.dtype)
            if field in ("keys", "values"):
                kept = mixed(self.policy, memory.epoch, evicted, old, fresh)
            else:
                counts = weights > 0 if field == "slot_epoch" else settled
                kept = jnp.where(align(counts, old), fresh, old)
            changed[field] = put(leaf, slots, kept)
        if memory.weights is not None and evicted.last_weights is not None:
            last = evicted.last_weights
            last = jnp.where(align(weights > 0, last), 0, last)
            changed["weights"] = put(memory.weights, slots, last)
        following = slots[..., 0] + 1
        following = jnp.where(following == self.num_slots, 0, following)
        memory = memory._replace(
            **changed,
            clock=memory.clock + request.valid.astype(jnp.int32),
            head=jnp.where(weights[..., 0] > 0, following, memory.head),
        )
        return memory, evicted

    def _content(self, memory, request):
        """What a slot written now holds, field by field, without the slot axis."""
        ranked = self.policy.ranks_by_reads
        return {
            "keys": request.key,
            "values": request.value,
            "slot_epoch": memory.epoch[:, None],
            "written": memory.clock[:, None],
            "tags": request.tag[:, None],
            "salience": request.salience,
            "usage": self.policy.initial_usage(memory)[:, None] if ranked else None,
        }

    def undo(self, memory: Memory, evicted: Evicted) -> Memory:
        """The memory before the write that evicted this, exactly."""
        restored = {
            f: put(getattr(memory, f), evicted.slots, getattr(evicted, f))
            for f in SLOT_FIELDS
            if getattr(memory, f) is not None
        }
        if memory.weights is not None and evicted.last_weights is not None:
            restored["weights"] = put(
                memory.weights, evicted.slots, evicted.last_weights
            )
        return memory._replace(clock=evicted.clock, head=evicted.head, **restored)

    @staticmethod
    def stored(fresh: Array, dtype) -> Array:
        """What a slot holds of a request's leaf: of its dtype, and finite.

        Zero stands for what is not finite (the state it came from still shows it). So a
        weight of 0 on a dead slot is 0, and reads need not mask what slots hold.
        """
        fresh = fresh.astype(dtype)
        if not jnp.issubdtype(fresh.dtype, jnp.floating):
            return fresh
        return jnp.where(jnp.isfinite(fresh), fresh, 0)


def empty_rows(memory: Memory, rows: Array) -> Memory:
    """Empties the rows where `rows [B]` is True; their pins are lifted too.

    What the slots hold is left in place and dead: see `wipe`.
    """
    row, slot = rows[:, None], rows[:, None, None]
    weights = memory.weights
    return memory._replace(
        epoch=memory.epoch + rows.astype(jnp.int32),
        clock=jnp.where(rows, 0, memory.clock),
        head=jnp.where(row, 0, memory.head),
        pinned=jnp.where(slot, False, memory.pinned),
        weights=None if weights is None else jnp.where(slot, 0, weights),
    )


def wipe(memory: Memory) -> Memory:
    """The same memory with nothing left in its dead slots, and every epoch 0."""
    live = memory.live
    blank = {"slot_epoch": -1, "tags": -1, "pinned": False}
    wiped = {}
    for field in (*SLOT_FIELDS, "pinned", "weights"):
        leaf = getattr(memory, field)
        if leaf is not None:
            wiped[field] = jnp.where(align(live, leaf), leaf, blank.get(field, 0))
    wiped["slot_epoch"] = jnp.where(live, 0, -1).astype(jnp.int32)
    return memory._replace(**wiped, epoch=jnp.zeros_like(memory.epoch))


def _take_or_none(leaf: Array | None, slots: Array) -> Any:
    return None if leaf is None else take(leaf, slots)
