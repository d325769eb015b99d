"""BLEU and chrF of translations, as sacrebleu computes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF


class Translations(NamedTuple):
    """What was said and what could have been; add two with `plus`.

    Scores of a corpus are of all its counts together, and not means over sentences.
    """

    hypotheses: tuple[str, ...] = ()
    references: tuple[tuple[str, ...], ...] = ()  # of each, at least one

    def plus(self, other: "Translations") -> "Translations":
        """Both corpora together."""
        return Translations(
            self.hypotheses + other.hypotheses, self.references + other.references
        )


class TranslationScores(NamedTuple):
    """In percent, each with the signature that says how it was computed."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str


def score_translations(
    translations: Translations, *, lowercase: bool = False, tokenize: str = "13a"
) -> TranslationScores:
    """Scores a corpus (Post 2018).

    Args:
      translations: the corpus.
      lowercase: ignores case.
      tokenize: sacrebleu's name of what splits words for BLEU; "none" takes text that
        is tokenised already at its blanks.

    Raises:
      ValueError: there is nothing to score, or something has no reference.
    """
    hypotheses, references = translations
    if not hypotheses:
        raise ValueError("there are no translations to score; give at least one.")
    if not all(references):
        at = next(i for i, each in enumerate(references) if not each)
        raise ValueError(f"translation {at} has no reference; give it at least one.")
    streams = _streams(references)
    bleu = BLEU(lowercase=lowercase, tokenize=tokenize)
    chrf = CHRF(lowercase=lowercase)
    found = [metric.corpus_score(hypotheses, streams).score for metric in (bleu, chrf)]
    signatures = [str(metric.get_signature()) for metric in (bleu, chrf)]
    return TranslationScores(*found, *signatures)


def _streams(references: Sequence[tuple[str, ...]]) -> Any:
    """The first reference of all, the second of all, and so on; None where it ends."""
    most = max(map(len, references))
    return [
        [each[i] if i < len(each) else None for each in references] for i in range(most)
    ]
