"""What the NumPy reference is made of: settings, the empty state, small functions."""

from dataclasses import dataclass

import numpy as np

SCORED = ("salience", "selective")
"""Policies whose slots have a salience."""


@dataclass(frozen=True)
class Settings:
    """What the reference needs to know of a cell; the names are `CellConfig`'s."""

    input_dim: int
    hidden_dim: int
    num_heads: int = 1
    key_dim: int = 1
    value_dim: int = 1
    num_slots: int = 0
    policy: str = "fifo"  # another name in `wmlstm_jax.models.POLICIES`, or "matrix":
    # then slots are rows of the matrix, and as many as keys are wide
    read_modes: tuple[str | int, ...] = ("content",)
    num_blocks: int = 1
    key_from: tuple[str, ...] = ("previous",)
    copy: bool = False


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def softmax(logits):
    shifted = np.exp(logits - np.max(logits))
    return shifted / shifted.sum()


def rms(vector):
    """A vector with a root mean square of about 1."""
    return vector / np.sqrt(np.mean(vector**2) + 1e-6)


def empty_state(s: Settings, batch: int) -> dict:
    """The state before the first token."""
    heads, groups, slots = s.num_heads, s.num_blocks, s.num_slots
    return {
        "hidden": np.zeros((batch, s.hidden_dim)),
        "cell": np.zeros((batch, s.hidden_dim)),
        "keys": np.zeros((batch, heads, slots, s.key_dim)),
        "values": np.zeros((batch, heads, slots, s.value_dim)),
        "live": np.zeros((batch, groups, slots), bool),
        "written": np.zeros((batch, groups, slots), np.int32),
        "tags": np.full((batch, groups, slots), -1, np.int32),
        "pinned": np.zeros((batch, groups, slots), bool),
        "salience": np.zeros((batch, groups, slots)),
        "usage": np.zeros((batch, groups, slots)),
        "clock": np.zeros((batch,), np.int32),
        "head": np.zeros((batch, groups), np.int32),
        "weights": np.zeros((batch, heads, slots)),
    }


def affine(params, name, g, **parts):
    """The bias of group `g` plus `W_part @ vector` for each of the parts given."""
    bias = params["bias"].get(name)
    total = 0.0 if bias is None else bias[g]
    for part, vector in parts.items():
        weight = params[part][name]
        total = total + vector @ (weight[:, g] if part == "input" else weight[g])
    return total


def decay_of(params, g):
    return softplus(params["memory"]["decay"][g])


def heads_of(s: Settings, g):
    per_group = s.num_heads // s.num_blocks
    return range(g * per_group, (g + 1) * per_group)


def units_of(s: Settings, g):
    width = s.hidden_dim // s.num_blocks
    return slice(g * width, (g + 1) * width)


def finite_difference(function, point, step=1e-4):
    """The gradient of a scalar function of a flat vector, by central differences.

    Two central differences, at `step` and `2 * step`, cancel the error of order
    `step**2`; what remains is about 1e-11 of the function's size for the default.
    """
    gradient = np.zeros_like(point)
    for i in range(point.size):
        ahead = np.zeros_like(point)
        ahead[i] = step
        near = function(point + ahead) - function(point - ahead)
        far = function(point + 2 * ahead) - function(point - 2 * ahead)
        gradient[i] = (8 * near - far) / (12 * step)
    return gradient
