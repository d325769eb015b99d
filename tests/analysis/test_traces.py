"""What a trace says of a text is what the model did with it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.analysis import trace_text
from wmlstm_jax.analysis.traces import by_token, held_before
from wmlstm_jax.training.run import build
from wmlstm_jax.training.trained import Trained

LENGTH, SLOTS = 19, 8
SETTINGS = {
    "fifo": {},
    "salience": {"policy": "salience"},
    "mixing": {"policy": "top_k"},
    "ordered": {"read_modes": ("content", 0, 1)},
    "pointed": {"read": False, "read_dropout": 0.0},
    "read": {"copy": False},
}
# Float32, of which one program is a scan and the other is none.
SAME = {"rtol": 1e-4, "atol": 1e-6}


def random_model(config, **settings):
    """A model with random weights, large enough that they show."""
    run = build(replace(config, model=replace(config.model, **settings)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), leaf.dtype),
        run.template.params,
    )
    return Trained(run, 0, params, None, {})


@pytest.fixture(params=SETTINGS, scope="module")
def model(request, config):
    return random_model(config, **SETTINGS[request.param])


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(1).integers(0, 4, LENGTH).astype(np.int32)


@pytest.fixture(scope="module")
def trace(model, tokens):
    return trace_text(model, tokens)


def test_owners_are_those_of_the_memory(model, tokens, trace):
    """Token by token, by the model as it generates."""
    language_model = nnx.merge(model.run.graph, model.params)
    carries = language_model.initialize_carry(1)
    step = jax.jit(type(language_model).step)
    for t, token in enumerate(tokens):
        carries, log_probs = step(language_model, carries, token[None])
        memory = carries[-1].memory
        held = np.where(memory.live[0], memory.written[0], -1)
        np.testing.assert_array_equal(trace.owners[t], held)
        if t + 1 < LENGTH:
            given = np.exp(log_probs[0, tokens[t + 1]])
            np.testing.assert_allclose(trace.given[t], given, **SAME)
    assert trace.given[-1] == 0 and (held >= 0).all()


def test_what_is_read_is_what_was_held(model, trace):
    config = model.run.config.model
    if not config.read:
        assert trace.reads is None
        return
    total = trace.reads.slots.sum(-1) + trace.reads.null
    if len(config.read_modes) == 1:
        np.testing.assert_allclose(total, 1, rtol=1e-5)
        assert trace.reads.modes is None
    else:
        np.testing.assert_allclose(trace.reads.modes.sum(-1), 1, rtol=1e-5)
        assert (total < 1 + 1e-5).all() and (trace.reads.null.min() >= 0)
    dead = np.repeat(held_before(trace) < 0, config.num_heads, axis=1)
    assert (trace.reads.slots[dead] == 0).all()
    read = by_token(trace.reads.slots, held_before(trace))
    assert not np.triu(read).any() and np.tril(read, -1).any()


def test_what_is_copied_is_what_the_prediction_gains(model, tokens, trace):
    if not model.run.config.model.copy:
        assert trace.copies is None
        return
    language_model = nnx.merge(model.run.graph, model.params)
    carry, batch = language_model.initialize_carry(1), jnp.asarray(tokens)[None]
    said = language_model.predict(batch[:, :-1], batch[:, 1:], carry)[1]
    both, written = np.exp(said.log_probs[0]), np.exp(said.log_vocab[0])
    copied = by_token(trace.copies.slots, trace.owners)[:-1]
    found = np.where(tokens == tokens[1:, None], copied, 0).sum(1)
    if model.run.config.model.policy == "top_k":
        # What is mixed keeps the tag of whoever gave most.
        assert (copied.sum(1) > 0).all()
    gate = trace.copies.gate[:-1]
    np.testing.assert_allclose(both, (1 - gate) * written + found, **SAME)
    np.testing.assert_allclose(
        trace.copies.slots.sum((1, 2)), trace.copies.gate, **SAME
    )


def test_writes_lead_from_owner_to_owner(trace):
    """Where a slot is the newcomer's, it had been the owner's that is named."""
    writes, before = trace.writes, held_before(trace)
    for t, g, k in np.ndindex(writes.slots.shape):
        slot = writes.slots[t, g, k]
        assert writes.owners[t, g, k] == before[t, g, slot]
        now = t if writes.settled[t, g, k] else before[t, g, slot]
        assert trace.owners[t, g, slot] == now
    others = trace.owners != before
    assert (others.sum(2) == writes.settled.sum(2)).all()


def test_counts_are_of_this_text(model, trace):
    found = trace.counts.statistics()
    settled = trace.writes.settled
    assert found["write_rate"] == pytest.approx(settled.any(-1).mean())
    if trace.reads is not None:
        assert found["null_share"] == pytest.approx(trace.reads.null.mean(), rel=1e-4)
    if trace.copies is not None:
        assert found["copy_share"] == pytest.approx(trace.copies.gate.mean(), rel=1e-4)


def test_each_layer_can_be_looked_at(config, tokens):
    model = random_model(config, num_layers=2)
    first, last = (trace_text(model, tokens, layer) for layer in (0, 1))
    assert first.copies is None and last.copies is not None
    assert not np.allclose(first.reads.slots, last.reads.slots)
    np.testing.assert_allclose(first.given, last.given, **SAME)
    with pytest.raises(ValueError, match="the layer is 2; the model has the layers 0"):
        trace_text(model, tokens, 2)


def test_a_lower_layer_is_that_of_the_model_without_those_above(config, tokens):
    model = random_model(config, num_layers=2, copy=False)
    first = trace_text(model, tokens, 0)
    shallow = replace(model.run.config.model, num_layers=1)
    run = build(replace(model.run.config, model=shallow))
    params = model.params | {"blocks": {0: model.params["blocks"][0]}}
    alone = trace_text(Trained(run, 0, params, None, {}), tokens)
    np.testing.assert_allclose(first.reads.slots, alone.reads.slots, **SAME)
    np.testing.assert_array_equal(first.owners, alone.owners)


def test_there_must_be_a_memory_and_a_text(config, tokens):
    with pytest.raises(ValueError, match="the text to look at is empty"):
        trace_text(random_model(config), np.zeros(0, np.int32))
    for settings in (
        {"num_slots": 0, "copy": False},
        {"policy": "matrix", "copy": False},
    ):
        with pytest.raises(
            ValueError, match="layer 0 of the model has no slots to look"
        ):
            trace_text(random_model(config, **settings), tokens)
