import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from wmlstm_jax import CellConfig, Salience, SlotMemory
from wmlstm_jax.nn import WMLSTM, LinenWMLSTMCell, WMLSTMCell
from wmlstm_jax.nn.layer import as_arrays

BATCH, LENGTH = 2, 7
SIZES = dict(num_heads=2, key_dim=3, value_dim=2)
CONFIGS = {
    "lstm": CellConfig(3, 4),
    "fifo": CellConfig(3, 4, **SIZES, memory=SlotMemory(3)),
    "ordered": CellConfig(
        3, 4, **SIZES, memory=SlotMemory(3), read_modes=("content", 1, 0)
    ),
    "salience": CellConfig(3, 4, **SIZES, memory=SlotMemory(3, Salience())),
}
per_config = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name in ("fifo", "salience")))
        for name in CONFIGS
    ],
)
XS = jax.random.normal(jax.random.key(1), (BATCH, LENGTH, 3))


def close(got, wanted):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, wanted
    )


@per_config
def test_a_cell_in_flax_nnx_rnn_is_the_layer(name):
    layer = WMLSTM(CONFIGS[name], rngs=nnx.Rngs(0))
    cell = WMLSTMCell(CONFIGS[name], rngs=nnx.Rngs(0))
    rnn = nnx.RNN(cell, return_carry=True, rngs=False)
    close(nnx.jit(lambda rnn, xs: rnn(xs))(rnn, XS), layer(XS))


@per_config
def test_a_cell_in_flax_linen_rnn_is_the_layer(name):
    layer = WMLSTM(CONFIGS[name], rngs=nnx.Rngs(0))
    rnn = linen.RNN(LinenWMLSTMCell(CONFIGS[name]), return_carry=True)
    made = rnn.init(jax.random.key(0), XS)
    params = {"params": {"cell": {"cell": as_arrays(layer.params)}}}
    assert jax.tree.structure(made) == jax.tree.structure(params)
    close(jax.jit(rnn.apply)(params, XS), layer(XS))


def test_a_cell_takes_one_step_and_a_tag():
    cell = WMLSTMCell(CONFIGS["fifo"], rngs=nnx.Rngs(0))
    carry = cell.initialize_carry((BATCH, 3))
    carry, y = cell(carry, XS[:, 0], jnp.array([7, 8]))
    assert y.shape == (BATCH, 4)
    assert carry.memory.tags[:, 0, 0].tolist() == [7, 8]


def test_gradients_pass_through_nnx_rnn():
    rnn = nnx.RNN(WMLSTMCell(CONFIGS["fifo"], rngs=nnx.Rngs(0)), rngs=False)
    graph, params = nnx.split(rnn, nnx.Param)
    layer = WMLSTM(CONFIGS["fifo"], rngs=nnx.Rngs(0))
    layer_graph, layer_params = nnx.split(layer, nnx.Param)

    def loss(params):
        return (nnx.merge(graph, params)(XS) ** 2).sum()

    def layer_loss(params):
        return (nnx.merge(layer_graph, params)(XS)[1] ** 2).sum()

    got = nnx.to_pure_dict(jax.jit(jax.grad(loss))(params))["cell"]["params"]
    wanted = nnx.to_pure_dict(jax.jit(jax.grad(layer_loss))(layer_params))["params"]
    close(got, wanted)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3)])
def test_another_number_of_batch_axes_is_refused(shape):
    cell = WMLSTMCell(CONFIGS["fifo"], rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="must be \\(B, D\\), with one batch axis"):
        cell.initialize_carry(shape)
    with pytest.raises(ValueError, match="must be \\(B, D\\), with one batch axis"):
        LinenWMLSTMCell(CONFIGS["fifo"]).initialize_carry(jax.random.key(0), shape)
