"""How a memory is addressed: by content, and along the order in which it was written.

Content: `a = softmax(q k_n + bias_n)` over the live slots, the source's and a null slot
with a learned logit and value zero, so that an empty memory reads zero and a head may
decline. Along the order: `shift(a_{t-1}, j)` moves the last weights j places, which is
the temporal linkage of the DNC (Graves et al. 2016, methods) in O(N). The ends of the
order, "newest" and "oldest", are where such a walk can begin without being found by
content.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from wmlstm_jax.core.policies import slot_worth
from wmlstm_jax.core.slots import contract, to_heads
from wmlstm_jax.core.types import Array, Memory, Query, Source

ENDS = ("newest", "oldest")
"""Read modes that look at one slot: what was written last, or longest ago."""


def match_keys(vector: Array, memory: Memory | Source) -> Array:
    """`q k_n`, `[B, R, N]`, of every slot, for `vector [B, R, K]`."""
    return contract("brk,brnk->brn", vector, memory.keys, vector.dtype)


def mix_values(weights: Array, memory: Memory | Source) -> Array:
    """`sum_n a_n value_n`, `[B, R, W]`, for `weights [B, R, N]`."""
    assert memory.values is not None
    return contract("brn,brnw->brw", weights, memory.values, weights.dtype)


def slot_logits(
    memory: Memory, query: Query, keys: Callable[[Array, Memory], Array] = match_keys
) -> Array:
    """`q k_n + bias_n`, `[B, R, N]`; -inf where the slot is dead."""
    heads = query.vector.shape[1]
    live = to_heads(memory.live, heads)
    logits = keys(query.vector, memory)
    if query.decay is not None:
        logits = logits + to_heads(slot_worth(memory, query.decay), heads)
    return jnp.where(live, logits, -jnp.inf)


def source_logits(source: Source, query: Query) -> Array:
    """`q k_s`, `[B, R, S]`; -inf where there is no source token."""
    logits = match_keys(query.vector, source)
    return jnp.where(source.live[:, None], logits, -jnp.inf)


def softmax_with_null(logits: list[Array], null: Array) -> tuple[list[Array], Array]:
    """One softmax over several blocks of logits and a null logit.

    Args:
      logits: blocks `[B, R, n]`, -inf where there is nothing.
      null: `[B, R]`, finite.

    Returns:
      The weights of each block and of null; together they sum to 1.
    """
    top = null
    for block in logits:
        top = jnp.maximum(top, jnp.max(block, axis=-1))
    top = jax.lax.stop_gradient(top)
    blocks = [jnp.exp(block - top[..., None]) for block in logits]
    null = jnp.exp(null - top)
    total = null
    for block in blocks:
        total = total + block.sum(-1)
    return [block / total[..., None] for block in blocks], null / total


def along_the_order(
    memory: Memory, content: Array, modes: Array, read_modes: tuple[str | int, ...]
) -> Array:
    """`a_t = p_content content + sum_j p_j shift(a_{t-1}, j)`.

    What would come from before the oldest or after the newest place, or lands on a dead
    slot, is dropped: it reads zero. So does an end of an empty memory.

    Args:
      memory: after the last write, which cleared the last weights at its slot.
      content: `[B, R, N]`, the content weights.
      modes: `[B, R, M]`, the probabilities of `read_modes`.
      read_modes: "content", an end of the order ("newest", "oldest"), or an offset
        along it, one per mode.

    Returns:
      `[B, R, N]`.
    """
    assert memory.weights is not None
    num_slots, heads = content.shape[-1], content.shape[1]
    index = jnp.arange(num_slots, dtype=jnp.int32)
    place = (index - memory.head[..., None]) % num_slots  # 0 is the oldest
    live = to_heads(memory.live, heads)
    mixed = jnp.zeros_like(content)
    for m, mode in enumerate(read_modes):
        moved = content
        if mode in ENDS:
            at_end = to_heads(end_of_order(memory, mode), heads)
            moved = at_end.astype(content.dtype)
        elif isinstance(mode, int):
            inside = (place >= mode) & (place < num_slots + mode)
            shifted = jnp.roll(memory.weights, mode, axis=-1)
            moved = jnp.where(to_heads(inside, heads) & live, shifted, 0)
        mixed = mixed + modes[..., m, None] * moved
    return mixed


def end_of_order(memory: Memory, end: str) -> Array:
    """Which live slot was written last ("newest") or longest ago, `[B, G, N]` bool."""
    sign = 1 if end == "newest" else -1
    rank = jnp.where(memory.live, sign * memory.written, jnp.iinfo(jnp.int32).min)
    return memory.live & (rank == rank.max(axis=-1, keepdims=True))
