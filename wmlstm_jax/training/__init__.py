"""Training: settings, state, steps, checkpoints and the loop around them."""

from wmlstm_jax.training.config import DataConfig, TrainConfig, parse_config
from wmlstm_jax.training.loop import train

__all__ = ["DataConfig", "TrainConfig", "parse_config", "train"]
