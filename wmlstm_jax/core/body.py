"""The body of the recurrence, in the order that makes it fast.

A step is read, gates, write. In a loop the write of one step is held back to the start
of the next, where its value joins the one product with `h_{t-1}`:

    z = h_{t-1} @ [gates | query | key | ... | value of t-1]     `before`
    WM_{t-1} = write(WM_{t-2}, request of t-1)                   by the caller
    read WM_{t-1}, gates, new state, request of t                `after`

So a step has two products, and the memory is written before it is read, in place.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import (
    empty_carry,
    lstm,
    make_query,
    make_request,
    note_read_of,
    project_groups,
    scale_read,
)
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pointer import copy_probability, point
from wmlstm_jax.core.types import Array, Carry, Memory, Request, Source


class Kernels(NamedTuple):
    """The large weights of the loop; their gradients are products after it."""

    hidden: Array  # [G, Hg, P]: everything that is projected from the hidden state
    read: Array | None  # [G, Rg*W, 4*Hg]


class Scalars(NamedTuple):
    """What is small, or read as it is; gradients add up inside the loop."""

    memory: dict  # params["memory"]
    key_bias: Array | None  # [G, Rg*K]
    copy_bias: Array | None  # [G, Rg*K]
    read_mask: Array | None  # [B, R*W]
    source: Source | None


class StepInputs(NamedTuple):
    """What one step is given; stacked over time outside the loop."""

    projected: Array  # [B, G, P]: the input's part of every projection, with biases
    valid: Array  # [B] bool
    tag: Array  # [B] int32
    reset: Array | None  # [B] bool
    target: Array | None  # [B] int32: of the step before, whose write comes first


class Pending(NamedTuple):
    """The request of the step before, without what its hidden state gives."""

    key: Array  # [B, G, Rg*K], not yet normalised
    salience: Array | None  # [B, G, 1]
    tag: Array  # [B] int32
    valid: Array  # [B] bool


class State(NamedTuple):
    """What the loop carries beside the memory."""

    hidden: Array  # [B, H]
    cell: Array  # [B, H]
    pending: Pending | None  # None without slots


class Emitted(NamedTuple):
    """What a step gives out."""

    hidden: Array  # [B, H]
    seen: Array | None  # [B, R*W]: what the read gave
    copy: Array | None  # [B, G]: of the step before
    copy_live: Array | None  # [B, G] bool
    trace: Any  # (read, gates, modes) when traced


def split(config: CellConfig, origin: str, fused: Array) -> dict[str, Array]:
    """Takes a fused projection, `[..., P]`, apart; `origin` is "input" or "hidden"."""
    parts, start = {}, 0
    for name, width in fused_sizes(config, origin).items():
        parts[name] = fused[..., start : start + width]
        start += width
    return parts


def fused_sizes(config: CellConfig, origin: str) -> dict[str, int]:
    """The parts of a fused projection, in order.

    The hidden state of t-1 serves step t, and what step t-1 left undone ("current").
    """
    sizes = projection_sizes(config)
    if origin == "input":
        return sizes["input"]
    held_back = {f"current_{to}": width for to, width in sizes["current"].items()}
    return {**sizes["hidden"], **held_back}


def idle_pending(config: CellConfig, batch: int) -> Pending | None:
    """Nothing pending: the state at every door."""
    if config.memory.num_slots == 0:
        return None
    groups, dtype = config.num_blocks, config.state_dtype
    width = config.num_heads // groups * config.key_dim
    has_salience = "salience" in config.memory.policy.request_fields
    return Pending(
        key=jnp.zeros((batch, groups, width), dtype),
        salience=jnp.zeros((batch, groups, 1), dtype) if has_salience else None,
        tag=jnp.full(batch, -1, jnp.int32),
        valid=jnp.zeros(batch, bool),
    )


def before(config: CellConfig, scalars: Scalars, state: State, z: Array) -> Request:
    """The request of the step before, now that its hidden state was projected.

    Args:
      config: the settings, with slots.
      scalars: the small parameters.
      state: the state after the step before.
      z: `[B, G, P]`, the product of `state.hidden` with `Kernels.hidden`.
    """
    held_back = split(config, "hidden", z)
    key = state.pending.key
    if "current_key" in held_back:
        key = key + held_back["current_key"]
    return make_request(
        config,
        scalars.memory,
        key=key,
        value=held_back["current_value"],
        salience=state.pending.salience,
        tag=state.pending.tag,
        valid=state.pending.valid,
    )


def point_at(config, scalars: Scalars, z: Array, memory, target: Array):
    """The probability that the pointer of the step before gives its target."""
    vector = split(config, "hidden", z)["current_copy"] + scalars.copy_bias
    weights, tags, live = point(config, scalars.memory, vector, memory, scalars.source)
    return copy_probability(weights, tags, target), live


def after(
    config: CellConfig,
    scalars: Scalars,
    state: State,
    z: Array,
    memory: Memory | None,
    inputs: StepInputs,
    project_read,
    *,
    traced: bool = False,
) -> tuple[State, Memory | None, Emitted]:
    """Resets, reads, and updates the LSTM.

    Args:
      config: the settings.
      scalars: the small parameters.
      state: the state after the step before.
      z: `[B, G, P]`, the product of `state.hidden` with `Kernels.hidden`.
      memory: after the write of the step before.
      inputs: of this step.
      project_read: the product of what is seen, `[B, R*W]`, with `Kernels.read`.
      traced: also emits what was read and the gates.

    Returns:
      The state and memory after this step, whose request is pending, and the outputs.
    """
    copy = copy_live = seen = None
    if inputs.target is not None:
        copy, copy_live = point_at(config, scalars, z, memory, inputs.target)
    hidden, cell = state.hidden, state.cell
    from_hidden = split(config, "hidden", z)
    if inputs.reset is not None:
        carry = empty_carry(Carry(hidden, cell, memory), inputs.reset)
        hidden, cell, memory = carry
        row = inputs.reset[:, None, None]
        # The recurrent product of a zero state is zero.
        from_hidden = {to: jnp.where(row, 0, part) for to, part in from_hidden.items()}
    from_input = split(config, "input", inputs.projected)

    def projected(to):
        parts = [side[to] for side in (from_input, from_hidden) if to in side]
        return sum(parts[1:], parts[0]) if parts else None

    gates, read, modes = projected("gates"), None, None
    if config.reads:
        query = make_query(
            config, scalars.memory, projected("query"), projected("modes")
        )
        modes = query.modes
        unread = memory
        memory, read = config.memory.read(
            memory, query, read_modes=config.read_modes, source=scalars.source
        )
        if memory is not None:
            memory = note_read_of(inputs.valid, memory, unread)
        seen = scale_read(scalars.memory, read, scalars.read_mask)
        gates = gates + project_read(seen)
    new_hidden, new_cell, squashed = lstm(config, gates, cell)
    keep = inputs.valid[:, None]
    hidden = jnp.where(keep, new_hidden, hidden)
    state = State(
        hidden=hidden,
        cell=jnp.where(keep, new_cell, cell),
        pending=_request_later(config, scalars, inputs, projected),
    )
    trace = (read, squashed, modes) if traced else None
    return state, memory, Emitted(hidden, seen, copy, copy_live, trace)


def _request_later(config, scalars, inputs, projected):
    """What this step will ask the memory to keep, as far as it is known."""
    if config.memory.num_slots == 0:
        return None
    key = projected("key")
    bias = jnp.broadcast_to(
        scalars.key_bias, (inputs.tag.shape[0], *scalars.key_bias.shape)
    )
    return Pending(
        key=bias if key is None else key + bias,
        salience=projected("salience"),
        tag=inputs.tag,
        valid=inputs.valid,
    )


def advance(
    config: CellConfig,
    kernels: Kernels,
    scalars: Scalars,
    state: State,
    memory: Memory | None,
    inputs: StepInputs,
    *,
    traced: bool = False,
):
    """One whole turn of the loop: project, write what is pending, read, update.

    Returns:
      The state, the memory, what is emitted, and what the pending write evicted.
    """
    z = project_groups(config, state.hidden, kernels.hidden)
    evicted = None
    if memory is not None:
        memory, evicted = config.memory.write(memory, before(config, scalars, state, z))

    def project_read(seen):
        return project_groups(config, seen, kernels.read)

    state, memory, emitted = after(
        config, scalars, state, z, memory, inputs, project_read, traced=traced
    )
    return state, memory, emitted, evicted
