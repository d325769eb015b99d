from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.analysis import draw, draw_text, look
from wmlstm_jax.training.run import build
from wmlstm_jax.training.trained import Trained, load

LENGTH, SLOTS = 19, 8
SETTINGS = {
    "fifo": {},
    "salience": {"policy": "salience"},
    "two layers": {"num_layers": 2},
    "pointed": {"read": False, "read_dropout": 0.0},
    "read": {"copy": False},
}


@pytest.fixture(params=SETTINGS)
def drawn(request, config):
    """A model with random weights, large enough that they show."""
    model = replace(config.model, **SETTINGS[request.param])
    run = build(replace(config, model=model))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype),
        run.template.params,
    )
    return Trained(run, 0, params, None, {})


@pytest.fixture
def tokens():
    return np.random.default_rng(1).integers(0, 4, LENGTH).astype(np.int32)


def test_what_is_held(drawn, tokens):
    use = look(drawn, tokens)
    step, token = np.arange(LENGTH)[:, None], np.arange(LENGTH)
    assert not use.held[token > step].any()
    if drawn.run.config.model.policy == "fifo":
        np.testing.assert_array_equal(
            use.held, (token <= step) & (token > step - SLOTS)
        )
    else:
        assert (use.held.sum(1) == np.minimum(step[:, 0] + 1, SLOTS)).all()
        # Once out, out for good.
        assert (np.diff(use.held.astype(int), axis=0) == 1).sum() <= LENGTH - 1


def test_what_is_read_is_the_trace(drawn, tokens):
    use, model = look(drawn, tokens), nnx.merge(drawn.run.graph, drawn.params)
    config = drawn.run.config.model
    if not config.read:
        assert use.read is None
        return
    batch = jnp.asarray(tokens)[None]
    carries = model.initialize_carry(1)
    _, _, outputs = model.features(
        model.embedding(batch), carries, tags=batch, trace=True
    )
    weights = outputs.trace.read.weights[:, 0].mean(1)  # [T, N]
    # Float32, of which one program is a scan and the other is none.
    same = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(use.read.sum(1), weights.sum(1), **same)
    before = np.concatenate([np.zeros_like(use.held[:1]), use.held[:-1]])
    assert (use.read[~before] == 0).all() and (use.read[before] > 0).all()
    if config.policy == "fifo":
        for token in range(LENGTH):
            steps = np.flatnonzero(before[:, token])
            got = use.read[steps, token]
            np.testing.assert_allclose(got, weights[steps, token % SLOTS], **same)


def test_what_is_copied_is_what_the_prediction_gains(drawn, tokens):
    use, model = look(drawn, tokens), nnx.merge(drawn.run.graph, drawn.params)
    if not drawn.run.config.model.copy:
        assert use.copied is None
        return
    batch, carry = jnp.asarray(tokens)[None], model.initialize_carry(1)
    inputs, targets = batch[:, :-1], batch[:, 1:]
    said = model.predict(inputs, targets, carry)[1]
    both, written = np.exp(said.log_probs[0]), np.exp(said.log_vocab[0])
    copied = use.copied[:-1]
    found = np.where(tokens == tokens[1:, None], copied, 0).sum(1)
    np.testing.assert_allclose(
        both, (1 - copied.sum(1)) * written + found, rtol=1e-4, atol=1e-6
    )


def test_there_must_be_a_memory_and_a_text(drawn):
    with pytest.raises(ValueError, match="the text to look at is empty"):
        look(drawn, np.zeros(0, np.int32))
    run = drawn.run
    plain = replace(run.config.model, num_slots=0, copy=False)
    run = run._replace(config=replace(run.config, model=plain))
    with pytest.raises(ValueError, match="has no memory to look at"):
        look(drawn._replace(run=run), np.zeros(3, np.int32))


def test_a_picture_of_the_validation_text_or_another(workdir):
    model, path = load(workdir), workdir / "pictures" / "memory.png"
    draw_text(model, path)
    whole = path.read_bytes()
    assert whole.startswith(b"\x89PNG")
    draw_text(model, path, "1 beside $2\n")
    assert path.read_bytes() != whole
    (workdir / "file").touch()
    with pytest.raises(ValueError, match=r"memory.png cannot be written \("):
        draw_text(model, workdir / "file" / "memory.png")
    with pytest.raises(ValueError, match="has 401 tokens; 400 at most"):
        draw_text(model, path, "x" * 401)
    with pytest.raises(ValueError, match=r"memory.txt ends in '.txt'; .*\.png"):
        draw(look(model, np.arange(3)), chr, workdir / "memory.txt")
