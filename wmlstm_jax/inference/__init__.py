"""Generation from `step_fn(carry, tokens) -> (carry, log_probs)`; knows no model."""

from wmlstm_jax.inference.generate import StepFn, generate
from wmlstm_jax.inference.samplers import Greedy, Sample, Sampler

__all__ = ["Greedy", "Sample", "Sampler", "StepFn", "generate"]
