"""The loop as JAX differentiates it: whole, in recomputed pieces, or with a trace."""

import math

import jax

from wmlstm_jax.core import bare
from wmlstm_jax.core.body import advance
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.loop_types import Emitted, Kernels, Scalars, State, StepInputs
from wmlstm_jax.core.mixing import settles
from wmlstm_jax.core.pieces import fold, piece_length, unfold
from wmlstm_jax.core.slots import take
from wmlstm_jax.core.types import Evicted, Eviction, Memory, Request


def scan(
    config: CellConfig,
    kernels: Kernels,
    scalars: Scalars,
    state: State,
    memory: Memory | None,
    xs: StepInputs,
    *,
    unroll: int,
) -> tuple[State, Memory | None, Emitted]:
    """`jax.lax.scan` over `advance`; same arguments and results as `rollback`."""

    def turn(carry, inputs):
        state, memory = carry
        state, memory, emitted, _ = advance(
            config, kernels, scalars, state, memory, inputs
        )
        return (state, memory), emitted

    (state, memory), emitted = bare.scan(turn, (state, memory), xs, unroll=unroll)
    return state, memory, emitted


def remat(
    config: CellConfig,
    kernels: Kernels,
    scalars: Scalars,
    state: State,
    memory: Memory | None,
    xs: StepInputs,
    *,
    unroll: int,
) -> tuple[State, Memory | None, Emitted]:
    """`scan` in pieces of about sqrt(T) steps, each computed again when needed.

    The last piece is filled up with steps that are not valid, which change nothing.
    """
    length = xs.valid.shape[0]

    @jax.checkpoint
    def run_piece(carry, piece_of_xs):
        state, memory = carry
        state, memory, emitted = scan(
            config, kernels, scalars, state, memory, piece_of_xs, unroll=unroll
        )
        return (state, memory), emitted

    pieces = fold(xs, piece_length(length, math.isqrt(length - 1) + 1))
    (state, memory), emitted = bare.scan(run_piece, (state, memory), pieces)
    emitted = jax.tree.map(lambda leaf: unfold(leaf)[:length], emitted)
    return state, memory, emitted


def traced_scan(
    config: CellConfig,
    kernels: Kernels,
    scalars: Scalars,
    state: State,
    memory: Memory | None,
    xs: StepInputs,
    *,
    unroll: int,
) -> tuple[State, Memory | None, Emitted]:
    """`scan` that also keeps what was read, the gates, and what each write evicted."""

    def turn(carry, inputs):
        state, unwritten = carry
        state, memory, emitted, (request, evicted) = advance(
            config, kernels, scalars, state, unwritten, inputs, traced=True
        )
        eviction = eviction_of(config, unwritten, request, evicted)
        return (state, memory), emitted._replace(trace=(*emitted.trace, eviction))

    (state, memory), emitted = bare.scan(turn, (state, memory), xs, unroll=unroll)
    return state, memory, emitted


def eviction_of(
    config: CellConfig,
    memory: Memory | None,
    request: Request | None,
    evicted: Evicted | None,
) -> Eviction | None:
    """What the write of a request to `memory` did, without the contents."""
    if memory is None or request is None or evicted is None:
        return None
    policy = config.slots.policy
    worth = policy.worth(memory, request)
    return Eviction(
        slots=evicted.slots,
        weights=evicted.weights,
        settled=settles(policy, memory.epoch, evicted),
        live=evicted.slot_epoch == memory.epoch[:, None, None],
        written=evicted.written,
        tags=evicted.tags,
        worth=None if worth is None else take(worth, evicted.slots),
        newcomer=request.salience,
        clock=evicted.clock,
    )
