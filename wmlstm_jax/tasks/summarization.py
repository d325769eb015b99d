"""Summarisation: ROUGE, beside the words with which a text begins."""

from typing import NamedTuple

from wmlstm_jax.data.examples import Example
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.metrics.summaries import NAMES, RougeCounts, count_rouge


class Summaries(NamedTuple):
    """Sums over summaries; add two with `plus`."""

    said: RougeCounts
    lead: RougeCounts  # of the beginning of the source instead

    def plus(self, other: "Summaries") -> "Summaries":
        """The counts of both sets together."""
        return Summaries(self.said.plus(other.said), self.lead.plus(other.lead))


class Summarization:
    """ROUGE-1, 2, L and Lsum, mean F1, and the same of the lead.

    The lead are as many words of the source as the first reference has, which is more
    than a system may know.

    Args:
      stem: as in `count_rouge`.
    """

    def __init__(self, stem: bool = True):
        self._stem = stem

    def count(self, said: str, example: Example) -> Summaries:
        """One summary; `plus` adds two of them.

        Args:
          said: the summary.
          example: what it is of.
        """
        words = " ".join(example.source).split()
        lead = " ".join(words[: len(example.references[0].split())])
        return Summaries(
            *(
                count_rouge(text, example.references, stem=self._stem)
                for text in (said, lead)
            )
        )

    def scores(self, counts: Summaries) -> dict[str, float]:
        """In percent."""
        lead = {f"lead {name}": score for name, score in counts.lead.scores.items()}
        return counts.said.scores | lead

    def table(self, counts: Summaries) -> str:
        """The scores in Markdown."""
        rows = [
            (name, *(f"{score:.2f}" for score in each.scores.values()))
            for name, each in (("summaries", counts.said), ("lead", counts.lead))
        ]
        return markdown_table(("", *NAMES), rows)
