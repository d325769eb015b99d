"""The pointer over a whole sequence, after the loop: nothing in the loop waits for it.

What the pointer of a step sees is known once it is known where every request went: the
columns of `window`, by pieces of the sequence. So its products are those of matrices,
and no memory has to be undone. `body.point_at` is the same, a step at a time.
"""

import functools

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import (
    address,
    empty_coverage,
    make_request,
    project_groups,
)
from wmlstm_jax.core.loop_types import Parts, Scalars, Write
from wmlstm_jax.core.memories import empty_rows
from wmlstm_jax.core.pieces import fold, piece_length, unfold
from wmlstm_jax.core.pointer import Pointed, point_at_target, pointer_logits
from wmlstm_jax.core.types import SCORES, Array, Memory
from wmlstm_jax.core.window import end_of, match_all, open_window, view

PIECE = 64
"""Steps pointed at once: a longer piece has larger products, and more dead columns."""


def point_at_all(
    config: CellConfig,
    scalars: Scalars,
    parts: Parts,
    memory: Memory | None,
    write: Write | None,
    marks: tuple[Array, Array, Array | None, Array],
    coverage: Array | None,
) -> tuple[Memory | None, Array | None, Pointed]:
    """What the pointer of each step says of its target.

    Args:
      config: the settings; the policy is hard.
      scalars: the small parameters.
      parts: from `pointer_parts`.
      memory: before the first step; None where there is a source only.
      write: where the request of each step went, leaves lead with T; None where they
        are still to be written: no step reads them.
      marks: valid, tag, reset, target: `[T, B]` each.
      coverage: before the first step, or None.

    Returns:
      The memory after the last step, where it was this that wrote it; the coverage
      after it; and what the pointer said, leaves `[T, B, G]`.
    """
    valid, tag, reset, target = marks
    if memory is None:
        meet = functools.partial(
            pointer_logits, config, scalars.memory, memory=None, source=scalars.source
        )
        met = jax.vmap(meet)(parts["copy"])
        coverage, said = _aim(scalars, coverage, met, (target, reset, valid))
        return None, coverage, said
    after = None
    if write is None:
        after, write = _write_all(config, scalars, parts, memory, marks)
    epoch = jnp.broadcast_to(memory.epoch, valid.shape)
    if reset is not None:
        epoch = epoch + jnp.cumsum(reset, axis=0, dtype=jnp.int32)
    clock = write.clock + valid.astype(jnp.int32)
    length = valid.shape[0]
    piece = piece_length(length, PIECE)
    steps = fold((parts, write, valid, tag, reset, epoch, clock, target), piece)
    run_piece = functools.partial(_point_in_piece, config, scalars)
    # Values, and what only reads look at, stay behind.
    memory = memory._replace(values=None, usage=None, weights=None)
    if piece == length:  # Outside of a loop, XLA spreads what it fuses over threads.
        only = jax.tree.map(lambda leaf: leaf[0], steps)
        (end, coverage), said = run_piece((memory, coverage), only)
    else:
        start = (memory, coverage)
        (end, coverage), said = jax.lax.scan(jax.checkpoint(run_piece), start, steps)
        said = jax.tree.map(lambda leaf: unfold(leaf)[:length], said)
    if after is not None:
        after = after._replace(keys=end.keys, salience=end.salience)
    return after, coverage, said


def _write_all(config, scalars, parts, memory, marks):
    """Writes the requests of all steps, but not what they hold.

    Returns:
      The memory after, with the keys and salience of before, and a `Write` by step.
    """
    valid, tag, reset, _ = marks
    requests = _requests(config, scalars, parts, tag, valid)

    def turn(memory, step):
        request, reset = step
        if reset is not None:
            memory = empty_rows(memory, reset)
        memory, evicted = config.memory.write(memory, request)
        return memory, Write(evicted.slots, evicted.weights, evicted.clock)

    # Where a write goes is a choice, and has no gradient.
    choosing = memory._replace(keys=None), requests._replace(key=None)
    choosing, requests = jax.lax.stop_gradient(choosing)
    return jax.lax.scan(turn, choosing, (requests, reset))


def pointer_parts(
    config: CellConfig,
    params: dict,
    projected: Parts,
    reset: Array | None,
    first: Array,
    hidden: Array,
) -> Parts:
    """What the pointer looks at, of every step: one product each.

    Args:
      config: the settings.
      params: from `init_params`.
      projected: the input's part of every projection.
      reset: `[T, B]` bool or None.
      first: `[B, H]`, the hidden state before the first step.
      hidden: `[T, B, H]`, after every step.

    Returns:
      `copy`, and with slots `key` and maybe scores, `[T, B, G, width]` each.
    """
    before = jnp.concatenate([first[None], hidden[:-1]])
    if reset is not None:
        before = jnp.where(reset[..., None], 0, before)
    states = {"hidden": before, "current": hidden}
    parts = {}
    for to in ("copy", "key", *SCORES):
        if to not in params["bias"]:
            continue
        total = params["bias"][to] + projected.get(to, 0)
        for origin, state in states.items():
            if to in params[origin]:
                total = total + project_groups(config, state, params[origin][to])
        parts[to] = jnp.broadcast_to(total, (*hidden.shape[:2], *total.shape[-2:]))
    return parts


def _point_in_piece(config, scalars, start, steps):
    """Points at every step of a piece, and goes on to memory and coverage after it."""
    memory, coverage = start
    parts, write, valid, tag, reset, epoch, clock, target = steps
    requests = _requests(config, scalars, parts, tag, valid)
    window = open_window(config, memory, write, requests, epoch)
    ask = functools.partial(address, config, sharpness=scalars.memory["copy_sharpness"])
    products = match_all(window, jax.vmap(ask)(parts["copy"]))

    def meet(vector, product, owner, epoch, clock):
        rows = {"epoch": epoch, "clock": clock}
        held = view(window, False, rows, owner, window.salience)
        return pointer_logits(
            config,
            scalars.memory,
            vector,
            held,
            scalars.source,
            keys=lambda *_: product,
        )

    met = jax.vmap(meet)(parts["copy"], products, window.owner, epoch, clock)
    coverage, said = _aim(scalars, coverage, met, (target, reset, valid))
    return (end_of(window, epoch[-1], clock[-1]), coverage), said


def _requests(config, scalars, parts, tag, valid):
    """What each step asked the memory to keep; leaves lead with T."""

    def request(key, scores, tag, valid):
        return make_request(
            config,
            scalars.memory,
            key=key,
            value=None,
            scores=scores,
            tag=tag,
            valid=valid,
        )

    scores = {score: parts[score] for score in SCORES if score in parts}
    return jax.vmap(request)(parts["key"], scores, tag, valid)


def _aim(scalars, coverage, met, marks):
    """Points at each step: all at once, or one after another where the last counts."""
    logits, tags = met
    if coverage is None:

        def aim(logits, tags, target):
            said, _ = point_at_target(scalars.memory, logits, tags, target, None, None)
            return said._replace(weights=None)

        return None, jax.vmap(aim)(logits, tags, marks[0])

    def turn(coverage, step):
        logits, tags, target, reset, valid = step
        if reset is not None:
            coverage = empty_coverage(coverage, reset)
        said, coverage = point_at_target(
            scalars.memory, logits, tags, target, coverage, valid
        )
        return coverage, said._replace(weights=None)

    return jax.lax.scan(turn, coverage, (logits, tags, *marks))
