"""Models made of WM-LSTM layers."""

from wmlstm_jax.models.answering import AnswerModel
from wmlstm_jax.models.conditional import ConditionalModel, Encoded
from wmlstm_jax.models.config import (
    POLICIES,
    DecoderConfig,
    ModelConfig,
    ReadoutConfig,
)
from wmlstm_jax.models.language_model import LanguageModel
from wmlstm_jax.models.seq2seq import Seq2Seq, Seq2SeqConfig
from wmlstm_jax.models.sequence_model import SequenceModel
from wmlstm_jax.models.single_stream import SingleStream

__all__ = [
    "POLICIES",
    "AnswerModel",
    "ConditionalModel",
    "DecoderConfig",
    "Encoded",
    "LanguageModel",
    "ModelConfig",
    "ReadoutConfig",
    "Seq2Seq",
    "Seq2SeqConfig",
    "SequenceModel",
    "SingleStream",
]
