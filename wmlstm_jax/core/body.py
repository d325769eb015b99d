"""The body of the recurrence, in the order that makes it fast.

A step is read, gates, write. In a loop the write of one step is held back to the start
of the next, where its value joins the one product with `h_{t-1}`:

    z = h_{t-1} @ [gates | query | key | ... | value of t-1]     `split_step`
    WM_{t-1} = write(WM_{t-2}, request of t-1)                   `before`
    read WM_{t-1}, gates, new state, request of t                `after`

So a step has two products, and the memory is written before it is read, in place.
"""

from collections.abc import Callable

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
from wmlstm_jax.core.loop_types import (
    Emitted,
    Kernels,
    Parts,
    Pending,
    Products,
    Scalars,
    State,
    StepInputs,
)
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pointer import Pointed, point_at_target, pointer_logits
from wmlstm_jax.core.reading import match_keys, mix_values
from wmlstm_jax.core.types import SCORES, Array, Carry, Memory


def fused_sizes(config: CellConfig) -> dict[str, int]:
    """The parts of the product with a hidden state, in order.

    The hidden state of t-1 serves step t, and what step t-1 left undone ("current").
    """
    sizes = projection_sizes(config)
    held_back = {f"current_{to}": width for to, width in sizes["current"].items()}
    return {**sizes["hidden"], **held_back}


def split(config: CellConfig, fused: Array) -> Parts:
    """Takes the product with a hidden state, or its kernel, apart: `[..., P]`."""
    parts, start = {}, 0
    for name, width in fused_sizes(config).items():
        parts[name] = fused[..., start : start + width]
        start += width
    return parts


def idle_pending(config: CellConfig, batch: int) -> Pending | None:
    """Nothing pending: the state at every door."""
    if config.memory.num_slots == 0:
        return None
    groups, dtype = config.num_blocks, config.state_dtype
    width = config.num_heads // groups * config.key_dim
    asked = config.memory.policy.request_fields
    return Pending(
        key=jnp.zeros((batch, groups, width), dtype),
        scores={
            score: jnp.zeros((batch, groups, 1), dtype)
            for score in SCORES
            if score in asked
        },
        tag=jnp.full(batch, -1, jnp.int32),
        valid=jnp.zeros(batch, bool),
    )


def direct(
    config: CellConfig, kernels: Kernels, project: Callable = project_groups
) -> Products:
    """The products as they are; `project` is given the kernels as they come."""

    def gates(part, seen):
        assert kernels.read is not None
        return part + project(config, seen, kernels.read)

    return Products(gates, match_keys, mix_values)


def split_step(
    config: CellConfig, kernels: Kernels, inputs: StepInputs, z: Array
) -> tuple[Parts, Parts]:
    """Takes the projections of a step apart.

    Args:
      config: the settings.
      kernels: for their biases.
      inputs: of this step.
      z: `[B, G, P]`, the product of the hidden state with `Kernels.hidden`.

    Returns:
      What belongs to this step, input and hidden state together, and what the step
      before left undone (`current_*`).
    """
    from_hidden = split(config, z)
    late = {to: p for to, p in from_hidden.items() if to.startswith("current_")}
    parts = dict(inputs.projected)
    for to, part in from_hidden.items():
        if to in late:
            continue
        if inputs.reset is not None:
            # The recurrent product of a zero state is zero.
            part = jnp.where(inputs.reset[:, None, None], 0, part)
        parts[to] = parts[to] + part if to in parts else part
    for to, bias in kernels.bias.items():
        parts[to] = parts[to] + bias
    return parts, late


def before(config: CellConfig, scalars: Scalars, pending: Pending, late: Parts):
    """The request of the step before, now that its hidden state was projected.

    Args:
      config: the settings, with slots.
      scalars: the small parameters.
      pending: what that step left behind.
      late: what is projected from its hidden state.

    Returns:
      A `Request`.
    """
    key = pending.key
    if "current_key" in late:
        key = key + late["current_key"]
    return make_request(
        config,
        scalars.memory,
        key=key,
        value=late.get("current_value"),
        scores=pending.scores,
        tag=pending.tag,
        valid=pending.valid,
    )


def point_at(
    config: CellConfig,
    scalars: Scalars,
    late: Parts,
    memory: Memory | None,
    target: Array,
    coverage: Array | None,
    asked: Array | None,
) -> tuple[Pointed, Array | None]:
    """What the pointer of the step before says of its target, and the coverage after.

    `asked [B]` says where that step was valid; only coverage looks at it.
    """
    assert scalars.copy_bias is not None
    vector = late["current_copy"] + scalars.copy_bias
    logits, tags = pointer_logits(
        config, scalars.memory, vector, memory, scalars.source
    )
    return point_at_target(scalars.memory, logits, tags, target, coverage, asked)


def after(
    config: CellConfig,
    scalars: Scalars,
    state: State,
    parts: Parts,
    late: Parts,
    memory: Memory | None,
    inputs: StepInputs,
    products: Products,
    *,
    traced: bool = False,
) -> tuple[State, Memory | None, Emitted]:
    """Resets, reads, and updates the LSTM.

    Args:
      config: the settings.
      scalars: the small parameters.
      state: the state after the step before.
      parts: the projections of this step, from `split_step`.
      late: what the step before left undone.
      memory: after the write of the step before.
      inputs: of this step.
      products: how the large products are computed.
      traced: also emits what was read and the gates.

    Returns:
      The state and memory after this step, whose request is pending, and the outputs.
    """
    pointed, coverage, seen = None, state.coverage, None
    if inputs.target is not None:
        pointed, coverage = point_at(
            config, scalars, late, memory, inputs.target, coverage, inputs.asked
        )
    hidden, cell = state.hidden, state.cell
    if inputs.reset is not None:
        carry = empty_carry(Carry(hidden, cell, memory, coverage), inputs.reset)
        hidden, cell, memory, coverage = carry
    gates, read, modes = parts["gates"], None, None
    if config.reads:
        query = make_query(config, scalars.memory, parts["query"], parts.get("modes"))
        modes = query.modes
        unread = memory
        memory, read = config.memory.read(
            memory,
            query,
            read_modes=config.read_modes,
            source=scalars.source,
            keys=products.keys,
            values=products.values,
        )
        if memory is not None and unread is not None:
            memory = note_read_of(inputs.valid, memory, unread)
        seen = scale_read(scalars.memory, read, scalars.read_mask)
        gates = products.gates(gates, seen)
    new_hidden, new_cell, squashed = lstm(config, gates, cell)
    keep = inputs.valid[:, None]
    hidden = jnp.where(keep, new_hidden, hidden)
    state = State(
        hidden=hidden,
        cell=jnp.where(keep, new_cell, cell),
        pending=_request_later(config, scalars, inputs, parts),
        coverage=coverage,
    )
    trace = (read, squashed, modes) if traced else None
    if pointed is not None and not traced:
        pointed = pointed._replace(weights=None)
    return state, memory, Emitted(hidden, seen, pointed, trace)


def _request_later(config, scalars, inputs, parts):
    """What this step will ask the memory to keep, as far as it is known."""
    if config.memory.num_slots == 0:
        return None
    bias = scalars.key_bias
    return Pending(
        key=parts["key"] + bias if "key" in parts else bias,
        scores={score: parts[score] for score in SCORES if score in parts},
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
      The state, the memory, what is emitted, and the request that was pending with what
      its write evicted; both None without slots.
    """
    z = project_groups(config, state.hidden, kernels.hidden)
    parts, late = split_step(config, kernels, inputs, z)
    request = evicted = None
    if memory is not None and state.pending is not None:
        request = before(config, scalars, state.pending, late)
        memory, evicted = config.memory.write(memory, request)
    products = direct(config, kernels)
    state, memory, emitted = after(
        config, scalars, state, parts, late, memory, inputs, products, traced=traced
    )
    return state, memory, emitted, (request, evicted)
