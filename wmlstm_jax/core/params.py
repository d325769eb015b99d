"""The parameters of a cell: their names, shapes and starting values.

Each projection is kept by what it reads and what it is for, `params[from][to]`, in
groups: `[in, G, out]` from the input, `[G, in/G, out]` from what belongs to the cell.
"""

import math

import jax
import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.matrix_memory import MatrixMemory
from wmlstm_jax.core.types import SCORES, Array

SHARPNESS_LIMIT = 8.0
"""The largest sharpness of a head: bounded, so that no softmax saturates for good."""

COPY_START = -0.5108
"""The start of the copy pointer's sharpness, which is 3 then."""

Sizes = dict[str, dict[str, int]]


def projection_sizes(config: CellConfig) -> Sizes:
    """The width of each projection in one group, `sizes[from][to]`.

    From: `input` is `x_t`, `hidden` is `h_{t-1}`, `current` is `h_t`, `read` is `r_t`,
    `final` is `h_T`. To: the gates, the read's query and modes, the request's key,
    value and scores, the copy pointer's query, the output beside `h_t`, and the query
    of the readout.
    """
    heads = config.num_heads // config.num_blocks
    gates = 4 * (config.hidden_dim // config.num_blocks)
    step = {"gates": gates}
    current, read = {}, {}
    key = heads * config.key_dim
    if config.reads:
        step["query"] = key
        read = {"gates": gates, "output": gates // 4}
    if len(config.read_modes) > 1:
        step["modes"] = heads * len(config.read_modes)
    has_slots = config.memory.num_slots > 0
    if has_slots:
        asked = config.memory.policy.request_fields
        step |= {score: 1 for score in SCORES if score in asked}
    sizes = {"input": dict(step), "hidden": dict(step)}
    if has_slots:
        if config.reads:
            current["value"] = heads * config.value_dim
        key_to = {"input": sizes["input"], "previous": sizes["hidden"]}
        for origin in config.key_from:
            key_to.get(origin, current)["key"] = key
    if config.copy:
        current["copy"] = key
    final = {"readout": key} if config.readout else {}
    return {**sizes, "current": current, "read": read, "final": final}


def init_params(rng: Array, config: CellConfig) -> dict:
    """Draws the parameters of one cell.

    Args:
      rng: a PRNG key; consumed.
      config: the settings.

    Returns:
      A nested dict of arrays in the state's dtype (Hg = H/G, Rg = R/G):
      `input[to] [D, G, out]`; `hidden[to]`, `current[to]`, `final[to] [G, Hg, out]`;
      `read[to] [G, Rg*W, out]`, `bias[to] [G, out]`, and `memory` with `sharpness`,
      `read_scale [R]`, with `null_logit [R]`, `decay [G]`, `routing [G]`,
      `copy_sharpness [R]`, `coverage [R]` and `readout_sharpness [R]` where they apply.
      Gates are in the order input, forget, candidate, output. Without memory and source
      only the `gates` exist: an LSTM. What only reads need is missing where
      `config.read` is False.
    """
    groups, dtype = config.num_blocks, config.state_dtype
    hidden = config.hidden_dim // groups
    fan_in = {
        "input": config.input_dim,
        "hidden": hidden,
        "current": hidden,
        "final": hidden,
        "read": config.num_heads // groups * config.value_dim,
    }
    sizes = projection_sizes(config)
    params = {origin: {} for origin in sizes}
    names = [(origin, to) for origin in sizes for to in sizes[origin]]
    for (origin, to), key in zip(names, jax.random.split(rng, len(names)), strict=True):
        shape = (groups, fan_in[origin], sizes[origin][to])
        if (origin, to) == ("hidden", "gates"):
            kernel = _orthogonal_gates(key, shape, dtype)
        else:
            kernel = jax.random.normal(key, shape, dtype) * fan_in[origin] ** -0.5
        params[origin][to] = kernel.swapaxes(0, 1) if origin == "input" else kernel
    if config.copy and "key" in params["hidden"]:
        # The query is made of h_t as the key was of h_{t-1}: what came after the last
        # state like this one. So the pointer starts as a neural cache.
        params["current"]["copy"] = params["hidden"]["key"]
    params["bias"] = _init_biases(config, sizes, dtype)
    params["memory"] = _init_memory(config, dtype)
    return params


def _orthogonal_gates(rng, shape, dtype):
    """Four orthogonal blocks per group, one per gate (Saxe et al. 2014)."""
    groups, hidden, gates = shape
    square = jax.nn.initializers.orthogonal()
    keys = jax.random.split(rng, (groups, 4))
    draw = jax.vmap(jax.vmap(lambda key: square(key, (hidden, hidden), dtype)))
    return draw(keys).transpose(0, 2, 1, 3).reshape(groups, hidden, gates)


def _init_biases(config, sizes, dtype):
    groups = config.num_blocks
    widths = {**sizes["input"], **sizes["hidden"]}
    widths |= {to: out for to, out in sizes["current"].items() if to != "value"}
    widths |= sizes["final"]
    bias = {to: jnp.zeros((groups, out), dtype) for to, out in widths.items()}
    hidden = config.hidden_dim // groups
    forget = slice(hidden, 2 * hidden)
    bias["gates"] = bias["gates"].at[:, forget].set(config.forget_bias)
    if "gate" in bias:  # Much is written, and what is half alike is new.
        bias["gate"] = bias["gate"] + 2.0
    if "novelty" in bias:
        bias["novelty"] = bias["novelty"] + 0.5 * config.key_dim**0.5
    return bias


def _init_memory(config, dtype):
    heads = (config.num_heads,)
    one = jnp.log(1 / (SHARPNESS_LIMIT - 1))  # sharpness 1
    memory = {}
    if config.reads:
        memory = {
            "sharpness": jnp.full(heads, one, dtype),
            "read_scale": jnp.full(heads, config.read_scale, dtype),
        }
    if config.reads and not isinstance(config.memory, MatrixMemory):
        memory["null_logit"] = jnp.zeros(heads, dtype)
    scores, groups = sizes_of_step(config), (config.num_blocks,)
    if "salience" in scores:
        # In a full memory, what is oldest has lost one nat.
        lost = 1 / config.memory.num_slots
        memory["decay"] = jnp.full(groups, math.log(math.expm1(lost)), dtype)
    if "novelty" in scores:
        memory["routing"] = jnp.full(groups, one, dtype)
    if config.copy:
        memory["copy_sharpness"] = jnp.full(heads, COPY_START, dtype)
    if config.coverage:
        memory["coverage"] = jnp.zeros(heads, dtype)
    if config.readout:
        memory["readout_sharpness"] = jnp.full(heads, one, dtype)
    return memory


def sizes_of_step(config: CellConfig) -> dict[str, int]:
    """What is projected from `h_{t-1}` for the step itself, and how wide."""
    return projection_sizes(config)["hidden"]
