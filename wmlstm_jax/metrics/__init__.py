"""Scores as counts that add up over batches, hosts and files."""

from wmlstm_jax.metrics.likelihood import Likelihood, count_likelihood
from wmlstm_jax.metrics.tables import markdown_table

__all__ = ["Likelihood", "count_likelihood", "markdown_table"]
