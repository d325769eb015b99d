"""Windows over a long text, in order, so that the carry can pass from each to the next.

A text is cut into as many streams as the batch has rows; window i is the i-th piece of
every stream. Batch k is therefore a function of k alone, and the one integer k is the
whole position in the data: any number of hosts can resume from it.
"""

from collections.abc import Iterator
from typing import Protocol

import grain
import numpy as np

Batch = dict[str, np.ndarray]
"""Arrays that lead with B. Of a text: `inputs`, `targets [B, T]` int32; `valid`,
`reset [B, T]` bool."""


class Batches(Protocol):
    """Random access to batches."""

    def __len__(self) -> int:
        """Batches of one pass."""
        ...

    def __getitem__(self, index: int) -> Batch:
        """Batch `index`, which may lie many passes later."""
        ...


class StreamWindows:
    """Random access to the windows of one pass over a text.

    Every token but the first is a target exactly once. The streams differ in length by
    one token at most; what a window has beyond the end of its stream is not valid.

    Args:
      tokens: `[n]` integer, the text.
      batch_size: B, over all shards.
      window: T, tokens per row.
      shard: which share of the rows this host takes, of `num_shards`.
      num_shards: how many hosts there are; each row is the same for any number.
      name: of the text, for messages.

    Raises:
      ValueError: the text has fewer targets than the batch has rows, or the batch does
        not divide by the shards.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        batch_size: int,
        window: int,
        *,
        shard: int = 0,
        num_shards: int = 1,
        name: str = "text",
    ):
        if len(tokens) <= batch_size:
            raise ValueError(
                f"the {name} has {len(tokens)} tokens, too few for data.batch_size ="
                f" {batch_size} rows; use a longer text or fewer rows."
            )
        if batch_size % num_shards:
            raise ValueError(
                f"data.batch_size is {batch_size}; it must divide by the {num_shards}"
                " hosts."
            )
        self._tokens = np.asarray(tokens, np.int32)
        self._window = window
        bounds = np.arange(batch_size + 1) * (len(tokens) - 1) // batch_size
        rows = slice(*(np.array([shard, shard + 1]) * (batch_size // num_shards)))
        self._starts, self._ends = bounds[:-1][rows], bounds[1:][rows]
        self._length = -(-int(np.diff(bounds).max()) // window)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        """Window `index` of every stream of this shard; see `Batch`.

        It may lie passes later.
        """
        index %= len(self)
        offsets = index * self._window + np.arange(self._window)
        positions = self._starts[:, None] + offsets  # [B, T]
        valid = positions < self._ends[:, None]
        positions = np.where(valid, positions, 0)
        reset = np.zeros_like(valid)
        reset[:, 0] = index == 0
        return {
            "inputs": np.where(valid, self._tokens[positions], 0),
            "targets": np.where(valid, self._tokens[positions + 1], 0),
            "valid": valid,
            "reset": reset,
        }


def batches(found: Batches, start: int, stop: int) -> Iterator[Batch]:
    """Batches `start` to `stop`, prepared ahead.

    Args:
      found: random access to them.
      start: the data position: how many batches came before.
      stop: the position to end before; may lie many passes later.
    """
    ahead = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    numbers = grain.MapDataset.range(start, stop)
    yield from numbers.map(found.__getitem__).to_iter_dataset(ahead)
