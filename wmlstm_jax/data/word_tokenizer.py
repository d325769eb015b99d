"""Text as its words: between blanks, or with punctuation apart."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from wmlstm_jax.data.refusals import damaged
from wmlstm_jax.data.vocabularies import byte_counts, most_frequent

UNKNOWN = "<unk>"
"""As in the Penn Treebank, whose text has it as a word."""

_WORD = re.compile(r"\n|[^ \t\n]+")
_PIECE = re.compile(r" ?\w+| ?[^\w\s]|\s")


@dataclass(frozen=True)
class WordTokenizer:
    r"""The words of a text; any other is `<unk>`, which is always one of them.

    A word is what stands between blanks (spaces and tabs); every newline is a token of
    its own. Blanks are not kept as they were: in the decoded text there is one space
    between two words, and none at the start or the end of a line.

    Args:
      words: each once.

    Example:
      >>> words = WordTokenizer.train("the cat\nthe dog\n", vocab_size=0)
      >>> words.decode(words.encode("the  bird \n the cat"))
      'the <unk>\nthe cat'
    """

    words: tuple[str, ...]

    name = "words"

    @classmethod
    def train(cls, text: str, vocab_size: int) -> Self:
        """The words of `text`, the most frequent first, ties in the order of Unicode.

        The words that a `vocab_size` leaves out count for `<unk>`.

        Raises:
          ValueError: as `train_tokenizer`.
        """
        counts = Counter(cls.split(text))
        return cls(tuple(most_frequent(counts, UNKNOWN, vocab_size, kind="words")))

    @staticmethod
    def split(text: str) -> list[str]:
        """The words that `encode` looks up, one for each token."""
        return _WORD.findall(text)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """The tokeniser that `to_json` described.

        Raises:
          ValueError: the description is damaged.
        """
        words = saved.get("words")
        if not (
            isinstance(words, list)
            and all(isinstance(word, str) for word in words)
            and all(word == UNKNOWN or cls.split(word) == [word] for word in words)
            and len(set(words)) == len(words)
            and UNKNOWN in words
        ):
            raise damaged(f"words must be a list of different words with {UNKNOWN}")
        return cls(tuple(words))

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"name": self.name, "words": list(self.words)}

    @property
    def vocab_size(self) -> int:
        """How many words there are, with `<unk>` and, as a rule, the newline."""
        return len(self.words)

    @property
    def unknown_token(self) -> int:
        """The token of `<unk>`."""
        return self._ids[UNKNOWN]

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        unknown = self.unknown_token
        ids = (self._ids.get(word, unknown) for word in self.split(text))
        return np.fromiter(ids, np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text, the blanks as the class says."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive; the space comes with the word after it."""
        return self.join(self.words[int(token)] for token in tokens)

    @staticmethod
    def join(words: Iterable[str]) -> Iterator[str]:
        """Words, known or not, to the text that `split` takes apart."""
        space = ""
        for word in words:
            yield word if word == "\n" else space + word
            space = "" if word == "\n" else " "

    def unknown(self, text: str) -> list[str]:
        """The words of `text` that are not known, each once."""
        return [
            word for word in dict.fromkeys(self.split(text)) if word not in self._ids
        ]

    def byte_counts(self) -> np.ndarray:
        """Bytes of each word and of a blank beside it, `[V]` int32.

        A newline counts 1 and `<unk>` 0. A line has one blank fewer than words, unless
        it starts or ends in one: there, this is a byte too many.
        """
        blanks = [word not in ("\n", UNKNOWN) for word in self.words]
        return byte_counts(self.words, UNKNOWN) + np.array(blanks, np.int32)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}


@dataclass(frozen=True)
class PunctuatedTokenizer(WordTokenizer):
    """Words, punctuation marks and blanks, of which one belongs to what follows it.

    Text of known words survives exactly. A word has another token at the start of a
    line than behind a blank.

    Args:
      words: each once.

    Example:
      >>> PunctuatedTokenizer.split("The cat's  mat.")
      ['The', ' cat', "'", 's', ' ', ' mat', '.']
    """

    name = "punctuated"

    @staticmethod
    def split(text: str) -> list[str]:
        """The pieces that `encode` looks up, one for each token."""
        return _PIECE.findall(text)

    @staticmethod
    def join(words: Iterable[str]) -> Iterator[str]:
        """Pieces, known or not, to the text that `split` takes apart."""
        yield from words

    def byte_counts(self) -> np.ndarray:
        """Bytes of each piece, and 0 for `<unk>`, `[V]` int32."""
        return byte_counts(self.words, UNKNOWN)
