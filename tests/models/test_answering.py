from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from wmlstm_jax.inference import Beam, beam_search
from wmlstm_jax.models import AnswerModel, ReadoutConfig

VOCAB, END = 9, 8
CONFIG = ReadoutConfig(
    8, 12, num_heads=2, key_dim=4, value_dim=4, num_slots=6, dropout=0.2
)
CONFIGS = {
    "memory": CONFIG,
    "no memory": replace(CONFIG, num_slots=0),
    "deep": replace(CONFIG, num_layers=2),
}
SOURCE = np.array([[4, 11, 5, 6], [7, 3, 0, 0]], np.int32)  # 11 is not known.
VALID = np.array([[True] * 4, [True, True, False, False]])
START = np.array([1, 1])


def make(name="memory"):
    rngs = nnx.Rngs(0)
    return AnswerModel(CONFIGS[name], VOCAB, unknown=2, end=END, rngs=rngs)


@nnx.jit
def log_probs(model, source, valid, targets, rng=None):
    encoded = model.encode(source, valid, rng)
    return model.predict(encoded, targets, targets).log_probs


@pytest.mark.parametrize("name", CONFIGS)
def test_an_answer_is_said_and_then_it_ends(name):
    model = make(name)
    every = np.stack([np.arange(VOCAB), np.full(VOCAB, END)], 1)[:, None]
    asked = [
        log_probs(model, SOURCE, VALID, np.repeat(target, 2, 0)) for target in every
    ]
    first, then = np.moveaxis(np.array(asked), 2, 0)
    np.testing.assert_allclose(np.exp(first).sum(0), 1, rtol=1e-5)
    np.testing.assert_array_equal(then, 0)
    carry, sources = model.encode(SOURCE, VALID)
    carry, said = model.step_fn(sources, 3)(carry, START)
    assert said.shape == (2, VOCAB + 3)
    np.testing.assert_allclose(said[:, :VOCAB], first.T, rtol=1e-5)
    assert (said[:, VOCAB:] < -20).all()
    found = beam_search(model.step_fn(sources, 3), carry, said, Beam(END, 4, size=1))
    np.testing.assert_array_equal(found.tokens[:, 0, 0], first.argmax(0))
    assert (found.lengths == 2).all() and found.ended.all()


def test_the_mean_over_the_vocabulary_is_of_the_answer():
    model, targets = make(), np.array([[3, END], [4, END]])
    encoded = model.encode(SOURCE, VALID)
    even = model.predict(encoded, targets, targets).log_even
    np.testing.assert_allclose(even[:, 0], encoded.carries[0].mean(1), rtol=1e-6)
    np.testing.assert_array_equal(even[:, 1], 0)


def test_more_than_a_word_and_what_is_not_known_cannot_be_said():
    targets = np.array([[11, END], [3, 4]])
    said = np.asarray(log_probs(make(), SOURCE, VALID, targets))
    assert (said == -30).tolist() == [[True, False], [False, True]]


def test_padding_is_not_seen():
    model, targets = make(), np.array([[3, END], [4, END]])
    said = log_probs(model, SOURCE, VALID, targets)
    changed = np.where(VALID, SOURCE, 5)
    np.testing.assert_array_equal(log_probs(model, changed, VALID, targets), said)
    alone = log_probs(model, SOURCE[1:, :2], VALID[1:, :2], targets[1:])
    np.testing.assert_allclose(alone, said[1:], rtol=1e-5)


def test_dropout_is_the_keys_alone():
    model, targets = make(), np.array([[3, END], [4, END]])
    keys = jax.random.split(jax.random.key(0))
    said = [log_probs(model, SOURCE, VALID, targets, key) for key in (*keys, keys[0])]
    np.testing.assert_array_equal(said[0], said[2])
    assert (said[0] != said[1]).any()


def test_what_is_found_is_dropped_too():
    model, key = make("no memory"), jax.random.key(0)
    decoder = model.decoder
    carries, _, _ = decoder.features(
        decoder.embed(SOURCE),
        decoder.initialize_carry(2),
        tags=SOURCE,
        valid=VALID,
        rng=key,
    )
    features = decoder.norm(model.project(carries[-1].hidden))
    logits = decoder.embedding.attend(features) + decoder.output_bias[...]
    kept = jax.nn.log_softmax(logits)
    (said, _), _ = model.encode(SOURCE, VALID, key)
    assert (np.abs(said - kept) > 1e-4).any(1).all()


@pytest.mark.long
def test_the_query_learns_what_to_look_for():
    """The word behind a mark, which stands anywhere among others."""
    rng = np.random.default_rng(0)
    source = rng.integers(3, 8, (128, 6))
    place = rng.integers(0, 5, 128)
    source[np.arange(128), place] = 1
    targets = np.stack([source[np.arange(128), place + 1], np.full(128, END)], 1)
    valid = np.ones_like(source, bool)
    config = replace(CONFIG, dropout=0.0)
    model = AnswerModel(config, VOCAB, unknown=2, end=END, rngs=nnx.Rngs(0))
    graph, params = nnx.split(model, nnx.Param)
    optimizer = optax.adam(0.02)

    @jax.jit
    def train(params):
        def update(state, _):
            def loss(params):
                said = log_probs(nnx.merge(graph, params), source, valid, targets)
                return -said.sum(1).mean()

            value, grads = jax.value_and_grad(loss)(state[0])
            updates, opt_state = optimizer.update(grads, state[1])
            return (optax.apply_updates(state[0], updates), opt_state), (value, grads)

        return jax.lax.scan(update, (params, optimizer.init(params)), length=150)

    _, (losses, grads) = train(params)
    assert losses[-1] < 0.1 < losses[0]
    final = grads["decoder"]["blocks"][0]["recurrence"]["params"]["final"]["readout"]
    assert np.any(final[...])


def test_it_does_not_copy():
    with pytest.raises(ValueError, match="model.copy is True; it must be False where"):
        replace(CONFIG, copy=True)
