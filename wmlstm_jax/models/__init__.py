"""Models made of WM-LSTM layers."""

from wmlstm_jax.models.config import POLICIES, ModelConfig
from wmlstm_jax.models.language_model import LanguageModel

__all__ = ["POLICIES", "LanguageModel", "ModelConfig"]
