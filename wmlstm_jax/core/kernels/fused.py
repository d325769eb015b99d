"""The recurrence in one kernel each way, for heads that see nothing of each other.

A program of the kernel holds one head and some rows of the batch through all steps: its
weights, state and slots stay on the chip. The backward kernel undoes the writes, as
`rollback` does. What needs no loop is outside: the products with the inputs, where a
ring is written, and the gradients of the large weights, one product each.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import positive_decay
from wmlstm_jax.core.kernels.arrays import (
    Gradients,
    Ran,
    Returned,
)
from wmlstm_jax.core.kernels.backward import run_backward
from wmlstm_jax.core.kernels.device import Hopper, Interpreter
from wmlstm_jax.core.kernels.fit import layout_of
from wmlstm_jax.core.kernels.forward import run_forward
from wmlstm_jax.core.kernels.prepare import (
    factors,
    prepare,
    wanted_of_backward,
    wanted_of_forward,
)
from wmlstm_jax.core.kernels.ring import (
    after_writes,
    written_by,
)
from wmlstm_jax.core.loop_types import Emitted, Kernels, Scalars, State
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.rollback import weight_gradients
from wmlstm_jax.core.trees import partition


def fused(
    config: CellConfig, kernels: Kernels, scalars, state: State, memory, xs, *, unroll
):
    """Runs the loop over `xs`; same arguments and results as `rollback`.

    The configuration is one that `why_not_fused` has nothing against.
    """
    del unroll
    results: Any = _fused(config, kernels, scalars, state, memory, xs)
    return results


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fused(config, kernels, scalars, state, memory, xs):
    given, times = prepare(config, kernels, scalars, state, memory, xs)
    ran = _run(config, given, keep=False)
    return _results(given, times, ran, state, memory, xs)


def _fused_forward(config, kernels, scalars, state, memory, xs):
    given, times = prepare(config, kernels, scalars, state, memory, xs)
    ran = _run(config, given, keep=True)
    results = _results(given, times, ran, state, memory, xs)
    # What the projections of the input were added to is kept; so is what was written.
    given = given._replace(**dict.fromkeys(("gates", "query", "key", "hidden", "cell")))
    xs = xs._replace(projected={})
    return results, (kernels, scalars, state.hidden, memory, xs, given, ran, results)


def _run(config, given, *, keep) -> Ran:
    """The forward kernel on whatever machine there is."""
    layout = layout_of(config, given.valid.shape[1], backward=False)
    wanted = wanted_of_forward(config, given, keep=keep)
    return _on_a_device(run_forward, layout, given, wanted)


def _like(leaf, other):
    return leaf.reshape(other.shape)


def _on_a_device(run, layout, given, results):
    def on(device):
        return lambda given: run(device(), layout, given, results)

    return jax.lax.platform_dependent(given, cuda=on(Hopper), default=on(Interpreter))


def _results(given, times, ran, state, memory, xs):
    """What `fused` gives: the state, the memory, and what was emitted."""
    hidden = ran.hidden.reshape(*xs.valid.shape, -1)
    cell = ran.cell.reshape(state.cell.shape)
    if memory is None:
        return State(hidden[-1], cell, None), None, Emitted(hidden, None, None, None)
    seen = (ran.read * given.memory.gain).reshape(*xs.valid.shape, -1)
    pending = state.pending._replace(
        key=ran.pending, tag=xs.tag[-1], valid=xs.valid[-1]
    )
    slots = given.memory.slots
    if given.memory.ranking:
        slots = ran.slots
        pending = pending._replace(scores={"salience": ran.score[..., None]})
    memory = after_writes(slots, times, memory, xs)._replace(
        keys=ran.keys, values=ran.values, salience=ran.salience
    )
    emitted = Emitted(hidden, seen, None, None, written_by(slots, times))
    return State(hidden[-1], cell, pending), memory, emitted


def _fused_backward(config, residuals, cotangents):
    kernels, scalars, first, memory, xs, given, ran, results = residuals
    d_state, d_memory, _ = cotangents
    gave = _run_back(config, given, ran, results, cotangents)
    d_parts = {"gates": gave.gates.reshape(*gave.gates.shape[:3], -1)}
    d_scalars, d_pending = partition(jax.tree.map(jnp.zeros_like, scalars))[0], None
    if memory is not None:
        # What a turn writes is the request of the step before.
        d_keys = jnp.concatenate([gave.key[1:], d_state.pending.key[None]])
        d_parts |= {"query": gave.query, "key": d_keys}
        d_parts |= {"current_key": gave.key, "current_value": gave.value}
        d_scalars = _scalar_gradients(config, scalars, given, ran, gave, d_scalars)
        d_scalars = d_scalars._replace(key_bias=d_keys.sum(0))
        d_pending = partition(d_state.pending)[0]._replace(key=gave.key[0])
        if given.memory.ranking:
            last = d_state.pending.scores["salience"]
            scores = jnp.concatenate([gave.score[1:, ..., None], last[None]])
            d_parts["salience"] = scores
            first_score = {"salience": gave.score[0, ..., None]}
            d_pending = d_pending._replace(scores=first_score)
        d_memory = jax.tree.map(lambda _: None, memory)._replace(
            keys=gave.keys.astype(memory.keys.dtype),
            values=gave.values.astype(memory.values.dtype),
            salience=gave.salience,
        )
    _, _, emitted = results
    outputs = first, emitted.hidden, emitted.seen
    d_kernels = weight_gradients(config, kernels, xs.reset, outputs, d_parts)
    d_hidden, d_cell = (_like(g, first) for g in (gave.hidden, gave.cell))
    d_projected = {to: d_parts[to] for to in projection_sizes(config)["input"]}
    d_inputs = jax.tree.map(lambda _: None, xs)._replace(projected=d_projected)
    return d_kernels, d_scalars, State(d_hidden, d_cell, d_pending), d_memory, d_inputs


def _run_back(config, given, ran, results, cotangents) -> Gradients:
    """The backward kernel on whatever machine there is."""
    d_state, d_memory, d_emitted = cotangents
    dtype, memories = ran.hidden.dtype, given.memory
    seen = pending = keys = values = score = salience = None
    if memories is not None:
        seen, pending = _like(d_emitted.seen, ran.read), d_state.pending.key
        # Cotangents of the memory add up over time: never in less than float32.
        keys, values = (g.astype(dtype) for g in (d_memory.keys, d_memory.values))
        after = results[1]
        memories = memories._replace(
            keys=ran.keys, values=ran.values, slot_epoch=after.slot_epoch
        )
        if memories.ranking:
            score = d_state.pending.scores["salience"][..., 0]
            salience = d_memory.salience
            chosen = dict.fromkeys(("pinned", "pins", "score", "pending"))
            ranking = memories.ranking._replace(
                salience=after.salience, written=after.written, **chosen
            )
            memories = memories._replace(slots=ran.slots, ranking=ranking)
    returned = Returned(
        weights=given.weights,
        kept=ran.kept,
        valid=given.valid,
        reset=given.reset,
        hidden=_like(d_emitted.hidden, ran.hidden),
        seen=seen,
        last_hidden=_like(d_state.hidden, ran.cell),
        last_cell=_like(d_state.cell, ran.cell),
        pending=pending,
        keys=keys,
        values=values,
        score=score,
        salience=salience,
        memory=memories,
    )
    layout = layout_of(config, given.valid.shape[1], backward=True)
    wanted = wanted_of_backward(config, ran)
    return _on_a_device(run_backward, layout, returned, wanted)


def _scalar_gradients(config, scalars, given, ran, gave, zeros) -> Scalars:
    """The gradients of the small parameters of reads; the others are `zeros`."""
    memory = given.memory
    null = jnp.exp(given.null - ran.kept.log_total)
    through = (gave.seen * memory.gain * ran.read).sum(-1)
    d_null = -(null * through).sum(0)
    d_factors = {"beta": gave.beta.sum(0), "gain": (gave.seen * ran.read).sum(0)}

    def changed_factors(small, mask):
        changed = scalars._replace(memory=scalars.memory | small, read_mask=mask)
        return factors(config, changed)

    small = {name: scalars.memory[name] for name in ("sharpness", "read_scale")}
    d_small, d_mask = jax.vjp(changed_factors, small, scalars.read_mask)[1](d_factors)
    d_memory = zeros.memory | d_small | {"null_logit": d_null}
    if memory.ranking:
        pull = jax.vjp(positive_decay, {"decay": scalars.memory["decay"]})[1]
        d_memory |= pull(gave.decay.sum(0))[0]
    return zeros._replace(memory=d_memory, read_mask=d_mask)


_fused.defvjp(_fused_forward, _fused_backward)
