"""ROUGE of summaries, as rouge-score computes it, in counts that add up."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from rouge_score.rouge_scorer import RougeScorer


class RougeCounts(NamedTuple):
    """Sums over summaries; add two with `plus`, read scores at the end."""

    summaries: int = 0
    rouge1: float = 0.0  # sums of F1, of words
    rouge2: float = 0.0  # of pairs of words
    rouge_l: float = 0.0  # of the longest common subsequence

    def plus(self, other: "RougeCounts") -> "RougeCounts":
        """The counts of both sets together."""
        return RougeCounts(
            self.summaries + other.summaries,
            self.rouge1 + other.rouge1,
            self.rouge2 + other.rouge2,
            self.rouge_l + other.rouge_l,
        )

    @property
    def scores(self) -> tuple[float, float, float]:
        """Mean F1 of ROUGE-1, 2 and L in percent; NaN without summaries."""
        count = self.summaries or math.nan
        one, two, long = self.rouge1, self.rouge2, self.rouge_l
        return 100 * one / count, 100 * two / count, 100 * long / count


def count_rouge(
    summary: str, references: Sequence[str], *, stem: bool = True
) -> RougeCounts:
    """Counts one summary (Lin 2004); of several references each score takes the best.

    Args:
      summary: what was said.
      references: what it could have been.
      stem: compares words without their endings (Porter's stemmer, English).

    Raises:
      ValueError: there is no reference.
    """
    if not references:
        raise ValueError("a summary has no reference; give it at least one.")
    found = _scorer(stem).score_multi(references, summary)
    names = ("rouge1", "rouge2", "rougeL")
    return RougeCounts(1, *(float(found[name].fmeasure) for name in names))


@functools.cache
def _scorer(stem: bool) -> RougeScorer:
    return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stem)
