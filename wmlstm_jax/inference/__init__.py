"""Generation from `step_fn(carry, tokens) -> (carry, log_probs)`; knows no model."""

from wmlstm_jax.inference.beam import Beam, Hypotheses, beam_search, repeat_rows
from wmlstm_jax.inference.generate import StepFn, generate
from wmlstm_jax.inference.samplers import Greedy, Sample, Sampler

__all__ = [
    "Beam",
    "Greedy",
    "Hypotheses",
    "Sample",
    "Sampler",
    "StepFn",
    "beam_search",
    "generate",
    "repeat_rows",
]
