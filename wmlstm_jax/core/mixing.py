"""What a write leaves in its slots: all of the newcomer, or a mixture."""

import jax.numpy as jnp

from wmlstm_jax.core.policies import Policy
from wmlstm_jax.core.slots import align
from wmlstm_jax.core.types import Array, Evicted


def mixed(
    policy: Policy, epoch: Array, evicted: Evicted, old: Array, fresh: Array
) -> Array:
    """`(1 - w) old + w fresh`, `[B, R, k, width]`; a dead slot's old content is 0.

    Args:
      policy: whose weights these are.
      epoch: `[B]`, of the rows.
      evicted: where the write goes, and with which weights.
      old: what the slots held, `[B, R, k, width]`.
      fresh: what is written, `[B, R, 1, width]`.
    """
    weights = evicted.weights
    kept = jnp.where(align(weights > 0, old), fresh, old)
    if policy.hard:
        return kept
    share = align(weights, old).astype(old.dtype)
    live = evicted.slot_epoch == epoch[:, None, None]
    blank = jnp.where(align(live, old), old, 0)
    mixture = (1 - share) * blank + share * fresh
    return jnp.where((share > 0) & (share < 1), mixture, kept)


def settles(policy: Policy, epoch: Array, evicted: Evicted) -> Array:
    """Where a slot now counts as the newcomer's, `[B, G, k]` bool.

    Where it gave at least half of what the slot holds; where the slot was dead, all.
    """
    weights = evicted.weights
    if policy.hard:
        return weights > 0
    was_dead = evicted.slot_epoch != epoch[:, None, None]
    return (weights >= 0.5) | (was_dead & (weights > 0))
