"""Text as the bytes of its UTF-8."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ByteTokenizer:
    """The 256 bytes of UTF-8: nothing to learn, nothing unknown.

    Example:
      >>> ByteTokenizer().encode("né").tolist()
      [110, 195, 169]
    """

    name = "bytes"
    vocab_size = 256

    @classmethod
    def train(cls, text: str, vocab_size: int) -> "ByteTokenizer":
        """The same for every text; `vocab_size` may be 0 or 256.

        Raises:
          ValueError: it is another number.
        """
        if vocab_size not in (0, cls.vocab_size):
            raise ValueError(
                f"data.vocab_size is {vocab_size}, and data.tokenizer=bytes always has"
                " 256 tokens; set it to 0."
            )
        return cls()

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "ByteTokenizer":
        """The tokeniser that `to_json` described; there is only one."""
        return cls()

    def to_json(self) -> dict[str, Any]:
        """Its name, which is all there is to it."""
        return {"name": self.name}

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive; a character is held back until it is whole."""
        return stream_utf8(bytes([int(token)]) for token in tokens)

    def unknown(self, text: str) -> list[str]:
        """Nothing: every text has bytes."""
        return []

    def byte_counts(self) -> np.ndarray:
        """One byte for every token, `[V]` int32."""
        return np.ones(self.vocab_size, np.int32)


def stream_utf8(pieces: Iterable[bytes]) -> Iterator[str]:
    """The text of bytes as they arrive, whole characters only.

    Yields:
      No empty strings; what is no UTF-8 becomes U+FFFD.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        if text := decoder.decode(piece):
            yield text
    if rest := decoder.decode(b"", final=True):
        yield rest
