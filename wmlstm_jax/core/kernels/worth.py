"""The part of the kernels that a `Salience` memory adds: what its slots are worth.

The worth of a slot is `salience - decay * age`. It decides what a write evicts, so that
is chosen in the loop; and it is added to the logits of reads, which is its gradient.
"""

import jax
import jax.numpy as jnp

from wmlstm_jax.core.equations import SCORE_LIMIT
from wmlstm_jax.core.kernels.arrays import Ranked
from wmlstm_jax.core.kernels.device import DOWN, Device
from wmlstm_jax.core.kernels.fit import Layout
from wmlstm_jax.core.kernels.parts import Program, change, rounded, select
from wmlstm_jax.core.types import Array


def chip_ranks(device: Device, layout: Layout) -> Ranked | None:
    """Room on the chip for what slots are ranked by; None where they are not."""
    if not layout.ranked:
        return None
    shape = layout.rows, layout.slots
    return Ranked(device.scratch(shape, "float32"), device.scratch(shape, "int32"))


def fill_ranks(program: Program, i: int) -> None:
    """What the slots of a row are ranked by, to its place on the chip."""
    ranking, here = program.given.memory.ranking, (program.rows[i], program.group)
    for on_chip, there in zip(
        program.chip.ranks, (ranking.salience, ranking.written), strict=True
    ):
        program.device.store(on_chip, (i,), program.device.load(there, here, DOWN))


def ranks_of(program: Program, i: int) -> Ranked:
    """What the slots of a row are ranked by, down."""
    loaded = (program.device.load(ref, (i,), DOWN) for ref in program.chip.ranks)
    return Ranked(*loaded)


def newcomer(score: Array) -> Array:
    """The salience that a score stands for; see `make_request`."""
    return SCORE_LIMIT * jnp.tanh(score * (1 / SCORE_LIMIT))


def score_of(program: Program, at: tuple, hidden: Array, fresh: Array) -> Array:
    """The score of a step, from its input and the hidden state before, a scalar."""
    ranking = program.given.memory.ranking
    kernel = program.device.load(ranking.kernel, (at[2],), DOWN).astype(jnp.float32)
    own = jnp.sum(rounded(hidden, program.layout.dtype) * kernel)
    return ranking.score[at] + jnp.where(fresh, 0.0, own)


def worth(program: Program, ranks: Ranked, here: tuple, clock: Array):
    """`salience - decay * age` of every slot, down, and the age."""
    age = (clock - ranks.written).astype(jnp.float32)
    decay = program.given.memory.ranking.decay[here]
    return ranks.salience - decay * age, age


def clock_at_read(program: Program, at: tuple) -> Array:
    """The clock of a row after the write of a turn, and after its reset."""
    ranking, row = program.given.memory.ranking, at[:2]
    clock = ranking.clock[row] + ranking.asked[row]
    return jnp.where(program.given.reset[row] != 0, 0, clock)


def choose(program: Program, i: int, at: tuple, score: Array) -> Array:
    """The slot that a request goes to, or -1: see `Salience.select`."""
    device, chip, memory = program.device, program.chip, program.given.memory
    ranking, row = memory.ranking, at[:2]
    ranks = ranks_of(program, i)
    value, _ = worth(program, ranks, at[1:], ranking.clock[row])
    epochs = device.load(chip.slot_epoch, (i,), DOWN)
    live = epochs == memory.epoch[row]
    value = select(live, value, jnp.full_like(value, -jnp.inf))
    # A reset lifts all pins.
    pinned = device.load(ranking.pinned, at[1:], DOWN) * ranking.pins[row] != 0
    value = select(pinned, jnp.full_like(value, jnp.inf), value)
    lowest = jnp.min(value)
    written = select(live, ranks.written, jnp.full_like(ranks.written, -1))
    never = jnp.full_like(written, jnp.iinfo(jnp.int32).max)
    written = select(value == lowest, written, never)
    index = device.cast(jax.lax.broadcasted_iota(jnp.int32, epochs.shape, 0), DOWN)
    oldest = written == jnp.min(written)
    slot = jnp.min(select(oldest, index, jnp.full_like(index, epochs.shape[0])))
    keep = (newcomer(score) >= lowest) & (lowest < jnp.inf)
    return jnp.where(keep & (ranking.asked[row] != 0), slot, -1)


def keep_ranks(program: Program, at: tuple, place: tuple, score: Array) -> None:
    """Keeps what the write of a turn replaces, before it does."""
    device, ranks, kept = program.device, program.chip.ranks, program.gives.kept
    device.store(kept.score, at, score)
    device.store(kept.old_salience, at, ranks.salience[place])
    device.store(kept.old_written, at, ranks.written[place])


def change_ranks(
    program: Program,
    i: int,
    ranks: Ranked,
    slot: Array,
    salience: Array,
    written: Array,
) -> None:
    """Ranks a slot anew, or for -1 none; `ranks` are those before."""
    device = program.device
    for ref, old, new in zip(
        program.chip.ranks, ranks, (salience, written), strict=True
    ):
        device.store(ref, (i,), change(device, old, slot, new))


def through_score(
    program: Program, at: tuple, slot: Array, d_salience: Array
) -> tuple[Array, Array]:
    """From the salience of the slot that a turn wrote to its score.

    Args:
      program: of the backward kernel.
      at: the turn, the row and the group.
      slot: that was written, or -1.
      d_salience: the cotangent of the salience of all slots, down.

    Returns:
      The cotangents of the score, and of the salience before the write.
    """
    device = program.device
    before = change(device, d_salience, slot, jnp.float32(0))
    given = jnp.sum(d_salience - before)
    squashed = jnp.tanh(program.given.kept.score[at] * (1 / SCORE_LIMIT))
    d_score = given * (1 - squashed * squashed)
    device.store(program.gives.score, at, d_score)
    return d_score, before
