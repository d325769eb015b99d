"""String to string: the tasks of the Chomsky hierarchy (Deletang et al. 2022).

    inputs    the string, then a mark for each symbol of the answer
    targets   nothing yet                   the answer, symbol by symbol

Symbols are 1 more than in the paper, since 0 is blank; the mark comes last. Training is
on sizes 1 to 40, the test on 41 to 500: the accuracy per symbol of an answer, averaged
over the sizes. Those about numbers are in `arithmetic` and `expressions`.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.task import Array, Batch, Form, SizedTask


class Problem(NamedTuple):
    """A string and its answer; beyond their ends anything may stand."""

    string: Array  # [max_size] int32: symbols from 0
    answer: Array  # [num_answers] int32: likewise
    answered: Array  # []: how much of the answer counts
    size: Array | None = None  # []: of the string, where it is not the size asked for


@dataclass(frozen=True)
class StringTask(SizedTask):
    """Strings, and answers of their size; subclasses say what a problem is."""

    num_symbols: ClassVar[int] = 2
    num_answer_symbols: ClassVar[int] = 2

    @property
    def num_answers(self) -> int:
        """The longest answer."""
        return 1

    @property
    def form(self) -> Form:
        """Blank, symbols, and the mark; the answer's symbols."""
        return Form(self.num_symbols + 2, 0, self.num_answer_symbols, "classes")

    @property
    def length(self) -> int:
        """T."""
        return self.max_size + self.num_answers

    def problem(self, rng: Array, size: Array) -> Problem:
        """Draws a problem of a size."""
        raise NotImplementedError

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        drawn = self.problem(rng, size)
        size = size if drawn.size is None else drawn.size
        time = jnp.arange(self.length)
        place = time - size
        scored = (place >= 0) & (place < drawn.answered)
        string = jnp.pad(drawn.string, (0, self.num_answers)) + 1
        marks = jnp.where(scored, self.num_symbols + 1, 0)
        inputs = jnp.where(place < 0, string, marks)
        answer = drawn.answer[jnp.where(scored, place, 0)]
        return Batch(inputs.astype(jnp.int32), jnp.where(scored, answer, 0), scored)

    def symbols(self, rng: Array) -> Array:
        """A uniformly random string, `[max_size]`."""
        return jax.random.randint(rng, (self.max_size,), 0, self.num_symbols)


@dataclass(frozen=True)
class EvenPairs(StringTask):
    """Whether 01 and 10 together occur an odd number of times: the ends differ."""

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        return _one_symbol(string, (string[0] != string[size - 1]).astype(jnp.int32))


@dataclass(frozen=True)
class ParityCheck(StringTask):
    """Whether there is an odd number of 1s."""

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        return _one_symbol(string, _masked(string, size).sum() % 2)


@dataclass(frozen=True)
class CycleNavigation(StringTask):
    """Where on a cycle of five one ends who stays (0), goes on (1) or back (2)."""

    num_symbols: ClassVar[int] = 3
    num_answer_symbols: ClassVar[int] = 5

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        steps = jnp.where(string == 2, -1, string)
        return _one_symbol(string, _masked(steps, size).sum() % 5)


@dataclass(frozen=True)
class ReverseString(StringTask):
    """The string from its end."""

    @property
    def num_answers(self) -> int:
        """As long as the string."""
        return self.max_size

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        place = jnp.maximum(size - 1 - jnp.arange(self.max_size), 0)
        return Problem(string, string[place], size)


@dataclass(frozen=True)
class DuplicateString(StringTask):
    """The string twice."""

    @property
    def num_answers(self) -> int:
        """Twice as long."""
        return 2 * self.max_size

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        return Problem(string, string[jnp.arange(self.num_answers) % size], 2 * size)


@dataclass(frozen=True)
class MissingDuplicate(StringTask):
    """The symbol that is hidden (2) in a string that is told twice; 3 fills odd sizes.

    A size of 1 has no string to tell: the symbol and the answer are 1.
    """

    num_symbols: ClassVar[int] = 4

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string_rng, place_rng = jax.random.split(rng)
        time, half = jnp.arange(self.max_size), jnp.maximum(size // 2, 1)
        told = jax.random.randint(string_rng, (self.max_size,), 0, 2)[time % half]
        hidden = jax.random.randint(place_rng, (), 0, 2 * half)
        string = jnp.where(time == hidden, 2, told)
        string = jnp.where(time >= 2 * half, 3, string)
        alone = size == 1
        string = jnp.where(alone, 1, string)
        return _one_symbol(string, jnp.where(alone, 1, told[hidden % half]))


@dataclass(frozen=True)
class OddsFirst(StringTask):
    """The symbols at odd places (from 0), and then those at even places."""

    @property
    def num_answers(self) -> int:
        """As long as the string."""
        return self.max_size

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        place, odds = jnp.arange(self.max_size), size // 2
        taken = jnp.where(place < odds, 2 * place + 1, 2 * (place - odds))
        return Problem(string, string[jnp.minimum(taken, self.max_size - 1)], size)


@dataclass(frozen=True)
class BucketSort(StringTask):
    """The string of five symbols, sorted."""

    num_symbols: ClassVar[int] = 5
    num_answer_symbols: ClassVar[int] = 5

    @property
    def num_answers(self) -> int:
        """As long as the string."""
        return self.max_size

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        string = self.symbols(rng)
        inside = jnp.arange(self.max_size) < size
        answer = jnp.sort(jnp.where(inside, string, self.num_symbols))
        return Problem(string, answer, size)


@dataclass(frozen=True)
class StackManipulation(StringTask):
    """A stack from its bottom, then actions: pop (2), push 0 (3), push 1 (4).

    The answer is the stack from its top, and an end (2). To pop from an empty stack
    does nothing.
    """

    num_symbols: ClassVar[int] = 5
    num_answer_symbols: ClassVar[int] = 3

    @property
    def num_answers(self) -> int:
        """All pushed, and the end."""
        return self.max_size + 1

    def problem(self, rng: Array, size: Array) -> Problem:
        """See `StringTask`."""
        cut_rng, stack_rng, action_rng = jax.random.split(rng, 3)
        cut = jax.random.randint(cut_rng, (), 1, jnp.maximum(size, 2))
        time = jnp.arange(self.max_size)
        pushed = jax.random.randint(stack_rng, time.shape, 0, 2)
        actions = jax.random.randint(action_rng, time.shape, 2, 5)
        string = jnp.where(time < cut, pushed, actions)

        def act(carry, step):
            stack, height = carry
            symbol, counts = step
            popped = jnp.maximum(height - 1, 0)
            bit = jnp.where(symbol >= 3, symbol - 3, symbol)
            pushes = symbol != 2
            put = jnp.where(counts & pushes, bit, stack[height])
            after = jnp.where(pushes, height + 1, popped)
            return (stack.at[height].set(put), jnp.where(counts, after, height)), None

        empty = jnp.zeros(self.max_size + 1, string.dtype), jnp.int32(0)
        (stack, height), _ = jax.lax.scan(act, empty, (string, time < size))
        place = height - 1 - jnp.arange(self.num_answers)
        answer = jnp.where(place >= 0, stack[jnp.maximum(place, 0)], 2)
        return Problem(string, answer, height + 1)


def _masked(string: Array, size: Array) -> Array:
    return jnp.where(jnp.arange(string.shape[0]) < size, string, 0)


def _one_symbol(string: Array, answer: Array) -> Problem:
    return Problem(string, answer[None], jnp.int32(1))
