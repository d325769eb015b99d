"""Answers against references: exact match, overlap, and accuracy by class."""

import collections
import math
import re
import string
from collections.abc import Sequence
from typing import NamedTuple

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Without case, ASCII punctuation, English articles and spare blanks.

    (Rajpurkar et al. 2016, "SQuAD", section 6.1.)
    """
    text = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def overlap(answer: str, reference: str) -> float:
    """F1 of the words that both have, each as often as it comes; in [0, 1]."""
    answered, wanted = (normalize_answer(text).split() for text in (answer, reference))
    if not answered or not wanted:
        return float(answered == wanted)
    common = (collections.Counter(answered) & collections.Counter(wanted)).total()
    return 2 * common / (len(answered) + len(wanted))


class AnswerCounts(NamedTuple):
    """Sums over questions; add two with `plus`, read scores at the end."""

    questions: int = 0
    exact: int = 0  # equal to a reference, both normalised
    overlap: float = 0.0  # sum of the best F1 against a reference

    def plus(self, other: "AnswerCounts") -> "AnswerCounts":
        """The counts of both sets together."""
        return AnswerCounts(
            self.questions + other.questions,
            self.exact + other.exact,
            self.overlap + other.overlap,
        )

    @property
    def exact_match(self) -> float:
        """In percent; NaN without questions."""
        return _percent(self.exact, self.questions)

    @property
    def f1(self) -> float:
        """In percent; NaN without questions."""
        return _percent(self.overlap, self.questions)


def count_answer(answer: str, references: Sequence[str]) -> AnswerCounts:
    """Counts one answer against all that would be right.

    Raises:
      ValueError: there is no reference.
    """
    if not references:
        raise ValueError("an answer has no reference; give it at least one.")
    same = any(normalize_answer(answer) == normalize_answer(r) for r in references)
    return AnswerCounts(1, int(same), max(overlap(answer, r) for r in references))


class ClassCounts(NamedTuple):
    """How often each class was said for each; add two with `plus`."""

    pairs: collections.Counter  # of (wanted, said)

    def plus(self, other: "ClassCounts") -> "ClassCounts":
        """The counts of both sets together."""
        return ClassCounts(self.pairs + other.pairs)

    @property
    def accuracy(self) -> float:
        """The share of right answers, in [0, 1]; NaN without any."""
        right = sum(n for (wanted, said), n in self.pairs.items() if wanted == said)
        return _percent(right, self.pairs.total()) / 100

    @property
    def classes(self) -> list[str]:
        """All that were wanted or said, in order."""
        return sorted({name for pair in self.pairs for name in pair})

    def of(self, name: str) -> tuple[float, float, float]:
        """Precision, recall and F1 of a class, in [0, 1].

        NaN where there is nothing to be precise about, or to be recalled.
        """
        right = self.pairs[name, name]
        said = sum(n for (_, each), n in self.pairs.items() if each == name)
        wanted = sum(n for (each, _), n in self.pairs.items() if each == name)
        shares = (right, said), (right, wanted), (2 * right, said + wanted)
        precision, recall, f1 = (_percent(a, b) / 100 for a, b in shares)
        return precision, recall, f1


def count_classes(wanted: Sequence[str], said: Sequence[str]) -> ClassCounts:
    """Counts the answers of a set, one of each for each."""
    return ClassCounts(collections.Counter(zip(wanted, said, strict=True)))


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else math.nan
