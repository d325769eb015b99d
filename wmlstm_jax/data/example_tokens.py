"""Examples as tokens, words outside the vocabulary among them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wmlstm_jax.data.tokenizers import Tokenizer
from wmlstm_jax.data.word_tokenizer import WordTokenizer


class EncodedExample(NamedTuple):
    """An example as tokens."""

    source: np.ndarray  # [S] int32
    target: np.ndarray  # [T] int32
    words: tuple[str, ...] = ()  # of the source, outside the vocabulary
    cut: bool = False  # something was left off


class Limits(NamedTuple):
    """The most tokens of an example; 0 is no limit."""

    source: int = 0
    target: int = 0  # its end counted


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
        self, texts: Sequence[str], words: Sequence[str] = (), limit: int = 0
    ) -> EncodedExample:
        """Texts to tokens, and the words that `V + i` stand for.

        Args:
          texts: none are no tokens.
          words: that have such tokens already.
          limit: tokens at most, 0 for all. What comes last is what is asked, so of
            several texts the first loses its end, and then the next.

        Returns:
          Without a target.
        """
        numbers = {word: i for i, word in enumerate(words)}
        lengths = [len(self.tokenizer.encode(_led(text))) for text in texts]
        kept = _shorten(lengths, limit)
        parts: list[np.ndarray] = []
        for text, most in zip(texts, kept, strict=True):
            if not most:
                continue
            pieces = self._unknown_pieces(text)
            pieces = {place: piece for place, piece in pieces.items() if place < most}
            for piece in pieces.values():
                numbers.setdefault(piece, len(numbers))
            tokens = self._encode(text, pieces, numbers)[:most]
            parts += [np.array([self.between]), tokens]
        tokens = np.concatenate(parts[1:]) if parts else np.zeros(0)
        nothing = np.zeros(0, np.int32)
        cut = kept != lengths
        return EncodedExample(tokens.astype(np.int32), nothing, tuple(numbers), cut)

    def encode_target(self, text: str, words: Sequence[str]) -> np.ndarray:
        """A text to `[T]` int32 tokens, the end among them.

        Args:
          text: what should be said.
          words: of the source; others that the tokeniser does not know are `unknown`.
        """
        known = {word: i for i, word in enumerate(words)}
        tokens = self._encode(text, self._unknown_pieces(text), known)
        return np.append(tokens, self.end).astype(np.int32)

    def name(self, token: int, words: Sequence[str] = ()) -> str:
        """The text of a token, or what it stands for, for people."""
        special = {
            self.start: "(start)",
            self.end: "(end)",
            self.between: "(next text)",
        }
        return special.get(int(token)) or self.decode([token], words)

    def decode(self, tokens: Iterable[int], words: Sequence[str] = ()) -> str:
        """Tokens, up to the end if it is there, to text.

        A token that is none of these words has none.
        """
        ids = [int(token) for token in tokens]
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        tokenizer, size = self.tokenizer, self.tokenizer.vocab_size
        if not isinstance(tokenizer, WordTokenizer):
            return tokenizer.decode(token for token in ids if token < size).strip()
        pieces = [
            tokenizer.words[token] if token < size else words[token - self.size]
            for token in ids
            if token < size or self.size <= token < self.size + len(words)
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


def _shorten(lengths: list[int], limit: int) -> list[int]:
    """How much of each text is kept, of `limit` tokens with one between two texts."""
    kept = list(lengths)
    over = sum(kept) + len(kept) - 1 - limit if limit else 0
    for place, length in enumerate(kept):
        if over <= 0:
            break
        if over >= length and place < len(kept) - 1:
            kept[place], over = 0, over - length - 1
        else:
            kept[place], over = max(length - over, 0), 0
    return kept


def _led(text: str) -> str:
    """With a blank before it, so that a word is the same token wherever it stands."""
    return " " + text
