"""Which pieces of a text a tokeniser knows, where it cannot know all of them."""

from collections import Counter
from collections.abc import Iterable

import numpy as np


def most_frequent(
    counts: Counter[str], unknown: str, vocab_size: int, *, kind: str
) -> list[str]:
    """The pieces to know, the most frequent first, ties in the order of Unicode.

    Args:
      counts: how often each piece stands in the training text.
      unknown: the piece that stands for all others. It is always known, and as frequent
        as itself and all that is left out.
      vocab_size: how many to know, `unknown` counted; 0 is all.
      kind: what the pieces are, for messages.

    Raises:
      ValueError: `vocab_size` is 1 or negative, or there are fewer than two pieces.
    """
    if vocab_size < 0 or vocab_size == 1:
        raise ValueError(
            f"data.vocab_size is {vocab_size}; it must be at least 2, or 0 for no"
            " limit."
        )
    if len(counts) < 2:
        raise ValueError(
            f"the training text has fewer than two different {kind}, so that there is"
            " nothing to predict; use another text or another data.tokenizer."
        )

    def rank(piece):
        return -counts[piece], piece

    ranked = sorted(counts.keys() - {unknown}, key=rank)
    num_kept = vocab_size - 1 if vocab_size else len(ranked)
    counts[unknown] += sum(counts[piece] for piece in ranked[num_kept:])
    return sorted([*ranked[:num_kept], unknown], key=rank)


def byte_counts(pieces: Iterable[str], unknown: str) -> np.ndarray:
    """Bytes of each piece in UTF-8, `[V]` int32, and none for `unknown`.

    How long the text was that the unknown piece stands for is not known, and this way
    bits per byte come out too high rather than too low.
    """
    sizes = (0 if piece == unknown else len(piece.encode()) for piece in pieces)
    return np.fromiter(sizes, np.int32)
