from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.run import Evaluator, build
from wmlstm_jax.training.sharding import make_mesh, put_batch, shard_of


@pytest.fixture(scope="module")
def run(config):
    return build(config, mesh=MeshConfig(data=0))


def first_step(run, mesh, change=lambda state: state):
    """One step on a mesh, from the state before, both on the host."""
    state = change(run.first_state())
    before = jax.device_get(state._replace(rng=None))
    state = jax.device_put(state, shard_of(state, mesh))
    batch = put_batch(run.data.batches("train")[1], mesh, 8)
    step = run._replace(mesh=mesh).train_step()
    state, metrics = step(state, batch)
    return before, jax.device_get(state._replace(rng=None)), jax.device_get(metrics)


def test_an_update_that_is_not_finite_is_skipped(run):
    def poison(state):
        embedding = state.params["embedding"]["embedding"]
        state.params["embedding"]["embedding"] = embedding.at[ord("b")].set(jnp.nan)
        return state

    before, after, metrics = first_step(run, run.mesh, poison)
    assert not metrics.finite
    assert after.step == before.step + 1
    jax.tree.map(
        np.testing.assert_array_equal,
        before._replace(step=None),
        after._replace(step=None),
    )


def test_evaluation_hands_the_carry_on(config):
    """Short windows score what long ones do."""
    run = build(config)
    params = run.first_state().params
    long = build(replace(config, data=replace(config.data, window=500)))
    scores = [Evaluator(each, "validation")(params) for each in (run, long)]
    assert scores[0].tokens == scores[1].tokens
    assert scores[0].tokens == len(run.data.corpus.validation.encode()) - 1
    assert scores[0].loss == pytest.approx(scores[1].loss, rel=1e-5)


def test_the_share_of_the_vocabulary_is_trained_on_and_not_reported(run):
    one = make_mesh(MeshConfig(1), 8)
    found = {}
    for share in (0.0, 1.0):
        config = replace(run.config, vocab_share=share)
        _, after, metrics = first_step(run._replace(config=config), one)
        gradient = optax.tree.get(after.opt_state, "mu")  # Its mean, after one step.
        found[share] = gradient["copy_gate"]["kernel"].any(), metrics
    assert found[0.0][1].loss == found[1.0][1].loss
    assert found[0.0][1].grad_norm != found[1.0][1].grad_norm
    # With all of it, nobody learns to copy.
    assert (found[0.0][0], found[1.0][0]) == (True, False)
