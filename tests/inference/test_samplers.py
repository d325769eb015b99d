import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax.inference import Greedy, Sample

PROBS = jnp.array([0.05, 0.4, 0.15, 0.3, 0.1])


def frequencies(sampler, probs=PROBS, draws=4000):
    log_probs = jnp.broadcast_to(jnp.log(probs), (draws, len(probs)))
    tokens = jax.jit(sampler.sample)(jax.random.key(0), log_probs)
    assert tokens.dtype == jnp.int32
    return np.bincount(tokens, minlength=len(probs)) / draws


def expected(kept, temperature=1.0):
    probs = np.where(kept, np.asarray(PROBS), 0) ** (1 / temperature)
    return probs / probs.sum()


# Four standard deviations of a frequency of 1/2 over 4,000 draws.
WITHIN = 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize(
    ("sampler", "wanted"),
    [
        (Greedy(), [0, 1, 0, 0, 0]),
        (Sample(), expected([1, 1, 1, 1, 1])),
        (Sample(temperature=0.5), expected([1, 1, 1, 1, 1], 0.5)),
        (Sample(top_k=2), expected([0, 1, 0, 1, 0])),
        (Sample(top_k=9), expected([1, 1, 1, 1, 1])),
        (Sample(top_p=0.5), expected([0, 1, 0, 1, 0])),
        (Sample(top_p=1e-6), [0, 1, 0, 0, 0]),
        (Sample(temperature=2.0, top_k=3), expected([0, 1, 1, 1, 0], 2.0)),
        # Of the two that top_k leaves, the first alone holds 4/7.
        (Sample(top_k=2, top_p=0.55), [0, 1, 0, 0, 0]),
    ],
)
def test_what_is_drawn_and_how_often(sampler, wanted):
    drawn = frequencies(sampler)
    np.testing.assert_allclose(drawn, wanted, atol=WITHIN)
    assert not drawn[np.asarray(wanted) == 0].any()


def test_rows_are_drawn_apart():
    log_probs = jnp.log(jnp.eye(3) + 1e-30)
    assert Sample().sample(jax.random.key(0), log_probs).tolist() == [0, 1, 2]


def test_equal_settings_are_equal():
    assert hash(Sample(top_k=3)) == hash(Sample(top_k=3))
    assert Sample(top_k=3) == Sample(top_k=3)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_settings_out_of_range_are_named(settings):
    with pytest.raises(ValueError, match=rf"Sample\.{next(iter(settings))} is"):
        Sample(**settings)
