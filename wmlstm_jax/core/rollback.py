"""Backpropagation that undoes the writes instead of keeping every memory.

The forward pass keeps what each write evicted; the backward pass gives it back, so that
training memory does not grow with the capacity (Rae et al. 2016, "Scaling
memory-augmented neural networks with sparse reads and writes"). Three more rules make
it fast. The two large products of a step are not computed again: their results are
kept. Their weight gradients are one product each over all steps, after the loop. And
the memory is undone a piece of the loop at a time; what reads give back to keys and
values is then one matrix product for each piece (see `window`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from wmlstm_jax.core.bare import scan
from wmlstm_jax.core.body import after, before, direct, split, split_step
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import project_groups, project_turned
from wmlstm_jax.core.loop_types import Kernels, State, Write
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pieces import fold, piece_length, unfold
from wmlstm_jax.core.rollback_piece import Kept, Later, piece_backward
from wmlstm_jax.core.tape import Tape, blank_tape, scan_tape
from wmlstm_jax.core.trees import partition
from wmlstm_jax.core.types import Array

_ROWS = ("epoch", "clock", "head", "weights")  # what a step changes beside slots
_CONTENT = ("keys", "values", "salience")  # what has a gradient and is undone
PIECE = 16
"""How many steps are undone at once."""


def rollback(
    config: CellConfig, kernels: Kernels, scalars, state: State, memory, xs, *, unroll
):
    """Runs the loop over `xs`, differentiable by undoing; see the module.

    Args:
      config: the settings; writes can be undone, and there is no pointer.
      kernels: the large weights.
      scalars: the small ones.
      state: nothing pending.
      memory: or None without slots.
      xs: `StepInputs`, each leaf `[T, ...]`.
      unroll: how many steps one turn of the compiled loop holds.

    Returns:
      The final state, the final memory, and `Emitted` stacked over time; its `write`
      goes on to the end of the last piece, where the last step's may be.
    """
    length = xs.valid.shape[0]
    piece = length if memory is None else piece_length(length, PIECE)
    # Whole pieces; the steps that fill up the last are not valid and change nothing.
    xs = jax.tree.map(unfold, fold(xs, piece))
    static = (config, unroll, piece)
    results: Any = _rollback(static, kernels, scalars, state, memory, xs)
    state, memory, emitted = results
    cut = jax.tree.map(lambda leaf: leaf[:length], emitted)
    return state, memory, cut._replace(write=emitted.write)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rollback(static, kernels, scalars, state, memory, xs):
    config, unroll, _ = static
    turned = _turn_round(config, kernels)

    def turn(carry, inputs):
        state, memory = carry
        state, memory, emitted, *_ = _forward(
            config, turned, scalars, state, memory, inputs
        )
        return (state, memory), emitted

    (state, memory), emitted = scan(turn, (state, memory), xs, unroll=unroll)
    return state, memory, emitted


def _forward(config, turned, scalars, state, memory, inputs):
    """One turn of the loop, what has to be kept of it, and what goes on the tape."""
    z = project_turned(config, state.hidden, turned.hidden)
    parts, late = split_step(config, turned, inputs, z)
    evicted, rows, noted = None, {}, dict(parts)
    if memory is not None:
        request = before(config, scalars, state.pending, late)
        memory, evicted = config.memory.write(memory, request)
        rows = {name: getattr(memory, name) for name in _ROWS}
    plain = direct(config, turned, project_turned)

    def gates(part, seen):
        noted["gates"] = plain.gates(part, seen)
        return noted["gates"]

    def values(weights, memory):
        noted["value"] = plain.values(weights, memory)
        return noted["value"]

    products = plain._replace(gates=gates, values=values)
    new_state, memory, emitted = after(
        config, scalars, state, parts, late, memory, inputs, products
    )
    kept = Kept(state.cell, state.pending, rows, evicted, noted.get("value"))
    if evicted is not None:
        write = Write(evicted.slots, evicted.weights, evicted.clock)
        emitted = emitted._replace(write=write)
    return new_state, memory, emitted, kept, Tape(noted, late)


def _rollback_forward(static, kernels, scalars, state, memory, xs):
    config, unroll, _ = static
    first, tape = state.hidden, blank_tape(config, xs.projected)
    turned = _turn_round(config, kernels)

    def turn(carry, inputs, old):
        state, memory = carry
        inputs = inputs._replace(projected=inputs.projected | old.own)
        state, memory, emitted, kept, new = _forward(
            config, turned, scalars, state, memory, inputs
        )
        own = {to: new.own[to] for to in old.own}
        return (state, memory), new._replace(own=own), (emitted, kept)

    beside = {to: part for to, part in xs.projected.items() if to not in tape.own}
    (state, memory), tape, (emitted, kept) = scan_tape(
        turn, (state, memory), xs._replace(projected=beside), tape, unroll=unroll
    )
    outputs = first, emitted.hidden, emitted.seen
    xs = xs._replace(projected={})
    return (state, memory, emitted), (kernels, scalars, memory, xs, kept, tape, outputs)


def _rollback_backward(static, residuals, cotangents):
    config, unroll, piece = static
    kernels, scalars, memory, xs, kept, tape, outputs = residuals
    d_state, d_memory, d_emitted = cotangents
    # Where a write went is a choice, and has no gradient.
    d_emitted = d_emitted._replace(write=None)
    floats, _ = partition(scalars)
    back = _each(kernels, lambda kernel: kernel.astype(config.dtype))

    def run_piece(carry, steps, tape):
        d_state, d_content, d_weights, d_scalars, memory = carry
        later = Later(d_state, d_weights, d_scalars, *(None,) * 5)
        return piece_backward(
            config, unroll, back, scalars, memory, steps, tape, d_content, later
        )

    d_content, d_weights = _content_of(d_memory)
    # Cotangents of the memory add up over time: never in less than float32.
    d_content = {f: g.astype(config.state_dtype) for f, g in d_content.items()}
    zeros = jax.tree.map(jnp.zeros_like, floats)
    start = (partition(d_state)[0], d_content, d_weights, zeros, memory)
    steps = fold((xs, kept, partition(d_emitted)[0]), piece)
    end, tape, d_beside = scan_tape(
        run_piece, start, steps, fold(tape, piece), reverse=True
    )
    d_state, d_content, d_weights, d_scalars, _ = end
    d_parts = jax.tree.map(unfold, {**tape.own, **tape.late, **d_beside})
    d_kernels = weight_gradients(config, kernels, xs.reset, outputs, d_parts)
    d_projected = {to: d_parts[to] for to in projection_sizes(config)["input"]}
    d_inputs = jax.tree.map(lambda _: None, xs)._replace(projected=d_projected)
    if memory is not None:
        d_content = {
            f: g.astype(getattr(memory, f).dtype) for f, g in d_content.items()
        }
        blank = jax.tree.map(lambda _: None, memory)
        d_memory = blank._replace(**d_content, weights=d_weights)
    return d_kernels, d_scalars, d_state, d_memory, d_inputs


def _turn_round(config, kernels: Kernels) -> Kernels:
    """The kernels as `project_turned` wants them, `[G, out, in]`.

    The backward pass wants them as they are: what went in is its output.
    """

    def turn(kernel):
        turned = kernel.astype(config.dtype).swapaxes(1, 2)
        return jax.lax.optimization_barrier(turned)

    return _each(kernels, turn)


def _each(kernels: Kernels, change) -> Kernels:
    """Changes the large weights, once for all turns of a loop."""
    read = None if kernels.read is None else change(kernels.read)
    return kernels._replace(hidden=change(kernels.hidden), read=read)


def weight_gradients(config, kernels, reset, outputs, d_parts) -> Kernels:
    """The gradients of the large weights: one product each over all steps."""

    def over_steps(left, kernel, cotangent):
        project = functools.partial(project_groups, config, left)
        return jax.vjp(project, kernel)[1](cotangent)[0]

    first, hiddens, seen = outputs
    before = jnp.concatenate([first[None], hiddens[:-1]])
    fresh = before if reset is None else jnp.where(reset[..., None], 0, before)
    gradients = [
        over_steps(before if to.startswith("current_") else fresh, kernel, d_parts[to])
        for to, kernel in split(config, kernels.hidden).items()
    ]
    read = kernels.read
    if read is not None:
        read = over_steps(seen, read, d_parts["gates"])
    bias = {to: d_parts[to].sum((0, 1)) for to in kernels.bias}
    return Kernels(jnp.concatenate(gradients, -1), read, bias)


def _content_of(memory) -> tuple[dict[str, Array], Array | None]:
    """The leaves of a memory that have a gradient: in slots, and the last weights."""
    if memory is None:
        return {}, None
    content = {name: getattr(memory, name) for name in _CONTENT}
    return {n: leaf for n, leaf in content.items() if leaf is not None}, memory.weights


_rollback.defvjp(_rollback_forward, _rollback_backward)
