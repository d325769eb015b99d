"""Text as its characters."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wmlstm_jax.data.refusals import damaged
from wmlstm_jax.data.vocabularies import byte_counts, most_frequent

UNKNOWN = "\ufffd"


@dataclass(frozen=True)
class CharacterTokenizer:
    """The characters of a text; any other is U+FFFD, which is always one of them.

    Text of known characters survives exactly.

    Args:
      characters: in the order of Unicode, each once.

    Example:
      >>> CharacterTokenizer.train("hello", vocab_size=0).decode([1, 0, 2])
      'hel'
    """

    characters: str

    name = "characters"

    @classmethod
    def train(cls, text: str, vocab_size: int) -> "CharacterTokenizer":
        """The characters of `text`; with a `vocab_size`, the most frequent of them.

        Raises:
          ValueError: as `train_tokenizer`.
        """
        kept = most_frequent(Counter(text), UNKNOWN, vocab_size, kind="characters")
        return cls("".join(sorted(kept)))

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "CharacterTokenizer":
        """The tokeniser that `to_json` described.

        Raises:
          ValueError: the description is damaged.
        """
        characters = saved.get("characters")
        if not (
            isinstance(characters, str)
            and list(characters) == sorted(set(characters))
            and UNKNOWN in characters
        ):
            raise damaged("characters must be a sorted string that has U+FFFD")
        return cls(characters)

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"name": self.name, "characters": self.characters}

    @property
    def vocab_size(self) -> int:
        """How many characters there are, with U+FFFD."""
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        points = _code_points(text)
        places = np.searchsorted(self._points, points)
        places = np.minimum(places, self.vocab_size - 1)
        unknown = self.characters.index(UNKNOWN)
        known = self._points[places] == points
        return np.where(known, places, unknown).astype(np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive, a character for each."""
        return (self.characters[int(token)] for token in tokens)

    def unknown(self, text: str) -> list[str]:
        """The characters of `text` that are not known, each once."""
        return [piece for piece in dict.fromkeys(text) if piece not in self.characters]

    def byte_counts(self) -> np.ndarray:
        """Bytes of each character in UTF-8, 0 for U+FFFD, `[V]` int32."""
        return byte_counts(self.characters, UNKNOWN)

    @cached_property
    def _points(self) -> np.ndarray:
        return _code_points(self.characters)


def _code_points(text: str) -> np.ndarray:
    # A prompt from a command line can hold halves of surrogate pairs; none is known.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
