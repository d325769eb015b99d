"""ROUGE of summaries, as rouge-score computes it, in counts that add up."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

_KINDS = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum")


class RougeCounts(NamedTuple):
    """Sums over summaries; add two with `plus`, read scores at the end."""

    summaries: int = 0
    rouge1: float = 0.0  # sums of F1, of words
    rouge2: float = 0.0  # of pairs of words
    rouge_l: float = 0.0  # of the longest common subsequence
    rouge_lsum: float = 0.0  # of those of lines, as published for several sentences

    def plus(self, other: "RougeCounts") -> "RougeCounts":
        """The counts of both sets together."""
        return RougeCounts(
            self.summaries + other.summaries,
            self.rouge1 + other.rouge1,
            self.rouge2 + other.rouge2,
            self.rouge_l + other.rouge_l,
            self.rouge_lsum + other.rouge_lsum,
        )

    @property
    def scores(self) -> dict[str, float]:
        """Mean F1 in percent, by name; NaN without summaries."""
        sums = self.rouge1, self.rouge2, self.rouge_l, self.rouge_lsum
        count = self.summaries or math.nan
        return {n: 100 * total / count for n, total in zip(NAMES, sums, strict=True)}


def count_rouge(
    summary: str, references: Sequence[str], *, stem: bool = True
) -> RougeCounts:
    """Counts one summary (Lin 2004); of several references each score takes the best.

    Args:
      summary: what was said; a line for each sentence, if that is to count.
      references: what it could have been.
      stem: compares words without their endings (Porter's stemmer, English).

    Raises:
      ValueError: there is no reference.
    """
    if not references:
        raise ValueError("a summary has no reference; give it at least one.")
    found = _scorer(stem).score_multi(references, summary)
    return RougeCounts(1, *(float(found[kind].fmeasure) for kind in _KINDS))


@functools.cache
def _scorer(stem: bool) -> Any:
    # A second and a half to import, which most processes never need.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(_KINDS, use_stemmer=stem)
