"""Batches of examples of similar lengths: few programs, little padding, one integer.

A plan says once which examples share a bucket. Batch k is then a function of the seed
and of k alone: any number of hosts, stopped and started again, sees the same order.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmlstm_jax.data.example_tokens import EncodedExample
from wmlstm_jax.data.pipeline import Batch


class Bucket(NamedTuple):
    """Examples that are filled up to the same lengths."""

    source_length: int
    target_length: int
    members: np.ndarray  # [n] int, of the examples


def plan_buckets(
    examples: Sequence[EncodedExample], num_buckets: int, multiple: int = 4
) -> list[Bucket]:
    """Cuts the examples, by length, into buckets of about as many.

    Args:
      examples: at least one.
      num_buckets: the most there may be; each is a program to compile.
      multiple: what the lengths of a bucket are rounded up to.

    Raises:
      ValueError: there is no example or no bucket.
    """
    if not examples or num_buckets < 1:
        raise ValueError(
            f"{len(examples)} examples cannot go into {num_buckets} buckets; give at"
            " least one of each."
        )
    lengths = np.array([(len(each.source), len(each.target)) for each in examples])
    longer = np.maximum(-(-lengths // multiple) * multiple, multiple)
    order = np.lexsort((np.arange(len(examples)), longer[:, 1], longer[:, 0]))
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for members in np.array_split(order, min(num_buckets, len(examples))):
        source, target = longer[members].max(axis=0)
        found.setdefault((int(source), int(target)), []).append(members)
    return [
        Bucket(*size, np.sort(np.concatenate(members)))
        for size, members in found.items()
    ]


class ExampleBatches:
    """Random access to batches of examples, pass after pass, in another order each.

    Every example comes once in a pass. The last batch of a bucket is filled up with
    rows that are not valid.

    Args:
      examples: as tokens.
      buckets: from `plan_buckets`.
      batch_size: B, over all shards.
      start: the token before the first of a target.
      seed: of the order; None keeps one order, by bucket, for evaluation.
      shard: which share of the rows this host takes, of `num_shards`.
      num_shards: how many hosts there are; each row is the same for any number.

    Raises:
      ValueError: the batch does not divide by the shards.
    """

    def __init__(
        self,
        examples: Sequence[EncodedExample],
        buckets: Sequence[Bucket],
        batch_size: int,
        *,
        start: int,
        seed: int | None = None,
        shard: int = 0,
        num_shards: int = 1,
    ):
        if batch_size % num_shards:
            raise ValueError(
                f"data.batch_size is {batch_size}; it must divide by the {num_shards}"
                " hosts."
            )
        self._examples, self._buckets = examples, buckets
        self._batch_size, self._start, self._seed = batch_size, start, seed
        share = batch_size // num_shards
        self._rows = slice(shard * share, (shard + 1) * share)
        self._order = functools.lru_cache(maxsize=2)(self._order_of)

    def __len__(self) -> int:
        """Batches of one pass."""
        return sum(-(-len(b.members) // self._batch_size) for b in self._buckets)

    def __getitem__(self, index: int) -> Batch:
        """Batch `index`, which may lie many passes later.

        `source`, `tokens`, `targets` int32 and `source_valid`, `valid` bool, `[B, S]`
        or `[B, T]` of its bucket; `examples [B]` int32, or -1 for rows that fill up.
        """
        turn, place = divmod(index, len(self))
        bucket, members = self._order(turn)[place]
        return self._fill(self._buckets[bucket], members[self._rows])

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

    def _fill(self, bucket: Bucket, members: np.ndarray) -> Batch:
        source = np.zeros((len(members), bucket.source_length), np.int32)
        targets = np.zeros((len(members), bucket.target_length), np.int32)
        source_valid, valid = source.astype(bool), targets.astype(bool)
        for row, member in enumerate(members):
            if member >= 0:
                example = self._examples[member]
                source[row, : len(example.source)] = example.source
                targets[row, : len(example.target)] = example.target
                source_valid[row, : len(example.source)] = True
                valid[row, : len(example.target)] = True
        tokens = np.roll(targets, 1, axis=1)
        tokens[:, 0] = self._start
        return {
            "source": source,
            "source_valid": source_valid,
            "tokens": tokens,
            "targets": targets,
            "valid": valid,
            "examples": members.astype(np.int32),
        }
