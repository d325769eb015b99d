"""From what a written item gave, in a piece of the backward pass, to its request.

See `rollback_piece`: `later` holds what the reads of the turns since gave to each
column, and what slots hold after the piece is worth.
"""

import jax
import jax.numpy as jnp

from wmlstm_jax.core.slots import put, take
from wmlstm_jax.core.window import mixed_items


def pull_replaced(window, inherited, asked, later, index, evicted, cut):
    """The cotangent of the request that was written before this turn's read.

    What its items gave to the reads of the piece since, and what they inherit from
    after it.
    """
    copies = evicted.slots.shape[-1]

    def of_items(columns):
        start = cut + index * copies
        items = jax.lax.dynamic_slice_in_dim(columns, start, copies, axis=-1)
        return items.sum(-1)

    def given(columns, vectors):
        return jnp.einsum("brc,brck->brk", of_items(columns), vectors)

    request = {
        "key": inherited["keys"] + given(later.keys, asked),
        "value": inherited["values"] + given(later.weighed, later.values),
    }
    if later.salience is not None:
        request["salience"] = inherited["salience"] + of_items(later.salience)
    return request


def pull_mixed(config, kept, asked, later, index, request_of, given):
    """The cotangents of what a mixing write was made of, before this turn's read.

    What its slots hold then gets what they gave to the reads of the piece since, and
    what later mixtures pass on; a part of it goes on to what the slots held before.
    """
    evicted, policy = kept.evicted, config.memory.policy
    copies = evicted.slots.shape[-1]
    start = config.memory.num_slots + index * copies
    old = {"keys": evicted.keys, "values": evicted.values}

    def from_reads(columns, vectors):
        items = jax.lax.dynamic_slice_in_dim(columns, start, copies, axis=-1)
        return jnp.einsum("brcn,brck->brnk", items, vectors)

    d_items = {
        "keys": from_reads(later.keys, asked),
        "values": from_reads(later.weighed, later.values),
    }
    d_items = {
        f: (take(later.passed[f], evicted.slots) + g).astype(old[f].dtype)
        for f, g in d_items.items()
    }

    def mix(old, *given):
        request = request_of(*given)
        written = evicted.weights > 0
        weights = policy.weigh(request, old["keys"], written)
        changed = evicted._replace(weights=jnp.where(written, weights, 0), **old)
        return mixed_items(config, changed, request, kept.rows["epoch"])

    d_old, *d_given = jax.vjp(mix, old, *given)[1](d_items)
    passed = {
        f: put(leaf, evicted.slots, d_old[f].astype(leaf.dtype))
        for f, leaf in later.passed.items()
    }
    return later._replace(passed=passed), d_given
