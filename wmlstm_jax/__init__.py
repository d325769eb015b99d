"""LSTMs with a working memory, in JAX.

    WM_t = f(WM_{t-1}, LSTM_{t-1}, x_t)        LSTM_t = g(LSTM_{t-1}, WM_{t-1}, x_t)

The core is here; `wmlstm_jax.nn` has the Flax modules, and the other packages the tasks
and the training around them.
"""

from wmlstm_jax.core import (
    Carry,
    CellConfig,
    Fifo,
    Gated,
    LeastRecentlyRead,
    LeastUsed,
    MatrixMemory,
    Memory,
    Outputs,
    Policy,
    Salience,
    SelectiveFifo,
    SlotMemory,
    Source,
    TopK,
    Trace,
    fill,
    from_torch,
    init_carry,
    init_params,
    pointer_distribution,
    readout,
    step,
    to_torch,
    unroll,
)

__version__ = "0.1.0"

__all__ = [
    "Carry",
    "CellConfig",
    "Fifo",
    "Gated",
    "LeastRecentlyRead",
    "LeastUsed",
    "MatrixMemory",
    "Memory",
    "Outputs",
    "Policy",
    "Salience",
    "SelectiveFifo",
    "SlotMemory",
    "Source",
    "TopK",
    "Trace",
    "fill",
    "from_torch",
    "init_carry",
    "init_params",
    "pointer_distribution",
    "readout",
    "step",
    "to_torch",
    "unroll",
]
