"""Dialogue: a response to all that was said before."""

import itertools
from typing import NamedTuple

from wmlstm_jax.data.examples import Example
from wmlstm_jax.metrics import Translations, markdown_table, score_translations


class Responses(NamedTuple):
    """Responses in their order; `plus` adds those that come later."""

    pairs: Translations = Translations()
    begins: tuple[bool, ...] = ()  # whether a dialogue begins with it
    right: tuple[bool, ...] = ()  # whether it is one of the references
    kinds: tuple[str, ...] = ()  # of each, such as the number of a task

    def plus(self, other: "Responses") -> "Responses":
        """Both sets, the other after this one."""
        return Responses(
            self.pairs.plus(other.pairs),
            self.begins + other.begins,
            self.right + other.right,
            self.kinds + other.kinds,
        )

    def of(self, kind: str) -> "Responses":
        """Those of a kind, for accuracies: without the texts."""
        chosen = [each == kind for each in self.kinds]
        return Responses(
            begins=tuple(itertools.compress(self.begins, chosen)),
            right=tuple(itertools.compress(self.right, chosen)),
        )

    @property
    def accuracies(self) -> tuple[float, float]:
        """Right responses, and dialogues with nothing wrong, in percent."""
        whole: list[bool] = []
        for begins, right in zip(self.begins, self.right, strict=True):
            if begins or not whole:
                whole.append(True)
            whole[-1] &= right
        by_response = 100 * sum(self.right) / len(self.right)
        return by_response, 100 * sum(whole) / len(whole)


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
            (example.kind,),
        )

    def scores(self, counts: Responses) -> dict[str, float | str]:
        """In percent.

        distinct-n is how many different n-grams there are for each word (Li et al.
        2016, "A diversity-promoting objective function", section 4).
        """
        bleu = score_translations(counts.pairs)
        by_response, by_dialogue = counts.accuracies
        scores: dict[str, float | str] = {
            "accuracy by response": by_response,
            "accuracy by dialogue": by_dialogue,
        }
        if len(kinds := sorted(set(counts.kinds))) > 1:
            for kind in kinds:
                by_response, by_dialogue = counts.of(kind).accuracies
                scores[f"accuracy by response, {kind}"] = by_response
                scores[f"accuracy by dialogue, {kind}"] = by_dialogue
        return scores | {
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
    """Different runs of so many words, in percent of the words; 0 without any."""
    split = [text.split() for text in texts]
    runs = {
        tuple(words[start : start + length])
        for words in split
        for start in range(len(words) - length + 1)
    }
    count = sum(map(len, split))
    return 100 * len(runs) / count if count else 0.0
