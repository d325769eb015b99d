"""Tasks on vectors: copy, repeat copy, reverse, recall, sort (Graves et al. 2014), add.

Bits come in channels of their own, and marks (begin, now answer) in others.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.task import Array, Batch, Form, SizedTask, require_positive


def _draw_bits(rng: Array, shape: tuple[int, ...]) -> Array:
    return jax.random.bernoulli(rng, 0.5, shape).astype(jnp.float32)


@dataclass(frozen=True)
class Copy(SizedTask):
    """Says the sequence again (Graves et al. 2014, section 4.1).

    begin, `size` vectors of random bits, now answer, then as many blanks: the answers.

    Args:
      num_bits: of a vector.
      reverse: says it from the end.
    """

    num_bits: int = 8
    reverse: bool = False

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "num_bits")

    @property
    def form(self) -> Form:
        """Bits, and two marks."""
        return Form(0, self.num_bits + 2, self.num_bits, "bits")

    @property
    def length(self) -> int:
        """T."""
        return 2 * self.max_size + 2

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        vectors = _draw_bits(rng, (self.max_size, self.num_bits))
        time = jnp.arange(self.length)
        told = _at(vectors, time - 1, size)
        marks = jnp.stack([time == 0, time == size + 1], -1).astype(told.dtype)
        place = time - size - 2
        scored = (place >= 0) & (place < size)
        place = jnp.where(scored, size - 1 - place if self.reverse else place, -1)
        return Batch(
            jnp.concatenate([told, marks], -1), _at(vectors, place, size), scored
        )


@dataclass(frozen=True)
class RepeatCopy(SizedTask):
    """Says the sequence so many times, and then that it is done (section 4.2).

    begin, `size` vectors, a number (its own channel, 1 at `max_repeats`), then the
    answers: vectors, and in a channel of its own the end.

    Args:
      num_bits: of a vector.
      max_repeats: the largest number.
    """

    num_bits: int = 8
    max_repeats: int = 10

    def __post_init__(self):
        super().__post_init__()
        for field in ("num_bits", "max_repeats"):
            require_positive(self, field)

    @property
    def form(self) -> Form:
        """Bits, begin and the number; bits and the end."""
        return Form(0, self.num_bits + 2, self.num_bits + 1, "bits")

    @property
    def length(self) -> int:
        """T."""
        return self.max_size * (1 + self.max_repeats) + 3

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        bits_rng, count_rng = jax.random.split(rng)
        vectors = _draw_bits(bits_rng, (self.max_size, self.num_bits))
        repeats = jax.random.randint(count_rng, (), 1, self.max_repeats + 1)
        time = jnp.arange(self.length)
        told = _at(vectors, time - 1, size)
        number = jnp.where(time == size + 1, repeats / self.max_repeats, 0)
        begin = (time == 0).astype(told.dtype)
        inputs = jnp.concatenate([told, begin[:, None], number[:, None]], -1)
        place = time - size - 2
        end = place == size * repeats
        answers = (place >= 0) & (place < size * repeats)
        said = _at(vectors, jnp.where(answers, place % size, -1), size)
        targets = jnp.concatenate([said, end[:, None].astype(said.dtype)], -1)
        return Batch(inputs, targets, answers | end)


@dataclass(frozen=True)
class AssociativeRecall(SizedTask):
    """Which item came after this one? (section 4.3)

    Items of `item_length` vectors, each after a mark; then one of them again between
    two marks of another kind, never the last; the answer is the one that followed it.

    Args:
      num_bits: of a vector.
      item_length: vectors in an item.
    """

    min_size: int = 2
    num_bits: int = 6
    item_length: int = 3

    def __post_init__(self):
        super().__post_init__()
        for field in ("num_bits", "item_length"):
            require_positive(self, field)

    @property
    def form(self) -> Form:
        """Bits, and two marks."""
        return Form(0, self.num_bits + 2, self.num_bits, "bits")

    @property
    def length(self) -> int:
        """T."""
        width = self.item_length + 1
        return width * (self.max_size + 1) + 1 + self.item_length

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`; a size of 1 asks for nothing."""
        bits_rng, query_rng = jax.random.split(rng)
        width = self.item_length + 1
        shape = (self.max_size * self.item_length, self.num_bits)
        vectors = _draw_bits(bits_rng, shape)
        asked = jax.random.randint(query_rng, (), 0, jnp.maximum(size - 1, 1))
        time = jnp.arange(self.length)
        item, place = time // width, time % width - 1
        is_query = item == size
        item = jnp.where(is_query, asked, item)
        told = (place >= 0) & ((item < size) & (time < width * (size + 1)))
        total = size * self.item_length
        index = jnp.where(told, item * self.item_length + place, -1)
        begin = (place < 0) & (time < width * size)
        query = (time == width * size) | (time == width * (size + 1))
        marks = jnp.stack([begin, query], -1).astype(vectors.dtype)
        inputs = jnp.concatenate([_at(vectors, index, total), marks], -1)
        answer = time - width * (size + 1) - 1
        scored = (answer >= 0) & (answer < self.item_length) & (size > 1)
        index = jnp.where(scored, (asked + 1) * self.item_length + answer, -1)
        return Batch(inputs, _at(vectors, index, total), scored)


@dataclass(frozen=True)
class PrioritySort(SizedTask):
    """Says the vectors of highest priority, the highest first (section 4.5).

    begin, `size` vectors each with a priority in [-1, 1] in a channel of its own, now
    answer; the answers are the first four fifths, rounded up: 16 of 20.

    Args:
      num_bits: of a vector.
    """

    num_bits: int = 8

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "num_bits")

    @property
    def form(self) -> Form:
        """Bits, priority, and two marks."""
        return Form(0, self.num_bits + 3, self.num_bits, "bits")

    @property
    def length(self) -> int:
        """T."""
        return self.max_size + 2 + _four_fifths(self.max_size)

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        bits_rng, order_rng = jax.random.split(rng)
        vectors = _draw_bits(bits_rng, (self.max_size, self.num_bits))
        priority = jax.random.uniform(order_rng, (self.max_size,), minval=-1)
        time = jnp.arange(self.length)
        told = jnp.concatenate([vectors, priority[:, None]], -1)
        marks = jnp.stack([time == 0, time == size + 1], -1).astype(told.dtype)
        inputs = jnp.concatenate([_at(told, time - 1, size), marks], -1)
        present = jnp.arange(self.max_size) < size
        ranked = vectors[jnp.argsort(jnp.where(present, -priority, jnp.inf))]
        place = time - size - 2
        scored = (place >= 0) & (place < _four_fifths(size))
        return Batch(inputs, _at(ranked, jnp.where(scored, place, -1), size), scored)


@dataclass(frozen=True)
class Adding(SizedTask):
    """The sum of the two marked numbers (Hochreiter & Schmidhuber 1997, section 5.4).

    `size` steps of a number in [0, 1] and a mark, two of which are 1: one in the first
    half and one in the second. The answer comes at the last step.
    """

    min_size: int = 2

    @property
    def form(self) -> Form:
        """A number and a mark; a number."""
        return Form(0, 2, 1, "reals")

    @property
    def length(self) -> int:
        """T."""
        return self.max_size

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`; a size of 1 asks for nothing."""
        number_rng, first_rng, second_rng = jax.random.split(rng, 3)
        time, half = jnp.arange(self.length), size // 2
        numbers = jax.random.uniform(number_rng, (self.length,))
        numbers = jnp.where(time < size, numbers, 0)
        first = jax.random.randint(first_rng, (), 0, jnp.maximum(half, 1))
        second = jax.random.randint(second_rng, (), half, jnp.maximum(size, half + 1))
        marks = ((time == first) | (time == second)).astype(numbers.dtype)
        scored = (time == size - 1) & (size > 1)
        total = (numbers * marks).sum()
        inputs = jnp.stack([numbers, marks], -1)
        return Batch(inputs, jnp.where(scored, total, 0), scored)


def _at(rows: Array, index: Array, size: Array) -> Array:
    """`rows[index]`, zero where the index is not in `[0, size)`."""
    inside = (index >= 0) & (index < size)
    return jnp.where(inside[:, None], rows[jnp.where(inside, index, 0)], 0)


def _four_fifths(size):
    return (4 * size + 4) // 5
