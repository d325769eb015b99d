"""Examples as tokens, words outside the vocabulary among them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wmlstm_jax.data.examples import Example
from wmlstm_jax.data.tokenizers import Tokenizer
from wmlstm_jax.data.word_tokenizer import WordTokenizer


class EncodedExample(NamedTuple):
    """An example as tokens."""

    source: np.ndarray  # [S] int32
    target: np.ndarray  # [T] int32
    words: tuple[str, ...] = ()  # of the source, outside the vocabulary


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a tokeniser, and those that no text stands for.

    V is all of them together. Token `V + i` is word i of one example that the tokeniser
    does not know: it can only be copied (See et al. 2017, "Get to the point").

    Args:
      tokenizer: of sources and targets together.
    """

    tokenizer: Tokenizer

    @property
    def start(self) -> int:
        """The token before a target."""
        return self.tokenizer.vocab_size

    @property
    def end(self) -> int:
        """The token that ends a target."""
        return self.tokenizer.vocab_size + 1

    @property
    def between(self) -> int:
        """The token between two texts of a source."""
        return self.tokenizer.vocab_size + 2

    @property
    def size(self) -> int:
        """V."""
        return self.tokenizer.vocab_size + 3

    @property
    def unknown(self) -> int:
        """The token that is taken in for a word outside the vocabulary."""
        if isinstance(self.tokenizer, WordTokenizer):
            return self.tokenizer.unknown_token
        return 0

    def byte_counts(self) -> np.ndarray:
        """How many bytes of text each token stands for, `[V]` int32."""
        return np.pad(self.tokenizer.byte_counts(), (0, 3))

    def encode_source(
        self, texts: Sequence[str], words: Sequence[str] = ()
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Texts to `[S]` int32 tokens, and the words that `V + i` stand for.

        Args:
          texts: none are no tokens.
          words: that have such tokens already.
        """
        numbers = {word: i for i, word in enumerate(words)}
        parts: list[np.ndarray] = []
        for text in texts:
            pieces = self._unknown_pieces(text)
            for piece in pieces.values():
                numbers.setdefault(piece, len(numbers))
            parts += [np.array([self.between]), self._encode(text, pieces, numbers)]
        tokens = np.concatenate(parts[1:]) if parts else np.zeros(0)
        return tokens.astype(np.int32), tuple(numbers)

    def encode_target(self, text: str, words: Sequence[str]) -> np.ndarray:
        """A text to `[T]` int32 tokens, the end among them.

        Args:
          text: what should be said.
          words: of the source; others that the tokeniser does not know are `unknown`.
        """
        known = {word: i for i, word in enumerate(words)}
        tokens = self._encode(text, self._unknown_pieces(text), known)
        return np.append(tokens, self.end).astype(np.int32)

    def encode(self, example: Example) -> EncodedExample:
        """Source and first reference."""
        source, words = self.encode_source(example.source)
        return EncodedExample(
            source, self.encode_target(example.references[0], words), words
        )

    def decode(self, tokens: Iterable[int], words: Sequence[str] = ()) -> str:
        """Tokens, up to the end if it is there, to text."""
        ids = [int(token) for token in tokens]
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        tokenizer, size = self.tokenizer, self.tokenizer.vocab_size
        if not isinstance(tokenizer, WordTokenizer):
            return tokenizer.decode(token for token in ids if token < size).strip()
        pieces = [
            tokenizer.words[token] if token < size else words[token - self.size]
            for token in ids
            if token < size or token >= self.size
        ]
        return "".join(tokenizer.join(pieces)).strip()

    def _encode(self, text, pieces: dict[int, str], words: dict[str, int]):
        tokens = self.tokenizer.encode(_led(text)).copy()
        for place, piece in pieces.items():
            if piece in words:
                tokens[place] = self.size + words[piece]
        return tokens

    def _unknown_pieces(self, text: str) -> dict[int, str]:
        """The words that the tokeniser does not know, by their places."""
        if not isinstance(self.tokenizer, WordTokenizer):
            return {}
        pieces = self.tokenizer.split(_led(text))
        unknown = self.tokenizer.encode(_led(text)) == self.tokenizer.unknown_token
        return {int(place): pieces[place] for place in np.flatnonzero(unknown)}


def _led(text: str) -> str:
    """With a blank before it, so that a word is the same token wherever it stands."""
    return " " + text
