"""Beam search: the continuations that a model finds likeliest, kept side by side."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.inference.generate import StepFn

Array = jax.Array


@dataclass(frozen=True)
class Beam:
    """How to search.

    Args:
      end: the token that ends a hypothesis.
      max_length: T, tokens of a hypothesis at most, its end among them.
      size: K, hypotheses that are followed and returned.
      length_penalty: a hypothesis of n tokens is scored by its log probability over
        `((5 + n) / 6) ** length_penalty` (Wu et al. 2016, "GNMT", equation 14); 0
        favours short ones.
      block_ngram: no run of so many tokens comes twice in a hypothesis; 0 blocks none.
      early_stop: a row is finished as soon as K hypotheses have ended, so that a beam
        of one is greedy; else it goes on until no other can become better than they.

    Raises:
      ValueError: a setting is out of range.
    """

    end: int
    max_length: int
    size: int = 4
    length_penalty: float = 0.6
    block_ngram: int = 0
    early_stop: bool = True

    def __post_init__(self):
        for field, least in (
            ("end", 0),
            ("max_length", 1),
            ("size", 1),
            ("length_penalty", 0),
            ("block_ngram", 0),
        ):
            value = getattr(self, field)
            if value < least:
                raise ValueError(
                    f"Beam.{field} is {value}; it must be at least {least}."
                )

    def penalty(self, length: Array | int) -> Array:
        """What the log probability of so many tokens is divided by."""
        return jnp.power((5.0 + length) / 6.0, self.length_penalty)


class Hypotheses(NamedTuple):
    """What was found, those that ended first, each kind by falling score."""

    tokens: Array  # [B, K, T] int32; the end, and ends after it
    lengths: Array  # [B, K] int32, the end counted
    scores: Array  # [B, K] float, normalised for length; -inf where there is none
    ended: Array  # [B, K] bool; False for what max_length has cut off


class _State(NamedTuple):
    """Where the search is; a hypothesis k of row b is row b * K + k of the carry."""

    time: Array  # []
    carry: Any
    log_probs: Array  # [B, K, V], of the token to come
    tokens: Array  # [B, K, T], of those that have not ended
    totals: Array  # [B, K], their log probabilities, falling
    found: Hypotheses


def repeat_rows(tree: Any, size: int) -> Any:
    """Every row `size` times, one after another: B rows become B * K.

    For what a step function holds besides its carry, such as a source bank: hypotheses
    stay within their row, so a search never reorders it.
    """
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, size, axis=0), tree)


def beam_search(
    step_fn: StepFn, carry: Any, log_probs: Array, beam: Beam
) -> Hypotheses:
    """Follows the K likeliest continuations of every row.

    Args:
      step_fn: the model, for B * K rows; pure. As a `jax.tree_util.Partial` it compiles
        once for all parameters.
      carry: its state, every leaf leading with B; any tree, a working memory among it.
      log_probs: `[B, V]`, what it says of the first token.
      beam: how to search.
    """
    if not isinstance(step_fn, jax.tree_util.Partial):
        step_fn = jax.tree_util.Partial(step_fn)
    return _search(beam, step_fn, carry, log_probs)


@functools.partial(jax.jit, static_argnums=0)
def _search(beam: Beam, step_fn, carry, log_probs) -> Hypotheses:
    batch, size = log_probs.shape[0], beam.size
    nothing = jnp.full((batch, size), -jnp.inf, log_probs.dtype)
    tokens = jnp.full((batch, size, beam.max_length), beam.end, jnp.int32)
    lengths = jnp.zeros((batch, size), jnp.int32)
    start = _State(
        time=jnp.int32(0),
        carry=repeat_rows(carry, size),
        log_probs=jnp.repeat(log_probs[:, None], size, axis=1),
        tokens=tokens,
        # All are the same yet, so one is followed.
        totals=nothing.at[:, 0].set(0),
        found=Hypotheses(tokens, lengths, nothing, jnp.isfinite(nothing)),
    )
    last = jax.lax.while_loop(
        lambda state: (state.time < beam.max_length) & ~_closed(beam, state).all(),
        functools.partial(_advance, beam, step_fn),
        start,
    )
    cut = Hypotheses(
        last.tokens,
        jnp.full_like(lengths, beam.max_length),
        last.totals / beam.penalty(beam.max_length),
        jnp.zeros_like(last.found.ended),
    )
    return _best(size, last.found, cut)


def _closed(beam: Beam, state: _State) -> Array:
    """Whether a row is finished, `[B]`."""
    likeliest, worst = state.totals[:, 0], state.found.scores[:, -1]
    if beam.early_stop:
        closed = jnp.isfinite(worst)
    else:
        # A log probability only falls, and the longest is divided by most.
        closed = likeliest / beam.penalty(beam.max_length) <= worst
    return closed | (likeliest == -jnp.inf)


def _advance(beam: Beam, step_fn: StepFn, state: _State) -> _State:
    """One token further."""
    batch, size, vocab = state.log_probs.shape
    log_probs = _without_repeats(beam, state)
    totals = (state.totals[..., None] + log_probs).reshape(batch, -1)
    # At most K of twice as many end.
    totals, place = jax.lax.top_k(totals, 2 * size)
    parents, words = place // vocab, (place % vocab).astype(jnp.int32)
    tokens = jnp.take_along_axis(state.tokens, parents[..., None], axis=1)
    tokens = tokens.at[:, :, state.time].set(words)
    ends = words == beam.end
    # What ends has to be among the K likeliest, as what goes on has.
    counts = ends & (jnp.arange(2 * size) < size) & jnp.isfinite(totals)
    counts &= ~_closed(beam, state)[:, None]
    length = state.time + 1
    ended = Hypotheses(
        tokens,
        jnp.full_like(words, length),
        jnp.where(counts, totals / beam.penalty(length), -jnp.inf),
        counts,
    )
    totals, chosen = jax.lax.top_k(jnp.where(ends, -jnp.inf, totals), size)
    parents, words = (
        jnp.take_along_axis(leaf, chosen, axis=1) for leaf in (parents, words)
    )
    rows = (parents + size * jnp.arange(batch)[:, None]).reshape(-1)
    carry = jax.tree.map(lambda leaf: leaf[rows], state.carry)
    carry, log_probs = step_fn(carry, words.reshape(-1))
    return _State(
        time=length,
        carry=carry,
        log_probs=log_probs.reshape(batch, size, vocab),
        tokens=jnp.take_along_axis(tokens, chosen[..., None], axis=1),
        totals=totals,
        found=_best(size, state.found, ended),
    )


def _best(size: int, *several: Hypotheses) -> Hypotheses:
    """The best of several together: first who ended, then by score."""
    tokens, lengths, scores, ended = (
        jnp.concatenate(leaves, axis=1) for leaves in zip(*several, strict=True)
    )
    order = jnp.lexsort((-scores, ~ended), axis=-1)[:, :size]
    lengths, scores, ended = (
        jnp.take_along_axis(leaf, order, axis=1) for leaf in (lengths, scores, ended)
    )
    tokens = jnp.take_along_axis(tokens, order[..., None], axis=1)
    return Hypotheses(tokens, lengths, scores, ended)


def _without_repeats(beam: Beam, state: _State) -> Array:
    """The log probabilities, -inf for a token that would complete a run of before."""
    run = beam.block_ngram
    if not 0 < run <= beam.max_length:
        return state.log_probs
    tokens, time = state.tokens, state.time
    # All runs so far but for their last token, and the one that waits for its last.
    starts = jnp.arange(beam.max_length - run + 1)
    runs = tokens[:, :, starts[:, None] + jnp.arange(run - 1)]
    begun = jax.lax.dynamic_slice_in_dim(tokens, time - run + 1, run - 1, axis=2)
    again = (runs == begun[:, :, None]).all(-1) & (starts + run <= time)
    row, hypothesis = (index[..., None] for index in jnp.indices(again.shape[:2]))
    least = jnp.where(again, -jnp.inf, jnp.inf)
    return state.log_probs.at[row, hypothesis, tokens[:, :, run - 1 :]].min(least)
