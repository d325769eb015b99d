import jax
import jax.numpy as jnp
import numpy as np

from wmlstm_jax.models.softmax import target_log_prob


def plain(features, embedding, bias, targets):
    log_probs = jax.nn.log_softmax(features @ embedding.T + bias)
    return jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]


def test_it_is_the_log_softmax_with_its_gradient():
    """Targets repeat, and each token's cotangent differs: both add up over rows."""
    with jax.enable_x64(True):
        rngs = jax.random.split(jax.random.key(0), 5)
        arguments = (
            jax.random.normal(rngs[0], (3, 5, 4), jnp.float64),
            jax.random.normal(rngs[1], (7, 4), jnp.float64),
            jax.random.normal(rngs[2], (7,), jnp.float64),
        )
        targets = jax.random.randint(rngs[3], (3, 5), 0, 7)
        weight = jax.random.normal(rngs[4], (3, 5), jnp.float64)
        values, gradients = [], []
        for function in (plain, target_log_prob):
            value, pull = jax.vjp(lambda *a, f=function: f(*a, targets), *arguments)
            values.append(value)
            gradients.append(pull(weight))
        np.testing.assert_allclose(*values, rtol=1e-13)
        for ours, wanted in zip(*gradients, strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-14)
