"""Reading the final memory: for an answer, a class, a summary of a whole sequence."""

import jax.numpy as jnp

from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.equations import address, positive_decay, project_groups
from wmlstm_jax.core.types import Array, Carry, Query, Source


def readout(
    params: dict, config: CellConfig, carry: Carry, *, source: Source | None = None
) -> Array:
    """The last hidden state and, beside it, what a learned query finds in the memory.

        q = norm(W_f h_T + b_f) beta_f / sqrt(K)        [h_T; read(WM_T, q)]

    Args:
      params: from `init_params`, with `config.readout`.
      config: the settings.
      carry: the state after the last token.
      source: the source bank, if the steps read one.

    Returns:
      `[B, H + R*W]` float.

    Raises:
      ValueError: the cell has no readout.
    """
    if not config.readout:
        raise ValueError(
            "readout: CellConfig.readout is False; it must be True for the cell to have"
            " a query of the final memory."
        )
    scalars = params["memory"]
    vector = project_groups(config, carry.hidden, params["final"]["readout"])
    query = Query(
        vector=address(
            config, vector + params["bias"]["readout"], scalars["readout_sharpness"]
        ),
        null_logit=scalars.get("null_logit"),
        decay=positive_decay(scalars),
    )
    _, read = config.memory.read(carry.memory, query, source=source)
    found = read.value.reshape(read.value.shape[0], -1)
    return jnp.concatenate([carry.hidden, found], axis=-1)
