"""Scores as counts that add up over batches, hosts and files."""

from wmlstm_jax.metrics.likelihood import Likelihood, count_likelihood

__all__ = ["Likelihood", "count_likelihood"]
