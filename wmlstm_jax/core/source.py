"""The source bank: read-only slots beside the writable ones, one per source token.

It is an argument of the recurrence, not part of the carry: nothing writes it, so it is
never undone, and a beam search never reorders it.
"""

import jax.numpy as jnp

from wmlstm_jax.core.slots import rms_norm
from wmlstm_jax.core.types import Array, Source


def fill(
    keys: Array, values: Array, *, tags: Array | None = None, valid: Array | None = None
) -> Source:
    """A source bank from an encoder's projected states.

    Args:
      keys: `[S, B, R, K]`, normalised here as every key is.
      values: `[S, B, R, W]`.
      tags: `[S, B]` int32 token ids, for copying.
      valid: `[S, B]` bool, False for padding, which is never read.

    Returns:
      Slots that `unroll(..., source=...)` reads beside the writable ones.

    Raises:
      ValueError: the shapes do not belong together.
    """
    length, batch = keys.shape[:2]
    if keys.ndim != 4 or values.ndim != 4 or values.shape[:3] != keys.shape[:3]:
        raise ValueError(
            f"fill: keys have shape {keys.shape} and values {values.shape}; they must"
            " be [S, B, R, K] and [S, B, R, W] with the same S, B and R."
        )
    tags = jnp.full((length, batch), -1, jnp.int32) if tags is None else tags
    valid = jnp.ones((length, batch), bool) if valid is None else valid
    for name, leaf in (("tags", tags), ("valid", valid)):
        if leaf.shape != (length, batch):
            raise ValueError(
                f"fill: {name} have shape {leaf.shape}; they must be [S, B] ="
                f" {(length, batch)}."
            )
    # Padding may hold anything, so it is selected away before it is normalised.
    present = valid[..., None, None]
    keys, values = jnp.where(present, keys, 0), jnp.where(present, values, 0)
    to_bank = (1, 2, 0, 3)
    return Source(
        keys=rms_norm(keys).transpose(to_bank),
        values=values.transpose(to_bank),
        tags=jnp.where(valid, tags, -1).T,
        live=valid.T,
    )
