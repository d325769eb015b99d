"""Reaching into slots: taking, putting, and spreading groups over their heads."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from wmlstm_jax.core.types import Array


def take(leaf: Array, slots: Array) -> Array:
    """What a leaf holds at some slots.

    Args:
      leaf: `[B, C, N, ...]`, C heads or groups.
      slots: `[B, G, k]` int32, in range; each group's choice serves all its heads.

    Returns:
      `[B, C, k, ...]`.
    """
    by_group = _by_group(leaf, slots)
    taken = jax.vmap(jax.vmap(lambda m, s: m.at[:, s].get(mode=_IN_RANGE)))(
        by_group, slots
    )
    return taken.reshape(*leaf.shape[:2], slots.shape[-1], *leaf.shape[3:])


def put(leaf: Array, slots: Array, content: Array) -> Array:
    """The leaf with `content [B, C, k, ...]` at `slots`; see `take`."""
    by_group = _by_group(leaf, slots)
    content = _by_group(content, slots)
    return jax.vmap(
        jax.vmap(lambda m, s, c: m.at[:, s].set(c, mode=_IN_RANGE, unique_indices=True))
    )(by_group, slots, content).reshape(leaf.shape)


def to_heads(leaf: Array, num_heads: int) -> Array:
    """`[B, G, ...]` to `[B, R, ...]`: every head sees its group's bookkeeping."""
    groups = leaf.shape[1]
    return leaf if groups == num_heads else jnp.repeat(leaf, num_heads // groups, 1)


def align(flag: Array, leaf: Array) -> Array:
    """A flag or weight `[B, G, k]` shaped to meet a leaf `[B, C, k, ...]`."""
    flag = to_heads(flag, leaf.shape[1])
    return flag.reshape(*flag.shape, *(1,) * (leaf.ndim - flag.ndim))


def contract(spec: str, left: Array, right: Array, dtype) -> Array:
    """An einsum in the dtype of `right`, summed in `dtype`."""

    def multiply(left, right):
        return jnp.einsum(spec, left, right, preferred_element_type=dtype)

    return summed_wide(multiply, left.astype(right.dtype), right, dtype)


def summed_wide(multiply: Callable, left: Array, right: Array, dtype) -> Array:
    """A product of arrays of one dtype, summed in another, that CPUs can compute too.

    XLA has no batched product of bfloat16 summed in float32 for them; that of the same
    numbers in float32 is equal.
    """
    if left.dtype == dtype:
        return multiply(left, right)

    def wide(left, right):
        return multiply(left.astype(dtype), right.astype(dtype))

    return jax.lax.platform_dependent(left, right, cpu=wide, default=multiply)


def rms_norm(x: Array) -> Array:
    """`x / sqrt(mean(x^2) + 1e-6)` over the last axis: finite at 0 and at 1e15."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


_IN_RANGE = "promise_in_bounds"


def _by_group(leaf: Array, slots: Array) -> Array:
    """`[B, C, ...]` to `[B, G, C/G, ...]`."""
    batch, groups = slots.shape[:2]
    return leaf.reshape(batch, groups, leaf.shape[1] // groups, *leaf.shape[2:])
