"""The weights of `torch.nn.LSTM` as the parameters of a cell without memory, and back.

    gates = W_ih x + b_ih + W_hh h + b_hh

in the order input, forget, candidate, output on both sides. PyTorch is not imported:
its tensors are read as arrays, and arrays are what goes back.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.params import projection_sizes
from wmlstm_jax.core.types import Array

_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_PARTS = ("input", "hidden", "bias")


def from_torch(state_dict: Mapping[str, Any]) -> dict:
    """The parameters of a plain LSTM from those of a `torch.nn.LSTM`.

    They fit `CellConfig(input_dim=D, hidden_dim=H)`. The two biases of PyTorch are
    added: only their sum matters. Differentiable where the weights are JAX arrays.

    Example:
      >>> params = from_torch(torch.nn.LSTM(3, 4).state_dict())

    Args:
      state_dict: `weight_ih_l0 [4H, D]`, `weight_hh_l0 [4H, H]`, `bias_ih_l0 [4H]` and
        `bias_hh_l0 [4H]`: tensors, which may require a gradient, or arrays.

    Returns:
      Parameters as `init_params` gives them: float64 where that is enabled and a weight
      has it, float32 otherwise.

    Raises:
      ValueError: a weight is missing or has another shape, or the layer is not one
        unidirectional layer without a projection.
    """
    extra = sorted(set(state_dict) - set(_NAMES))
    if extra:
        raise ValueError(
            f"from_torch: {extra[0]!r} is no weight of a plain LSTM; the weights must"
            f" be {_NAMES}, of one unidirectional layer without a projection, so give"
            " a deeper network layer by layer."
        )
    missing = [name for name in _NAMES if name not in state_dict]
    if missing:
        raise ValueError(
            f"from_torch: {missing[0]!r} is missing; the weights must be {_NAMES}, with"
            " zeros for biases that a layer does not have."
        )
    arrays = {name: _as_array(state_dict[name]) for name in _NAMES}
    width, units = (_length(arrays[name], 1) for name in _NAMES[:2])
    gates = 4 * units
    for name, axes, shape in (
        ("weight_ih_l0", "[4H, D]", (gates, width)),
        ("weight_hh_l0", "[4H, H]", (gates, units)),
        ("bias_ih_l0", "[4H]", (gates,)),
        ("bias_hh_l0", "[4H]", (gates,)),
    ):
        _check_shape(f"from_torch: {name}", arrays[name], axes, shape)
    dtype = jnp.result_type(jnp.float32, *arrays.values())
    from_input, from_hidden, *biases = (a.astype(dtype) for a in arrays.values())
    parts = projection_sizes(CellConfig(input_dim=width, hidden_dim=units))
    return {
        **{part: {} for part in (*parts, "memory")},
        "input": {"gates": from_input.T[:, None]},
        "hidden": {"gates": from_hidden.T[None]},
        "bias": {"gates": (biases[0] + biases[1])[None]},
    }


def to_torch(params: dict) -> dict[str, Array]:
    """The weights of a `torch.nn.LSTM` from the parameters of a plain LSTM.

    `torch.nn.LSTM` has no counterpart of `CellConfig.cap_input_gate`.

    Example:
      >>> weights = {k: torch.from_dlpack(w) for k, w in to_torch(params).items()}
      >>> torch.nn.LSTM(3, 4).load_state_dict(weights)

    Args:
      params: of a cell without slots, source and blocks, from `init_params`.

    Returns:
      Arrays under the names that `from_torch` takes: the bias is in `bias_ih_l0`, and
      `bias_hh_l0` is zero.

    Raises:
      ValueError: the parameters are of a cell with a memory or with `num_blocks > 1`,
        or one is missing or has another shape.
    """
    leaves = {(part, to) for part in params for to in params[part]}
    wanted = {(part, "gates") for part in _PARTS}
    for names, what in (
        (leaves - wanted, "has no place in a torch.nn.LSTM"),
        (wanted - leaves, "is missing"),
    ):
        if names:
            part, to = min(names)
            raise ValueError(
                f"to_torch: params[{part!r}][{to!r}] {what}; the parameters must be"
                " those of a CellConfig without slots and source."
            )
    arrays = {part: jnp.asarray(params[part]["gates"]) for part in _PARTS}
    width, units = _length(arrays["input"], 0), _length(arrays["hidden"], 1)
    groups = _length(arrays["hidden"], 0)
    if arrays["hidden"].ndim == 3 and groups != 1:
        raise ValueError(
            f"to_torch: the parameters have num_blocks = {groups}; it must be 1, since"
            " a torch.nn.LSTM has no blocks."
        )
    for part, axes, shape in (
        ("input", "[D, 1, 4H]", (width, 1, 4 * units)),
        ("hidden", "[1, H, 4H]", (1, units, 4 * units)),
        ("bias", "[1, 4H]", (1, 4 * units)),
    ):
        _check_shape(f"to_torch: params[{part!r}]['gates']", arrays[part], axes, shape)
    bias = arrays["bias"][0]
    kernels = (arrays["input"][:, 0].T, arrays["hidden"][0].T)
    return dict(zip(_NAMES, (*kernels, bias, jnp.zeros_like(bias)), strict=True))


def _as_array(weight: Any) -> Array:
    """A copy: PyTorch changes its tensors in place."""
    if hasattr(weight, "detach"):
        # By way of NumPy, as `jnp.array` goes, there would be no bfloat16.
        weight = weight.detach().cpu().contiguous()
        return jnp.from_dlpack(weight, copy=True)
    return jnp.array(weight)


def _length(array: Array, axis: int) -> int:
    """The length of an axis, 0 where there is none."""
    return array.shape[axis] if axis < array.ndim else 0


def _check_shape(name: str, array: Array, axes: str, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}; it must be {axes}, here {shape}."
        )
