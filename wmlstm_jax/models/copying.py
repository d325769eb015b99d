"""The mixture of writing from the vocabulary and copying from the memory.

    P(w) = (1 - l) softmax(logits)_w + l P_pointer(w)        l = sigmoid(gate), or 0

where l is 0 for a pointer with nothing to point at. Computed in log space.
"""

import jax
import jax.numpy as jnp

Array = jax.Array


def mix(log_vocab: Array, copy: Array, live: Array, gate: Array) -> Array:
    """The log probability of a token, or of each.

    Args:
      log_vocab: `[...]` float, of the softmax.
      copy: `[...]` float, the pointer's probability of the same token.
      live: broadcastable bool, whether the pointer has anything to point at.
      gate: broadcastable float, the logit of copying.

    Returns:
      `[...]` float. Gradients are finite everywhere, `copy = 0` included.
    """
    possible = live & (copy > 0)
    # The 1 keeps the logarithm of an impossible copy out of the gradient.
    log_copy = jnp.log(jnp.where(possible, copy, 1)) + jax.nn.log_sigmoid(gate)
    written = log_vocab + jnp.where(live, jax.nn.log_sigmoid(-gate), 0)
    return jnp.where(possible, jnp.logaddexp(written, log_copy), written)
