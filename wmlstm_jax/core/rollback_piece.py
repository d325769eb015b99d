"""The backward pass over a piece of the loop; see `rollback` and `window`."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import after, before, fused_sizes
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import address, project_turned
from wmlstm_jax.core.loop_types import Emitted, Kernels, Scalars, State, StepInputs
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pulling import pull_mixed, pull_replaced
from wmlstm_jax.core.replay import kept_products
from wmlstm_jax.core.slots import align, put, take
from wmlstm_jax.core.tape import Tape, scan_tape
from wmlstm_jax.core.trees import add, combine, partition
from wmlstm_jax.core.types import Array, Evicted, Memory
from wmlstm_jax.core.window import (
    before_the_piece,
    inherit,
    match_all,
    open_window,
    survivors,
    undo_all,
    view,
)


class Kept(NamedTuple):
    """What the forward pass keeps of one step; None where there are no slots."""

    cell: Array  # [B, H], before the step
    pending: Any  # Pending, likewise
    rows: dict  # the memory's row leaves when it was read
    evicted: Any  # Evicted
    value: Any  # [B, R, W]: what the slots gave


class Later(NamedTuple):
    """The cotangents that a turn gets from those after it."""

    state: State
    weights: Array | None  # [B, R, N]: of the last read
    scalars: Any  # so far
    salience: Array | None  # [B, G, E]: of the columns, so far
    keys: Any  # [B, R, C, E]: what reads gave to their products with keys
    weighed: Any  # [B, R, C, E]: the weights of the columns; None without slots
    values: Any  # [B, R, C, W]: what reads gave to what they got
    passed: Any  # of what slots hold, from after the piece and through mixing writes


def piece_backward(
    config: CellConfig,
    unroll: int,
    kernels: Kernels,
    scalars: Scalars,
    memory: Memory | None,
    steps: tuple[StepInputs, Kept, Emitted],
    tape: Tape,
    d_content: dict,
    later: Later,
):
    """All turns of a piece, from the last to the first.

    Args:
      config: the settings.
      unroll: how many turns one turn of the compiled loop holds.
      kernels: the large weights, in the compute dtype.
      scalars: the small ones.
      memory: after the piece, or None without slots.
      steps: what the piece was given, what was kept, and the cotangents of what it
        emitted; leaves lead with C.
      tape: the projections of the piece; those of the gates before their squashing.
      d_content: the cotangents of the memory's contents after the piece.
      later: the other cotangents after it.

    Returns:
      The cotangents before the piece (state, contents, last weights, scalars) with the
      memory before it, the cotangents of what is on the tape, and those of the other
      projections, `[C, B, G, width]` each.
    """
    inputs, kept, d_emitted = steps
    window, asked, products, owner, inherited = None, None, None, None, {}
    mixes = not config.memory.policy.hard
    length = inputs.valid.shape[0]
    if memory is not None:
        requests = jax.vmap(functools.partial(before, config, scalars))(
            kept.pending, tape.late
        )
        epoch = kept.rows["epoch"]
        start = undo_all(config, memory, kept.evicted)
        window = open_window(config, start, kept.evicted, requests, epoch)
        owner = window.owner
        overwritten, stays = survivors(window)
        if not mixes:
            inherited = {
                f: inherit(g, window, stays, length) for f, g in d_content.items()
            }
        asked = _asked(config, scalars, tape)
        products = match_all(window, asked)
        asked = jnp.moveaxis(asked, 0, 2)
        later = _nothing_later(window, kept, later, length)
        later = later._replace(passed=d_content if mixes else None)

    def turn(later, step, old):
        return _turn_backward(config, kernels, scalars, window, asked, later, step, old)

    index = jnp.arange(length, dtype=jnp.int32)
    later, tape, d_beside = scan_tape(
        turn,
        later,
        (index, inputs, kept, d_emitted, owner, products, inherited),
        tape,
        reverse=True,
        unroll=unroll,
    )
    if window is not None and asked is not None:
        cut = config.memory.num_slots
        gained = {
            "keys": _outer(later.keys[..., :cut], asked),
            "values": _outer(later.weighed[..., :cut], later.values),
        }
        if later.salience is not None:
            gained["salience"] = later.salience[..., :cut]
        d_content = {
            f: later.passed[f] + gained[f]
            if mixes
            else before_the_piece(g, overwritten, gained[f])
            for f, g in d_content.items()
        }
        memory = window.start
    end = later.state, d_content, later.weights, later.scalars, memory
    return end, tape, d_beside


def _asked(config, scalars, tape):
    """What the reads asked with, `[C, B, R, K]`."""
    ask = functools.partial(address, config, sharpness=scalars.memory["sharpness"])
    return jax.vmap(ask)(tape.own["query"])


def _nothing_later(window, kept, later, length):
    """Empty accumulators for the columns of a piece."""
    batch, heads, width = kept.value.shape[1:]
    num_columns = window.slot_epoch.shape[-1]
    columns = jnp.zeros((batch, heads, length, num_columns), kept.value.dtype)
    salience = window.salience
    return later._replace(
        salience=None if salience is None else jnp.zeros_like(salience),
        keys=columns,
        weighed=columns,
        values=jnp.zeros((batch, heads, length, width), kept.value.dtype),
    )


def _turn_backward(config, kernels, scalars, window, asked, later, step, old):
    """One turn: through the LSTM and the read, then to what was written before it."""
    index, inputs, kept, d_emitted, owner, products, inherited = step
    floats, fixed = partition(scalars)
    ordered = len(config.read_modes) > 1

    def again(hidden, cell, parts, late, salience, weights, floats, taps):
        held, noted = None, {}
        if window is not None:
            rows = kept.rows | {"weights": weights}
            held = view(window, ordered, rows, owner, salience)
        new_state, held, emitted = after(
            config,
            combine(floats, fixed),
            State(hidden, cell, kept.pending),
            parts,
            late,
            held,
            inputs,
            kept_products(
                config,
                kernels,
                window,
                owner,
                (old.own["gates"], products, kept.value),
                taps,
                noted,
            ),
        )
        weights = None if held is None else held.weights
        given = partition(new_state)[0], weights, partition(emitted)[0]
        return given, noted.get("weights")

    salience = None if window is None else window.salience
    _, pull, weighed = jax.vjp(
        again,
        jnp.zeros_like(kept.cell),  # enters and leaves as it is
        kept.cell,
        _all_parts(config, old.own),
        old.late,
        salience,
        kept.rows.get("weights"),
        floats,
        jax.tree.map(jnp.zeros_like, (products, kept.value)),
        has_aux=True,
    )
    d_hidden, d_cell, d_parts, d_late, d_salience, d_weights, d_more, d_taps = pull(
        (later.state, later.weights, d_emitted)
    )
    d_products, d_value = d_taps
    d_pending = None
    later = later._replace(scalars=add(later.scalars, d_more), weights=d_weights)
    if window is not None:
        cut = config.memory.num_slots
        later = later._replace(
            keys=later.keys.at[:, :, index].set(d_products),
            weighed=later.weighed.at[:, :, index].set(weighed),
            values=later.values.at[:, :, index].set(d_value),
            salience=None if salience is None else later.salience + d_salience,
        )
        if d_weights is not None:
            later = later._replace(weights=_clear(d_weights, kept.evicted))
        pending, counts = partition(kept.pending)

        def request_of(pending, late, floats):
            pending = combine(pending, counts)
            return before(config, combine(floats, fixed), pending, late)

        if config.memory.policy.hard:
            d_written = pull_replaced(
                window, inherited, asked, later, index, kept.evicted, cut
            )

            def ask(*given):
                request = request_of(*given)
                return {name: getattr(request, name) for name in d_written}

            pull_request = jax.vjp(ask, pending, old.late, floats)[1]
            d_pending, d_late_request, d_more = pull_request(d_written)
        else:
            later, (d_pending, d_late_request, d_more) = pull_mixed(
                config,
                kept,
                asked,
                later,
                index,
                request_of,
                (pending, old.late, floats),
            )
        d_late = add(d_late, d_late_request)
        later = later._replace(scalars=add(later.scalars, d_more))
    d_hidden = d_hidden + _through_product(config, kernels, inputs, d_parts, d_late)
    later = later._replace(state=State(d_hidden, d_cell, d_pending))
    new = Tape({to: d_parts.pop(to) for to in old.own}, d_late)
    return later, new, d_parts


def _all_parts(config, own):
    """The projections of a step; what only enters a sum need not have been kept."""
    gates, sizes = own["gates"], projection_sizes(config)
    return own | {
        to: jnp.zeros((*gates.shape[:2], width), gates.dtype)
        for to, width in {**sizes["input"], **sizes["hidden"]}.items()
        if to not in own
    }


def _through_product(config, kernels, inputs, d_parts, d_late):
    """The cotangent of the hidden state from all that is projected from it."""

    def of(to):
        if to in d_late:
            return d_late[to]
        if inputs.reset is None:
            return d_parts[to]
        return jnp.where(inputs.reset[:, None, None], 0, d_parts[to])

    fused = jnp.concatenate([of(to) for to in fused_sizes(config)], axis=-1)
    rows = fused.reshape(fused.shape[0], -1)
    return project_turned(config, rows, kernels.hidden).reshape(rows.shape[0], -1)


def _clear(d_weights: Array, evicted: Evicted) -> Array:
    """A write empties its slot's share of the last read."""
    share = take(d_weights, evicted.slots)
    kept = jnp.where(align(evicted.weights > 0, share), 0, share)
    return put(d_weights, evicted.slots, kept)


def _outer(weights: Array, vectors: Array) -> Array:
    """`[B, R, C, N]` and `[B, R, C, K]` to `[B, R, N, K]`, summed over the piece."""
    return jnp.einsum("brcn,brck->brnk", weights, vectors)
