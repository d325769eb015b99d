import math

import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax.metrics import Likelihood, count_likelihood

NOTHING = Likelihood(0.0, 0, 0)


def test_a_uniform_guess_over_the_bytes_is_eight_bits():
    counts = count_likelihood(
        jnp.full((2, 3), -math.log(256)),
        jnp.zeros((2, 3), jnp.int32),
        jnp.ones((2, 3), bool),
        jnp.ones(256, jnp.int32),
    )
    assert NOTHING.plus(counts).perplexity == pytest.approx(256, rel=1e-6)
    assert counts.bits_per_byte == pytest.approx(8, rel=1e-6)


def test_what_is_not_valid_does_not_count():
    counts = count_likelihood(
        jnp.array([[-1.0, -jnp.inf]]),
        jnp.array([[2, 1]]),
        jnp.array([[True, False]]),
        jnp.array([1, 10, 3]),
    )
    assert NOTHING.plus(counts) == Likelihood(1.0, 1, 3)


def test_parts_add_up_to_the_whole():
    parts = [Likelihood(np.float32(1.5), np.int32(2), np.int32(4)), (2.5, 2, 4)]
    total = NOTHING
    for part in parts:
        total = total.plus(Likelihood(*part))
    assert total == Likelihood(4.0, 4, 8)
    assert total.loss == 1.0
    assert total.bits_per_byte == pytest.approx(0.5 / math.log(2))


def test_nothing_predicted_scores_nothing():
    assert math.isnan(NOTHING.loss)
    assert math.isnan(NOTHING.perplexity)
    assert math.isnan(NOTHING.bits_per_byte)


def test_a_hopeless_model_has_infinite_perplexity():
    assert Likelihood(1e6, 1, 1).perplexity == math.inf
