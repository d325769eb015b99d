"""The cell, its working memory and the recurrence: pure functions over pytrees."""

from wmlstm_jax.core.cell import init_carry, step
from wmlstm_jax.core.config import CellConfig
from wmlstm_jax.core.matrix_memory import MatrixMemory
from wmlstm_jax.core.memories import SlotMemory
from wmlstm_jax.core.mixing_policies import Gated, TopK
from wmlstm_jax.core.params import init_params
from wmlstm_jax.core.pointer import pointer_distribution
from wmlstm_jax.core.policies import (
    Fifo,
    LeastRecentlyRead,
    LeastUsed,
    Policy,
    Salience,
    SelectiveFifo,
)
from wmlstm_jax.core.readout import readout
from wmlstm_jax.core.source import fill
from wmlstm_jax.core.torch_weights import from_torch, to_torch
from wmlstm_jax.core.types import (
    Carry,
    Memory,
    Outputs,
    Query,
    Read,
    Request,
    Source,
    Trace,
)
from wmlstm_jax.core.unroll import unroll

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
    "Query",
    "Read",
    "Request",
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
