"""Dialogue: a response to all that was said before."""

from collections.abc import Iterator
from typing import NamedTuple

from wmlstm_jax.data.examples import Example
from wmlstm_jax.metrics import Translations, markdown_table, score_translations


class Responses(NamedTuple):
    """Responses in their order; `plus` adds those that come later."""

    pairs: Translations = Translations()
    begins: tuple[bool, ...] = ()  # whether a dialogue begins with it
    right: tuple[bool, ...] = ()  # whether it is one of the references

    def plus(self, other: "Responses") -> "Responses":
        """Both sets, the other after this one."""
        return Responses(
            self.pairs.plus(other.pairs),
            self.begins + other.begins,
            self.right + other.right,
        )

    def dialogues(self) -> Iterator[bool]:
        """Whether all of a dialogue is right, dialogue after dialogue."""
        whole = True
        for number, (begins, right) in enumerate(
            zip(self.begins, self.right, strict=True)
        ):
            if begins and number:
                yield whole
                whole = True
            whole &= right
        if self.right:
            yield whole


class Dialogue:
    """Accuracy by response and by dialogue, BLEU, and how varied the responses are."""

    def count(self, said: str, example: Example) -> Responses:
        """One response; `plus` adds the next.

        Args:
          said: the response.
          example: what it answers.
        """
        said = " ".join(said.split())
        references = tuple(" ".join(each.split()) for each in example.references)
        return Responses(
            Translations((said,), (references,)),
            (example.news is None,),
            (said in references,),
        )

    def scores(self, counts: Responses) -> dict[str, float | str]:
        """In percent; distinct-n is the share of different n-grams (Li et al. 2016)."""
        whole, bleu = list(counts.dialogues()), score_translations(counts.pairs)
        return {
            "accuracy by response": 100 * sum(counts.right) / len(counts.right),
            "accuracy by dialogue": 100 * sum(whole) / len(whole),
            "BLEU": bleu.bleu,
            "distinct-1": distinct(counts.pairs.hypotheses, 1),
            "distinct-2": distinct(counts.pairs.hypotheses, 2),
            "BLEU signature": bleu.bleu_signature,
        }

    def table(self, counts: Responses) -> str:
        """The scores in Markdown, and the signature."""
        scores = self.scores(counts)
        rows = [(n, f"{v:.2f}") for n, v in scores.items() if isinstance(v, float)]
        table = markdown_table(("score", "%"), rows)
        return f"{table}\n\nBLEU: {scores['BLEU signature']}"


def distinct(texts: tuple[str, ...], length: int) -> float:
    """Different runs of so many words, in percent of all; 0 where there is none."""
    runs = [
        tuple(words[start : start + length])
        for words in map(str.split, texts)
        for start in range(len(words) - length + 1)
    ]
    return 100 * len(set(runs)) / len(runs) if runs else 0.0
