"""The recurrence over a sequence: one door, five ways through, all equal.

`loop` is the readable Python loop over `step`; `scan` a compiled loop, differentiated
by JAX; `rollback` the same loop with a backward pass that undoes writes; `remat` keeps
the state of about sqrt(T) steps and computes the rest again (Chen et al. 2016); `fused`
is one GPU kernel each way for heads that see nothing of each other.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp

from wmlstm_jax.core.body import before, fused_sizes, idle_pending, point_at, split
from wmlstm_jax.core.cell import step
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.door import check_unroll, choose_backend
from wmlstm_jax.core.equations import (
    empty_coverage,
    project_groups,
    project_input,
    sanitize,
)
from wmlstm_jax.core.kernels.fused import fused
from wmlstm_jax.core.loop_types import Kernels, Scalars, State, StepInputs, Write
from wmlstm_jax.core.memories import SlotMemory
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pointer import (
    average_groups,
    point_at_target,
    pointer_logits,
    pointer_query,
)
from wmlstm_jax.core.pointing import point_at_all, pointer_parts
from wmlstm_jax.core.rollback import rollback
from wmlstm_jax.core.scans import eviction_of, remat, scan, traced_scan
from wmlstm_jax.core.types import Array, Carry, Outputs, Source, Trace


def unroll(
    params: dict,
    config: CellConfig,
    carry: Carry,
    xs: Array,
    *,
    valid: Array | None = None,
    reset: Array | None = None,
    tags: Array | None = None,
    targets: Array | None = None,
    read_mask: Array | None = None,
    source: Source | None = None,
    backend: str | None = None,
    unroll: int = 1,
    trace: bool = False,
) -> tuple[Carry, Array | Outputs]:
    """Runs the cell over a sequence.

    Gradients reach the parameters, `xs`, `read_mask`, the source and every floating
    leaf of the initial carry. Slots of the initial carry get theirs; what wrote them in
    an earlier call does not (truncated backpropagation).

    Args:
      params: from `init_params`.
      config: the settings.
      carry: the state before, from `init_carry` or an earlier call.
      xs: `[T, B, D]` floating.
      valid: `[T, B]` bool; a step that is not valid leaves the carry as it is, writes
        nothing and gives 0; what `xs` holds there does not matter.
      reset: `[T, B]` bool; empties the carry before the step, valid or not.
      tags: `[T, B]` int32, the token behind each input, remembered by the slot that the
        step writes.
      targets: `[T, B]` int32; also gives the probability with which the pointer of the
        step gives this token. Needs `config.copy`.
      read_mask: `[B, R*W]` floating, multiplies every read: dropout with one mask per
        sequence, or 0 to do without the memory.
      source: read-only slots, from `fill`. Needs `config.source`.
      backend: "loop", "scan", "rollback", "remat" or "fused"; by default "rollback"
        where the policy's writes can be undone, else "remat", but "fused" where it
        applies and the GPU is one on which it was checked (docs/kernels.md).
      unroll: how many steps one turn of the compiled loop holds.
      trace: also gives what the memory did at every step ("scan" is then the default).

    Returns:
      The carry after, and `ys [T, B, H]`; with `targets` or `trace` an `Outputs`.

    Raises:
      ValueError: an argument has the wrong shape or dtype, or needs another setting.
    """
    check_unroll(
        params,
        config,
        carry,
        xs,
        valid=valid,
        reset=reset,
        tags=tags,
        targets=targets,
        read_mask=read_mask,
        source=source,
        unroll=unroll,
    )
    backend = choose_backend(config, backend, points=targets is not None, trace=trace)
    length, batch = xs.shape[:2]
    valid = jnp.ones((length, batch), bool) if valid is None else valid
    tags = jnp.full((length, batch), -1) if tags is None else tags
    tags = tags.astype(jnp.int32)
    # Padding may hold NaN, which would reach the gradient through a later select.
    xs = jnp.where(valid[..., None], xs, 0)
    carry = sanitize(carry)
    if backend == "loop":
        carry, outputs = _loop(
            params, config, carry, xs, valid, reset, tags, targets, read_mask, source
        )
    else:
        carry, outputs = _compiled(
            params,
            config,
            carry,
            xs,
            (valid, tags, reset, targets),
            read_mask,
            source,
            backend=backend,
            unroll=unroll,
            traced=trace,
        )
    if reset is not None:
        carry = sanitize(carry)
    return carry, outputs if targets is not None or trace else outputs.hidden


def _loop(params, config, carry, xs, valid, reset, tags, targets, read_mask, source):
    """The readable way: one `step` after another."""
    ys, pointed = [], []
    for t in range(xs.shape[0]):
        carry, y = step(
            params,
            config,
            carry,
            xs[t],
            tags[t],
            valid=valid[t],
            reset=None if reset is None else reset[t],
            read_mask=read_mask,
            source=source,
        )
        ys.append(y)
        if targets is not None:
            query = pointer_query(params, config, carry.hidden)
            scalars = params["memory"]
            logits, slot_tags = pointer_logits(
                config, scalars, query, carry.memory, source
            )
            said, coverage = point_at_target(
                scalars, logits, slot_tags, targets[t], carry.coverage, valid[t]
            )
            carry = carry._replace(coverage=coverage)
            pointed.append(said._replace(weights=None))
    said = None
    if targets is not None:
        said = jax.tree.map(lambda *steps: jnp.stack(steps), *pointed)
    return carry, _outputs(jnp.stack(ys), said, valid, None)


def _compiled(
    params, config, carry, xs, marks, read_mask, source, *, backend, unroll, traced
):
    """Hoists what does not depend on the state, and runs the loop."""
    valid, tags, reset, targets = marks
    if backend == "rollback" and targets is None and config.holds and not config.reads:
        backend = "scan"  # Nothing looks at what is written here.
    inner, bias = _in_the_loop(config, backend), params["bias"]
    small = params["memory"], bias.get("key"), bias.get("copy")
    small = jax.tree.map(lambda leaf: _for_each(xs.shape[1], leaf), small)
    scalars = Scalars(*small, read_mask, source)
    projected = {
        to: project_input(config, xs, kernel) for to, kernel in params["input"].items()
    }
    # The bias of a key is added later: the input may have no part in a key.
    of_loop = {to: projected[to] for to in projection_sizes(inner)["input"]}
    biases = {to: bias[to] for to in of_loop if to != "key"}
    kernels = Kernels(_fused(inner, params), params["read"].get("gates"), biases)
    # The write of a step comes at the start of the next, and so does its pointer.
    earlier = asked = None
    in_loop = targets if inner.copy else None
    if in_loop is not None:
        earlier = jnp.concatenate([jnp.full_like(in_loop[:1], -1), in_loop[:-1]])
        if config.coverage:
            asked = jnp.concatenate([jnp.zeros_like(valid[:1]), valid[:-1]])
    inputs = StepInputs(of_loop, valid, tags, reset, earlier, asked)
    pending = idle_pending(inner, xs.shape[1])
    coverage = None if in_loop is None else carry.coverage
    state = State(carry.hidden, carry.cell, pending, coverage)
    memory = carry.memory if inner.memory.num_slots else None
    run = traced_scan if traced else _BACKENDS[backend]
    state, memory, emitted = run(
        inner, kernels, scalars, state, memory, inputs, unroll=unroll
    )
    late = split(inner, project_groups(config, state.hidden, kernels.hidden))
    unwritten, request, evicted = memory, None, None
    if memory is not None and state.pending is not None:
        request = before(config, scalars, state.pending, late)
        memory, evicted = config.memory.write(memory, request)
    ys = emitted.hidden
    if emitted.seen is not None:
        kernel = params["read"]["output"]
        ys = ys + project_groups(config, emitted.seen, kernel).reshape(ys.shape)
    ys = jnp.where(valid[..., None], ys, 0)
    pointed, coverage = None, carry.coverage
    if in_loop is not None:
        last, coverage = point_at(
            config, scalars, late, memory, in_loop[-1], state.coverage, valid[-1]
        )
        last = last if traced else last._replace(weights=None)
        pointed = _in_their_steps(emitted.pointed, last)
    elif targets is not None:
        parts = pointer_parts(
            config, params, projected, reset, carry.hidden, emitted.hidden
        )
        write = None
        if evicted is not None:
            last = Write(evicted.slots, evicted.weights, evicted.clock)
            write = _in_their_steps(emitted.write, last)
            write = jax.tree.map(lambda leaf: leaf[: xs.shape[0]], write)
        written, coverage, pointed = point_at_all(
            config, scalars, parts, carry.memory, write, marks, coverage
        )
        memory = written if memory is None else memory
    elif reset is not None:
        coverage = empty_coverage(coverage, reset.any(0))
    carry = Carry(state.hidden, state.cell, memory, coverage)
    trace = None
    if traced:
        read, gates, modes, evictions = emitted.trace
        final = eviction_of(config, unwritten, request, evicted)
        weights = None if pointed is None else pointed.weights
        evictions = _in_their_steps(evictions, final)
        trace = Trace(read, evictions, gates, modes, weights)
    return carry, _outputs(ys, pointed, valid, trace)


_BACKENDS = {"scan": scan, "remat": remat, "rollback": rollback, "fused": fused}


def _in_the_loop(config, backend):
    """What of the cell is in the loop.

    Writes that are undone are also known, so that the pointer can wait for them. If
    nothing else looks at the memory, so can the writes: an LSTM is left.
    """
    if backend not in ("rollback", "fused"):
        return config
    if config.reads:
        return replace(config, copy=False, coverage=False)
    return replace(
        config, copy=False, coverage=False, memory=SlotMemory(0), source=False
    )


def _for_each(rows, leaf):
    return jnp.broadcast_to(leaf, (rows, *leaf.shape))


def _in_their_steps(late, final):
    """What came a turn late, and the last after the loop, by step."""
    return jax.tree.map(
        lambda late, final: jnp.concatenate([late[1:], final[None]]), late, final
    )


def _fused(config, params):
    """The kernels of the hidden state side by side, in the order of `fused_sizes`."""
    held_back = {f"current_{to}": k for to, k in params["current"].items()}
    kernels = {**params["hidden"], **held_back}
    return jnp.concatenate([kernels[to] for to in fused_sizes(config)], -1)


def _outputs(ys, pointed, valid, trace):
    """What the pointer said is averaged over groups."""
    if pointed is None:
        return Outputs(ys, None, None, None, trace)
    copy, live, repeated, _ = average_groups(pointed, valid)
    return Outputs(ys, copy, live, repeated, trace)
