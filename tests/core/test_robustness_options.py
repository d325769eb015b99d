"""What the options of a cell promise: bounds, blocks, and doing without the memory."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.small_cells import (
    BACKENDS,
    POLICIES,
    B,
    H,
    N,
    R,
    W,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core
from wmlstm_jax.core.equations import by_head, lstm
from wmlstm_jax.core.pointer import pointer_query
from wmlstm_jax.core.slots import rms_norm

# Float64, and a few hundred products; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)
WIDE = dict(dtype="float64", memory_dtype="float64")

per_policy = pytest.mark.parametrize("policy", POLICIES)


@pytest.mark.parametrize("limit", [0.01, 1.0])
def test_a_gradient_clip_clips_what_reaches_the_gates(limit, x64):
    rng = np.random.default_rng(0)
    gates, cell = rng.normal(size=(B, 1, 4 * H)), rng.normal(size=(B, H))
    cotangent = rng.normal(size=(B, H)) * 10.0 ** rng.integers(-6, 6, size=(B, H))

    def pulled_back(gradient_clip):
        config = small_cell(gradient_clip=gradient_clip, **WIDE)
        value, pull_back = jax.vjp(lambda g: lstm(config, g, cell)[0], gates)
        return value, pull_back(cotangent)[0]

    value, free = pulled_back(None)
    clipped_value, clipped = pulled_back(limit)
    np.testing.assert_array_equal(clipped_value, value)
    np.testing.assert_array_equal(clipped, np.clip(free, -limit, limit))
    size = np.abs(free)
    assert (size > limit).any() and ((size < limit) & (size > 0)).any()


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_a_gradient_clip_holds_at_every_step(backend):
    length, limit = 3, 0.5
    config = small_cell(gradient_clip=limit)
    xs = random_inputs(config, length=length)

    @quick_jit
    @jax.grad
    def gradient(params):
        carry = core.init_carry(config, B)
        _, ys = core.unroll(params, config, carry, xs, backend=backend)
        return 1e6 * (ys**2).sum()

    # The bias takes the sum of what reaches the gates of all rows and steps.
    bias = np.abs(gradient(random_params(config))["bias"]["gates"])
    assert np.max(bias) <= length * B * limit
    assert np.max(bias) > limit


@functools.partial(quick_jit, static_argnums=0)
def cells_of(config, params, xs):
    """The cell state after every step, `[T, B, H]`."""
    carry, cells = core.init_carry(config, B), []
    carry = carry._replace(cell=jnp.ones_like(carry.cell))
    for x in xs:
        carry, _ = core.step(params, config, carry, x)
        cells.append(carry.cell)
    return jnp.stack(cells)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 1.0, 10.0, 1e3]), st.booleans())
@settings(max_examples=50)
def test_a_capped_input_gate_keeps_the_cell_below_one(seed, scale, constant):
    config = small_cell(cap_input_gate=True)
    params = random_params(config, seed=seed, scale=scale)
    xs = scale * random_inputs(config, seed=seed, length=4)
    if constant:
        xs[:] = xs[0]
    # Four steps round f c + (1 - f) g up by half a spacing each, twice.
    most = np.max(np.abs(cells_of(config, params, xs)))
    assert most <= 1 + 4 * np.finfo(np.float32).eps


def test_without_the_cap_a_cell_grows_past_one():
    config = small_cell()
    params = random_params(config)
    params["bias"]["gates"] = np.full((1, 4 * H), 9, np.float32)
    assert np.min(cells_of(config, params, random_inputs(config, length=4))[-1]) > 2


def gates_of(params):
    """What an LSTM has of the parameters of a cell."""
    gates = {part: params[part]["gates"] for part in ("input", "hidden", "bias")}
    return {part: {"gates": leaf} for part, leaf in gates.items()}


def differentiated(config, params, xs, backend, **inputs):
    """Gradients in parameters and inputs, and the outputs."""

    def loss(params, xs):
        carry = core.init_carry(config, B)
        carry, ys = core.unroll(params, config, carry, xs, backend=backend, **inputs)
        return (ys**2).sum() + carry.cell.sum(), (ys, carry.hidden, carry.cell)

    return quick_jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, xs)


@pytest.mark.parametrize(
    ("without", "settings"),
    [
        ("read_mask", {"policy": core.Salience()}),
        ("read_mask", {"read_modes": ("content", 1)}),
        ("read_scale", {"policy": core.Salience()}),
    ],
)
def test_a_cell_that_sees_no_reads_is_an_lstm(without, settings, x64):
    config, plain = small_cell(**settings, **WIDE), small_cell(num_slots=0, **WIDE)
    params, xs = random_params(config), random_inputs(config)
    nothing = {"current": {}, "read": {}, "memory": {}}
    wanted = differentiated(plain, gates_of(params) | nothing, xs, "scan")
    inputs = {}
    if without == "read_mask":
        inputs = {"read_mask": np.zeros((B, R * W))}
    else:
        params["memory"]["read_scale"] = np.zeros(R)
    got = differentiated(config, params, xs, "rollback", **inputs)
    (d_params, d_xs), outputs = got
    got = (gates_of(d_params) | nothing, d_xs), outputs
    chex.assert_trees_all_close(got, wanted, **EXACT)
    for kernel in d_params["read"].values():
        np.testing.assert_array_equal(kernel, 0)


def test_the_read_scale_starts_where_the_setting_says():
    config = small_cell(read_scale=0.25)
    rng = jax.random.key(0)
    params = quick_jit(core.init_params, static_argnums=1)(rng, config)
    np.testing.assert_array_equal(params["memory"]["read_scale"], [0.25] * R)


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_the_pointer_starts_as_a_neural_cache(num_blocks):
    """It asks with a state for what the state would be found by at the next step."""
    config = small_cell(copy=True, num_blocks=num_blocks)
    params, xs = core.init_params(jax.random.key(0), config), random_inputs(config)
    carry, _ = core.unroll(params, config, core.init_carry(config, B), xs)
    asked = by_head(config, pointer_query(params, config, carry.hidden))
    following, _ = core.step(params, config, carry, xs[0])
    slot = (carry.memory.head[0, 0]) % N
    key = following.memory.keys[:, :, slot]
    np.testing.assert_allclose(rms_norm(asked), key, rtol=1e-5, atol=1e-6)
    other = core.init_params(
        jax.random.key(0), small_cell(copy=True, key_from=("input",))
    )
    assert other["current"]["copy"].any()


@per_policy
def test_blocks_see_each_other_only_through_the_input(policy):
    modes = ("content", 1) if policy.ordered else ("content",)
    config = small_cell(policy, num_blocks=2, read_modes=modes)
    start = core.init_carry(config, B)
    live = start.memory._replace(slot_epoch=jnp.zeros_like(start.memory.slot_epoch))
    xs = random_inputs(config)

    @quick_jit
    @functools.partial(jax.grad, argnums=(0, 1, 2, 3))
    def influence(params, hidden, values, xs):
        carry = start._replace(hidden=hidden, memory=live._replace(values=values))
        carry, ys = core.unroll(params, config, carry, xs, backend="scan")
        units, heads = slice(0, H // 2), slice(0, R // 2)
        kept = carry.memory.values[:, heads].sum() + carry.cell[:, units].sum()
        return (ys[..., units] ** 2).sum() + kept

    rng = np.random.default_rng(4)
    hidden = rng.normal(size=(B, H)).astype(np.float32)
    values = rng.normal(size=(B, R, N, W)).astype(np.float32)
    d_params, d_hidden, d_values, d_xs = influence(
        random_params(config), hidden, values, xs
    )
    # Input kernels are `[D, G, out]`; the others lead with groups, or with all heads.
    d_params["input"] = jax.tree.map(lambda k: k.swapaxes(0, 1), d_params["input"])
    of_carry = [d_hidden.reshape(B, 2, -1).swapaxes(0, 1), d_values.swapaxes(0, 1)]
    for leaf in [*jax.tree.leaves(d_params), *of_carry]:
        first, second = np.split(np.asarray(leaf), 2)
        assert np.any(first)
        np.testing.assert_array_equal(second, 0)
    assert np.all(np.any(d_xs, axis=2))
