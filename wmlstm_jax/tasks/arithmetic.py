"""Numbers in binary: the tasks of the Chomsky hierarchy that add, multiply, take roots.

Numbers of hundreds of bits, as arrays; see `strings` for the form of a task.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.strings import Problem, StringTask
from wmlstm_jax.tasks.task import Array

END = 2
"""Between two numbers, and after the answer."""


@dataclass(frozen=True)
class BinaryAddition(StringTask):
    """The sum of two numbers, lowest bit first, without leading zeros, and an end.

    The sign between them is a 2. Sizes 1 and 2 are a number alone. A number that came
    out as zero gets a random one of its bits.
    """

    num_symbols: ClassVar[int] = 3
    num_answer_symbols: ClassVar[int] = 3

    @property
    def num_answers(self) -> int:
        """As long as the string, and the end."""
        return self.max_size + 1

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        cut_rng, first_rng, second_rng = jax.random.split(rng, 3)
        alone = size < 3
        cut = jax.random.randint(cut_rng, (), 1, jnp.maximum(size - 1, 2))
        cut = jnp.where(alone, size, cut)
        rest = jnp.where(alone, 0, size - 1 - cut)
        first = _draw_number(first_rng, self.max_size, cut)
        second = _draw_number(second_rng, self.max_size, rest)
        time = jnp.arange(self.max_size)
        string = jnp.where(time < cut, first, END)
        string = jnp.where(time > cut, second[jnp.maximum(time - cut - 1, 0)], string)
        value = jnp.where(alone, first, self.combine(first, second))
        value = jnp.pad(value, (0, 1))
        digits = jnp.arange(self.num_answers)
        used = jnp.max(jnp.where(value > 0, digits + 1, 1))
        return Problem(string, jnp.where(digits == used, END, value), used + 1)

    def combine(self, first: Array, second: Array) -> Array:
        """The bits of the result, `[max_size]`."""
        return _carry(first + second)


@dataclass(frozen=True)
class BinaryMultiplication(BinaryAddition):
    """The product of two numbers; else as `BinaryAddition`."""

    def combine(self, first: Array, second: Array) -> Array:
        """The bits of the product; see `BinaryAddition`."""
        # Counts of at most hundreds: exact in the floats that this gives.
        sums = jnp.convolve(first, second)[: self.max_size]
        return _carry(sums.astype(jnp.int32))


@dataclass(frozen=True)
class ComputeSqrt(StringTask):
    """The root of a number, rounded down; highest bit first, half as long."""

    @property
    def num_answers(self) -> int:
        """Half as long."""
        return (self.max_size + 1) // 2

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        number = _draw_number(rng, self.max_size, size)
        place = jnp.arange(self.max_size)
        string = number[jnp.maximum(size - 1 - place, 0)]
        root = square_root(number)
        answered = (size + 1) // 2
        answer = root[jnp.maximum(answered - 1 - jnp.arange(self.num_answers), 0)]
        return Problem(string, answer, answered)


def square_root(number: Array) -> Array:
    """The root rounded down, lowest bit first, of bits `[n]`, lowest first.

    Digit by digit: `rest` is what is left of the number's first bits, and a digit is 1
    if it is at least four times the root so far, and 1.
    """
    width = number.shape[0]
    digits = (width + 1) // 2
    pairs = jnp.pad(number, (0, 2 * digits - width)).reshape(digits, 2)

    def digit(carry, pair):
        root, rest = carry
        rest = jnp.roll(rest, 2).at[:2].set(pair)
        trial = jnp.roll(root, 2).at[:2].set(jnp.array([1, 0]))
        left, negative = _subtract(rest, trial)
        rest = jnp.where(negative, rest, left)
        one = jnp.where(negative, 0, 1)
        return (jnp.roll(root, 1).at[0].set(one), rest), None

    zero = jnp.zeros(digits + 3, number.dtype)
    (root, _), _ = jax.lax.scan(digit, (zero, zero), pairs, reverse=True)
    return root[:digits]


def _draw_number(rng: Array, width: int, size: Array) -> Array:
    """Bits `[width]`, of which `size` are random, and not all zero if there are any."""
    bits_rng, place_rng = jax.random.split(rng)
    place = jnp.arange(width)
    bits = jax.random.bernoulli(bits_rng, 0.5, (width,)) & (place < size)
    chosen = jax.random.randint(place_rng, (), 0, jnp.maximum(size, 1))
    bits = jnp.where(bits.any() | (size == 0), bits, place == chosen)
    return bits.astype(jnp.int32)


def _carry(sums: Array) -> Array:
    """Digits of any size to bits, both lowest first."""

    def turn(carry, digit):
        total = digit + carry
        return total // 2, total % 2

    return jax.lax.scan(turn, jnp.int32(0), sums)[1]


def _subtract(left: Array, right: Array) -> tuple[Array, Array]:
    """The difference in bits, lowest first, and whether it is below zero."""

    def join(low, high):
        # A borrow comes out if it is made above, or passes through from below.
        made, passed = high
        return made | (passed & low[0]), passed & low[1]

    difference = left - right
    made, passed = difference < 0, difference == 0
    borrows, _ = jax.lax.associative_scan(join, (made, passed))
    into = jnp.pad(borrows[:-1], (1, 0)).astype(left.dtype)
    return (difference - into) % 2, borrows[-1]
