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

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import after, before, direct, split_step
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import project_groups
from wmlstm_jax.core.loop_types import Kernels, Products, State, StepInputs
from wmlstm_jax.core.pieces import fold, piece_length, unfold
from wmlstm_jax.core.rollback_piece import Kept, Later, partition, piece_backward
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
    length = xs.valid.shape[0]
    piece = length if memory is None else piece_length(length, PIECE)
    # Whole pieces; the steps that fill up the last are not valid and change nothing.
    xs = jax.tree.map(unfold, fold(xs, piece))
    static = (config, unroll, piece)
    state, memory, emitted = _rollback(static, kernels, scalars, state, memory, xs)
    return state, memory, jax.tree.map(lambda leaf: leaf[:length], emitted)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rollback(static, kernels, scalars, state, memory, xs):
    config, unroll, _ = static

    def turn(carry, inputs):
        *carry, emitted, _ = _forward(config, kernels, scalars, *carry, inputs)
        return tuple(carry), emitted

    (state, memory), emitted = jax.lax.scan(turn, (state, memory), xs, unroll=unroll)
    return state, memory, emitted


def _forward(config, kernels, scalars, state, memory, inputs):
    """One turn of the loop, and what has to be kept of it."""
    z = project_groups(config, state.hidden, kernels.hidden)
    parts, late = split_step(config, inputs, z)
    evicted, rows, noted = None, {}, {}
    if memory is not None:
        request = before(config, scalars, state.pending, late)
        memory, evicted = config.memory.write(memory, request)
        rows = {name: getattr(memory, name) for name in _ROWS}
    plain = direct(config, kernels)

    def gates(part, seen):
        noted["gates"] = plain.gates(part, seen)
        return noted["gates"]

    def keys(vector, memory):
        noted["vector"] = vector
        return plain.keys(vector, memory)

    def copy_keys(vector, memory):
        noted["copy_vector"] = vector
        return plain.copy_keys(vector, memory)

    def values(weights, memory):
        noted["value"] = plain.values(weights, memory)
        return noted["value"]

    products = Products(gates, keys, values, copy_keys)
    new_state, memory, emitted = after(
        config, scalars, state, parts, late, memory, inputs, products
    )
    # What the request is made of enters it as a sum: its value is not needed.
    kept_parts = {
        to: jnp.zeros_like(part) if to in ("key", "salience") else part
        for to, part in parts.items()
    }
    kept_parts["gates"] = noted.get("gates", parts["gates"])
    kept = Kept(
        state=state,
        rows=rows,
        evicted=evicted,
        parts=kept_parts,
        late=late,
        vector=noted.get("vector"),
        copy_vector=noted.get("copy_vector"),
        value=noted.get("value"),
        seen=emitted.seen,
    )
    return new_state, memory, emitted, kept


def _rollback_forward(static, kernels, scalars, state, memory, xs):
    config, unroll, _ = static

    def turn(carry, inputs):
        *carry, emitted, kept = _forward(config, kernels, scalars, *carry, inputs)
        return tuple(carry), (emitted, kept)

    (state, memory), (emitted, kept) = jax.lax.scan(
        turn, (state, memory), xs, unroll=unroll
    )
    return (state, memory, emitted), (kernels, scalars, memory, xs, kept)


def _rollback_backward(static, residuals, cotangents):
    config, unroll, piece = static
    kernels, scalars, memory, xs, kept = residuals
    d_state, d_memory, d_emitted = cotangents
    floats, _ = partition(scalars)

    def run_piece(carry, steps):
        d_state, d_content, d_weights, d_scalars, memory = carry
        return piece_backward(
            config, unroll, kernels, scalars, memory, steps, d_content,
            Later(d_state, d_weights, d_scalars, None, [], None, None),
        )  # fmt: skip

    d_content, d_weights = _content_of(d_memory)
    # Cotangents of the memory add up over time: never in less than float32.
    d_content = {f: g.astype(config.state_dtype) for f, g in d_content.items()}
    zeros = jax.tree.map(jnp.zeros_like, floats)
    start = (partition(d_state)[0], d_content, d_weights, zeros, memory)
    steps = fold((xs, kept, partition(d_emitted)[0]), piece)
    end, outs = jax.lax.scan(run_piece, start, steps, reverse=True)
    d_state, d_content, d_weights, d_scalars, _ = end
    d_projected, d_z, d_gates = jax.tree.map(unfold, outs)
    d_kernels = Kernels(
        hidden=_weight_gradient(config, kernels.hidden, kept.state.hidden, d_z),
        read=_weight_gradient(config, kernels.read, kept.seen, d_gates),
    )
    d_inputs = StepInputs(d_projected, None, None, None, None)
    if memory is not None:
        d_content = {
            f: g.astype(getattr(memory, f).dtype) for f, g in d_content.items()
        }
        blank = jax.tree.map(lambda _: None, memory)
        d_memory = blank._replace(**d_content, weights=d_weights)
    return d_kernels, d_scalars, d_state, d_memory, d_inputs


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


_rollback.defvjp(_rollback_forward, _rollback_backward)
