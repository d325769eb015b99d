"""Models made of WM-LSTM layers."""

from wmlstm_jax.models.config import POLICIES, ModelConfig
from wmlstm_jax.models.language_model import LanguageModel
from wmlstm_jax.models.sequence_model import SequenceModel

__all__ = ["POLICIES", "LanguageModel", "ModelConfig", "SequenceModel"]
