"""The copy pointer: which remembered token comes next, as a distribution over tags.

`p = softmax(q k)` over the heads and live tagged slots (and source tokens) of a group,
with `q` from `h_t` over `WM_t`; groups are averaged. After the pointer network of
Vinyals et al. 2015 and the pointer-sentinel mixture of Merity et al. 2016, over a
memory instead of a window. With coverage, `w_c c_s` is added to the logit of a source
token, where `c_s` is the weight that it has had, and `sum_s min(p_s, c_s)` says how
much is pointed at again (See et al. 2017, section 2.3).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import address, positive_decay, project_groups
from wmlstm_jax.core.reading import match_keys, slot_logits, source_logits
from wmlstm_jax.core.slots import to_heads
from wmlstm_jax.core.types import Array, Carry, Memory, Query, Source


class Pointed(NamedTuple):
    """What the pointer of a step says of its target."""

    copy: Array  # [B, G]: the probability of the target
    live: Array  # [B, G] bool: there is something to point at
    repeated: Array | None  # [B, G]: weight put where it had been, with coverage
    weights: Array | None  # [B, G, R/G, n]: over slots, then source tokens; for a trace


def pointer_logits(
    config: CellConfig,
    scalars: dict,
    vector: Array,
    memory: Memory | None,
    source: Source | None,
    *,
    keys: Callable = match_keys,
) -> tuple[Array, Array]:
    """How well the pointer's query meets what is remembered.

    Args:
      config: the settings.
      scalars: `params["memory"]`.
      vector: `[B, G, Rg*K]`, the pointer's query, not yet normalised.
      memory: after the step's write, or None.
      source: the source bank, or None.
      keys: how the query meets the keys, as in `SlotMemory.read`.

    Returns:
      Logits `[B, G, Rg, n]` of slots, then source tokens, -inf where there is nothing
      to copy; and their tags `[B, G, 1, n]`.
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
    return logits, jnp.concatenate(tags, -1)[:, :, None]


def point(
    scalars: dict, logits: Array, coverage: Array | None
) -> tuple[Array, Array, Array | None]:
    """Where the pointer points.

    Args:
      scalars: `params["memory"]`.
      logits: from `pointer_logits`.
      coverage: `[B, G, S]`, the weight that each source token has had, or None.

    Returns:
      Weights `[B, G, Rg, n]`, summing to 1 in each live group and 0 in others; live
      `[B, G]`; and with coverage the weights on the source by group, `[B, G, S]`.
    """
    if coverage is not None:
        groups, length = coverage.shape[1:]
        # Under a head's sign, what has been copied is avoided or goes on being copied.
        slope = scalars["coverage"]
        slope = slope.reshape(*slope.shape[:-1], groups, -1, 1)
        seen = slope * coverage[:, :, None]
        before = jnp.zeros_like(logits[..., : logits.shape[-1] - length])
        logits = logits + jnp.concatenate([before, seen], -1)
    top = jnp.max(logits, axis=(2, 3), keepdims=True)
    live = top > -jnp.inf
    weights = jnp.exp(logits - jax.lax.stop_gradient(jnp.where(live, top, 0)))
    total = weights.sum((2, 3), keepdims=True)
    weights = weights / jnp.where(live, total, 1)
    share = None
    if coverage is not None:
        share = weights[..., weights.shape[-1] - coverage.shape[-1] :].sum(2)
    return weights, live[:, :, 0, 0], share


def point_at_target(
    scalars: dict,
    logits: Array,
    tags: Array,
    target: Array,
    coverage: Array | None,
    valid: Array | None,
) -> tuple[Pointed, Array | None]:
    """What the pointer says of a target.

    Args:
      scalars: `params["memory"]`.
      logits: from `pointer_logits`, like `tags`.
      tags: `[B, G, 1, n]`.
      target: `[B]` int32.
      coverage: before the step, or None.
      valid: `[B]` bool; elsewhere the coverage stays. None without coverage.

    Returns:
      What it says, and the coverage after.
    """
    weights, live, share = point(scalars, logits, coverage)
    match = tags == target[:, None, None, None]
    copy, repeated = jnp.where(match, weights, 0).sum((2, 3)), None
    if coverage is not None:
        assert share is not None and valid is not None
        repeated = jnp.minimum(share, coverage).sum(-1)
        coverage = coverage + jnp.where(valid[:, None, None], share, 0)
    return Pointed(copy, live, repeated, weights), coverage


def average_groups(pointed: Pointed, valid: Array) -> Pointed:
    """The mean over live groups, the last axis: 0 if none is, or where not valid."""
    count = jnp.maximum(pointed.live.sum(-1), 1).astype(pointed.copy.dtype)

    def average(by_group):
        mean = jnp.where(pointed.live, by_group, 0).sum(-1) / count
        return jnp.where(valid, mean, 0)

    repeated = pointed.repeated
    return Pointed(
        average(pointed.copy),
        pointed.live.any(-1) & valid,
        None if repeated is None else average(repeated),
        pointed.weights,
    )


def pointer_distribution(
    params: dict,
    config: CellConfig,
    carry: Carry,
    vocab_size: int,
    *,
    source: Source | None = None,
) -> tuple[Carry, Array, Array]:
    """What the pointer says comes after the last step.

    Args:
      params: from `init_params`, with `config.copy`.
      config: the settings.
      carry: the state after a step.
      vocab_size: V; a remembered tag of V or more gets nothing.
      source: the source bank, if the steps read one.

    Returns:
      The carry, whose coverage knows where the pointer was; without coverage nothing is
      changed. Probabilities `[B, V]`, zero in rows with nothing to copy, and
      `live [B]` bool.

    Raises:
      ValueError: the cell has no pointer.
    """
    require_pointer(config, "pointer_distribution")
    vector, scalars = pointer_query(params, config, carry.hidden), params["memory"]
    logits, tags = pointer_logits(config, scalars, vector, carry.memory, source)
    weights, live, share = point(scalars, logits, carry.coverage)
    if carry.coverage is not None:
        assert share is not None
        carry = carry._replace(coverage=carry.coverage + share)
    count = jnp.maximum(live.sum(-1), 1).astype(weights.dtype)
    weights = weights.sum(2) / count[:, None, None]  # [B, G, n]
    batch = weights.shape[0]
    rows = jnp.arange(batch)[:, None]
    flat = weights.reshape(batch, -1)
    tags = jnp.broadcast_to(tags[:, :, 0], weights.shape).reshape(batch, -1)
    tags = jnp.where(tags < 0, vocab_size, tags)
    empty = jnp.zeros((batch, vocab_size), weights.dtype)
    return carry, empty.at[rows, tags].add(flat, mode="drop"), live.any(-1)


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
