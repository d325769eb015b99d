"""What `unroll` refuses, each with one sentence that says what should have been."""

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.kernels.fit import prefers_fused, why_not_fused
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.pointer import require_pointer
from wmlstm_jax.core.types import Carry

BACKENDS = ("loop", "scan", "rollback", "remat", "fused")


def choose_backend(
    config: CellConfig, backend: str | None, *, points: bool, trace: bool
) -> str:
    """The backend asked for, or the fastest that applies."""
    policy = config.memory.policy
    # The pointer waits for the end of the loop, where it is not known what was mixed.
    can_undo = policy.hard or (policy.replays and not points)
    if backend is None:
        if trace:
            return "scan"
        if prefers_fused(config):
            return "fused"
        return "rollback" if can_undo else "remat"
    if backend not in BACKENDS:
        raise ValueError(
            f"unroll: backend is {backend!r}; it must be one of {BACKENDS}."
        )
    if backend == "rollback" and not can_undo:
        beside = " with targets" if policy.replays else ""
        raise ValueError(
            f'unroll: backend is "rollback", which cannot undo the mixing writes of'
            f' {policy!r}{beside}; it must be "remat" or "scan".'
        )
    if backend == "fused" and (reason := why_not_fused(config)) is not None:
        raise ValueError(f'unroll: backend "fused" does not apply: {reason}.')
    if trace and backend != "scan":
        raise ValueError(
            f'unroll: backend is {backend!r} with trace=True; it must be "scan".'
        )
    return backend


def check_unroll(
    params,
    config,
    carry,
    xs,
    *,
    valid,
    reset,
    tags,
    targets,
    read_mask,
    source,
    unroll,
) -> None:
    """Refuses arguments of the wrong shape or dtype; see `unroll` for the right ones.

    Raises:
      ValueError: names the argument, what it was, and what it should be.
    """
    if xs.ndim != 3 or xs.shape[2] != config.input_dim or xs.shape[0] < 1:
        _refuse("xs", xs.shape, f"[T, B, D] with T >= 1 and D = {config.input_dim}")
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        _refuse("xs", xs.dtype, "floating", "dtype")
    length, batch = xs.shape[:2]
    for name, array, kind in (
        ("valid", valid, jnp.bool_),
        ("reset", reset, jnp.bool_),
        ("tags", tags, jnp.integer),
        ("targets", targets, jnp.integer),
    ):
        if array is None:
            continue
        if array.shape != (length, batch):
            _refuse(name, array.shape, f"[T, B] = {(length, batch)}")
        if not jnp.issubdtype(array.dtype, kind):
            _refuse(name, array.dtype, kind.__name__.rstrip("_"), "dtype")
    if read_mask is not None:
        wanted = (batch, config.num_heads * config.value_dim)
        if read_mask.shape != wanted:
            _refuse("read_mask", read_mask.shape, f"[B, R*W] = {wanted}")
    if targets is not None:
        require_pointer(config, "unroll with targets")
    if not isinstance(unroll, int) or unroll < 1:
        _refuse("unroll", unroll, "an integer of at least 1", "value")
    _check_source(config, source, batch)
    if config.coverage and carry.coverage is not None and source is not None:
        wanted = (batch, config.num_blocks, source.tags.shape[1])
        if carry.coverage.shape != wanted:
            _refuse("carry.coverage", carry.coverage.shape, f"[B, G, S] = {wanted}")
    check_carry(config, carry, batch)
    check_params(config, params)


def _check_source(config, source, batch):
    if (source is not None) != config.source:
        raise ValueError(
            f"unroll: source is {'given' if source is not None else 'None'} and"
            f" CellConfig.source is {config.source}; they must agree."
        )
    if source is not None:
        for name, width in (("keys", config.key_dim), ("values", config.value_dim)):
            shape = getattr(source, name).shape
            found = (*shape[:2], *shape[3:])
            if len(shape) != 4 or found != (batch, config.num_heads, width):
                wanted = f"[B, R, S, width] = {(batch, config.num_heads, 'S', width)}"
                _refuse(f"source.{name}", shape, wanted)


def check_carry(config: CellConfig, carry: Carry, batch: int) -> None:
    """Refuses a carry of another batch size or another configuration."""
    state = (batch, config.hidden_dim)
    for name in ("hidden", "cell"):
        shape = getattr(carry, name).shape
        if shape != state:
            _refuse(f"carry.{name}", shape, f"[B, H] = {state}")
        dtype = getattr(carry, name).dtype
        if dtype != config.state_dtype:
            _refuse(f"carry.{name}", dtype, str(config.state_dtype), "dtype")
    if (carry.coverage is not None) != config.coverage:
        raise ValueError(
            f"unroll: carry.coverage is {'None' if config.coverage else 'given'} and"
            f" CellConfig.coverage is {config.coverage}; the carry must come from"
            " init_carry with this configuration."
        )
    slots = config.memory.num_slots
    if (carry.memory is None) != (slots == 0):
        raise ValueError(
            "unroll: carry.memory is"
            f" {'None' if carry.memory is None else 'a memory'} and the capacity is"
            f" {slots}; the carry must come from init_carry with this configuration."
        )
    if carry.memory is not None:
        if (carry.memory.values is None) == config.reads:
            raise ValueError(
                "unroll: carry.memory has"
                f" {'no ' if config.reads else ''}values and CellConfig.read is"
                f" {config.read}; the carry must come from init_carry with this"
                " configuration."
            )
        memory = jax.eval_shape(lambda: config.memory.init(config, batch))
        for name in ("keys", "values"):
            leaf, wanted = getattr(carry.memory, name), getattr(memory, name)
            if leaf is None:
                continue
            if leaf.shape != wanted.shape:
                shape = f"[B, R, N, width] = {wanted.shape}"
                _refuse(f"carry.memory.{name}", leaf.shape, shape)
            if leaf.dtype != wanted.dtype:
                _refuse(f"carry.memory.{name}", leaf.dtype, wanted.dtype, "dtype")


def check_params(config: CellConfig, params: dict) -> None:
    """Refuses parameters that were made for another configuration."""
    for origin, sizes in projection_sizes(config).items():
        found = {to: k.shape[-1] for to, k in params.get(origin, {}).items()}
        if found != sizes:
            raise ValueError(
                f"unroll: params[{origin!r}] has the widths {found}; they must be"
                f" {sizes}, as init_params gives them for this configuration."
            )


def _refuse(name, was, should, what="shape"):
    raise ValueError(f"unroll: {name} has {what} {was}; it must be {should}.")
