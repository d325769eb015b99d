"""What the fused kernels are given, and what they are to give."""

from typing import Any

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import split
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import positive_decay
from wmlstm_jax.core.kernels.arrays import (
    Given,
    Gradients,
    Kept,
    Memories,
    Ran,
    Ranking,
    Weights,
)
from wmlstm_jax.core.kernels.ring import Times, ring_slots, times_of
from wmlstm_jax.core.loop_types import Kernels, Scalars, State, StepInputs
from wmlstm_jax.core.params import SHARPNESS_LIMIT
from wmlstm_jax.core.types import Array, Memory


def prepare(
    config: CellConfig,
    kernels: Kernels,
    scalars: Scalars,
    state: State,
    memory: Memory | None,
    xs: StepInputs,
) -> tuple[Given, Times | None]:
    """What the forward kernel is given, and the times of its writes; see `fused`."""
    groups, projected = config.num_blocks, xs.projected
    reset = jnp.zeros_like(xs.valid) if xs.reset is None else xs.reset
    query = key = pending = null = memories = times = None
    hidden_kernel = kernels.hidden
    if memory is not None and state.pending is not None:
        times = times_of(memory, xs.valid, reset)
        query = projected["query"] + kernels.bias["query"]
        key = jnp.asarray(scalars.key_bias)
        key = jnp.broadcast_to(key, (xs.valid.shape[0], *key.shape))
        key = key + projected["key"] if "key" in projected else key
        pending, null = state.pending.key, scalars.memory["null_logit"]
        ranking = None
        if memory.salience is not None:
            hidden_kernel, ranking = _rank(
                config, kernels, scalars, state, memory, xs, times
            )
        memories = Memories(
            slots=None if ranking else ring_slots(memory, times),
            epoch=times.epoch,
            keys=memory.keys,
            values=memory.values,
            slot_epoch=memory.slot_epoch,
            ranking=ranking,
            **factors(config, scalars),
        )
    gates = projected["gates"] + kernels.bias["gates"]

    def turned(kernel):
        return None if kernel is None else kernel.astype(config.dtype).swapaxes(1, 2)

    given = Given(
        weights=Weights(turned(hidden_kernel), turned(kernels.read)),
        gates=gates.reshape(*gates.shape[:-1], 4, -1),
        query=query,
        key=key,
        valid=xs.valid.astype(jnp.int32),
        reset=reset.astype(jnp.int32),
        hidden=state.hidden.reshape(-1, groups, gates.shape[-1] // 4),
        cell=state.cell.reshape(-1, groups, gates.shape[-1] // 4),
        pending=pending,
        null=null,
        memory=memories,
    )
    return given, times


def _rank(config, kernels, scalars, state, memory, xs, times: Times):
    """The kernel of the hidden state without that of the score, and the ranking."""
    parts = split(config, kernels.hidden)
    score = parts.pop("salience")[..., 0].astype(config.dtype)
    base = xs.projected["salience"] + kernels.bias["salience"]
    ranking = Ranking(
        salience=memory.salience,
        written=memory.written,
        pinned=memory.pinned.astype(jnp.int32),
        pins=(times.epoch == memory.epoch).astype(jnp.int32),
        asked=times.asked.astype(jnp.int32),
        clock=times.clock,
        decay=jnp.asarray(positive_decay(scalars.memory)),
        kernel=score,
        score=base[..., 0],
        pending=state.pending.scores["salience"][..., 0],
    )
    return jnp.concatenate(list(parts.values()), -1), ranking


def factors(config: CellConfig, scalars: Scalars) -> dict[str, Array]:
    """What a normalised query is multiplied by, and what a read is.

    See `address` and `scale_read`.
    """
    sharpness, scale = (scalars.memory[n] for n in ("sharpness", "read_scale"))
    beta = SHARPNESS_LIMIT * jax.nn.sigmoid(sharpness) * config.key_dim**-0.5
    gain = jnp.broadcast_to(scale[..., None], (*scale.shape, config.value_dim))
    if scalars.read_mask is not None:
        gain = gain * scalars.read_mask.reshape(gain.shape)
    return {"beta": beta, "gain": gain}


def wanted_of_forward(config: CellConfig, given: Given, *, keep: bool) -> Ran:
    """What the forward kernel is to give, as `jax.ShapeDtypeStruct`.

    Args:
      config: the settings.
      given: to the kernel.
      keep: also what the backward kernel wants.
    """
    length, batch, groups, _, units = given.gates.shape
    turns, rows, dtype = (length, batch, groups), (batch, groups), given.gates.dtype
    like, memory = jax.ShapeDtypeStruct, given.memory

    def with_slots(shape, dtype: Any = dtype):
        return None if memory is None else like(shape, dtype)

    def with_ranks(shape, dtype: Any = dtype):
        ranked = memory is not None and memory.ranking is not None
        return like(shape, dtype) if ranked else None

    key, value, stored = config.key_dim, config.value_dim, config.memory_dtype
    slots = config.memory.num_slots
    kept = Kept(
        cell=like((*turns, units), dtype),
        gates=like((*turns, 4, units), dtype),
        query=with_slots((*turns, key)),
        key=with_slots((*turns, key)),
        log_total=with_slots(turns),
        old_keys=with_slots((*turns, key), stored),
        old_values=with_slots((*turns, value), stored),
        old_epoch=with_slots(turns, jnp.int32),
        score=with_ranks(turns),
        old_salience=with_ranks(turns),
        old_written=with_ranks(turns, jnp.int32),
    )
    return Ran(
        hidden=like((*turns, units), dtype),
        read=with_slots((*turns, value)),
        cell=like((*rows, units), dtype),
        pending=with_slots((*rows, key)),
        keys=with_slots((*rows, slots, key), stored),
        values=with_slots((*rows, slots, value), stored),
        kept=kept if keep else None,
        slots=with_ranks(turns, jnp.int32),
        score=with_ranks(rows),
        salience=with_ranks((*rows, slots)),
    )


def wanted_of_backward(config: CellConfig, ran: Ran) -> Gradients:
    """What the backward kernel is to give, as `jax.ShapeDtypeStruct`."""
    turns, rows, units = ran.hidden.shape[:3], ran.cell.shape[:2], ran.cell.shape[2:]
    dtype, ranked = ran.hidden.dtype, ran.salience is not None

    def like(*shape, wanted=ran.keys is not None):
        return jax.ShapeDtypeStruct(shape, dtype) if wanted else None

    slots, key, value = config.memory.num_slots, config.key_dim, config.value_dim
    return Gradients(
        gates=like(*turns, 4, *units, wanted=True),
        seen=like(*turns, value),
        query=like(*turns, key),
        beta=like(*turns),
        key=like(*turns, key),
        value=like(*turns, value),
        hidden=like(*rows, *units, wanted=True),
        cell=like(*rows, *units, wanted=True),
        keys=like(*rows, slots, key),
        values=like(*rows, slots, value),
        score=like(*turns, wanted=ranked),
        decay=like(*turns, wanted=ranked),
        salience=like(*rows, slots, wanted=ranked),
    )
