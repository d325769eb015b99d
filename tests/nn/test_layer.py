import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax import CellConfig, Outputs, SlotMemory, init_params
from wmlstm_jax import init_carry as core_carry
from wmlstm_jax import unroll as core_unroll
from wmlstm_jax.nn import WMLSTM
from wmlstm_jax.nn.layer import as_arrays

BATCH, LENGTH = 2, 7
CONFIG = CellConfig(
    3, 4, num_heads=2, key_dim=3, value_dim=2, memory=SlotMemory(3), copy=True
)


@pytest.fixture(scope="module")
def layer():
    return WMLSTM(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def given():
    """Batch-major arguments of every kind."""
    keys = jax.random.split(jax.random.key(1), 4)
    valid = jnp.ones((BATCH, LENGTH), bool).at[0, 5:].set(False)
    reset = jnp.zeros((BATCH, LENGTH), bool).at[1, 3].set(True)
    return {
        "xs": jax.random.normal(keys[0], (BATCH, LENGTH, 3)),
        "valid": valid,
        "reset": reset,
        "tags": jax.random.randint(keys[1], (BATCH, LENGTH), 0, 5),
        "targets": jax.random.randint(keys[2], (BATCH, LENGTH), 0, 5),
    }


def close(got, wanted):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), got, wanted
    )


def time_major(given):
    return {name: array.swapaxes(0, 1) for name, array in given.items()}


def test_it_is_unroll_with_the_batch_first(layer, given):
    carry, outputs = layer(**given)
    wanted, core = core_unroll(
        as_arrays(layer.params),
        CONFIG,
        core_carry(CONFIG, BATCH),
        **time_major(given),
    )
    close(carry, wanted)
    assert isinstance(outputs, Outputs)
    for field in ("hidden", "copy", "copy_live"):
        close(getattr(outputs, field), getattr(core, field).swapaxes(0, 1))


def test_without_targets_it_gives_the_hidden_outputs(layer, given):
    _, ys = layer(given["xs"])
    assert ys.shape == (BATCH, LENGTH, 4)


def test_the_carry_is_handed_over(layer, given):
    whole, ys = layer(**given)
    carry, pieces = None, []
    for part in (slice(0, 3), slice(3, None)):
        carry, piece = layer(
            **{name: array[:, part] for name, array in given.items()}, carry=carry
        )
        pieces.append(piece.hidden)
    close(carry, whole)
    close(jnp.concatenate(pieces, 1), ys.hidden)


def test_it_trains_as_flax_modules_do(layer, given):
    graph, params = nnx.split(layer, nnx.Param)

    @jax.jit
    def loss(params, xs):
        _, ys = nnx.merge(graph, params)(xs)
        return (ys**2).mean()

    gradient = jax.grad(loss)(params, given["xs"])
    stepped = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    assert loss(stepped, given["xs"]) < loss(params, given["xs"])
    names = nnx.to_pure_dict(gradient)["params"]
    assert np.abs(names["current"]["value"]).max() > 0
    assert len(jax.tree.leaves(names)) == len(jax.tree.leaves(layer.params))


def test_a_trace_stays_time_major(layer, given):
    _, outputs = layer(given["xs"], trace=True)
    assert outputs.trace.gates.shape == (LENGTH, BATCH, 4, 4)
    assert outputs.trace.read.weights.shape == (LENGTH, BATCH, 2, 3)


def test_parameters_are_those_of_the_core():
    layer = WMLSTM(CONFIG, rngs=nnx.Rngs(params=jax.random.key(3)))
    rng = nnx.Rngs(params=jax.random.key(3)).params()
    close(as_arrays(layer.params), init_params(rng, CONFIG))


def test_reads_can_be_masked_for_a_sequence(layer, given):
    _, ys = layer(given["xs"])
    _, without = layer(given["xs"], read_mask=jnp.zeros((BATCH, 4)))
    _, doubled = layer(given["xs"], read_mask=jnp.ones((BATCH, 4)))
    close(doubled, ys)
    assert not np.allclose(without, ys)
