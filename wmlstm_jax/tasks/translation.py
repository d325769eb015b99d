"""Translation: one reference or several for each source."""

from wmlstm_jax.data.examples import Example
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.metrics.translation import Translations, score_translations


class Translation:
    """BLEU and chrF of all translations together."""

    def count(self, said: str, example: Example) -> Translations:
        """One translation; `plus` adds two of them.

        Args:
          said: the translation.
          example: what it is of.
        """
        return Translations((said,), (example.references,))

    def scores(self, counts: Translations) -> dict[str, float | str]:
        """In percent, with the signatures that say how they are computed.

        BLEU three ways: as sacrebleu splits words, without case, and of words as they
        stand between blanks, for text that was tokenised before.
        """
        plain = score_translations(counts)
        lower = score_translations(counts, lowercase=True)
        split = score_translations(counts, tokenize="none")
        return {
            "BLEU": plain.bleu,
            "BLEU without case": lower.bleu,
            "BLEU as tokenized": split.bleu,
            "chrF": plain.chrf,
            "BLEU signature": plain.bleu_signature,
            "BLEU without case signature": lower.bleu_signature,
            "BLEU as tokenized signature": split.bleu_signature,
            "chrF signature": plain.chrf_signature,
        }

    def table(self, counts: Translations) -> str:
        """The scores in Markdown, and their signatures."""
        scores = self.scores(counts)
        named = {n: value for n, value in scores.items() if isinstance(value, float)}
        rows = [(name, f"{value:.2f}") for name, value in named.items()]
        signatures = [f"{name}: {scores[f'{name} signature']}" for name in named]
        return "\n".join([markdown_table(("score", "%"), rows), "", *signatures])
