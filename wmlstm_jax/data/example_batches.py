"""Batches of examples of similar lengths: few programs, little padding, one integer.

A plan says once which examples share a bucket. Batch k is then a function of the seed
and of k alone: any number of hosts, stopped and started again, sees the same order.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from wmlstm_jax.data.example_tokens import EncodedExample
from wmlstm_jax.data.pipeline import Batch
from wmlstm_jax.data.turns import Stream

Fill = Callable[[np.ndarray, tuple[int, ...]], Batch]
"""From the numbers of examples, -1 for none, and lengths to fill up to."""
_PLACES = 512
"""Where examples are cut into buckets at most."""


class Bucket(NamedTuple):
    """Examples that are filled up to the same lengths."""

    lengths: tuple[int, ...]
    members: np.ndarray  # [n] int, of the examples


def plan_buckets(
    lengths: np.ndarray, num_buckets: int, multiple: int = 4
) -> list[Bucket]:
    """Cuts the examples, by how long they are, where that leaves the least padding.

    Of several lengths that one counts which is furthest above the shortest there is,
    seen from the mean: a short source with a long target does not lengthen the targets
    of other short sources.

    Args:
      lengths: `[n, d]` int, of each example in every way that it has one.
      num_buckets: the most there may be; each is a program to compile.
      multiple: what the lengths of a bucket are rounded up to.

    Raises:
      ValueError: there is no example or no bucket.
    """
    if not len(lengths) or num_buckets < 1:
        raise ValueError(
            f"{len(lengths)} examples cannot go into {num_buckets} buckets; give at"
            " least one of each."
        )
    longer = np.maximum(-(-lengths // multiple) * multiple, multiple)
    above = longer - longer.min(axis=0)
    size = (above / np.maximum(above.mean(axis=0), 1e-9)).max(axis=1)
    order = np.argsort(size, kind="stable")
    cuts = _least_padding(longer[order], size[order], num_buckets)
    return [
        Bucket(tuple(map(int, longer[members].max(axis=0))), np.sort(members))
        for members in np.split(order, cuts)
    ]


def _least_padding(lengths: np.ndarray, size: np.ndarray, num_parts: int) -> list[int]:
    """Where to cut sorted examples into at most so many parts, between two sizes.

    The sum over parts of `members * longest` is the least that there is; of more
    different sizes than `_PLACES`, some are kept together.

    Args:
      lengths: `[n, d]` int.
      size: `[n]` float, ascending.
      num_parts: 1 or more.
    """
    places = np.flatnonzero(np.diff(size)) + 1
    places = places[:: -(-len(places) // _PLACES) or 1]
    ends = np.array([0, *places, len(lengths)])
    longest = np.maximum.reduceat(lengths, ends[:-1])  # [m, d], between two places
    costs = np.full((len(longest), len(longest)), np.inf)
    for first in range(len(longest)):
        longer = np.maximum.accumulate(longest[first:]).sum(1)
        costs[first, first:] = longer * (ends[first + 1 :] - ends[first])
    # Of the least cost of everything up to a place, and where its last part begins.
    least, begins = costs[0], [np.zeros(len(longest), int)]
    for _ in range(min(num_parts, len(longest)) - 1):
        # [begin, end]: what was before, and one part more.
        more = np.concatenate([[0], least[:-1]])[:, None] + costs
        begins.append(more.argmin(0))
        least = more.min(0)
    cuts, last = [], len(longest) - 1
    for begin in reversed(begins):
        if (first := int(begin[last])) == 0:
            break
        cuts.append(int(ends[first]))
        last = first - 1
    return cuts[::-1]


def lengths_of(examples: Sequence[EncodedExample] | Sequence[Stream]) -> np.ndarray:
    """`[n, d]` int: of sources and targets, or of streams without their last token."""
    return np.array(
        [
            (len(each.tokens) - 1,)
            if isinstance(each, Stream)
            else (len(each.source), len(each.target))
            for each in examples
        ]
    )


def fill_pairs(examples: Sequence[EncodedExample], start: int) -> Fill:
    """Batches of sources with targets.

    `source`, `tokens`, `targets` int32 and `source_valid`, `valid` bool, `[B, S]` or
    `[B, T]`; `examples [B]` int32, or -1 for rows that fill up.

    Args:
      examples: as tokens.
      start: the token before the first of a target.
    """

    def fill(members: np.ndarray, lengths: tuple[int, ...]) -> Batch:
        chosen = [examples[member] if member >= 0 else None for member in members]
        source, source_valid = _padded([e and e.source for e in chosen], lengths[0])
        targets, valid = _padded([e and e.target for e in chosen], lengths[1])
        tokens = np.roll(targets, 1, axis=1)
        tokens[:, 0] = start
        return {
            "source": source,
            "source_valid": source_valid,
            "tokens": tokens,
            "targets": targets,
            "valid": valid,
            "examples": members.astype(np.int32),
        }

    return fill


def fill_streams(streams: Sequence[Stream]) -> Fill:
    """Batches of streams.

    `inputs`, `targets` int32, `present` bool and `valid` bool, where a target was said,
    `[B, T]`; `examples [B]` int32, or -1 for rows that fill up.
    """

    def fill(members: np.ndarray, lengths: tuple[int, ...]) -> Batch:
        chosen = [streams[member] if member >= 0 else None for member in members]
        inputs, present = _padded([e and e.tokens[:-1] for e in chosen], *lengths)
        targets, _ = _padded([e and e.targets[1:] for e in chosen], *lengths)
        valid, _ = _padded([e and e.said[1:] for e in chosen], *lengths)
        return {
            "inputs": inputs,
            "targets": targets,
            "present": present,
            "valid": valid.astype(bool),
            "examples": members.astype(np.int32),
        }

    return fill


def _padded(
    rows: Sequence[np.ndarray | None], length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows filled up with zeros, `[B, length]` int32, and where they are not."""
    filled = np.zeros((len(rows), length), np.int32)
    there = np.zeros((len(rows), length), bool)
    for number, row in enumerate(rows):
        if row is not None:
            filled[number, : len(row)] = row
            there[number, : len(row)] = True
    return filled, there


class ExampleBatches:
    """Random access to batches of examples, pass after pass, in another order each.

    Every example comes once in a pass. The last batch of a bucket is filled up with
    rows that are not valid.

    Args:
      fill: from `fill_pairs` or `fill_streams`.
      buckets: from `plan_buckets`.
      batch_size: B, over all shards.
      seed: of the order; None keeps one order, by bucket, for evaluation.
      shard: which share of the rows this host takes, of `num_shards`.
      num_shards: how many hosts there are; each row is the same for any number.

    Raises:
      ValueError: the batch does not divide by the shards.
    """

    def __init__(
        self,
        fill: Fill,
        buckets: Sequence[Bucket],
        batch_size: int,
        *,
        seed: int | None = None,
        shard: int = 0,
        num_shards: int = 1,
    ):
        if batch_size % num_shards:
            raise ValueError(
                f"data.batch_size is {batch_size}; it must divide by the {num_shards}"
                " hosts."
            )
        self._fill, self._buckets = fill, buckets
        self._batch_size, self._seed = batch_size, seed
        share = batch_size // num_shards
        self._rows = slice(shard * share, (shard + 1) * share)
        self._order = functools.lru_cache(maxsize=2)(self._order_of)

    def __len__(self) -> int:
        """Batches of one pass."""
        return sum(-(-len(b.members) // self._batch_size) for b in self._buckets)

    def __getitem__(self, index: int) -> Batch:
        """Batch `index`, which may lie many passes later, as `fill` gives it."""
        turn, place = divmod(index, len(self))
        bucket, members = self._order(turn)[place]
        return self._fill(members[self._rows], self._buckets[bucket].lengths)

    def _order_of(self, turn: int) -> list[tuple[int, np.ndarray]]:
        """The batches of a pass: which bucket, and which of its members."""
        rng = None if self._seed is None else np.random.default_rng((self._seed, turn))
        batches = []
        for number, bucket in enumerate(self._buckets):
            members = bucket.members if rng is None else rng.permutation(bucket.members)
            missing = -len(members) % self._batch_size
            rows = np.pad(members, (0, missing), constant_values=-1)
            batches += [(number, each) for each in rows.reshape(-1, self._batch_size)]
        if rng is not None:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches
