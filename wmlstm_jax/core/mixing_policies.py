"""Policies that mix: what slots held stays in them in part.

Weights between 0 and 1 have gradients, and so has the choice between them.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from wmlstm_jax.core.policies import Policy, least_of
from wmlstm_jax.core.slots import contract, take
from wmlstm_jax.core.types import Array, Memory, Request


@dataclass(frozen=True)
class TopK(Policy):
    """Mixes the newcomer into the slots most like it, and into a fresh one.

    `S <- (1 - w) S + w new` for `num_written` slots (after Afzal et al. 2025, "Raven",
    whose router names slots; here the keys that slots hold do, so that the capacity may
    change). The fresh slot is a free one, or else the oldest. The weights are the
    request's gate, shared by a softmax over how alike the keys are, and for the fresh
    slot the request's novelty. Tag and age of a slot are those of whoever gave it at
    least half of what it holds then.

    Args:
      num_written: k, at least 1; all slots where there are fewer.

    Raises:
      ValueError: the number is out of range.
    """

    request_fields: ClassVar[frozenset[str]] = frozenset({"gate", "novelty"})
    hard: ClassVar[bool] = False
    replays: ClassVar[bool] = True
    num_written: int = 2

    def __post_init__(self):
        if not isinstance(self.num_written, int) or self.num_written < 1:
            raise ValueError(
                f"TopK.num_written is {self.num_written!r}; it must be an integer of at"
                " least 1."
            )

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """The fresh slot, then those most alike; see `Policy`."""
        fresh = _fresh(memory)
        index = jnp.arange(memory.live.shape[-1], dtype=jnp.int32)
        others = memory.live & ~memory.pinned & (index != fresh)
        count = min(self.num_written, index.shape[0]) - 1
        # The fresh slot is the last candidate, after dead ones: no slot comes twice.
        alike = jnp.where(others, alike_by_group(request, memory.keys), -1e30)
        alike = jnp.where(index == fresh, -jnp.inf, alike)
        nearest = jax.lax.top_k(alike, count)[1].astype(jnp.int32)
        slots = jnp.concatenate([fresh, nearest], axis=-1)
        may = jnp.concatenate(
            [~take(memory.pinned, fresh), take(others, nearest)], axis=-1
        )
        return slots, self.weigh(request, take(memory.keys, slots), may)

    def weigh(self, request: Request, old_keys: Array, may: Array) -> Array:
        """The gate, shared; the fresh slot comes first; see `Policy`."""
        alike = alike_by_group(request, old_keys)
        assert request.novelty is not None
        logits = jnp.concatenate([request.novelty[..., None], alike[..., 1:]], axis=-1)
        return _share(request, logits, may)


@dataclass(frozen=True)
class Gated(Policy):
    """Mixes the newcomer into all slots (NTM, Graves et al. 2014; DNC, 2016).

    As `TopK` with all slots: each erases and adds by one weight, `S <- (1 - w) S + w
    new`, of which the fresh slot gets the DNC's allocation and the others its write by
    content.
    """

    request_fields: ClassVar[frozenset[str]] = frozenset({"gate", "novelty"})
    hard: ClassVar[bool] = False

    def select(self, memory: Memory, request: Request) -> tuple[Array, Array]:
        """All slots; see `Policy`."""
        index = jnp.arange(memory.live.shape[-1], dtype=jnp.int32)
        is_fresh = index == _fresh(memory)
        assert request.novelty is not None
        alike = alike_by_group(request, memory.keys)
        logits = jnp.where(is_fresh, request.novelty[..., None], alike)
        may = (memory.live | is_fresh) & ~memory.pinned
        slots = jnp.broadcast_to(index, may.shape)
        return slots, _share(request, logits, may)


def alike_by_group(request: Request, keys: Array) -> Array:
    """How like the request's key others are, `[B, R, n, K]` to `[B, G, n]`.

    `routing q k`, averaged over the heads of a group.
    """
    assert request.routing is not None
    dtype, groups = request.key.dtype, request.routing.shape[-1]
    found = contract("brk,brnk->brn", request.key, keys, dtype)
    batch, heads, count = found.shape
    by_heads = found.reshape(batch, groups, heads // groups, count)
    return by_heads.mean(2) * request.routing[..., None]


def _share(request, logits, may):
    """The gate, by a softmax over the slots that may be written; else zeros."""
    assert request.gate is not None
    logits = jnp.where(may, logits, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - jnp.where(jnp.isfinite(top), top, 0))
    total = weights.sum(-1, keepdims=True)
    return request.gate[..., None] * weights / jnp.where(total > 0, total, 1)


def _fresh(memory: Memory) -> Array:
    """A free slot, else the oldest, `[B, G, 1]`; a pinned one only if all are."""
    return least_of(memory, jnp.zeros(memory.live.shape))[0]
