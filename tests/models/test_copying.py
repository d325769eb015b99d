import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax.models.copying import mix


@pytest.mark.parametrize("gate", [-30.0, -2.0, 0.0, 30.0])
@pytest.mark.parametrize("live", [True, False])
def test_it_is_the_mixture(gate, live):
    vocab = np.array([0.7, 0.2, 0.1])
    copy = np.array([0.0, 0.25, 0.75]) * live
    mixed = mix(jnp.log(vocab), jnp.array(copy), jnp.array(live), jnp.array(gate))
    copying = live / (1 + np.exp(-gate))
    wanted = (1 - copying) * vocab + copying * copy
    # float32 at exp(-30) beside 1: what is left is the rounding of the gate.
    np.testing.assert_allclose(jnp.exp(mixed), wanted, rtol=1e-5, atol=1e-7)


def test_it_sums_to_one():
    vocab = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (7,)))
    copy = jax.nn.softmax(jax.random.normal(jax.random.key(1), (7,)))
    mixed = mix(vocab, copy, jnp.array(True), jnp.array(0.3))
    np.testing.assert_allclose(jnp.exp(mixed).sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("copy", [0.0, 1e-38, 0.5, 1.0])
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("gate", [-200.0, 0.0, 200.0])
def test_gradients_are_finite(copy, live, gate):
    grads = jax.grad(mix, argnums=(0, 1, 3))(-3.0, copy, live, gate)
    assert np.isfinite(grads).all()


def test_an_impossible_copy_costs_the_gate():
    """Where the pointer cannot be right, the gate must learn to close."""
    assert jax.grad(mix, argnums=3)(-3.0, 0.0, True, 0.0) == pytest.approx(-0.5)
