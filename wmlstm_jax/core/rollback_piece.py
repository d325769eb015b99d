"""The backward pass over a piece of the loop; see `rollback` and `window`."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import after, before, fused_sizes
from wmlstm_jax.core.loop_types import State
from wmlstm_jax.core.replay import kept_products, transpose
from wmlstm_jax.core.slots import align, put, take
from wmlstm_jax.core.types import Array, Evicted
from wmlstm_jax.core.window import (
    before_the_piece,
    inherit,
    match_all,
    open_window,
    survivors,
    view,
)


class Kept(NamedTuple):
    """What the forward pass keeps of one step."""

    state: State  # before the step
    rows: dict  # the memory's row leaves when it was read
    evicted: Evicted | None
    parts: dict  # [B, G, width] of each projection; zero where none is needed
    late: dict  # [B, G, width] of what the step before left undone
    vector: Array | None  # [B, R, K]: what the read asked with
    copy_vector: Array | None  # [B, R, K]: what the pointer asked with
    value: Array | None  # [B, R, W]: what the slots gave
    seen: Array | None  # [B, R*W]


class Later(NamedTuple):
    """The cotangents that a turn gets from those after it."""

    state: State
    weights: Array | None  # [B, R, N]: of the last read
    scalars: Any  # so far
    salience: Array | None  # [B, G, E]: of the columns, so far
    keys: list  # [C, B, R, I] each: what reads gave to the items' products with keys
    weighed: Array | None  # [C, B, R, I]: the weights of the items
    values: Array | None  # [C, B, R, W]: what reads gave to what they got


def piece_backward(
    config, unroll, kernels, scalars, memory, steps, d_content, later: Later
):
    """All turns of a piece, from the last to the first."""
    inputs, kept, d_emitted = steps
    window = inherited = None
    length = inputs.valid.shape[0]
    asked = [v for v in (kept.vector, kept.copy_vector) if v is not None]
    products = [None] * len(asked)
    if memory is not None:
        requests = jax.vmap(functools.partial(before, config, scalars))(
            kept.state.pending, kept.late
        )
        epoch = kept.rows["epoch"]
        window = open_window(config, memory, kept.evicted, requests, epoch)
        overwritten, stays = survivors(window)
        inherited = {f: inherit(g, window, stays) for f, g in d_content.items()}
        products = [match_all(window, vectors) for vectors in asked]
        later = _nothing_later(window, kept, later, length, len(asked))

    def turn(later, step):
        return _turn_backward(
            config, kernels, scalars, window, inherited, asked, later, step
        )

    owner = None if window is None else window.owner
    index = jnp.arange(length, dtype=jnp.int32)
    later, outs = jax.lax.scan(
        turn,
        later,
        (index, inputs, kept, d_emitted, owner, products),
        reverse=True,
        unroll=unroll,
    )
    d_products, weighed, d_projected, d_z, d_gates = outs
    if memory is not None:
        cut = config.memory.num_slots
        gained = {"values": _outer(weighed[..., :cut], later.values)}
        pairs = zip(d_products, asked, strict=True)
        gained["keys"] = sum(_outer(d[..., :cut], v) for d, v in pairs)
        if later.salience is not None:
            gained["salience"] = later.salience[..., :cut]
        d_content = {
            f: before_the_piece(g, overwritten, gained[f]) for f, g in d_content.items()
        }
        memory = window.start
    carry = later.state, d_content, later.weights, later.scalars, memory
    return carry, (d_projected, d_z, d_gates)


def _nothing_later(window, kept, later, length, num_asked):
    """Empty accumulators for the columns of a piece."""
    batch, heads = kept.value.shape[1:3]
    items = jnp.zeros((length, batch, heads, window.slots.shape[-1]), kept.value.dtype)
    salience = window.salience
    return later._replace(
        salience=None if salience is None else jnp.zeros_like(salience),
        keys=[items] * num_asked,
        weighed=items,
        values=jnp.zeros_like(kept.value),
    )


def _turn_backward(config, kernels, scalars, window, inherited, asked, later, step):
    """One turn: through the LSTM and the read, then to what was written before it."""
    index, inputs, kept, d_emitted, owner, products = step
    floats, fixed = partition(scalars)
    state, counts = partition(kept.state)
    ordered = len(config.read_modes) > 1

    def again(state, parts, late, salience, weights, floats, taps):
        held, noted = None, {}
        if window is not None:
            rows = kept.rows | {"weights": weights}
            held = view(window, ordered, rows, owner, salience)
        new_state, held, emitted = after(
            config,
            combine(floats, fixed),
            combine(state, counts),
            parts,
            late,
            held,
            inputs,
            kept_products(
                config,
                kernels,
                window,
                owner,
                (kept.parts["gates"], products, kept.value),
                taps,
                noted,
            ),
        )
        weights = None if held is None else held.weights
        given = partition(new_state)[0], weights, partition(emitted)[0]
        return given, noted.get("weights")

    taps = jax.tree.map(jnp.zeros_like, (products, kept.value))
    salience = None if window is None else window.salience
    _, pull, weighed = jax.vjp(
        again,
        state,
        kept.parts,
        kept.late,
        salience,
        kept.rows.get("weights"),
        floats,
        taps,
        has_aux=True,
    )
    d_state, d_parts, d_late, d_salience, d_weights, d_more, d_taps = pull(
        (later.state, later.weights, d_emitted)
    )
    d_products, d_value = d_taps
    later = later._replace(scalars=_add(later.scalars, d_more), weights=d_weights)
    if window is not None:
        cut = config.memory.num_slots
        later = later._replace(
            keys=[
                buffer.at[index].set(d[..., cut:])
                for buffer, d in zip(later.keys, d_products, strict=True)
            ],
            weighed=later.weighed.at[index].set(weighed[..., cut:]),
            values=later.values.at[index].set(d_value),
            salience=None if salience is None else later.salience + d_salience,
        )
        if d_weights is not None:
            later = later._replace(weights=_clear(d_weights, kept.evicted))
        d_request = _pull(window, inherited, asked, later, index, kept.evicted, cut)

        def ask(pending, late, floats):
            pending = combine(pending, counts.pending)
            request = before(config, combine(floats, fixed), pending, late)
            return {name: getattr(request, name) for name in d_request}

        pull_request = jax.vjp(ask, state.pending, kept.late, floats)[1]
        d_pending, d_late_request, d_more = pull_request(d_request)
        d_state = d_state._replace(pending=_add(d_state.pending, d_pending))
        d_late = _add(d_late, d_late_request)
        later = later._replace(scalars=_add(later.scalars, d_more))
    d_projected, d_z = _join(config, inputs, d_parts, d_late)
    d_hidden = transpose(config, kernels.hidden, state.hidden, d_z)
    later = later._replace(state=d_state._replace(hidden=d_state.hidden + d_hidden))
    d_gates = d_parts["gates"] if config.reads else None
    return later, (d_products, weighed, d_projected, d_z, d_gates)


def _pull(window, inherited, asked, later, index, evicted, cut):
    """The cotangent of the request that was written before this turn's read.

    What its items gave to the reads of the piece since, and what they inherit from
    after it.
    """
    copies = evicted.slots.shape[-1]

    def of_items(columns, start=0):
        start = start + index * copies
        items = jax.lax.dynamic_slice_in_dim(columns, start, copies, axis=-1)
        return items.sum(-1)

    request = {"key": of_items(inherited["keys"])}
    for buffer, vectors in zip(later.keys, asked, strict=True):
        request["key"] += (of_items(buffer)[..., None] * vectors).sum(0)
    weighed = of_items(later.weighed)[..., None] * later.values
    request["value"] = of_items(inherited["values"]) + weighed.sum(0)
    if later.salience is not None:
        gained = of_items(later.salience, cut)
        request["salience"] = of_items(inherited["salience"]) + gained
    return request


def _join(config, inputs, d_parts, d_late):
    """The cotangents of the fused projections from input and hidden state."""
    d_projected = [d_parts[to] for to in fused_sizes(config, "input")]
    d_z = []
    for to in fused_sizes(config, "hidden"):
        part = d_late[to] if to in d_late else d_parts[to]
        if to not in d_late and inputs.reset is not None:
            part = jnp.where(inputs.reset[:, None, None], 0, part)
        d_z.append(part)
    return jnp.concatenate(d_projected, -1), jnp.concatenate(d_z, -1)


def _clear(d_weights: Array, evicted: Evicted) -> Array:
    """A write empties its slot's share of the last read."""
    share = take(d_weights, evicted.slots)
    kept = jnp.where(align(evicted.weights > 0, share), 0, share)
    return put(d_weights, evicted.slots, kept)


def _outer(weights: Array, vectors: Array) -> Array:
    """`[C, B, R, N]` and `[C, B, R, K]` to `[B, R, K, N]`, summed over the piece."""
    return jnp.einsum("cbrn,cbrk->brkn", weights, vectors)


def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)


def partition(tree: Any) -> tuple[Any, Any]:
    """A tree's floating leaves, and its others; None where the other part is."""

    def is_float(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)

    floats = jax.tree.map(lambda leaf: leaf if is_float(leaf) else None, tree)
    others = jax.tree.map(lambda leaf: None if is_float(leaf) else leaf, tree)
    return floats, others


def combine(floats: Any, others: Any) -> Any:
    """The tree that `partition` took apart."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, floats, others, is_leaf=lambda x: x is None
    )
