"""Tokenisers: text to token ids and back, also while the ids are still arriving."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np


class Tokenizer(Protocol):
    """What the rest of the package asks of a tokeniser."""

    name: str
    vocab_size: int

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text."""
        ...

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive, whole characters only."""
        ...

    def byte_counts(self) -> np.ndarray:
        """How many bytes of text each token stands for, `[V]` int32."""
        ...


class ByteTokenizer:
    """The 256 bytes of UTF-8: nothing to learn, nothing unknown.

    Example:
      >>> ByteTokenizer().encode("né").tolist()
      [110, 195, 169]
    """

    name = "bytes"
    vocab_size = 256

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive; a character is held back until it is whole."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in tokens:
            if piece := decoder.decode(bytes([int(token)])):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest

    def byte_counts(self) -> np.ndarray:
        """One byte for every token, `[V]` int32."""
        return np.ones(self.vocab_size, np.int32)


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {"bytes": ByteTokenizer}
"""The tokenisers by the name that a config gives."""


def load_tokenizer(name: str) -> Tokenizer:
    """The tokeniser of this name.

    Raises:
      ValueError: there is none.
    """
    if name not in TOKENIZERS:
        raise ValueError(
            f"data.tokenizer is {name!r}; it must be one of {sorted(TOKENIZERS)}."
        )
    return TOKENIZERS[name]()
