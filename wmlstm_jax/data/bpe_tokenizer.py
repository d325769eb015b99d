"""Text in pieces that are learnt: byte-level byte pair encoding."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from wmlstm_jax.data.byte_tokenizer import stream_utf8
from wmlstm_jax.data.refusals import damaged

# The library trains in threads, and some versions of it warn of every later fork. On
# two cores the threads save nothing; the variable is still the user's to set.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# The library itself never joins a blank to a character before it, so cutting there
# changes no token, and each different stretch has to be encoded once only.
_STRETCH = re.compile(r".+?(?:(?<=\S)(?=[ \t\n])|\Z)", re.DOTALL)

_BYTES = {bytes([byte]) for byte in range(256)}
_PROBE = "It's 1 né\t→ 🐍 \n\n"


@dataclass(frozen=True)
class BpeTokenizer:
    """Byte pairs, merged by frequency: nothing unknown, and text survives exactly.

    Tokens 0 to 255 are the bytes, in an order of the library's.

    Args:
      serialized: the tokeniser in JSON, as the library `tokenizers` writes it.
    """

    serialized: str

    name = "bpe"

    @classmethod
    def train(cls, text: str, vocab_size: int) -> "BpeTokenizer":
        """Merges the most frequent pair of tokens, again and again.

        The same text gives the same tokeniser. It has fewer than `vocab_size` tokens
        if no pair is left that the text has twice.

        Raises:
          ValueError: `vocab_size` leaves no room beyond the 256 bytes.
        """
        if vocab_size <= 256:
            raise ValueError(
                f"data.vocab_size is {vocab_size}; data.tokenizer=bpe needs more than"
                " the 256 single bytes, for instance 8000."
            )
        library = Tokenizer(models.BPE())
        # Without a space put before the text: it would not survive exactly.
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        library.train_from_iterator(_stretches(text), trainer)
        return cls(library.to_str())

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "BpeTokenizer":
        """The tokeniser that `to_json` described.

        Raises:
          ValueError: the description is damaged.
        """
        try:
            library = Tokenizer.from_str(json.dumps(saved.get("tokenizer")))
            restored = cls(library.to_str())
            ids = library.get_vocab().values()
            whole = (
                sorted(ids) == list(range(len(ids)))
                and {piece for piece in restored._bytes if len(piece) == 1} == _BYTES
                and restored.decode(restored.encode(_PROBE)) == _PROBE
            )
        # Of what it cannot read, the library raises plain Exception.
        except Exception as error:
            raise damaged(f"the library tokenizers says {error}") from error
        if not whole:
            raise damaged("it has no token for some text")
        return restored

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"name": self.name, "tokenizer": json.loads(self.serialized)}

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, with the 256 bytes."""
        return self._library.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        tokens_of = cache(lambda stretch: self._library.encode(stretch).ids)
        tokens = chain.from_iterable(map(tokens_of, _stretches(text)))
        return np.fromiter(tokens, np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self.stream(tokens))

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive; a character is held back until it is whole."""
        return stream_utf8(self._bytes[int(token)] for token in tokens)

    def unknown(self, text: str) -> list[str]:
        """Nothing: every text has bytes."""
        return []

    def byte_counts(self) -> np.ndarray:
        """How many bytes each token stands for, `[V]` int32."""
        return np.array([len(piece) for piece in self._bytes], np.int32)

    @cached_property
    def _library(self) -> Tokenizer:
        return Tokenizer.from_str(self.serialized)

    @cached_property
    def _bytes(self) -> list[bytes]:
        """What each token stands for, `[V]`."""
        byte_of = _byte_of_letter()
        vocab = self._library.get_vocab()
        ordered = sorted(vocab, key=vocab.__getitem__)
        return [bytes(byte_of[letter] for letter in token) for token in ordered]


def _stretches(text: str) -> Iterator[str]:
    return (match.group() for match in _STRETCH.finditer(text))


def _byte_of_letter() -> dict[str, int]:
    """The byte behind each of the 256 letters in which the library writes tokens.

    Printable Latin-1 letters stand for their own byte; letters beyond Latin-1 stand for
    the other bytes, both in ascending order.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = {letter: ord(letter) for letter in letters if ord(letter) < 256}
    others = sorted(set(range(256)) - set(own.values()))
    return own | dict(zip(letters[len(own) :], others, strict=True))
