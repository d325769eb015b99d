"""The copy pointer: which remembered token comes next, as a distribution over tags.

`p = softmax(q k)` over the heads and live tagged slots (and source tokens) of a group,
with `q` from `h_t` over `WM_t`; groups are averaged. After the pointer network of
Vinyals et al. 2015 and the pointer-sentinel mixture of Merity et al. 2016, over a
memory instead of a window.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import address, positive_decay, project_groups
from wmlstm_jax.core.reading import match_keys, slot_logits, source_logits
from wmlstm_jax.core.slots import to_heads
from wmlstm_jax.core.types import Array, Carry, Memory, Query, Source


def point(
    config: CellConfig,
    scalars: dict,
    vector: Array,
    memory: Memory | None,
    source: Source | None,
    *,
    keys: Callable = match_keys,
) -> tuple[Array, Array, Array]:
    """Where the pointer points.

    Args:
      config: the settings.
      scalars: `params["memory"]`.
      vector: `[B, G, Rg*K]`, the pointer's query, not yet normalised.
      memory: after the step's write, or None.
      source: the source bank, or None.
      keys: how the query meets the keys, as in `SlotMemory.read`.

    Returns:
      Weights `[B, G, Rg, n]` over slots, then source tokens, summing to 1 in each live
      group and 0 in others; their tags `[B, G, 1, n]`; and live `[B, G]`.
    """
    query = Query(
        vector=address(config, vector, scalars["copy_sharpness"]),
        null_logit=None,
        decay=positive_decay(scalars),
    )
    batch, heads, groups = vector.shape[0], config.num_heads, config.num_blocks
    logits, tags = [], []
    if memory is not None:
        tagged = to_heads(memory.tags >= 0, heads)
        logits.append(jnp.where(tagged, slot_logits(memory, query, keys), -jnp.inf))
        tags.append(memory.tags)
    if source is not None:
        tagged = (source.tags >= 0)[:, None]
        logits.append(jnp.where(tagged, source_logits(source, query), -jnp.inf))
        spread = (batch, groups, source.tags.shape[-1])
        tags.append(jnp.broadcast_to(source.tags[:, None], spread))
    logits = jnp.concatenate(logits, -1).reshape(batch, groups, heads // groups, -1)
    tags = jnp.concatenate(tags, -1)[:, :, None]
    top = jnp.max(logits, axis=(2, 3), keepdims=True)
    live = top > -jnp.inf
    weights = jnp.exp(logits - jax.lax.stop_gradient(jnp.where(live, top, 0)))
    total = weights.sum((2, 3), keepdims=True)
    return weights / jnp.where(live, total, 1), tags, live[:, :, 0, 0]


def copy_probability(weights: Array, tags: Array, target: Array) -> Array:
    """The weight on a token, by group, `[B, G]`; `target` is `[B]`."""
    match = tags == target[:, None, None, None]
    return jnp.where(match, weights, 0).sum((2, 3))


def average_groups(by_group: Array, live: Array) -> tuple[Array, Array]:
    """The mean over live groups (the last axis), 0 if none is; and whether any is."""
    count = jnp.maximum(live.sum(-1), 1).astype(by_group.dtype)
    return jnp.where(live, by_group, 0).sum(-1) / count, live.any(-1)


def pointer_distribution(
    params: dict,
    config: CellConfig,
    carry: Carry,
    vocab_size: int,
    *,
    source: Source | None = None,
) -> tuple[Array, Array]:
    """What the pointer says comes after the last step: a function of the carry.

    Args:
      params: from `init_params`, with `config.copy`.
      config: the settings.
      carry: the state after a step.
      vocab_size: V; a remembered tag of V or more gets nothing.
      source: the source bank, if the steps read one.

    Returns:
      Probabilities `[B, V]`, zero in rows with nothing to copy, and `live [B]` bool.

    Raises:
      ValueError: the cell has no pointer.
    """
    require_pointer(config, "pointer_distribution")
    vector = pointer_query(params, config, carry.hidden)
    weights, tags, live = point(config, params["memory"], vector, carry.memory, source)
    count = jnp.maximum(live.sum(-1), 1).astype(weights.dtype)
    weights = weights.sum(2) / count[:, None, None]  # [B, G, n]
    batch = weights.shape[0]
    rows = jnp.arange(batch)[:, None]
    flat = weights.reshape(batch, -1)
    tags = jnp.broadcast_to(tags[:, :, 0], weights.shape).reshape(batch, -1)
    tags = jnp.where(tags < 0, vocab_size, tags)
    empty = jnp.zeros((batch, vocab_size), weights.dtype)
    return empty.at[rows, tags].add(flat, mode="drop"), live.any(-1)


def pointer_query(params: dict, config: CellConfig, hidden: Array) -> Array:
    """`W_c h_t + b_c`, `[B, G, Rg*K]`."""
    projected = project_groups(config, hidden, params["current"]["copy"])
    return projected + params["bias"]["copy"]


def require_pointer(config: CellConfig, where: str) -> None:
    """Refuses a cell without a pointer."""
    if not config.copy:
        raise ValueError(
            f"{where}: CellConfig.copy is False; it must be True for the cell to have a"
            " pointer."
        )
