"""Backpropagation that undoes the writes instead of keeping every memory.

The forward pass keeps what each write evicted; the backward pass gives it back, uses
the memory as it was, and goes on, so that training memory does not grow with the
capacity (Rae et al. 2016, "Scaling memory-augmented neural networks with sparse reads
and writes"). Two more rules make it fast: the two large products of a step are not
computed again, since their results are kept; and their weight gradients are one product
each over all steps, after the loop, from what went in and the cotangents that came out.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import (
    Kernels,
    State,
    StepInputs,
    after,
    before,
)
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import project_groups
from wmlstm_jax.core.memories import SLOT_FIELDS
from wmlstm_jax.core.slots import take
from wmlstm_jax.core.types import Array, Evicted

_ROWS = ("epoch", "clock", "head", "weights")  # what a step changes beside slots
_CONTENT = ("keys", "values", "salience")  # what has a gradient and is undone


class _Kept(NamedTuple):
    """What the forward pass keeps of one step."""

    state: State  # before the step
    rows: dict  # the memory's row leaves when it was read
    evicted: Evicted | None
    z: Array  # [B, G, P]: the product with the hidden state
    seen: Array | None  # [B, R*W]
    read_gates: Array | None  # [B, G, 4*Hg]: the product with what was seen


def rollback(
    config: CellConfig, kernels: Kernels, scalars, state: State, memory, xs, *, unroll
):
    """Runs the loop over `xs`, differentiable by undoing; see the module.

    Args:
      config: the settings; the memory's policy is hard.
      kernels: the large weights.
      scalars: the small ones.
      state: nothing pending.
      memory: or None without slots.
      xs: `StepInputs`, each leaf `[T, ...]`.
      unroll: how many steps one turn of the compiled loop holds.

    Returns:
      The final state, the final memory, and `Emitted` stacked over time.
    """
    return _rollback((config, unroll), kernels, scalars, state, memory, xs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rollback(static, kernels, scalars, state, memory, xs):
    config, unroll = static

    def turn(carry, inputs):
        state, memory, emitted, _ = _forward(config, kernels, scalars, *carry, inputs)
        return (state, memory), emitted

    (state, memory), emitted = jax.lax.scan(turn, (state, memory), xs, unroll=unroll)
    return state, memory, emitted


def _forward(config, kernels, scalars, state, memory, inputs):
    """One turn of the loop, and what has to be kept of it."""
    z = project_groups(config, state.hidden, kernels.hidden)
    evicted, rows, read_gates = None, {}, None
    if memory is not None:
        request = before(config, scalars, state, z)
        memory, evicted = config.memory.write(memory, request)
        rows = {name: getattr(memory, name) for name in _ROWS}

    def project_read(seen):
        nonlocal read_gates
        read_gates = project_groups(config, seen, kernels.read)
        return read_gates

    new_state, memory, emitted = after(
        config, scalars, state, z, memory, inputs, project_read
    )
    kept = _Kept(state, rows, evicted, z, emitted.seen, read_gates)
    return new_state, memory, emitted, kept


def _rollback_forward(static, kernels, scalars, state, memory, xs):
    config, unroll = static

    def turn(carry, inputs):
        *carry, emitted, kept = _forward(config, kernels, scalars, *carry, inputs)
        return tuple(carry), (emitted, kept)

    (state, memory), (emitted, kept) = jax.lax.scan(
        turn, (state, memory), xs, unroll=unroll
    )
    return (state, memory, emitted), (kernels, scalars, memory, xs, kept)


def _rollback_backward(static, residuals, cotangents):
    config, unroll = static
    kernels, scalars, memory, xs, kept = residuals
    d_state, d_memory, d_emitted = cotangents
    floats, fixed = partition(scalars)

    def turn(carry, step):
        d_state, d_content, d_weights, d_scalars, memory, later = carry
        inputs, kept, d_emitted = step
        if memory is not None:
            # The later write is undone here, before anything is read, and not at the
            # end of its own turn: then XLA does it in place.
            memory = config.memory.undo(memory, later)._replace(**kept.rows)
            d_content = config.memory.clear(d_content, later)

        def read_and_update(state, z, content, weights, floats, projected, tap):
            held = memory
            if held is not None:
                held = held._replace(**content, weights=weights)
            state, held, emitted = after(
                config,
                combine(floats, fixed),
                combine(state, partition(kept.state)[1]),
                z,
                held,
                inputs._replace(projected=projected),
                lambda seen: _replay(config, seen, kernels.read, kept.read_gates, tap),
            )
            weights = None if held is None else held.weights
            return partition(state)[0], weights, partition(emitted)[0]

        content, weights = _content_of(memory)
        tap = None if kept.read_gates is None else jnp.zeros_like(kept.read_gates)
        d_state, d_z, d_read, d_weights, d_more, d_projected, d_tap = jax.vjp(
            read_and_update,
            partition(kept.state)[0],
            kept.z,
            content,
            weights,
            floats,
            inputs.projected,
            tap,
        )[1]((d_state, d_weights, d_emitted))
        d_scalars = _add(d_scalars, d_more)
        if memory is not None:
            d_content = _add(d_content, _cast_like(d_read, d_content))
            d_request = config.memory.pull_back(d_content, kept.evicted)
            if weights is not None:
                d_weights = config.memory.clear({"": d_weights}, kept.evicted)[""]
            d_ask, d_more_z, d_more = _pull_back_request(
                config, floats, fixed, kept, d_request
            )
            d_state, d_z = _add(d_state, d_ask), d_z + d_more_z
            d_scalars = _add(d_scalars, d_more)
        d_hidden = _transpose(config, kernels.hidden, kept.state.hidden, d_z)
        d_state = d_state._replace(hidden=d_state.hidden + d_hidden)
        carry = d_state, d_content, d_weights, d_scalars, memory, kept.evicted
        return carry, (d_projected, d_z, d_tap)

    d_content, d_weights = _content_of(d_memory)
    # Cotangents of the memory add up over time: never in less than float32.
    d_content = {f: g.astype(config.state_dtype) for f, g in d_content.items()}
    start = (
        partition(d_state)[0],
        d_content,
        d_weights,
        jax.tree.map(jnp.zeros_like, floats),
        memory,
        None if memory is None else _nothing_evicted(memory, kept.evicted),
    )
    end, (d_projected, d_z, d_tap) = jax.lax.scan(
        turn,
        start,
        (xs, kept, partition(d_emitted)[0]),
        reverse=True,
        unroll=unroll,
    )
    d_state, d_content, d_weights, d_scalars, _, first = end
    d_kernels = Kernels(
        hidden=_weight_gradient(config, kernels.hidden, kept.state.hidden, d_z),
        read=_weight_gradient(config, kernels.read, kept.seen, d_tap),
    )
    d_inputs = StepInputs(d_projected, None, None, None, None)
    if memory is not None:
        d_content = config.memory.clear(d_content, first)
        d_content = {
            f: g.astype(getattr(memory, f).dtype) for f, g in d_content.items()
        }
        blank = jax.tree.map(lambda _: None, memory)
        d_memory = blank._replace(**d_content, weights=d_weights)
    return d_kernels, d_scalars, d_state, d_memory, d_inputs


def _nothing_evicted(memory, evicted):
    """What a write of nothing to this memory would have evicted."""
    slots = evicted.slots[-1]
    held = {f: getattr(memory, f) for f in SLOT_FIELDS} | {
        "last_weights": memory.weights
    }
    return evicted._replace(
        slots=slots,
        weights=jnp.zeros_like(evicted.weights[-1]),
        clock=memory.clock,
        head=memory.head,
        **{f: None if leaf is None else take(leaf, slots) for f, leaf in held.items()},
    )


def _pull_back_request(config, floats, fixed, kept, d_request):
    """The cotangents of the state, its projection and the scalars behind a request."""
    state, counts = partition(kept.state)

    def ask(state, z, floats):
        request = before(config, combine(floats, fixed), combine(state, counts), z)
        return {name: getattr(request, name) for name in d_request}

    return jax.vjp(ask, state, kept.z, floats)[1](d_request)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _replay(config, left, kernel, product, tap):
    """`left @ kernel + tap`, whose value is known to be `product` (the tap is 0)."""
    del config, left, kernel, tap
    return product


def _replay_forward(config, left, kernel, product, tap):
    del config, tap
    return product, (left, kernel)


def _replay_backward(config, residuals, cotangent):
    left, kernel = residuals
    return _transpose(config, kernel, left, cotangent), None, None, cotangent


_replay.defvjp(_replay_forward, _replay_backward)


def _transpose(config, kernel, left, cotangent):
    """The cotangent of what a kernel was applied to."""
    project = functools.partial(project_groups, config, kernel=kernel)
    return jax.vjp(lambda x: project(left=x), left)[1](cotangent)[0]


def _weight_gradient(config, kernel, lefts, cotangents):
    """The kernel's gradient over all steps at once."""
    if kernel is None:
        return None
    rows = lefts.reshape(-1, lefts.shape[-1])
    cotangents = cotangents.reshape(-1, *cotangents.shape[2:])
    return jax.vjp(lambda k: project_groups(config, rows, k), kernel)[1](cotangents)[0]


def _content_of(memory) -> tuple[dict[str, Array], Array | None]:
    """The leaves of a memory that have a gradient: in slots, and the last weights."""
    if memory is None:
        return {}, None
    content = {name: getattr(memory, name) for name in _CONTENT}
    return {n: leaf for n, leaf in content.items() if leaf is not None}, memory.weights


def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)


def _cast_like(tree: Any, like: Any) -> Any:
    return jax.tree.map(lambda leaf, to: leaf.astype(to.dtype), tree, like)


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


_rollback.defvjp(_rollback_forward, _rollback_backward)
