"""The equations that one step and a whole recurrence have in common."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.memories import empty_rows, wipe
from wmlstm_jax.core.params import SHARPNESS_LIMIT
from wmlstm_jax.core.slots import contract, rms_norm, summed_wide
from wmlstm_jax.core.types import Array, Carry, Memory, Query, Read, Request

SCORE_LIMIT = 8.0
"""A score is `L tanh(./L)`: salience may order slots, but never drown their content."""


_apart: ContextVar[bool] = ContextVar("apart", default=False)


@contextmanager
def rows_apart(apart: bool) -> Iterator[None]:
    """What is traced inside does not join the axes of steps and rows to multiply them.

    Rows that are spread over devices would be gathered for that.
    """
    token = _apart.set(apart)
    try:
        yield
    finally:
        _apart.reset(token)


def project_groups(config: CellConfig, left: Array, kernel: Array) -> Array:
    """What belongs to the cell, `[..., G*in]`, by `[G, in, out]` to `[..., G, out]`."""
    groups, width, _ = kernel.shape
    if groups == 1:  # A plain product: XLA does not always drop a batch axis of one.
        return _multiply(config, left, kernel[0])[..., None, :]
    left = left.reshape(*left.shape[:-1], groups, width)
    return _multiply(config, left, kernel)


def _multiply(config, left, kernel):
    """The last axis by a kernel, or the last two by one for each group."""
    groups, kernel = "g" * (kernel.ndim - 2), kernel.astype(config.dtype)
    lead, own = left.shape[: 1 - kernel.ndim], left.shape[1 - kernel.ndim :]
    if _apart.get() and len(lead) > 1:
        # XLA computes the gradient of a kernel that was turned round behind a barrier
        # in less time; not in as little as where steps and rows are one axis.
        turned = jax.lax.optimization_barrier(kernel.swapaxes(-1, -2))
        spec = f"...{groups}i,{groups}oi->...{groups}o"
        return contract(spec, left, turned, config.state_dtype)
    spec = f"b{groups}i,{groups}io->b{groups}o"
    product = contract(spec, left.reshape(-1, *own), kernel, config.state_dtype)
    return product.reshape(*lead, *product.shape[1:])


def project_turned(config: CellConfig, left: Array, turned: Array) -> Array:
    """`project_groups` by a kernel of the compute dtype turned round, `[G, out, in]`.

    Libraries pack the operand on the right at every call. With few rows and a large
    kernel it should be the rows; the barrier keeps XLA from swapping the two back.
    """
    groups, _, width = turned.shape
    rows = left.astype(config.dtype).reshape(left.shape[0], groups, width)
    if groups == 1:
        turned, rows, inside = turned[0], rows[:, 0], (((1,), (1,)), ((), ()))
    else:
        inside = (((2,), (2,)), ((0,), (1,)))

    def multiply(turned, rows):
        return jax.lax.dot_general(
            turned, rows, inside, preferred_element_type=config.state_dtype
        )

    product = summed_wide(multiply, turned, rows, config.state_dtype)
    product = jnp.moveaxis(jax.lax.optimization_barrier(product), -1, 0)
    return product.reshape(rows.shape[0], groups, -1)


def project_input(config: CellConfig, x: Array, kernel: Array) -> Array:
    """The input, `[..., D]`, by `[D, G, out]` to `[..., G, out]`."""
    width, groups, _ = kernel.shape
    # A product of matrices: an axis of one group would be laid out in its own way.
    product = _multiply(config, x, kernel.reshape(width, -1))
    return product.reshape(*x.shape[:-1], groups, -1)


def lstm(config: CellConfig, gates: Array, cell: Array) -> tuple[Array, Array, Array]:
    """`c' = f c + i g`, `h' = o tanh(c')` (Hochreiter & Schmidhuber 1997; Gers 2000).

    Args:
      config: the settings.
      gates: `[B, G, 4*Hg]` before their squashing: input, forget, candidate, output.
      cell: `[B, H]`.

    Returns:
      The new hidden and cell, `[B, H]`, and the squashed gates, `[B, 4, H]`.
    """
    batch = gates.shape[0]
    if config.gradient_clip is not None:
        gates = clip_cotangent(config.gradient_clip, gates)
    # Pieces of a split are put together again by the backward pass in one go.
    quarter = gates.shape[-1] // 4
    enter, forget, candidate, leave = (
        gate.reshape(batch, -1) for gate in jax.lax.split(gates, [quarter] * 4, axis=2)
    )
    enter, forget = jax.nn.sigmoid(enter), jax.nn.sigmoid(forget)
    candidate, leave = jnp.tanh(candidate), jax.nn.sigmoid(leave)
    if config.cap_input_gate:
        enter = jnp.minimum(enter, 1 - forget)
    cell = forget * cell + enter * candidate
    squashed = jnp.stack([enter, forget, candidate, leave], axis=1)
    return leave * jnp.tanh(cell), cell, squashed


def make_query(config: CellConfig, scalars: dict, vector: Array, modes) -> Query:
    """The query of a step.

    Args:
      config: the settings.
      scalars: `params["memory"]`.
      vector: `[B, G, Rg*K]`, not yet normalised.
      modes: `[B, G, Rg*M]` logits of the read modes, or None.
    """
    if modes is not None:
        modes = jax.nn.softmax(by_head(config, modes), axis=-1)
    return Query(
        vector=address(config, vector, scalars["sharpness"]),
        null_logit=scalars.get("null_logit"),
        modes=modes,
        decay=positive_decay(scalars),
    )


def address(config: CellConfig, vector: Array, sharpness: Array) -> Array:
    """`norm(v) beta / sqrt(K)` by head, `[B, R, K]`; `beta` lies in (0, limit)."""
    beta = SHARPNESS_LIMIT * jax.nn.sigmoid(sharpness) * config.key_dim**-0.5
    return rms_norm(by_head(config, vector)) * beta[..., None]


def positive_decay(scalars: dict) -> Array | None:
    """The loss of salience per request, `[G]`, or None."""
    return jax.nn.softplus(scalars["decay"]) if "decay" in scalars else None


def make_request(
    config: CellConfig,
    scalars: dict,
    *,
    key: Array,
    value: Array | None,
    scores: dict[str, Array],
    tag: Array,
    valid: Array,
) -> Request:
    """What a step asks the memory to keep; `key`, `value`, `scores` by group."""
    found: dict[str, Array] = {
        score: SCORE_LIMIT * jnp.tanh(projected[..., 0] / SCORE_LIMIT)
        for score, projected in scores.items()
    }
    if "gate" in found:
        found["gate"] = jax.nn.sigmoid(found["gate"])
    if "routing" in scalars:
        limit = SHARPNESS_LIMIT * config.key_dim**-0.5
        found["routing"] = limit * jax.nn.sigmoid(scalars["routing"])
    return Request(
        key=rms_norm(by_head(config, key)),
        value=None if value is None else by_head(config, value),
        tag=tag,
        valid=valid,
        decay=positive_decay(scalars),
        **found,
    )


def scale_read(scalars: dict, read: Read, mask: Array | None) -> Array:
    """What the gates and the output see of a read, `[B, R*W]`."""
    seen = read.value * scalars["read_scale"][..., None]
    seen = seen.reshape(seen.shape[0], -1)
    return seen if mask is None else seen * mask


def by_head(config: CellConfig, grouped: Array) -> Array:
    """`[B, G, Rg*K]` to `[B, R, K]`, for any width of a head."""
    return grouped.reshape(grouped.shape[0], config.num_heads, -1)


def empty_carry(carry: Carry, rows: Array) -> Carry:
    """The carry with the rows where `rows [B]` is True as before the first token."""
    memory = carry.memory
    return Carry(
        jnp.where(rows[:, None], 0, carry.hidden),
        jnp.where(rows[:, None], 0, carry.cell),
        None if memory is None else empty_rows(memory, rows),
        empty_coverage(carry.coverage, rows),
    )


def empty_coverage(coverage: Array | None, rows: Array) -> Array | None:
    """The coverage with nothing pointed at in the rows where `rows [B]` is True."""
    return None if coverage is None else jnp.where(rows[:, None, None], 0, coverage)


def sanitize(carry: Carry) -> Carry:
    """The same carry with nothing left in the dead slots of its memory."""
    if carry.memory is None:
        return carry
    return carry._replace(memory=wipe(carry.memory))


def note_read_of(valid: Array, after: Memory, before: Memory) -> Memory:
    """The memory after a read, whose traces count in valid rows only.

    Usage only ever ranks slots, so it has no gradient.
    """
    for field in ("usage", "weights"):
        new, old = getattr(after, field), getattr(before, field)
        if new is not None:
            kept = jnp.where(valid[:, None, None], new, old)
            if field == "usage":
                kept = jax.lax.stop_gradient(kept)
            after = after._replace(**{field: kept})
    return after


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def clip_cotangent(limit: float, x: Array) -> Array:
    """The identity, whose cotangent is clipped to `[-limit, limit]`."""
    del limit
    return x


def _clip_forward(limit, x):
    del limit
    return x, None


def _clip_backward(limit, _, cotangent):
    return (jnp.clip(cotangent, -limit, limit),)


clip_cotangent.defvjp(_clip_forward, _clip_backward)
