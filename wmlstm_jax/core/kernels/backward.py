"""The backward kernel: the turns from the last to the first, each write undone.

A program holds the same head and rows as in the forward kernel, with the memory as it
was after the loop and the cotangents of its contents. Of a turn it computes again the
read's weights, from the memory as it was, and puts back what the write had evicted.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.kernels.arrays import Gradients, Ranked, Returned, Weights
from wmlstm_jax.core.kernels.device import DOWN, PLANE, Device
from wmlstm_jax.core.kernels.fit import GATES, Layout
from wmlstm_jax.core.kernels.memory_back import through_memory
from wmlstm_jax.core.kernels.parts import (
    State,
    chip_weights,
    fill,
    fill_slots,
    keep_if,
    multiply_back,
    run_programs,
    wide,
)
from wmlstm_jax.core.kernels.worth import chip_ranks, fill_ranks
from wmlstm_jax.core.types import Array


class _Chip(NamedTuple):
    """Memory of a program on the chip, for R rows of the batch."""

    weights: Weights
    hidden: Any  # [R, H]: the cotangent of the state before the turn
    seen: Any  # [R, W]: of the read
    query: Any  # [R, K]: of the query before normalisation
    keys: Any  # [R, N, K]
    values: Any  # [R, N, W]
    slot_epoch: Any  # [R, N] int32
    ranks: Ranked | None
    d_keys: Any  # [R, N, K] float32
    d_values: Any  # [R, N, W] float32


class _Step(NamedTuple):
    """Cotangents of the gates of a row, and of its state before, all down."""

    gates: list[Array]
    held: Array  # of the hidden state, where that was held
    cell: Array


class _Turn(NamedTuple):
    """Where a row is."""

    at: tuple  # (t, row, group)
    valid: Array
    fresh: Array  # the row is reset


def run_backward(
    device: Device, layout: Layout, given: Returned, results: Gradients
) -> Gradients:
    """Runs the kernel.

    Args:
      device: what runs it.
      layout: of the cell, for a backward pass.
      given: arrays.
      results: a `jax.ShapeDtypeStruct` for each array that is wanted.
    """
    count, slots = layout.rows, layout.slots

    def with_slots(shape, dtype="float32"):
        return device.scratch((count, *shape), dtype) if slots else None

    keys, values = (slots, layout.key), (slots, layout.value)
    chip = _Chip(
        weights=chip_weights(device, layout),
        hidden=device.scratch((count, layout.hidden), "float32"),
        seen=with_slots((layout.value,)),
        query=with_slots((layout.key,)),
        keys=with_slots(keys, layout.memory_dtype),
        values=with_slots(values, layout.memory_dtype),
        slot_epoch=with_slots((slots,), "int32"),
        ranks=chip_ranks(device, layout),
        d_keys=with_slots(keys),
        d_values=with_slots(values),
    )

    return run_programs(_body, device, layout, given, results, chip)


def _body(program):
    device, layout, chip = program.device, program.layout, program.chip
    length = program.given.valid.shape[0]

    def turn(index, states):
        turns = [_turn(program, row, length - 1 - index) for row in program.rows]
        steps = list(map(functools.partial(_through_gates, program), turns, states))
        late = [{} for _ in turns]
        if layout.slots:
            late = through_memory(program, turns, states, steps)
        _through_product(program, turns, states, steps, late)
        device.sync()
        return [
            State(
                hidden=device.load(chip.hidden, (i,), DOWN)
                + step.held
                + _of_score(program, turns[i], states[i]),
                cell=step.cell,
                pending=late[i].get("current_key"),
                score=late[i].get("score"),
                salience=late[i].get("salience"),
            )
            for i, step in enumerate(steps)
        ]

    start = [_begin(program, i) for i in range(layout.rows)]
    device.sync()
    for i, state in enumerate(jax.lax.fori_loop(0, length, turn, start)):
        _end(program, i, state)


def _begin(program, i):
    """The cotangents of a row after the loop; those of its slots are on the chip."""
    device, given, chip = program.device, program.given, program.chip
    here = program.rows[i], program.group
    pending = score = salience = None
    if program.layout.slots:
        fill_slots(device, chip, given.memory, here, i)
        fill(device, chip.d_keys, given.keys, here, (i,))
        fill(device, chip.d_values, given.values, here, (i,))
        pending = device.load(given.pending, here, DOWN)
    if program.layout.ranked:
        fill_ranks(program, i)
        score, salience = given.score[here], device.load(given.salience, here, DOWN)
    return State(
        hidden=device.load(given.last_hidden, here, DOWN),
        cell=device.load(given.last_cell, here, DOWN),
        pending=pending,
        score=score,
        salience=salience,
    )


def _end(program, i, state):
    """Stores the cotangents of a row before the loop."""
    device, chip, gave = program.device, program.chip, program.gives
    here = program.rows[i], program.group
    device.store(gave.hidden, here, state.hidden)
    device.store(gave.cell, here, state.cell)
    if program.layout.slots:
        for on_chip, result in ((chip.d_keys, gave.keys), (chip.d_values, gave.values)):
            device.store(result, here, device.load(on_chip, (i,), PLANE))
    if program.layout.ranked:
        device.store(gave.salience, here, state.salience)


def _turn(program, row, t):
    given = program.given
    return _Turn(
        at=(t, row, program.group),
        valid=given.valid[t, row] != 0,
        fresh=given.reset[t, row] != 0,
    )


def _through_gates(program, turn, state):
    device, given = program.device, program.given
    kept, at = given.kept, turn.at
    gates = [device.load(kept.gates, (*at, j), DOWN) for j in range(len(GATES))]
    before = keep_if(~turn.fresh, device.load(kept.cell, at, DOWN))
    d_hidden = state.hidden + device.load(given.hidden, at, DOWN)
    enter, forget, leave = (jax.nn.sigmoid(gates[j]) for j in (0, 1, 3))
    candidate = jnp.tanh(gates[2])
    out = jnp.tanh(forget * before + enter * candidate)
    d_new = keep_if(turn.valid, d_hidden)
    d_cell = d_new * leave * (1 - out * out) + keep_if(turn.valid, state.cell)
    d_gates = [
        d_cell * candidate * enter * (1 - enter),
        d_cell * before * forget * (1 - forget),
        d_cell * enter * (1 - candidate * candidate),
        d_new * out * leave * (1 - leave),
    ]
    for j, d_gate in enumerate(d_gates):
        device.store(program.gives.gates, (*at, j), d_gate)
    held = keep_if(~turn.valid & ~turn.fresh, d_hidden)
    d_cell = d_cell * forget + keep_if(~turn.valid, state.cell)
    return _Step(d_gates, held, keep_if(~turn.fresh, d_cell))


def _of_score(program, turn, state):
    """What the hidden state before a turn gets from the score of its step."""
    if not program.layout.ranked:
        return 0.0
    kernel = program.given.memory.ranking.kernel
    kernel = wide(program.device.load(kernel, (program.group,), DOWN))
    return kernel * jnp.where(turn.fresh, 0.0, state.score)


def _through_product(program, turns, states, steps, late):
    """The cotangent of the hidden state before the turn, to the chip."""

    def of(name, i):
        if name.startswith("current_"):
            return late[i][name]
        own = dict(zip(GATES, steps[i].gates, strict=True)) | late[i]
        own |= {"key": states[i].pending}
        return keep_if(~turns[i].fresh, own[name])

    terms = [
        (first, [of(name, i) for i in range(len(turns))])
        for name, first, _ in program.layout.parts
    ]
    device, layout = program.device, program.layout
    multiply_back(device, layout, program.weights[0], terms, program.chip.hidden)
