"""The part of the backward kernel that goes through the read, and undoes the write."""

import jax.numpy as jnp

from wmlstm_jax.core.kernels.device import ACROSS, DOWN, PLANE
from wmlstm_jax.core.kernels.fit import GATES
from wmlstm_jax.core.kernels.parts import (
    across,
    change,
    down,
    inverse_rms,
    keep_if,
    multiply_back,
    rounded,
    select,
    wide,
)
from wmlstm_jax.core.kernels.worth import (
    change_ranks,
    clock_at_read,
    ranks_of,
    through_score,
    worth,
)


def through_memory(program, turns, states, steps):
    """The read, then the write: cotangents of what `h_{t-1}` gave to them, by row."""
    device, layout, chip = program.device, program.layout, program.chip
    terms = [
        (j * layout.hidden, [step.gates[j] for step in steps])
        for j in range(len(GATES))
    ]
    multiply_back(device, layout, program.weights[1], terms, chip.seen)
    device.sync()
    saliences = [
        _through_read(program, i, turn, states[i].salience)
        for i, turn in enumerate(turns)
    ]
    device.sync()
    written = [_look_up(program, i, turn) for i, turn in enumerate(turns)]
    device.sync()
    return [
        _through_write(program, i, turn, *written[i], saliences[i])
        for i, turn in enumerate(turns)
    ]


def _through_read(program, i, turn, d_salience):
    """Adds to the cotangents of the slots; puts that of the query on the chip."""
    device, given, gave = program.device, program.given, program.gives
    chip, kept, memory = program.chip, given.kept, given.memory
    at, here, dtype = turn.at, turn.at[1:], program.layout.memory_dtype
    d_seen = device.load(chip.seen, (i,), ACROSS) + device.load(given.seen, at, ACROSS)
    device.store(gave.seen, at, d_seen)
    d_read = d_seen * device.load(memory.gain, here, ACROSS)
    raw = device.load(kept.query, at, ACROSS)
    inverse, beta = inverse_rms(raw), memory.beta[here]
    query = rounded(raw * (inverse * beta), dtype)
    keys = wide(device.load(chip.keys, (i,), PLANE))
    logits = jnp.sum(keys * across(query, keys), axis=1)
    age = None
    if program.layout.ranked:
        clock = clock_at_read(program, at)
        value, age = worth(program, ranks_of(program, i), here, clock)
        logits = logits + value
    epoch = memory.epoch[at[:2]] + given.reset[at[:2]]
    live = device.load(chip.slot_epoch, (i,), DOWN) == epoch
    weights = keep_if(live, jnp.exp(logits - kept.log_total[at]))
    values = wide(device.load(chip.values, (i,), PLANE))
    d_weights = jnp.sum(values * across(d_read, values), axis=1)
    d_logits = weights * (d_weights - jnp.sum(weights * d_weights))
    d_query = jnp.sum(keys * down(d_logits, keys), axis=0)
    for ref, left, right in (
        (chip.d_keys, d_logits, query),
        (chip.d_values, weights, d_read),
    ):
        sums = device.load(ref, (i,), PLANE)
        device.store(ref, (i,), sums + down(left, sums) * across(right, sums))
    if age is not None:
        d_salience = d_salience + d_logits
        device.store(gave.decay, at, -jnp.sum(d_logits * age))
    along = jnp.sum(raw * d_query) * inverse
    device.store(gave.beta, at, along)
    d_query = _through_norm(raw, inverse, d_query, along) * beta
    device.store(chip.query, (i,), d_query)
    device.store(gave.query, at, d_query)
    return d_salience


def _through_norm(raw, inverse, d_normed, along):
    """The cotangent of what was divided by its RMS; `along` is theirs, multiplied."""
    return inverse * (d_normed - raw * (inverse * along * (1 / raw.shape[0])))


def _look_up(program, i, turn):
    """What the write left in its slot, and what that gave to reads since, all down.

    Returns:
      The cotangents of key and value, then these; the epochs of all slots with the
      cotangent of the query; and what slots are ranked by.
    """
    device, chip = program.device, program.chip
    place = i, jnp.maximum(program.given.memory.slots[turn.at], 0)
    slot = chip.d_keys, chip.d_values, chip.keys, chip.values
    return (
        [device.load(ref, place, DOWN) for ref in slot],
        [device.load(ref, (i,), DOWN) for ref in (chip.slot_epoch, chip.query)],
        ranks_of(program, i) if program.layout.ranked else None,
    )


def _through_write(program, i, turn, slot_rows, rows, ranks, d_salience):
    """Undoes the write; the cotangents of what the hidden state was projected to."""
    device, given, gave = program.device, program.given, program.gives
    chip, kept, at = program.chip, given.kept, turn.at
    slot = given.memory.slots[at]
    landed, place = slot >= 0, (i, jnp.maximum(slot, 0))
    (d_key, d_value, key, value), (epochs, d_query) = slot_rows, rows
    device.store(chip.d_keys, place, keep_if(~landed, d_key))
    device.store(chip.d_values, place, keep_if(~landed, d_value))
    key = select(landed, device.load(kept.old_keys, at, DOWN), key)
    value = select(landed, device.load(kept.old_values, at, DOWN), value)
    device.store(chip.keys, place, key)
    device.store(chip.values, place, value)
    epochs = change(device, epochs, slot, kept.old_epoch[at])
    device.store(chip.slot_epoch, (i,), epochs)
    d_key, d_value = keep_if(landed, d_key), keep_if(landed, d_value)
    raw = device.load(kept.key, at, DOWN)
    inverse = inverse_rms(raw)
    d_key = _through_norm(raw, inverse, d_key, jnp.sum(raw * d_key) * inverse)
    device.store(gave.key, at, d_key)
    device.store(gave.value, at, d_value)
    late = {"query": d_query, "current_key": d_key, "current_value": d_value}
    if program.layout.ranked:
        old = kept.old_salience[at], kept.old_written[at]
        change_ranks(program, i, ranks, slot, *old)
        late["score"], late["salience"] = through_score(program, at, slot, d_salience)
    return late
