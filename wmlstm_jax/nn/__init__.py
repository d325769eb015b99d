"""The core as Flax modules: a sequence layer, and cells for Flax's own loops."""

from wmlstm_jax.nn.cells import LinenWMLSTMCell, WMLSTMCell
from wmlstm_jax.nn.layer import WMLSTM

__all__ = ["WMLSTM", "LinenWMLSTMCell", "WMLSTMCell"]
