"""Question answering: any of several answers is right."""

import math
from typing import NamedTuple

from wmlstm_jax.data.examples import Example
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.metrics.answers import (
    AnswerCounts,
    ClassCounts,
    count_answer,
    count_classes,
)

MOST_CLASSES = 40
"""Different answers that are told one by one."""


class Answers(NamedTuple):
    """Sums over questions; add two with `plus`."""

    kinds: dict[str, AnswerCounts]
    classes: ClassCounts

    def plus(self, other: "Answers") -> "Answers":
        """The counts of both sets together."""
        kinds = {
            kind: self.kinds.get(kind, AnswerCounts()).plus(
                other.kinds.get(kind, AnswerCounts())
            )
            for kind in (self.kinds | other.kinds)
        }
        return Answers(kinds, self.classes.plus(other.classes))

    @property
    def total(self) -> AnswerCounts:
        """Of all kinds together."""
        total = AnswerCounts()
        for counts in self.kinds.values():
            total = total.plus(counts)
        return total


class QuestionAnswering:
    """Exact match and F1 as SQuAD has them, accuracy, and every answer as a class."""

    def count(self, said: str, example: Example) -> Answers:
        """One answer; `plus` adds two of them.

        Args:
          said: the answer. As a class it counts against the reference that it equals,
            or against the first.
          example: the question.
        """
        references, kind = example.references, example.kind
        wanted = said if said in references else references[0]
        return Answers(
            {kind: count_answer(said, references)}, count_classes([wanted], [said])
        )

    def scores(self, counts: Answers) -> dict[str, float]:
        """In percent; of several kinds, the mean error over them too."""
        total = counts.total
        scores = {
            "exact match": total.exact_match,
            "F1": total.f1,
            "accuracy": 100 * counts.classes.accuracy,
        }
        if len(counts.kinds) > 1:
            errors = [100 - each.exact_match for each in counts.kinds.values()]
            scores["mean error of kinds"] = sum(errors) / len(errors)
        if 1 < len(counts.kinds) <= MOST_CLASSES:
            for kind, each in sorted(counts.kinds.items(), key=_by_number):
                scores[f"exact match, {kind}"] = each.exact_match
        wanted = {name for name, _ in counts.classes.pairs}
        if 1 < len(wanted) <= MOST_CLASSES:
            for name in sorted(wanted):
                of_class = ("precision", "recall", "F1"), counts.classes.of(name)
                for what, share in zip(*of_class, strict=True):
                    if not math.isnan(share):  # Nothing was said, or none was wanted.
                        scores[f"{what}, {name}"] = 100 * share
        return scores

    def table(self, counts: Answers) -> str:
        """The scores in Markdown; kinds and classes where they are not too many."""
        scores = self.scores(counts).items()
        rows = [(name, f"{value:.2f}") for name, value in scores if "," not in name]
        tables = [markdown_table(("score", "%"), rows)]
        if 1 < len(counts.kinds) <= MOST_CLASSES:
            rows = [
                (kind, str(each.questions), f"{each.exact_match:.2f}", f"{each.f1:.2f}")
                for kind, each in sorted(counts.kinds.items(), key=_by_number)
            ]
            header = ("kind", "questions", "exact match", "F1")
            tables.append(markdown_table(header, rows))
        wanted = {name for name, _ in counts.classes.pairs}
        if 1 < len(wanted) <= MOST_CLASSES:
            rows = [
                (name, *(f"{value:.3f}" for value in counts.classes.of(name)))
                for name in sorted(wanted)
            ]
            header = ("answer", "precision", "recall", "F1")
            tables.append(markdown_table(header, rows))
        return "\n\n".join(tables)


def _by_number(item: tuple[str, AnswerCounts]) -> tuple[int, str]:
    """Kinds that are numbers in their order."""
    kind = item[0]
    return int(kind) if kind.isdecimal() else 0, kind
