"""What the memory of a language model did over a text, by the tokens it remembers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.core import Carry, Memory, Source
from wmlstm_jax.core.pointer import point, pointer_logits, pointer_query
from wmlstm_jax.models import LanguageModel
from wmlstm_jax.nn.layer import as_arrays
from wmlstm_jax.training.trained import Trained, language_model_of

Array = jax.Array


class MemoryUse(NamedTuple):
    """What the last layer held, read and copied; rows are steps, columns tokens.

    At step t the token `tokens[t]` came in. Reading comes before its write, and the
    copy head, which says what comes next, after it.
    """

    tokens: np.ndarray  # [T] int32
    held: np.ndarray  # [T, T] bool: the token was in the memory after the step
    read: np.ndarray | None  # [T, T] weights, a mean over heads; None without reading
    copied: np.ndarray | None  # [T, T] probability of copying that token from there


def look(trained: Trained, tokens: np.ndarray) -> MemoryUse:
    """Runs a model over a text, from an empty state.

    Args:
      trained: the model.
      tokens: `[T]` integer, at least one.

    Raises:
      ValueError: the model has no memory or another task, or the text is empty.
    """
    language_model_of(trained)
    config = trained.run.config.model
    if not config.num_slots:
        raise ValueError(
            "the model has no memory to look at (model.num_slots is 0); train one with"
            " slots."
        )
    if not len(tokens):
        raise ValueError("the text to look at is empty; give at least one token.")
    tokens = np.asarray(tokens, np.int32)
    run = jax.jit(_run, static_argnums=0)
    params = trained.params
    held, read, copied = jax.device_get(run(trained.run.graph, params, tokens))
    return MemoryUse(tokens, held, read, copied)


def _run(graph, params, tokens):
    model = nnx.merge(graph, params)
    length, layer = len(tokens), model.blocks[-1].recurrence
    config = layer.config

    def turn(carries, token):
        before = carries[-1].memory
        token = token[None, None]
        carries, features, outputs = model.features(
            model.embedding(token), carries, tags=token, trace=True
        )
        after, read, copied = carries[-1].memory, None, None
        if config.reads:
            weights = outputs.trace.read.weights[0] / config.num_heads
            read = by_token(before, weights, length)
        if model.copy_gate is not None:
            _, weights = copy_weights(model, carries[-1], features[0, 0])
            copied = by_token(after, weights, length)
        held = by_token(after, after.live, length) > 0
        return carries, (held, read, copied)

    return jax.lax.scan(turn, model.initialize_carry(1), tokens)[1]


def copy_weights(
    model: LanguageModel, carry: Carry, features: Array, source: Source | None = None
) -> tuple[Carry, Array]:
    """How probable it is that each slot, then each source token, is copied next.

    Args:
      model: with a copy head.
      carry: of its last layer, after the step; of one row.
      features: `[D]`, after the step.
      source: the source bank of the last layer, if it reads one.

    Returns:
      The carry, whose coverage knows where the pointer was; and `[1, G, Rg, n]`, the
      sum of which is the share of the copy head.
    """
    assert model.copy_gate is not None
    layer = model.blocks[-1].recurrence
    cell, config = as_arrays(layer.params), layer.config
    query, scalars = pointer_query(cell, config, carry.hidden), cell["memory"]
    logits, _ = pointer_logits(config, scalars, query, carry.memory, source)
    weights, live, on_source = point(scalars, logits, carry.coverage)
    if carry.coverage is not None:
        carry = carry._replace(coverage=carry.coverage + on_source)
    share = jax.nn.sigmoid(model.copy_gate(features)[0])
    return carry, share * weights / jnp.maximum(live.sum(), 1)


def by_token(memory: Memory, of_slots: Array, length: int) -> Array:
    """What heads give to slots, `[1, heads, N]` in any grouping, summed by token."""
    groups, slots = memory.written.shape[1:]
    of_slots = of_slots.reshape(groups, -1, slots).sum(1)
    live = memory.live[0]
    token = jnp.where(live, memory.written[0], length)  # Out of bounds: dropped.
    of_tokens = jnp.zeros(length, of_slots.dtype if of_slots.dtype != bool else int)
    return of_tokens.at[token].add(of_slots, mode="drop")
