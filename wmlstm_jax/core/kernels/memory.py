"""The part of the forward kernel that writes and reads the slots.

In a turn: what is going to be evicted is looked up; the threads meet; it is overwritten
and the query is put where all see it; the threads meet; the slots are read.
"""

from typing import NamedTuple

import jax.numpy as jnp

from wmlstm_jax.core.kernels.device import ACROSS, DOWN, PLANE
from wmlstm_jax.core.kernels.fit import GATES
from wmlstm_jax.core.kernels.parts import (
    Program,
    State,
    across,
    change,
    down,
    inverse_rms,
    keep_if,
    multiply,
    rounded,
    select,
    wide,
)
from wmlstm_jax.core.kernels.worth import (
    change_ranks,
    choose,
    clock_at_read,
    keep_ranks,
    newcomer,
    ranks_of,
    worth,
)
from wmlstm_jax.core.types import Array


class Turn(NamedTuple):
    """What a turn is given for one row: asked for at once, since it comes late."""

    at: tuple  # (t, row, group)
    valid: Array
    fresh: Array  # the row is reset
    gates: list[Array]  # four, down
    query: Array | None
    key: Array | None
    slot: Array | None
    epoch: Array | None


def through_memory(
    program: Program, turns: list[Turn], states: list[State], parts: dict
) -> list[list[Array]]:
    """Writes what the step before asked for, and reads.

    Args:
      program: what runs.
      turns: of its rows.
      states: of its rows, before the turn.
      parts: what `h_{t-1}` was projected to: for each name a list over rows.

    Returns:
      What the reads give to the gates: for each gate a list over rows, down.
    """
    device = program.device
    turns = [_choose(program, i, turn, states[i]) for i, turn in enumerate(turns)]
    olds = [_look_up(program, i, turn, states[i]) for i, turn in enumerate(turns)]
    device.sync()
    for i, turn in enumerate(turns):
        _write(program, i, turn, olds[i], states[i], parts)
        _ask(program, i, turn, parts)
    device.sync()
    return _see(program, [_read(program, i, turn) for i, turn in enumerate(turns)])


def _choose(program, i, turn, state):
    """The turn with the slot that it writes, where that was not known before."""
    if not program.layout.ranked:
        return turn
    slot = choose(program, i, turn.at, state.score)
    program.device.store(program.gives.slots, turn.at, slot)
    return turn._replace(slot=slot)


def _look_up(program, i, turn, state):
    """What the write of this turn is going to evict: key, value, and all epochs."""
    device, chip, kept = program.device, program.chip, program.gives.kept
    place = i, jnp.maximum(turn.slot, 0)
    key, value = (device.load(ref, place, DOWN) for ref in (chip.keys, chip.values))
    if kept is not None:
        device.store(kept.old_keys, turn.at, key)
        device.store(kept.old_values, turn.at, value)
        device.store(kept.old_epoch, turn.at, chip.slot_epoch[place])
        if program.layout.ranked:
            keep_ranks(program, turn.at, place, state.score)
    ranks = ranks_of(program, i) if program.layout.ranked else None
    return key, value, device.load(chip.slot_epoch, (i,), DOWN), ranks


def _write(program, i, turn, old, state, parts):
    """Writes what the step before asked for."""
    device, chip, kept = program.device, program.chip, program.gives.kept
    landed, place = turn.slot >= 0, (i, jnp.maximum(turn.slot, 0))
    old_key, old_value, epochs, ranks = old
    raw = state.pending
    if "current_key" in parts:
        raw = raw + parts["current_key"][i]
    if kept is not None:
        device.store(kept.key, turn.at, raw)
    key = _stored(raw * inverse_rms(raw), old_key.dtype)
    value = _stored(parts["current_value"][i], old_value.dtype)
    device.store(chip.keys, place, select(landed, key, old_key))
    device.store(chip.values, place, select(landed, value, old_value))
    epochs = change(device, epochs, turn.slot, turn.epoch)
    device.store(chip.slot_epoch, (i,), epochs)
    if program.layout.ranked:
        clock = program.given.memory.ranking.clock[turn.at[:2]]
        salience = newcomer(state.score)
        change_ranks(program, i, ranks, turn.slot, salience, clock)


def _stored(fresh, dtype):
    """See `SlotMemory.stored`."""
    return keep_if(jnp.abs(fresh) < jnp.inf, fresh).astype(dtype)


def _ask(program, i, turn, parts):
    """Puts the query of a row where all threads see it."""
    device, kept = program.device, program.gives.kept
    raw = turn.query + keep_if(~turn.fresh, parts["query"][i])
    beta = program.given.memory.beta[turn.at[1:]]
    device.store(program.chip.query, (i,), raw * (inverse_rms(raw) * beta))
    if kept is not None:
        device.store(kept.query, turn.at, raw)


def _read(program, i, turn):
    """What the slots give to a row, times its gain, across."""
    device, given, chip = program.device, program.given, program.chip
    here, dtype = turn.at[1:], program.layout.memory_dtype
    query = rounded(device.load(chip.query, (i,), ACROSS), dtype)
    keys = wide(device.load(chip.keys, (i,), PLANE))
    logits = jnp.sum(keys * across(query, keys), axis=1)
    if program.layout.ranked:
        clock = clock_at_read(program, turn.at)
        logits = logits + worth(program, ranks_of(program, i), here, clock)[0]
    # The row's epoch after its reset; a write of this turn came before that.
    epoch = turn.epoch + given.reset[turn.at[:2]]
    live = device.load(chip.slot_epoch, (i,), DOWN) == epoch
    logits = select(live, logits, jnp.full_like(logits, -jnp.inf))
    null = given.null[here]
    top = jnp.maximum(jnp.max(logits), null)
    shares = jnp.exp(logits - top)
    total = jnp.sum(shares) + jnp.exp(null - top)
    values = wide(device.load(chip.values, (i,), PLANE))
    shares = rounded(shares / total, dtype)
    read = jnp.sum(values * down(shares, values), axis=0)
    ran = program.gives
    device.store(ran.read, turn.at, read)
    if ran.kept is not None:
        device.store(ran.kept.log_total, turn.at, top + jnp.log(total))
    return read * device.load(given.memory.gain, here, ACROSS)


def _see(program, reads):
    """What the reads give to the gates."""
    layout = program.layout

    def vector(read):
        return lambda columns: read[columns.start : columns.start + columns.size]

    vectors, units = [vector(read) for read in reads], layout.hidden
    return [
        multiply(layout, program.weights[1], (j * units, units), vectors, layout.value)
        for j in range(len(GATES))
    ]
