"""Scores as counts that add up over batches, hosts and files."""

from wmlstm_jax.metrics.answers import (
    AnswerCounts,
    ClassCounts,
    count_answer,
    count_classes,
    normalize_answer,
)
from wmlstm_jax.metrics.likelihood import Likelihood, count_likelihood
from wmlstm_jax.metrics.memory_use import MemoryCounts, count_memory
from wmlstm_jax.metrics.tables import markdown_table
from wmlstm_jax.metrics.translation import Translations, score_translations

__all__ = [
    "AnswerCounts",
    "ClassCounts",
    "Likelihood",
    "MemoryCounts",
    "Translations",
    "count_answer",
    "count_classes",
    "count_likelihood",
    "count_memory",
    "markdown_table",
    "normalize_answer",
    "score_translations",
]
