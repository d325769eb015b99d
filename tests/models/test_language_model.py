from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.inference import Greedy, generate
from wmlstm_jax.models import LanguageModel, ModelConfig
from wmlstm_jax.models.blocks import ADDRESSES, Block

VOCAB, BATCH, LENGTH = 11, 3, 8
CONFIGS = {
    "lstm": ModelConfig(8, 8),
    "projected": ModelConfig(8, 12, num_heads=2, key_dim=4, value_dim=4, num_slots=5),
    "mlp": ModelConfig(8, 12, mlp_dim=7),
    "copying": ModelConfig(
        8,
        8,
        num_layers=2,
        num_heads=2,
        key_dim=4,
        value_dim=4,
        num_slots=5,
        copy=True,
        dropout=0.2,
        read_dropout=0.2,
    ),
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name, **rngs):
    return LanguageModel(CONFIGS[name], VOCAB, rngs=nnx.Rngs(rngs.get("params", 0)))


@pytest.fixture(scope="module")
def text():
    tokens = jax.random.randint(jax.random.key(1), (BATCH, LENGTH + 1), 0, VOCAB)
    return tokens[:, :-1], tokens[:, 1:]


@jax.jit
def log_prob(*args, **options):
    carries, said = LanguageModel.predict(*args, **options)
    return carries, said.log_probs


prefill = jax.jit(LanguageModel.prefill)


def score(model, tokens, targets, **options):
    carries = model.initialize_carry(len(tokens))
    return log_prob(model, tokens, targets, carries, **options)[1]


@every_config
def test_output_is_blind_to_what_comes_later(name, text):
    tokens, targets = text
    model = make(name)

    def at(xs, time):
        carries = model.initialize_carry(BATCH)
        _, features, copied = model.features(xs, carries, tags=tokens, targets=targets)
        copied = 0 if copied is None else copied.copy[:, time].sum()
        return features[:, time].sum() + copied

    for time in (0, 3):
        grad = jax.jit(jax.grad(at), static_argnums=1)(model.embedding(tokens), time)
        seen = np.abs(grad).sum((0, 2)) > 0
        assert seen.tolist() == [t <= time for t in range(LENGTH)]


@every_config
def test_rows_do_not_see_each_other(name, text):
    tokens, targets = text
    model = make(name)
    alone = score(model, tokens[1:2], targets[1:2])
    np.testing.assert_allclose(score(model, *text)[1:2], alone, rtol=1e-5)


@every_config
def test_streaming_equals_the_whole(name, text):
    tokens, targets = text
    model = make(name)
    whole = score(model, tokens, targets)
    step = jax.jit(LanguageModel.step)
    carries, log_probs = prefill(model, tokens[:, :1])
    for time in range(LENGTH):
        if time:
            carries, log_probs = step(model, carries, tokens[:, time])
        np.testing.assert_allclose(jnp.exp(log_probs).sum(-1), 1, rtol=1e-5)
        chosen = jnp.take_along_axis(log_probs, targets[:, time, None], 1)[:, 0]
        np.testing.assert_allclose(chosen, whole[:, time], rtol=1e-5)


@every_config
def test_two_windows_equal_one(name, text):
    tokens, targets = text
    model = make(name)
    carries, pieces = model.initialize_carry(BATCH), []
    for part in (slice(0, 3), slice(3, None)):
        carries, piece = log_prob(model, tokens[:, part], targets[:, part], carries)
        pieces.append(piece)
    whole = score(model, tokens, targets)
    np.testing.assert_allclose(jnp.concatenate(pieces, 1), whole, rtol=1e-5)


@every_config
def test_reset_forgets_and_padding_does_not_matter(name, text):
    tokens, targets = text
    model = make(name)
    carries, _ = log_prob(model, tokens, targets, model.initialize_carry(BATCH))
    reset = jnp.zeros((BATCH, LENGTH), bool).at[:, 0].set(True)
    _, again = log_prob(model, tokens, targets, carries, reset=reset)
    np.testing.assert_allclose(again, score(model, tokens, targets), rtol=1e-5)
    valid = jnp.ones((BATCH, LENGTH + 2), bool).at[:, :2].set(False)
    padded = jnp.pad(tokens, ((0, 0), (2, 0)), constant_values=7)
    _, whole = prefill(model, tokens)
    np.testing.assert_allclose(prefill(model, padded, valid)[1], whole, rtol=1e-5)


def test_dropout_needs_a_key_and_follows_it(text):
    model = make("copying")
    plain = [score(model, *text) for _ in range(2)]
    np.testing.assert_array_equal(*plain)
    dropped = [score(model, *text, rng=jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2])
    assert not np.allclose(dropped[0], plain[0])


def test_dropout_has_one_mask_per_row(text):
    """The same token at each time meets the same mask: what differs is the carry."""
    model = make("copying")
    block = model.blocks[0]
    xs = jnp.ones((2, 5, 8))
    carry = block.recurrence.initialize_carry(2)
    _, ys, _ = jax.jit(Block.__call__)(block, xs, carry, rng=jax.random.key(0))
    dropped = np.asarray(ys == xs)
    assert (dropped == dropped[:, :1]).all()
    assert 0 < dropped.mean() < 0.5
    assert (dropped[0] != dropped[1]).any()


def test_dropout_reaches_the_embedding_and_the_features():
    """Twice a half: of a model that repeats its input a quarter of the features."""
    width = 512
    model = LanguageModel(ModelConfig(width, width, dropout=0.5), 5, rngs=nnx.Rngs(0))
    gates = model.blocks[0].recurrence.params
    for part in ("input", "hidden", "bias"):  # Then no cell is ever filled.
        gates[part]["gates"][...] = jnp.zeros_like(gates[part]["gates"][...])
    xs, carries = jnp.ones((2, 3, width)), model.initialize_carry(2)
    _, features, _ = model.features(
        xs, carries, tags=jnp.zeros((2, 3), jnp.int32), rng=jax.random.key(0)
    )
    kept = np.asarray(features) != 0
    assert (kept == kept[:, :1]).all() and (kept[0] != kept[1]).any()
    # Four standard deviations of a share of 1024.
    assert kept.mean() == pytest.approx(0.25, abs=0.055)


def test_dropout_leaves_out_weights():
    """What has no gradient can be any number, and is the wanted part of a kernel."""
    keys = ("input", "previous", "current")
    rates = {"weight_dropout": 0.6, "address_dropout": 0.3}
    config = ModelConfig(8, 16, num_slots=3, copy=True, key_from=keys, **rates)
    block = Block(config, 0, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    xs = jnp.asarray(rng.normal(size=(2, 5, 8)), jnp.float32)
    tags = jnp.asarray(rng.integers(0, 2, (2, 5)), jnp.int32)
    carry = block.recurrence.initialize_carry(2)
    graph, state = nnx.split(block)

    def outputs(state, rng):
        block = nnx.merge(graph, state)
        _, ys, beside = block(xs, carry, tags=tags, targets=tags, rng=rng)
        return ys, beside.copy

    @jax.jit
    def outcomes(state):
        def total(state):
            dropped = outputs(state, jax.random.key(0))
            return sum(map(jnp.sum, dropped)), dropped

        gradient, dropped = jax.grad(total, has_aux=True)(state)
        return dropped, outputs(state, None), gradient

    dropped, whole, gradients = outcomes(state)
    found = {}
    for origin, kinds in block.recurrence.params.items():
        for to, kernel in kinds.items():
            out = np.asarray(gradients["recurrence"]["params"][origin][to][...]) == 0
            if 0 < out.mean() < 1:
                found[origin, to] = out.mean()
                kernel[...] = jnp.where(out, 9.0, kernel[...])
    # Four standard deviations of a share of 1024.
    wanted = {("hidden", "gates"): 0.6} | dict.fromkeys(ADDRESSES, 0.3)
    assert found == pytest.approx(wanted, abs=0.06)
    dropped_again, other, _ = outcomes(nnx.state(block))
    chex.assert_trees_all_equal(dropped_again, dropped)
    for got, was in zip(other, whole, strict=True):
        assert not np.allclose(got, was)


def test_the_gated_mlp_is_its_equation():
    block = make("mlp").blocks[0]
    xs = jax.random.normal(jax.random.key(2), (2, 5, 8))
    _, with_mlp, _ = block(xs, block.recurrence.initialize_carry(2))
    mlp, kernel = block.mlp, block.mlp.leave.kernel[...]
    mlp.leave.kernel[...] = jnp.zeros_like(kernel)
    _, without, _ = block(xs, block.recurrence.initialize_carry(2))
    squares = np.mean(np.square(without), -1, keepdims=True)
    normed = np.asarray(without) / np.sqrt(squares + 1e-6) * mlp.norm.scale[...]
    gate, value = np.split(normed @ mlp.enter.kernel[...], 2, -1)
    wanted = (gate / (1 + np.exp(-gate)) * value) @ kernel
    np.testing.assert_allclose(with_mlp - without, wanted, rtol=1e-4, atol=1e-5)


def test_dropout_reaches_the_gated_mlp():
    config = replace(CONFIGS["mlp"], dropout=0.5)
    block = Block(config, 0, rngs=nnx.Rngs(0))
    xs, carry = jnp.ones((2, 5, 8)), block.recurrence.initialize_carry(2)
    _, dropped, _ = block(xs, carry, rng=jax.random.key(0))
    block.mlp.leave.kernel[...] *= 0
    _, without, _ = block(xs, carry, rng=jax.random.key(0))
    same = np.asarray(dropped == without)
    assert (same == same[:, :1]).all() and 0 < same.mean() < 1


def test_reading_can_be_disabled(text):
    model = make("copying")
    without = score(model, *text, reading=False)
    assert not np.allclose(without, score(model, *text))
    lstm = make("lstm")
    np.testing.assert_array_equal(score(lstm, *text, reading=False), score(lstm, *text))


@pytest.mark.parametrize("name", ["projected", "copying"])
def test_the_mean_over_the_vocabulary_is_that_of_all_targets(name, text):
    model, (tokens, targets) = make(name), text
    model.output_bias[...] = jax.random.normal(jax.random.key(2), VOCAB)
    carries = model.initialize_carry(BATCH)
    predict = jax.jit(lambda targets: model.predict(tokens, targets, carries)[1])
    every = [predict(jnp.full_like(targets, word)).log_vocab for word in range(VOCAB)]
    wanted = np.mean(np.array(every, np.float64), axis=0)
    np.testing.assert_allclose(predict(targets).log_even, wanted, rtol=1e-5)


def test_the_copy_head_learns(text):
    model = make("copying")
    graph, params = nnx.split(model, nnx.Param)

    def loss(params):
        return -score(nnx.merge(graph, params), *text).mean()

    grads = nnx.to_pure_dict(jax.jit(jax.grad(loss))(params))
    for part in (
        grads["copy_gate"]["kernel"],
        grads["blocks"][1]["recurrence"]["params"]["current"]["copy"],
        grads["embedding"]["embedding"],
    ):
        assert np.isfinite(part).all()
        assert np.abs(part).max() > 0


def test_generation_is_the_argmax_loop(text):
    model = make("copying")
    prompt = text[0][:, :4]
    stream = generate(
        jax.tree_util.Partial(LanguageModel.step, model),
        *prefill(model, prompt),
        sampler=Greedy(),
        rng=jax.random.key(0),
        num_tokens=5,
    )
    for made in stream:
        missing = 9 - prompt.shape[1]
        padded = jnp.pad(prompt, ((0, 0), (missing, 0)))
        valid = jnp.broadcast_to(jnp.arange(9) >= missing, padded.shape)
        _, log_probs = prefill(model, padded, valid)
        np.testing.assert_array_equal(made, log_probs.argmax(-1))
        prompt = jnp.concatenate([prompt, made[:, None]], 1)
