"""One step of the cell, written to be read: it reads, updates its gates, then writes.

    LSTM_t = g(LSTM_{t-1}, WM_{t-1}, x_t)        WM_t = f(WM_{t-1}, LSTM_{t-1}, x_t)

`unroll` computes the same over a sequence, faster; the equations are here.
"""

import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import (
    empty_carry,
    lstm,
    make_query,
    make_request,
    note_read_of,
    project_groups,
    project_input,
    sanitize,
    scale_read,
)
from wmlstm_jax.core.types import SCORES, Array, Carry, Source


def init_carry(config: CellConfig, batch_size: int, source_length: int = 0) -> Carry:
    """The state before the first token: zeros, and an empty memory.

    Args:
      config: the settings.
      batch_size: B, at least 1.
      source_length: S, of the source bank; only coverage has it.

    Returns:
      `hidden [B, H]`, `cell [B, H]`, `memory`, and with `config.coverage` also
      `coverage [B, G, S]`; every leaf leads with B.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"init_carry: batch_size is {batch_size!r}; it must be an integer of at"
            " least 1."
        )
    shape = batch_size, config.hidden_dim
    # Each of its own: a buffer that stands twice in a carry cannot be donated.
    hidden, cell = (jnp.zeros(shape, config.state_dtype) for _ in range(2))
    memory, coverage = config.memory.init(config, batch_size), None
    if config.coverage:
        covered = batch_size, config.num_blocks, source_length
        coverage = jnp.zeros(covered, config.state_dtype)
    return Carry(hidden, cell, memory, coverage)


def step(
    params: dict,
    config: CellConfig,
    carry: Carry,
    x: Array,
    tag: Array | None = None,
    *,
    valid: Array | None = None,
    reset: Array | None = None,
    read_mask: Array | None = None,
    source: Source | None = None,
) -> tuple[Carry, Array]:
    """One token.

        q = norm(W_q [x; h]) beta / sqrt(K)      a, r = read(WM, q)
        i, f, g, o = W_x x + W_h h + W_r r + b
        c' = f c + i g      h' = o tanh(c')      y = h' + W_y r
        WM' = write(WM, key = norm(W_k [x; h; h']), value = W_v h')

    Args:
      params: from `init_params`.
      config: the settings.
      carry: the state after the token before.
      x: `[B, D]` float.
      tag: `[B]` int32, the token's id, remembered by the slot it writes.
      valid: `[B]` bool; where False the carry stays as it is and y is 0.
      reset: `[B]` bool; where True the carry is emptied first, valid or not.
      read_mask: `[B, R*W]` float, multiplies what is read.
      source: read-only slots beside the memory.

    Returns:
      The carry, and `y [B, H]`.
    """
    batch = x.shape[0]
    valid = jnp.ones(batch, bool) if valid is None else valid
    tag = jnp.full(batch, -1) if tag is None else tag
    x = jnp.where(valid[:, None], x, 0)
    carry = sanitize(carry if reset is None else empty_carry(carry, reset))
    hidden, cell, memory, coverage = carry

    def project(to):
        total = params["bias"][to]
        if to in params["input"]:
            total = total + project_input(config, x, params["input"][to])
        if to in params["hidden"]:
            total = total + project_groups(config, hidden, params["hidden"][to])
        return jnp.broadcast_to(total, (batch, *total.shape[-2:]))

    scalars, gates, beside = params["memory"], project("gates"), 0
    if config.reads:
        modes = project("modes") if "modes" in params["bias"] else None
        query = make_query(config, scalars, project("query"), modes)
        memory, read = config.memory.read(
            memory, query, read_modes=config.read_modes, source=source
        )
        seen = scale_read(scalars, read, read_mask)
        gates = gates + project_groups(config, seen, params["read"]["gates"])
        beside = project_groups(config, seen, params["read"]["output"])
        beside = beside.reshape(hidden.shape)
    new_hidden, new_cell, _ = lstm(config, gates, cell)
    if memory is not None:
        memory = note_read_of(valid, memory, carry.memory)
        key = project("key")
        if "current" in config.key_from:
            key = key + project_groups(config, new_hidden, params["current"]["key"])
        value = None
        if config.reads:
            value = project_groups(config, new_hidden, params["current"]["value"])
        request = make_request(
            config,
            scalars,
            key=key,
            value=value,
            scores={s: project(s) for s in SCORES if s in params["bias"]},
            tag=tag.astype(jnp.int32),
            valid=valid,
        )
        memory, _ = config.memory.write(memory, request)
    keep = valid[:, None]
    new_carry = Carry(
        jnp.where(keep, new_hidden, hidden),
        jnp.where(keep, new_cell, cell),
        memory,
        coverage,
    )
    return new_carry, jnp.where(keep, new_hidden + beside, 0)
