"""The forward kernel: one program runs all turns of one head and some rows of a batch.

The order of a turn is that of `body`: the product with `h_{t-1}`, the write of step
t-1, the read, the gates. Of every turn is kept what the backward kernel does not want
to compute again, and what the write evicted.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.kernels.arrays import Given, Ran, Ranked, Weights
from wmlstm_jax.core.kernels.device import ACROSS, DOWN, PLANE, Device
from wmlstm_jax.core.kernels.fit import GATES, Layout
from wmlstm_jax.core.kernels.memory import Turn, through_memory
from wmlstm_jax.core.kernels.parts import (
    State,
    chip_weights,
    fill_slots,
    keep_if,
    multiply,
    run_programs,
    select,
)
from wmlstm_jax.core.kernels.worth import chip_ranks, fill_ranks, score_of


class _Chip(NamedTuple):
    """Memory of a program on the chip, for R rows of the batch."""

    weights: Weights
    hidden: Any  # [R, H]
    query: Any  # [R, K]
    keys: Any  # [R, N, K]
    values: Any  # [R, N, W]
    slot_epoch: Any  # [R, N] int32
    ranks: Ranked | None


def run_forward(device: Device, layout: Layout, given: Given, results: Ran) -> Ran:
    """Runs the kernel.

    Args:
      device: what runs it.
      layout: of the cell, for a forward pass.
      given: arrays.
      results: a `jax.ShapeDtypeStruct` for each array that is wanted.
    """
    count, slots = layout.rows, layout.slots

    def with_slots(shape, dtype="float32"):
        return device.scratch((count, *shape), dtype) if slots else None

    chip = _Chip(
        weights=chip_weights(device, layout),
        hidden=device.scratch((count, layout.hidden), "float32"),
        query=with_slots((layout.key,)),
        keys=with_slots((slots, layout.key), layout.memory_dtype),
        values=with_slots((slots, layout.value), layout.memory_dtype),
        slot_epoch=with_slots((slots,), "int32"),
        ranks=chip_ranks(device, layout),
    )

    return run_programs(_body, device, layout, given, results, chip)


def _body(program):
    device, layout = program.device, program.layout

    def turn(t, states):
        turns = [_fetch(program, i, t) for i in range(layout.rows)]
        parts, seen = _project(program), None
        if layout.slots:
            seen = through_memory(program, turns, states, parts)
        else:
            device.sync()
        states = [
            _update(program, i, turn, states[i], parts, seen)
            for i, turn in enumerate(turns)
        ]
        device.sync()
        return states

    start = [_begin(program, i) for i in range(layout.rows)]
    device.sync()
    length = program.given.valid.shape[0]
    for i, state in enumerate(jax.lax.fori_loop(0, length, turn, start)):
        _end(program, i, state)


def _begin(program, i):
    """The state of a row before the loop."""
    device, given, chip = program.device, program.given, program.chip
    here, pending, score = (program.rows[i], program.group), None, None
    hidden = device.load(given.hidden, here, DOWN)
    device.store(chip.hidden, (i,), hidden)
    if program.layout.slots:
        fill_slots(device, chip, given.memory, here, i)
        pending = device.load(given.pending, here, DOWN)
    if program.layout.ranked:
        fill_ranks(program, i)
        score = given.memory.ranking.pending[here]
    return State(hidden, device.load(given.cell, here, DOWN), pending, score)


def _end(program, i, state):
    """Stores the state of a row after the loop."""
    device, chip, ran = program.device, program.chip, program.gives
    here = program.rows[i], program.group
    device.store(ran.cell, here, state.cell)
    if program.layout.slots:
        device.store(ran.pending, here, state.pending)
        for on_chip, result in ((chip.keys, ran.keys), (chip.values, ran.values)):
            device.store(result, here, device.load(on_chip, (i,), PLANE))
    if program.layout.ranked:
        device.store(ran.score, here, state.score)
        salience = device.load(chip.ranks.salience, (i,), DOWN)
        device.store(ran.salience, here, salience)


def _fetch(program, i, t):
    device, given = program.device, program.given
    at = t, program.rows[i], program.group
    query = key = slot = epoch = None
    if program.layout.slots:
        query = device.load(given.query, at, DOWN)
        key = device.load(given.key, at, DOWN)
        epoch = given.memory.epoch[at[:2]]
        slot = None if program.layout.ranked else given.memory.slots[at]
    return Turn(
        at=at,
        valid=given.valid[at[:2]] != 0,
        fresh=given.reset[at[:2]] != 0,
        gates=[device.load(given.gates, (*at, j), DOWN) for j in range(len(GATES))],
        query=query,
        key=key,
        slot=slot,
        epoch=epoch,
    )


def _project(program):
    """`h_{t-1}` by every part of its kernel: for each a list over rows, down."""
    layout, hidden = program.layout, program.chip.hidden

    def vector(i):
        return lambda columns: program.device.load(hidden, (i, columns), ACROSS)

    vectors = [vector(i) for i in range(layout.rows)]
    return {
        name: multiply(
            layout, program.weights[0], (first, rows), vectors, layout.hidden
        )
        for name, first, rows in layout.parts
    }


def _update(program, i, turn, state, parts, seen):
    """The gates, and the state after the turn."""
    device, ran = program.device, program.gives
    if ran.kept is not None:
        device.store(ran.kept.cell, turn.at, state.cell)
    gates = []
    for j, name in enumerate(GATES):
        gate = turn.gates[j] + keep_if(~turn.fresh, parts[name][i])
        gate = gate if seen is None else gate + seen[j][i]
        if ran.kept is not None:
            device.store(ran.kept.gates, (*turn.at, j), gate)
        gates.append(gate)
    enter, forget, candidate, leave = gates
    hidden, cell = (keep_if(~turn.fresh, old) for old in (state.hidden, state.cell))
    new = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    hidden = select(turn.valid, jax.nn.sigmoid(leave) * jnp.tanh(new), hidden)
    device.store(program.chip.hidden, (i,), hidden)
    device.store(ran.hidden, turn.at, hidden)
    pending = turn.key
    if "key" in parts:
        pending = pending + keep_if(~turn.fresh, parts["key"][i])
    score = None
    if program.layout.ranked:
        score = score_of(program, turn.at, state.hidden, turn.fresh)
    return State(hidden, select(turn.valid, new, cell), pending, score)
