"""What a memory did over a batch, as addable counts: is it used at all, and how?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core import Trace

Array = jax.Array


class MemoryCounts(NamedTuple):
    """Sums over valid tokens; add two with `plus`, read statistics at the end."""

    requests: Array | float  # [] tokens times groups of heads
    writes: Array | float  # [] requests after which a slot was the newcomer's
    evictions: Array | float  # [] slots that lost what they held
    age: Array | float  # [] how many tokens that had been there
    looks: Array | float  # [] tokens times heads that read
    read_bits: Array | float  # [] entropy of their weights, null and source included
    null: Array | float  # [] weights of the null slot
    tokens: Array | float  # []
    copies: Array | float  # [] shares of the copy head
    slots: Array | float  # [] rows times groups times N
    dead: Array | float  # [] of these, given an even share (1/N) by no head or pointer

    def plus(self, other: "MemoryCounts") -> "MemoryCounts":
        """The counts of both batches together."""
        pairs = zip(self, other, strict=True)
        return MemoryCounts(*(float(a) + float(b) for a, b in pairs))

    def statistics(self) -> dict[str, float]:
        """By name; what there is none of is left out.

        `write_rate`, `eviction_age` in tokens, `read_bits` per head and token,
        `null_share` of reads, `copy_share` of predictions, `dead_slots` of all.
        """
        ratios = {
            "write_rate": (self.writes, self.requests),
            "eviction_age": (self.age, self.evictions),
            "read_bits": (self.read_bits, self.looks),
            "null_share": (self.null, self.looks),
            "copy_share": (self.copies, self.tokens),
            "dead_slots": (self.dead, self.slots),
        }
        return {
            name: float(part) / float(whole)
            for name, (part, whole) in ratios.items()
            if float(whole)
        }

    @property
    def unused(self) -> bool:
        """Whether nearly all reads decline and next to nothing is copied.

        False for a memory of which neither is known, such as fast weights.
        """
        found = self.statistics()
        shares = 1 - found.get("null_share", 1.0), found.get("copy_share", 0.0)
        told = "null_share" in found or "copy_share" in found
        return told and shares[0] < 0.01 and shares[1] < 0.005


def count_memory(
    trace: Trace, valid: Array, num_slots: int, copy_share: Array | None = None
) -> MemoryCounts:
    """Counts one batch.

    Args:
      trace: of the core, `[T, B, ...]`.
      valid: `[T, B]` bool.
      num_slots: N; 0 for a source alone.
      copy_share: `[T, B]` float, of the copy head, if there is one.
    """
    counts = dict.fromkeys(MemoryCounts._fields, jnp.zeros(()))
    looked = []  # [T, B, G or R, N]
    if copy_share is not None:
        counts["tokens"] = valid.sum()
        counts["copies"] = jnp.where(valid, copy_share, 0).sum()
    if trace.pointer is not None:
        looked.append(trace.pointer[..., :num_slots].sum(3))
    if trace.read is not None:
        parts = [trace.read.weights, trace.read.source_weights]
        parts = [part for part in parts if part is not None]
        if trace.read.weights is not None:
            looked.append(trace.read.weights)
        if parts:  # A matrix of fast weights has no places to look at.
            null = trace.read.null
            bits = _entropy(jnp.concatenate([*parts, null[..., None]], -1))
            here = valid[..., None]
            counts["looks"] = valid.sum() * null.shape[-1]
            counts["read_bits"] = jnp.where(here, bits, 0).sum()
            counts["null"] = jnp.where(here, null, 0).sum()
    if trace.eviction is not None:
        eviction, here = trace.eviction, valid[..., None, None]
        counts["requests"] = valid.sum() * eviction.slots.shape[2]
        counts["writes"] = (eviction.settled & here).any(-1).sum()
        gone = eviction.settled & eviction.live & here
        counts["evictions"] = gone.sum()
        age = eviction.clock[..., None, None] - eviction.written
        counts["age"] = jnp.where(gone, age, 0).sum()
    if num_slots and looked:
        groups = 1 if trace.eviction is None else trace.eviction.slots.shape[2]
        seen = jnp.zeros((valid.shape[1], groups, num_slots), bool)
        for weights in looked:
            # More than an even share, by any head of the group at any time.
            most = jnp.where(valid[..., None, None], weights, 0).max(0)
            by_group = most.reshape(most.shape[0], groups, -1, num_slots).max(2)
            seen |= by_group * num_slots > 1
        counts["slots"], counts["dead"] = jnp.asarray(seen.size), (~seen).sum()
    return MemoryCounts(**{f: jnp.asarray(c, float) for f, c in counts.items()})


def _entropy(weights: Array) -> Array:
    """In bits, over the last axis."""
    logs = jnp.log2(jnp.where(weights > 0, weights, 1))
    return -(weights * logs).sum(-1)
