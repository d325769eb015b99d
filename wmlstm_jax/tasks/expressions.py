"""Arithmetic modulo five: the tasks of the Chomsky hierarchy on expressions.

Symbols 0 to 4 are digits; then come + - * ( ) x =. See `strings` for the form.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.strings import Problem, StringTask
from wmlstm_jax.tasks.task import Array

MODULUS = 5
PLUS, MINUS, TIMES, OPEN, CLOSE, UNKNOWN, EQUALS = range(MODULUS, MODULUS + 7)


@dataclass(frozen=True)
class ModularArithmetic(StringTask):
    """The value of `1 + 2 * 3 - 4`, with the usual precedence, modulo 5.

    Strings are of odd size: an even size is taken down by one.
    """

    num_symbols: ClassVar[int] = MODULUS + 3
    num_answer_symbols: ClassVar[int] = MODULUS

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        digit_rng, sign_rng = jax.random.split(rng)
        size = size - 1 + size % 2
        time = jnp.arange(self.max_size)
        digits = jax.random.randint(digit_rng, time.shape, 0, MODULUS)
        signs = jax.random.randint(sign_rng, time.shape, PLUS, TIMES + 1)
        string = jnp.where(time % 2 == 0, digits, signs)

        def turn(carry, step):
            total, product, sign = carry
            symbol, counts = step
            is_digit = symbol < MODULUS
            times = product * symbol % MODULUS
            signed = jnp.where(sign == MINUS, -symbol, symbol)
            new_total = jnp.where(sign == TIMES, total, total + product)
            new_product = jnp.where(sign == TIMES, times, signed)
            after = (
                jnp.where(is_digit, new_total, total),
                jnp.where(is_digit, new_product, product),
                jnp.where(is_digit, sign, symbol),
            )
            return jax.tree.map(
                lambda a, b: jnp.where(counts, a, b), after, carry
            ), None

        start = jnp.int32(0), jnp.int32(0), jnp.int32(PLUS)
        (total, product, _), _ = jax.lax.scan(turn, start, (string, time < size))
        answer = (total + product) % MODULUS
        return Problem(string, answer[None], jnp.int32(1), size)


@dataclass(frozen=True)
class ModularArithmeticBrackets(StringTask):
    """The value of an expression with brackets, modulo 5.

    A size of 1 is a digit, 2 a negated digit; 3 and 4 the same in brackets; others are
    `(left sign right)`, with the sizes of the two sides drawn uniformly.

    Args:
      multiply: signs are + - *, else + and -.
    """

    multiply: bool = True
    num_symbols: ClassVar[int] = MODULUS + 5
    num_answer_symbols: ClassVar[int] = MODULUS

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = draw_expression(rng, self.max_size, size, self.multiply)
        return Problem(string, evaluate(string, size)[None], jnp.int32(1))


@dataclass(frozen=True)
class SolveEquation(StringTask):
    """The digit that stands for x in `(1+(x-2))=3`, modulo 5; signs are + and -.

    Sizes below 3 have no equation: the string is zeros and so is the answer.
    """

    num_symbols: ClassVar[int] = MODULUS + 7
    num_answer_symbols: ClassVar[int] = MODULUS

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        expression_rng, place_rng = jax.random.split(rng)
        inner = jnp.maximum(size - 2, 1)
        string = draw_expression(expression_rng, self.max_size, inner, False)
        value = evaluate(string, inner)
        time = jnp.arange(self.max_size)
        # The first digit from a random place on, around the end.
        start = jax.random.randint(place_rng, (), 0, inner)
        is_digit = (string < MODULUS) & (time < inner)
        hidden = jnp.argmin(jnp.where(is_digit, (time - start) % inner, self.max_size))
        answer = string[hidden]
        string = jnp.where(time == hidden, UNKNOWN, string)
        string = jnp.where(time == inner, EQUALS, string)
        string = jnp.where(time == inner + 1, value, string)
        tiny = size < 3
        string = jnp.where(tiny, 0, string)
        return Problem(string, jnp.where(tiny, 0, answer)[None], jnp.int32(1))


def draw_expression(rng: Array, length: int, size: Array, multiply: bool) -> Array:
    """An expression of a size, `[length]`; beyond it zeros.

    Written from the left with a stack of what is still to come: the size of a part, or,
    negative, a symbol. Each turn takes the top and writes one symbol.
    """
    signs = TIMES + 1 if multiply else TIMES

    def turn(carry, step):
        stack, height = carry
        digit, sign, share, counts = step
        top = stack[height - 1]
        is_part = top > 0
        # The uniform share of the size that the left part gets.
        left = 1 + jnp.floor(share * (top - 4)).astype(jnp.int32)
        left = jnp.clip(left, 1, jnp.maximum(top - 4, 1))
        right = top - 3 - left
        # What follows the symbol written now, from the bottom.
        brackets = jnp.array([_symbol(CLOSE), right, _symbol(sign), left])
        short = jnp.array([_symbol(CLOSE), top - 2, 0, 0])
        negated = jnp.array([1, 0, 0, 0])
        pushed = jnp.where(top >= 5, brackets, jnp.where(top >= 3, short, negated))
        count = jnp.where(
            top >= 5, 4, jnp.where(top >= 3, 2, jnp.where(top == 2, 1, 0))
        )
        first = jnp.where(top >= 3, OPEN, jnp.where(top == 2, MINUS, digit))
        symbol = jnp.where(is_part, first, -top - 1)
        count = jnp.where(is_part, count, 0)
        bottom = height - 1
        for i in range(4):
            keep = counts & (i < count)
            stack = stack.at[bottom + i].set(
                jnp.where(keep, pushed[i], stack[bottom + i])
            )
        after = jnp.where(counts, bottom + count, height)
        return (stack, after), jnp.where(counts, symbol, 0)

    digit_rng, sign_rng, share_rng = jax.random.split(rng, 3)
    time = jnp.arange(length)
    steps = (
        jax.random.randint(digit_rng, time.shape, 0, MODULUS),
        jax.random.randint(sign_rng, time.shape, PLUS, signs),
        jax.random.uniform(share_rng, time.shape),
        time < size,
    )
    stack = jnp.zeros(length + 5, jnp.int32).at[0].set(size)
    return jax.lax.scan(turn, (stack, jnp.int32(1)), steps)[1]


def _symbol(symbol):
    """A symbol on the stack of `draw_expression`."""
    return -symbol - 1


def evaluate(string: Array, size: Array) -> Array:
    """The value of an expression of `draw_expression`, modulo 5, `[]`.

    A level of brackets is a value so far, which starts at 0, and the sign that waits
    for what comes. A minus where no operand was is the digit's own.
    """
    length = string.shape[0]

    def turn(carry, step):
        values, signs, level, negative, operand = carry
        symbol, counts = step
        opens, closes = symbol == OPEN, symbol == CLOSE
        is_digit = symbol < MODULUS
        below = jnp.where(closes, level - 1, level)
        item = jnp.where(closes, values[level], jnp.where(negative, -symbol, symbol))
        old, sign = values[below], signs[below]
        joined = jnp.where(
            sign == PLUS,
            old + item,
            jnp.where(sign == MINUS, old - item, old * item),
        )
        takes = is_digit | closes
        waits = ~takes & ~opens
        own = waits & ~operand  # a minus that belongs to a digit
        values = values.at[below].set(jnp.where(takes, joined % MODULUS, old))
        signs = signs.at[below].set(jnp.where(waits & operand, symbol, sign))
        above = jnp.where(opens, level + 1, below)
        values = values.at[above].set(jnp.where(opens, 0, values[above]))
        signs = signs.at[above].set(jnp.where(opens, PLUS, signs[above]))
        after = (values, signs, above, own, takes)
        return jax.tree.map(lambda a, b: jnp.where(counts, a, b), after, carry), None

    deepest = length // 2 + 2
    start = (
        jnp.zeros(deepest, jnp.int32),
        jnp.full(deepest, PLUS),
        jnp.int32(0),
        jnp.bool_(False),
        jnp.bool_(False),
    )
    counts = jnp.arange(length) < size
    (values, *_), _ = jax.lax.scan(turn, start, (string, counts))
    return values[0]
