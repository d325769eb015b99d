"""The log probability of a target under a large vocabulary, with one array of its size.

    log p(t) = e_t x + b_t - log sum_v exp(e_v x + b_v)

What differentiation would keep and make besides (the normalised logits, a scatter of
the targets into zeros) takes as long as one of the three products.
"""

import jax
import jax.numpy as jnp

Array = jax.Array


@jax.custom_vjp
def target_log_prob(
    features: Array, embedding: Array, bias: Array, targets: Array
) -> Array:
    """`log softmax(features embedding^T + bias)` at the targets.

    Args:
      features: `[..., D]` float.
      embedding: `[V, D]` of the same dtype, which is that of the products.
      bias: `[V]` float, of which dtype everything else is.
      targets: `[...]` int32, in range.

    Returns:
      `[...]` float.
    """
    return _forward(features, embedding, bias, targets)[0]


def _forward(features, embedding, bias, targets):
    rows = features.reshape(-1, features.shape[-1])
    flat = targets.reshape(-1)
    logits = _product(rows, embedding.T, bias.dtype) + bias
    total = jax.nn.logsumexp(logits, axis=-1)
    chosen = (rows * embedding[flat]).astype(bias.dtype).sum(-1) + bias[flat]
    log_prob = (chosen - total).reshape(targets.shape)
    return log_prob, (features, embedding, targets, logits, total)


def _backward(residuals, cotangent):
    features, embedding, targets, logits, total = residuals
    rows = features.reshape(-1, features.shape[-1])
    flat, given = targets.reshape(-1), cotangent.reshape(-1, 1)
    spread = jnp.exp(logits - total[:, None]) * -given  # [rows, V]
    sums, low = spread.dtype, spread.astype(rows.dtype)
    d_rows = _product(low, embedding, sums) + given * embedding[flat]
    d_embedding = _product(low.T, rows, sums).at[flat].add(given * rows)
    # A product with ones: XLA sums columns on one thread.
    d_bias = (jnp.ones_like(given).T @ spread)[0].at[flat].add(given[:, 0])
    d_rows = d_rows.reshape(features.shape).astype(features.dtype)
    return d_rows, d_embedding.astype(embedding.dtype), d_bias, None


def _product(left, right, dtype):
    """A product of matrices, summed in `dtype`."""
    return jnp.matmul(left, right, preferred_element_type=dtype)


target_log_prob.defvjp(_forward, _backward)
