"""The large products of a step, whose results are kept, as the backward pass sees them.

Each gives the result that was kept, and hands its cotangent on: to what went in by the
transposed product, and through a *tap* (an argument that adds zero) to the caller, who
makes one product of the cotangents of many steps.
"""

import functools
from typing import Any

import jax

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import project_turned
from wmlstm_jax.core.loop_types import Kernels, Products
from wmlstm_jax.core.window import Window, meet, to_columns, to_view


def kept_products(
    config: CellConfig,
    kernels: Kernels,
    window: Window | None,
    owner: Any,
    kept: tuple,
    taps: tuple,
    noted: dict,
) -> Products:
    """The products of one turn.

    Args:
      config: the settings.
      kernels: the large weights.
      window: the columns of the memory, if there is one.
      owner: `[B, G, N]`, of the turn.
      kept: the gates `[B, G, 4*Hg]`; the read's product with the keys `[B, R, E]`;
        what the slots gave `[B, R, W]`.
      taps: zeros like the last two.
      noted: gets `weights [B, R, E]`, the weights of the columns.
    """
    gates, of_keys, value = kept
    key_tap, value_tap = taps
    ordered = len(config.read_modes) > 1

    def project(part, seen):
        return _gates(config, part, seen, kernels.read, gates)

    def match(vector, memory):
        del memory
        return to_view(ordered, owner, _keys(window, vector, of_keys, key_tap))

    def mix(weights, memory):
        del memory
        columns = to_columns(ordered, owner, weights, of_keys.shape[-1])
        noted["weights"] = columns
        return _values(window, columns, value, value_tap)

    return Products(project, match, mix)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gates(config, part, seen, kernel, gates):
    """`part + seen @ kernel`."""
    del config, part, seen, kernel
    return gates


def _gates_forward(config, part, seen, kernel, gates):
    del config, part, seen
    return gates, kernel


def _gates_backward(config, kernel, cotangent):
    flat = cotangent.reshape(cotangent.shape[0], -1)
    d_seen = project_turned(config, flat, kernel)
    return cotangent, d_seen.reshape(flat.shape[0], -1), None, None


@jax.custom_vjp
def _keys(window, vector, product, tap):
    """`q k_e`, `[B, R, E]`."""
    del window, vector, tap
    return product


def _keys_forward(window, vector, product, tap):
    del vector, tap
    return product, window


def _keys_backward(window, cotangent):
    d_vector = meet("keys", "bre,brek->brk", window, cotangent)
    return None, d_vector, None, cotangent


@jax.custom_vjp
def _values(window, weights, value, tap):
    """`sum_e a_e v_e`, `[B, R, W]`."""
    del window, weights, tap
    return value


def _values_forward(window, weights, value, tap):
    del weights, tap
    return value, window


def _values_backward(window, cotangent):
    d_weights = meet("values", "brw,brew->bre", window, cotangent)
    return None, d_weights, None, cotangent


_gates.defvjp(_gates_forward, _gates_backward)
_keys.defvjp(_keys_forward, _keys_backward)
_values.defvjp(_values_forward, _values_backward)
