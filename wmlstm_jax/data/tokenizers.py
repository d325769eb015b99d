"""Tokenisers: text to token ids and back, also while the ids are still arriving."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, Self

import numpy as np

from wmlstm_jax.data.bpe_tokenizer import BpeTokenizer
from wmlstm_jax.data.byte_tokenizer import ByteTokenizer
from wmlstm_jax.data.character_tokenizer import CharacterTokenizer
from wmlstm_jax.data.refusals import damaged, no_such
from wmlstm_jax.data.word_tokenizer import PunctuatedTokenizer, WordTokenizer


class Tokenizer(Protocol):
    """What the rest of the package asks of a tokeniser."""

    @classmethod
    def train(cls, text: str, vocab_size: int) -> Self:
        """A tokeniser for texts like this one; see `train_tokenizer`."""
        ...

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """The tokeniser that `to_json` described; see `tokenizer_from_json`."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint holds: `name`, and whatever else restores an equal one."""
        ...

    @property
    def name(self) -> str:
        """Its name in `TOKENIZERS`."""
        ...

    @property
    def vocab_size(self) -> int:
        """V, the number of tokens."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """Text to `[n]` int32 token ids."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Token ids to text."""
        ...

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Text as the tokens arrive, whole characters only; joined, it is `decode`.

        What stands between two tokens can depend on both of them: to go on with a text,
        stream its tokens too.
        """
        ...

    def unknown(self, text: str) -> list[str]:
        """The pieces of `text` that no token stands for, each once."""
        ...

    def byte_counts(self) -> np.ndarray:
        """How many bytes of text each token stands for, `[V]` int32."""
        ...


TOKENIZERS: dict[str, type[Tokenizer]] = {
    "bytes": ByteTokenizer,
    "characters": CharacterTokenizer,
    "words": WordTokenizer,
    "punctuated": PunctuatedTokenizer,
    "bpe": BpeTokenizer,
}
"""The tokenisers by the name that a config gives."""


def train_tokenizer(name: str, text: str, vocab_size: int) -> Tokenizer:
    """The tokeniser of this name, made for a text.

    Args:
      name: a key of `TOKENIZERS`.
      text: the training text.
      vocab_size: the most tokens it may have, the unknown one counted; 0 is no limit,
        which bpe has to have, and 256 bytes are 256 whatever the text.

    Raises:
      ValueError: there is none of this name, `vocab_size` is not for it, or the text
        has fewer than two different characters or words.
    """
    if name not in TOKENIZERS:
        raise no_such("data.tokenizer", name, TOKENIZERS)
    return TOKENIZERS[name].train(text, vocab_size)


def tokenizer_from_json(saved: dict[str, Any]) -> Tokenizer:
    """A tokeniser equal to the one whose `to_json` this is.

    Raises:
      ValueError: it is none, or damaged.
    """
    name = saved.get("name") if isinstance(saved, dict) else None
    if not isinstance(name, str) or name not in TOKENIZERS:
        raise damaged(f"its name is {name!r}, not {' or '.join(TOKENIZERS)}")
    return TOKENIZERS[name].from_json(saved)
