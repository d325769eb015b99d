"""What a task is: sequences with known answers, drawn on the device from a PRNG key.

A task is a frozen dataclass of hashable scalars, so that it can be a static argument.
The size of a problem (items, symbols, steps) is an array: one compilation of `sample`
serves all sizes up to the task's `max_size`.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

Array = jax.Array

BLANK = 0
"""The token of places where nothing is said and nothing is asked."""


class Batch(NamedTuple):
    """What a task samples, whatever the task."""

    inputs: Array  # [B, T] int32: tokens below `num_tokens`; or [B, T, I] float
    targets: Array  # [B, T] int32, [B, T, O] of 0 and 1, or [B, T] float; 0 if unscored
    scored: Array  # [B, T] bool: an answer is asked for and counts


@dataclass(frozen=True)
class Form:
    """What goes into a model and what must come out.

    Args:
      num_tokens: of the inputs; 0 if they are vectors.
      input_dim: I, the width of an input vector; 0 if they are tokens.
      num_outputs: O: classes, bits, or 1 for a real number.
      answers: "classes", "bits" or "reals".
    """

    num_tokens: int
    input_dim: int
    num_outputs: int
    answers: str


class Task(Protocol):
    """A source of sequences with known answers."""

    @property
    def form(self) -> Form:
        """What goes in and comes out."""
        ...

    @property
    def length(self) -> int:
        """T, of every sequence: the longest problem fits."""
        ...

    @property
    def max_scored(self) -> int:
        """How many places of a sequence may be scored, at most."""
        ...

    def sample(self, rng: Array, batch_size: int) -> Batch:
        """Draws `batch_size` sequences; pure and jittable, equal for equal `rng`."""
        ...


@dataclass(frozen=True)
class SizedTask:
    """A task whose problems come in sizes; subclasses say what one problem is.

    Args:
      max_size: the largest problem.
      min_size: the smallest that `sample` draws by itself.

    Raises:
      ValueError: the sizes are out of range.
    """

    max_size: int
    min_size: int = 1

    def __post_init__(self):
        for field in ("max_size", "min_size"):
            require_positive(self, field)
        if self.min_size > self.max_size:
            refuse(self, "min_size", f"at most max_size = {self.max_size}")

    @property
    def length(self) -> int:
        """See `Task`."""
        raise NotImplementedError

    @property
    def max_scored(self) -> int:
        """See `Task`; of a task that does not know better, T."""
        return self.length

    def sample(
        self,
        rng: Array,
        batch_size: int,
        low: Array | int | None = None,
        high: Array | int | None = None,
    ) -> Batch:
        """Draws problems of uniformly distributed size.

        Args:
          rng: a PRNG key; consumed.
          batch_size: B.
          low: the smallest size; by default `min_size`.
          high: the largest, `low` to `max_size`, which is the default.

        Returns:
          `inputs`, `targets` and `scored`; see `Batch`.
        """
        size_rng, rng = jax.random.split(rng)
        low = self.min_size if low is None else low
        high = self.max_size if high is None else high
        sizes = jax.random.randint(size_rng, (batch_size,), low, jnp.asarray(high) + 1)
        return jax.vmap(self.one)(jax.random.split(rng, batch_size), sizes)

    def one(self, rng: Array, size: Array) -> Batch:
        """One problem of a size, without the leading axis."""
        raise NotImplementedError


def nats(form: Form, outputs: Array, batch: Batch) -> Array:
    """The mean loss of an answer, `[]`: cross-entropy in nats, or the squared error.

    Args:
      form: of the task.
      outputs: `[B, T, O]`, logits or the real number.
      batch: what was asked.
    """
    lost = _lost(form, outputs, batch.targets)
    scored = batch.scored
    return jnp.where(scored, lost, 0).sum() / jnp.maximum(scored.sum(), 1)


def correct(form: Form, outputs: Array, batch: Batch) -> Array:
    """Which answers are right, `[B, T]` bool; every bit of it, or within 0.04.

    (Hochreiter & Schmidhuber 1997, section 5.4, for the real number.)
    """
    if form.answers == "classes":
        right = outputs.argmax(-1) == batch.targets
    elif form.answers == "bits":
        right = ((outputs > 0) == (batch.targets > 0.5)).all(-1)
    else:
        right = jnp.abs(outputs[..., 0] - batch.targets) < 0.04
    return right & batch.scored


def accuracy(right: Array, scored: Array) -> Array:
    """The share of right answers, `[]`: the mean over sequences.

    So sizes count alike, however many answers a long sequence has.

    Args:
      right: `[B, T]` bool, as `correct` gives it.
      scored: `[B, T]` bool; a sequence without any is left out.
    """
    counts = scored.sum(1)
    shares = right.sum(1) / jnp.maximum(counts, 1)
    return shares.sum() / (counts > 0).sum()


def _lost(form, outputs, targets):
    if form.answers == "classes":
        log_probs = jax.nn.log_softmax(outputs)
        return -jnp.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    if form.answers == "bits":
        return (jax.nn.softplus(outputs) - outputs * targets).sum(-1)
    return (outputs[..., 0] - targets) ** 2


def draw_distinct(rng: Array, log_weights: Array, count: int) -> Array:
    """Draws `count` distinct indices of the last axis, in order.

    By Gumbel top-k (Kool et al. 2019), which draws without replacement.
    """
    noise = jax.random.gumbel(rng, log_weights.shape)
    return jax.lax.top_k(log_weights + noise, count)[1]


def require_positive(task, field: str) -> None:
    """Refuses what is not an integer of at least 1."""
    number = getattr(task, field)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        refuse(task, field, "an integer of at least 1")


def refuse(task, field: str, should: str) -> None:
    """Says which setting is wrong and what it must be."""
    raise ValueError(
        f"{type(task).__name__}.{field} is {getattr(task, field)!r}; it must be"
        f" {should}."
    )
