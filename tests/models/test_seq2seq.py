from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from wmlstm_jax.inference import Beam, Greedy, beam_search, generate, repeat_rows
from wmlstm_jax.models import (
    DecoderConfig,
    ModelConfig,
    Seq2Seq,
    Seq2SeqConfig,
    SingleStream,
)

VOCAB, UNKNOWN, START, END = 9, 1, 2, 3
DECODER = DecoderConfig(
    8, 12, num_heads=2, key_dim=4, value_dim=4, num_slots=5, copy=True, dropout=0.2
)
CONFIGS = {
    "both ways": Seq2SeqConfig(DECODER, 10),
    "forward": Seq2SeqConfig(DECODER, 8, bidirectional=False),
    "deep": Seq2SeqConfig(
        replace(DECODER, num_layers=2), 6, encoder_layers=2, encoder_slots=3
    ),
    "no memory": Seq2SeqConfig(replace(DECODER, num_slots=0), 10),
    "no copies": Seq2SeqConfig(replace(DECODER, copy=False), 10),
    "covered": Seq2SeqConfig(replace(DECODER, coverage=True), 10),
}
STREAM = ModelConfig(8, 12, key_dim=4, num_slots=9, read=False, copy=True, dropout=0.2)
every_config = pytest.mark.parametrize("name", [*CONFIGS, "single stream"])
# The word 9 is outside the vocabulary.
SOURCE = np.array([[4, 9, 5, 6], [7, 8, 0, 0]], np.int32)
VALID = np.array([[True] * 4, [True, True, False, False]])
TARGET = np.array([[9, 4, 6, END], [8, 7, END, 0]], np.int32)
TOKENS = np.concatenate([np.full((2, 1), START), TARGET[:, :-1]], axis=1)


def make(name="both ways", seed=0):
    if name in ("single stream", "unheard"):
        options = {"unheard": START} if name == "unheard" else {}
        return SingleStream(
            STREAM, VOCAB, unknown=UNKNOWN, **options, rngs=nnx.Rngs(seed)
        )
    return Seq2Seq(CONFIGS[name], VOCAB, unknown=UNKNOWN, rngs=nnx.Rngs(seed))


@nnx.jit
def predict(model, source, valid, tokens, targets, rng=None):
    encoded = model.encode(source, valid, rng)
    return model.predict(encoded, tokens, targets, rng=rng)


def log_probs(*given, **named):
    return predict(*given, **named).log_probs


@pytest.mark.parametrize("name", ["both ways", "deep", "single stream"])
def test_padding_of_the_source_is_not_seen(name):
    model = make(name)
    said = log_probs(model, SOURCE, VALID, TOKENS, TARGET)
    changed = np.where(VALID, SOURCE, 5)
    wide = np.pad(changed, ((0, 0), (0, 3))), np.pad(VALID, ((0, 0), (0, 3)))
    np.testing.assert_allclose(log_probs(model, *wide, TOKENS, TARGET), said, rtol=1e-5)
    alone = SOURCE[1:, :2], VALID[1:, :2], TOKENS[1:], TARGET[1:]
    np.testing.assert_allclose(log_probs(model, *alone), said[1:], rtol=1e-5)


@pytest.mark.parametrize("name", [*CONFIGS, "single stream", "unheard"])
def test_steps_say_what_predict_says(name):
    """And what is said of all words adds up to one."""
    model = make(name)
    wanted = log_probs(model, SOURCE, VALID, TOKENS, TARGET)
    carries, sources = nnx.jit(type(model).encode)(model, SOURCE, VALID)
    step = jax.jit(lambda step_fn, *given: step_fn(*given))
    for time in range(4):
        step_fn = model.step_fn(sources, 1)
        carries, said = step(step_fn, carries, TOKENS[:, time])
        assert said.shape == (2, VOCAB + 1)
        np.testing.assert_allclose(np.exp(said).sum(1), 1, rtol=1e-5)
        got = said[np.arange(2), TARGET[:, time]]
        # Without a copy head such a word counts as the unknown one.
        can = TARGET[:, time] < (VOCAB + 1 if model.decoder.copy_gate else VOCAB)
        np.testing.assert_allclose(got[can], wanted[can, time], rtol=1e-4)
    assert step._cache_size() == 1


def test_what_is_not_heard_does_not_matter():
    model = make("unheard")
    other = np.where(TOKENS == START, START, 4)
    said = [log_probs(model, SOURCE, VALID, t, TARGET) for t in (TOKENS, other)]
    np.testing.assert_array_equal(*said)
    blank = np.full_like(TOKENS, START)
    heard = log_probs(make("single stream"), SOURCE, VALID, blank, TARGET)
    np.testing.assert_array_equal(said[0], heard)


def test_coverage_says_how_much_is_pointed_at_again():
    """Of a source of one word: the weight that it got, all but the first time."""
    alone = SOURCE[1:, :1], VALID[1:, :1], TOKENS[1:], TARGET[1:]
    repeated = predict(make("covered"), *alone).repeated
    assert repeated.shape == (1, 4) and repeated[0, 0] == 0
    assert (repeated[0, 1:] > 0).all() and (repeated <= 1).all()
    assert predict(make(), *alone).repeated is None


def test_only_the_copy_head_says_what_the_vocabulary_has_not():
    copies, cannot = make(), make("no copies")
    said = log_probs(copies, SOURCE, VALID, TOKENS, TARGET)
    assert said[0, 0] > -10
    never = log_probs(cannot, SOURCE, VALID, TOKENS, TARGET)
    assert np.isfinite(never).all()
    unknown = np.where(TARGET == 9, UNKNOWN, TARGET)
    known = np.where(TOKENS == 9, UNKNOWN, TOKENS)
    given = np.where(SOURCE == 9, UNKNOWN, SOURCE), VALID, known, unknown
    np.testing.assert_array_equal(log_probs(cannot, *given), never)


def test_what_comes_later_is_not_seen():
    model = make()
    said = log_probs(model, SOURCE, VALID, TOKENS, TARGET)
    later = TOKENS.copy()
    later[:, 3] = 5
    changed = log_probs(model, SOURCE, VALID, later, TARGET)
    np.testing.assert_array_equal(changed[:, :3], said[:, :3])
    assert (changed[:, 3] != said[:, 3]).all()


@pytest.mark.parametrize("name", ["deep", "no memory", "covered", "single stream"])
def test_every_parameter_is_learned(name):
    model = make(name)
    graph, params = nnx.split(model, nnx.Param)

    @jax.jit
    @jax.grad
    def gradient(params):
        said = log_probs(nnx.merge(graph, params), SOURCE, VALID, TOKENS, TARGET)
        return said.sum()

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert np.isfinite(leaf).all() and np.any(leaf), path


@pytest.mark.parametrize("name", ["both ways", "single stream"])
def test_dropout_is_the_keys_alone(name):
    model, keys = make(name), jax.random.split(jax.random.key(0))
    said = [
        log_probs(model, SOURCE, VALID, TOKENS, TARGET, key)
        for key in (keys[0], keys[0], keys[1])
    ]
    np.testing.assert_array_equal(said[0], said[1])
    assert (said[0] != said[2]).any()


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.long), 3])
def test_it_learns_to_copy_and_a_beam_says_it(size):
    """Words that the vocabulary has not, in reverse, in a few hundred updates."""
    rng = np.random.default_rng(0)
    source = np.stack([rng.permutation(4) for _ in range(64)]) + VOCAB
    target = np.concatenate([source[:, ::-1], np.full((64, 1), END)], axis=1)
    tokens = np.concatenate([np.full((64, 1), START), target[:, :-1]], axis=1)
    valid = np.ones_like(source, bool)
    config = replace(CONFIGS["both ways"], decoder=replace(DECODER, dropout=0.0))
    model = Seq2Seq(config, VOCAB, unknown=UNKNOWN, rngs=nnx.Rngs(0))
    graph, params = nnx.split(model, nnx.Param)
    optimizer = optax.adam(0.02)

    @jax.jit
    def train(params):
        def update(state, _):
            params, opt_state = state

            def loss(params):
                model = nnx.merge(graph, params)
                return -log_probs(model, source, valid, tokens, target).mean()

            value, grads = jax.value_and_grad(loss)(params)
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(params, updates), opt_state), value

        return jax.lax.scan(update, (params, optimizer.init(params)), length=300)

    (params, _), losses = train(params)
    assert losses[-1] < 0.05 < losses[0]
    model = nnx.merge(graph, params)
    carries, sources = model.encode(source[:5], valid[:5])
    start = np.full(5, START)
    step = model.step_fn(sources, 4)
    carries, said = step(carries, start)
    if size == 1:
        words = generate(
            step, carries, said, sampler=Greedy(), rng=jax.random.key(0), num_tokens=5
        )
        found = np.stack(list(words), 1)
    else:
        step = model.step_fn(repeat_rows(sources, size), 4)
        beam = Beam(END, max_length=6, size=size)
        found = beam_search(step, carries, said, beam).tokens[:, 0, :5]
    np.testing.assert_array_equal(found, target[:5])


@pytest.mark.parametrize("field", ["encoder_dim", "encoder_layers", "encoder_slots"])
def test_a_setting_out_of_range_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} is -1; it must be at least"):
        replace(CONFIGS["forward"], **{field: -1})
