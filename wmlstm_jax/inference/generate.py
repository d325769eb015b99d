"""Generation, one token at a time; the cost of a token does not grow with the text."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from wmlstm_jax.inference.samplers import Sampler

Array = jax.Array
StepFn = Callable[[Any, Array], tuple[Any, Array]]
"""`step_fn(carry, tokens [B]) -> (carry, log_probs [B, V])`: one token further."""


def generate(
    step_fn: StepFn,
    carry: Any,
    log_probs: Array,
    *,
    sampler: Sampler,
    rng: Array,
    num_tokens: int,
) -> Iterator[np.ndarray]:
    """Continues a text, token by token.

    The carry may be kept and used again: it is a value and nothing is done to it. A
    `jax.tree_util.Partial` compiles once for all parameters of a model; any other
    function once for each function.

    Args:
      step_fn: the model; pure.
      carry: its state after the prompt.
      log_probs: `[B, V]`, what it says of the token after the prompt.
      sampler: picks the tokens.
      rng: a PRNG key; consumed. Equal keys give equal texts.
      num_tokens: how many to generate.

    Yields:
      `[B]` int32, the next token of each row.
    """
    if not isinstance(step_fn, jax.tree_util.Partial):
        step_fn = jax.tree_util.Partial(step_fn)
    for key in jax.random.split(rng, num_tokens):
        carry, log_probs, tokens = _advance(sampler, step_fn, key, carry, log_probs)
        yield np.asarray(tokens)


@functools.partial(jax.jit, static_argnums=0)
def _advance(sampler, step_fn, rng, carry, log_probs):
    tokens = sampler.sample(rng, log_probs)
    carry, log_probs = step_fn(carry, tokens)
    return carry, log_probs, tokens
