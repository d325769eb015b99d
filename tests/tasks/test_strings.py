"""Every string task against its definition, written again in plain Python."""

import math

import numpy as np
import pytest

from tests.tasks.samples import sampled
from wmlstm_jax import tasks

MAX = 21
SIGNS = "01234+-*()x="


def number(bits):
    """The value of bits, lowest first."""
    return sum(bit << place for place, bit in enumerate(bits))


def in_bits(value):
    """Lowest first, without leading zeros; 0 is a zero."""
    return [int(bit) for bit in reversed(f"{value:b}")]


def combine(string, operator):
    if 2 not in string:
        assert len(string) < 3
        return [*in_bits(number(string)), 2]
    cut = string.index(2)
    first, second = number(string[:cut]), number(string[cut + 1 :])
    assert first and second and string.count(2) == 1
    return [*in_bits(operator(first, second)), 2]


def square_root(string):
    root = math.isqrt(number(string[::-1]))
    return [int(bit) for bit in f"{root:0{(len(string) + 1) // 2}b}"]


def stack(string):
    cut = next((i for i, symbol in enumerate(string) if symbol > 1), len(string))
    held = string[:cut]
    for action in string[cut:]:
        assert action > 1
        held = held[:-1] if action == 2 else [*held, action - 3]
    return [*held[::-1], 2]


def missing(string):
    if len(string) == 1:
        assert string == [1]
        return [1]
    half = len(string) // 2
    assert (string[2 * half :] == [3]) == bool(len(string) % 2)
    hidden = string.index(2)
    whole = [*string[:hidden], string[(hidden + half) % (2 * half)]]
    whole += string[hidden + 1 : 2 * half]
    assert whole[:half] == whole[half:]
    return [whole[hidden]]


def text(string):
    return "".join(SIGNS[symbol] for symbol in string)


def value(string):
    return [eval(text(string)) % 5]


def well_formed(said, signs):
    """Whether this is an expression with brackets of the paper's grammar."""
    digits = "01234"
    if len(said) <= 2:
        return said[-1] in digits and said[:-1] in ("", "-")
    if not (said[0] == "(" and said[-1] == ")"):
        return False
    inner, depth = said[1:-1], 0
    if len(said) <= 4:
        return well_formed(inner, signs)
    for i, symbol in enumerate(inner):
        depth += (symbol == "(") - (symbol == ")")
        sides = inner[:i], inner[i + 1 :]
        if depth == 0 and symbol in signs and all(sides):
            return all(well_formed(side, signs) for side in sides)
    return False


def value_in_brackets(string):
    assert well_formed(text(string), "+-*"), text(string)
    return value(string)


def solution(string):
    said = text(string)
    if len(said) < 3:
        assert set(string) == {0}
        return [0]
    left, right = said.split("=")
    assert well_formed(left.replace("x", "0"), "+-") and left.count("x") == 1
    (found,) = [
        d for d in range(5) if eval(left.replace("x", str(d))) % 5 == int(right)
    ]
    return [found]


DEFINITIONS = {
    tasks.EvenPairs: lambda s: [
        sum(a != b for a, b in zip(s, s[1:], strict=False)) % 2
    ],
    tasks.ParityCheck: lambda s: [sum(s) % 2],
    tasks.CycleNavigation: lambda s: [(s.count(1) - s.count(2)) % 5],
    tasks.ModularArithmetic: value,
    tasks.ModularArithmeticBrackets: value_in_brackets,
    tasks.SolveEquation: solution,
    tasks.ReverseString: lambda s: s[::-1],
    tasks.StackManipulation: stack,
    tasks.DuplicateString: lambda s: s + s,
    tasks.MissingDuplicate: missing,
    tasks.OddsFirst: lambda s: s[1::2] + s[::2],
    tasks.BinaryAddition: lambda s: combine(s, int.__add__),
    tasks.BinaryMultiplication: lambda s: combine(s, int.__mul__),
    tasks.ComputeSqrt: square_root,
    tasks.BucketSort: sorted,
}
per_task = pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda k: k.__name__)


def problems(task, batch):
    """The string and the answer of every row."""
    mark = task.form.num_tokens - 1
    for inputs, targets, scored in zip(*batch, strict=True):
        (places,) = np.nonzero(scored)
        size, count = places[0], len(places)
        np.testing.assert_array_equal(places, size + np.arange(count))
        assert (inputs[places] == mark).all()
        assert (inputs[size + count :] == 0).all()
        assert (targets[~scored] == 0).all()
        yield (inputs[:size] - 1).tolist(), targets[places].tolist()


@per_task
def test_answers_follow_the_definition(kind):
    task = kind(MAX)
    sizes, said = set(), set()
    for string, answer in problems(task, sampled(task, batch_size=200)):
        assert answer == DEFINITIONS[kind](string), string
        assert min(string) >= 0 and max(string) < task.num_symbols
        assert len(string) <= MAX
        sizes.add(len(string))
        said.update(answer)
    odd_only = kind is tasks.ModularArithmetic
    assert sizes == set(range(1, MAX + 1, 2 if odd_only else 1))
    assert said == set(range(task.form.num_outputs))


def test_there_are_fifteen():
    assert len(DEFINITIONS) == 15


@per_task
def test_sizes_are_arguments_and_compile_once(kind):
    task = kind(MAX)
    for low, high in ((1, 1), (2, 2), (7, 9), (MAX, MAX)):
        found = {len(string) for string, _ in problems(task, sampled(task, low, high))}
        if kind is tasks.ModularArithmetic:
            low, high = low - 1 + low % 2, high - 1 + high % 2
        assert min(found) == low and max(found) == high


@pytest.mark.parametrize(
    "kind", [tasks.BinaryAddition, tasks.BinaryMultiplication, tasks.ComputeSqrt]
)
def test_numbers_may_be_long(kind):
    task = kind(301)
    for string, answer in problems(task, sampled(task, 290, 301, batch_size=8)):
        assert answer == DEFINITIONS[kind](string)


def test_a_size_must_be_one():
    with pytest.raises(ValueError, match="OddsFirst.max_size is 0; it must be an int"):
        tasks.OddsFirst(0)
    with pytest.raises(ValueError, match="min_size is 3; it must be at most max_size"):
        tasks.OddsFirst(2, min_size=3)
