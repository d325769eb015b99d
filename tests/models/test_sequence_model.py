import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.models import ModelConfig, SequenceModel

CONFIG = ModelConfig(8, 6, num_layers=2, num_heads=2, key_dim=4, num_slots=3)
FORMS = {
    "tokens": {"num_tokens": 5, "num_outputs": 4},
    "tied": {"num_tokens": 5, "num_outputs": 5},
    "vectors": {"input_dim": 3, "num_outputs": 2},
}
BATCH, LENGTH = 2, 7


@pytest.fixture(params=FORMS)
def model(request):
    return SequenceModel(CONFIG, **FORMS[request.param], rngs=nnx.Rngs(0))


def inputs_of(model):
    rng = np.random.default_rng(0)
    if model.embedding is None:
        return jnp.asarray(rng.normal(size=(BATCH, LENGTH, 3)), jnp.float32)
    return jnp.asarray(rng.integers(0, 5, (BATCH, LENGTH)), jnp.int32)


def test_pieces_are_the_whole(model):
    xs = inputs_of(model)
    carry, whole = model(xs)
    first, head = model(xs[:, :3])
    last, tail = model(xs[:, 3:], first)
    # Float32 sums of terms of size 1, and some that are near zero.
    np.testing.assert_allclose(
        jnp.concatenate([head, tail], 1), whole, rtol=1e-5, atol=1e-6
    )
    for one, other in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    outputs = {"tokens": 4, "tied": 5, "vectors": 2}
    assert whole.shape == (BATCH, LENGTH, whole.shape[2])
    assert whole.shape[2] in outputs.values()


def test_an_output_knows_nothing_of_what_comes_later(model):
    xs = inputs_of(model)
    later = xs.at[:, -1].set(0 if model.embedding is None else 4 - xs[:, -1])
    _, before = model(xs)
    _, after = model(later)
    np.testing.assert_array_equal(before[:, :-1], after[:, :-1])
    assert (before[:, -1] != after[:, -1]).any()


def test_where_answers_are_tokens_the_embedding_says_them():
    tied = SequenceModel(CONFIG, **FORMS["tied"], rngs=nnx.Rngs(0))
    assert tied.leave is None
    _, before = tied(inputs_of(tied))
    tied.embedding.embedding[...] = tied.embedding.embedding[...].at[3].add(1.0)
    zero = jnp.zeros((BATCH, LENGTH), jnp.int32)
    _, after = tied(zero)
    _, same = SequenceModel(CONFIG, **FORMS["tied"], rngs=nnx.Rngs(0))(zero)
    assert (after[..., 3] != same[..., 3]).any()
    np.testing.assert_array_equal(after[..., 1], same[..., 1])
    assert before.shape == after.shape


def test_dropout_needs_a_key():
    config = ModelConfig(8, 6, dropout=0.5)
    model = SequenceModel(config, **FORMS["vectors"], rngs=nnx.Rngs(0))
    xs = inputs_of(model)
    plain = model.features(xs)[1]
    np.testing.assert_array_equal(plain, model.features(xs)[1])
    dropped = model.features(xs, rng=jax.random.key(0))[1]
    zero = np.asarray(dropped) == 0
    assert (zero == zero[:, :1]).all() and 0 < zero.mean() < 1


def test_the_memory_can_be_left_unread(model):
    xs = inputs_of(model)
    assert not np.allclose(model(xs)[1], model(xs, reading=False)[1])


def test_a_trace_is_of_the_block_that_was_asked_for(model):
    xs = inputs_of(model)
    _, plain, none = model.features(xs)
    assert none is None
    for layer in range(CONFIG.num_layers):
        carries, features, trace = model.features(xs, trace=layer)
        np.testing.assert_allclose(features, plain, rtol=1e-5, atol=1e-6)
        assert trace.gates.shape == (LENGTH, BATCH, 4, CONFIG.hidden_dim)
        # What the layer hands on is made by the last of its output gates.
        hidden = trace.gates[-1, :, 3] * jnp.tanh(carries[layer].cell)
        np.testing.assert_allclose(hidden, carries[layer].hidden, rtol=1e-5)
