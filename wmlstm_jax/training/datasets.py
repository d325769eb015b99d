"""What a run reads: a text in streams, or sources with targets."""

from functools import cached_property

import numpy as np

from wmlstm_jax.data import (
    Corpus,
    StreamWindows,
    Tokenizer,
    load_corpus,
    train_tokenizer,
)
from wmlstm_jax.data.example_batches import (
    ExampleBatches,
    fill_pairs,
    fill_streams,
    lengths_of,
    plan_buckets,
)
from wmlstm_jax.data.example_sets import ExampleFiles, ExampleSets, load_examples
from wmlstm_jax.data.example_tokens import EncodedExample, Limits, Vocabulary
from wmlstm_jax.data.turns import (
    Turn,
    asked_in_turns,
    encode_turns,
    group_turns,
    join_turns,
)
from wmlstm_jax.training.config import DataConfig


class TextData:
    """A text, window after window.

    Args:
      config: which.
      tokenizer: of the run, if it has been trained.
    """

    def __init__(self, config: DataConfig, tokenizer: Tokenizer | None = None):
        self._config, self._given = config, tokenizer
        self._tokens: dict[str, np.ndarray] = {}

    @cached_property
    def corpus(self) -> Corpus:
        """The text."""
        config = self._config
        return load_corpus(
            config.source,
            path=config.path,
            validation_path=config.validation_path,
            test_path=config.test_path,
            text_field=config.text_field,
            data_dir=config.data_dir,
            validation_fraction=config.validation_fraction,
            test_fraction=config.test_fraction,
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """As given, or trained on the text."""
        config = self._config
        return self._given or train_tokenizer(
            config.tokenizer, self.corpus.train, config.vocab_size
        )

    @property
    def vocab_size(self) -> int:
        """Of the tokeniser."""
        return self.tokenizer.vocab_size

    @property
    def origin(self) -> dict[str, str]:
        """As the corpus says."""
        return self.corpus.origin

    def byte_counts(self) -> np.ndarray:
        """As the tokeniser says."""
        return self.tokenizer.byte_counts()

    def batches(
        self, split: str, *, shard: int = 0, num_shards: int = 1
    ) -> StreamWindows:
        """The windows of as many streams as the batch has rows."""
        if split not in self._tokens:
            text = getattr(self.corpus, split)
            self._tokens[split] = self.tokenizer.encode(text)
        return StreamWindows(
            self._tokens[split],
            self._config.batch_size,
            self._config.window,
            shard=shard,
            num_shards=num_shards,
            name=f"{split} text",
        )

    def tokens_per_batch(self) -> float:
        """Rows by window."""
        return self._config.batch_size * self._config.window

    def notes(self) -> list[str]:
        """Nothing."""
        return []

    def bad_examples(self) -> list[str]:
        """Nothing."""
        return []


class ExampleData:
    """Sources with targets, in batches of similar lengths.

    Args:
      config: which.
      seed: of the order of the training examples.
      tokenizer: of the run, if it has been trained.
      streams: sources and targets are one text, in which examples that go on from each
        other follow each other.
      hear: as in `encode_turns`, of streams.
      one_word: refuses targets of more than one token and the end.
    """

    def __init__(
        self,
        config: DataConfig,
        seed: int,
        tokenizer: Tokenizer | None = None,
        *,
        streams: bool = False,
        hear: bool = True,
        one_word: bool = False,
    ):
        self._config, self._seed, self._given = config, seed, tokenizer
        self._streams, self._hear, self._one_word = streams, hear, one_word

    @cached_property
    def sets(self) -> ExampleSets:
        """The examples as text."""
        config = self._config
        files = {name: getattr(config, name) for name in vars(ExampleFiles())}
        return load_examples(
            config.source,
            ExampleFiles(**files),
            validation_fraction=config.validation_fraction,
            test_fraction=config.test_fraction,
            skip_bad=config.skip_bad,
        )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """As given, or trained on all sources and targets."""
        if self._given is not None:
            return self._given
        texts = [
            " " + text
            for each in self.sets.train
            for text in (
                *(each.source if each.news is None else each.news),
                each.references[0],
            )
        ]
        config = self._config
        return train_tokenizer(config.tokenizer, "\n".join(texts), config.vocab_size)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens."""
        return Vocabulary(self.tokenizer)

    @property
    def vocab_size(self) -> int:
        """Of the vocabulary."""
        return self.vocabulary.size

    @property
    def origin(self) -> dict[str, str]:
        """As the sets say."""
        return self.sets.origin

    def byte_counts(self) -> np.ndarray:
        """As the vocabulary says."""
        return self.vocabulary.byte_counts()

    def asked(self, split: str) -> list[EncodedExample]:
        """The examples of a split as a model is asked them, in their order.

        In streams, the source of each is all that came before it, what should have been
        said included.
        """
        groups = self._fitting(split)
        if not self._streams:
            return [each.encoded for group in groups for each in group]
        return [e for group in groups for e in asked_in_turns(self.vocabulary, group)]

    def batches(
        self, split: str, *, shard: int = 0, num_shards: int = 1
    ) -> ExampleBatches:
        """Batches of similar lengths; of the training split in an order by the seed."""
        groups = self._fitting(split)
        if not groups:
            raise ValueError(
                f"all {split} examples are longer than data.max_source or"
                " data.max_target; raise them, or set data.too_long to truncate."
            )
        if self._streams:
            rows = [join_turns(self.vocabulary, group) for group in groups]
            fill = fill_streams(rows)
        else:
            rows = [each.encoded for group in groups for each in group]
            fill = fill_pairs(rows, self.vocabulary.start)
        return ExampleBatches(
            fill,
            plan_buckets(lengths_of(rows), self._config.num_buckets),
            self._config.batch_size,
            seed=self._seed if split == "train" else None,
            shard=shard,
            num_shards=num_shards,
        )

    def tokens_per_batch(self) -> float:
        """Of sources and targets together."""
        sizes = [
            sum(len(each.source) + len(each.target) for each, *_ in group)
            for group in self._fitting("train")
        ]
        return float(np.mean(sizes)) * self._config.batch_size

    def notes(self) -> list[str]:
        """Which examples were left out or cut."""
        config, found = self._config, []
        if bad := self.sets.bad:
            found.append(
                f"{len(bad)} examples are bad and left out; bad_examples.txt lists them"
            )
        for split, groups in self._groups.items():
            count = sum(map(len, groups))
            long = sum(each.encoded.cut for group in groups for each in group)
            if not long:
                continue
            what = f"{long} are longer than data.max_source or data.max_target and cut"
            if split == "train" and config.too_long == "drop":
                left = count - sum(map(len, self._fitting(split)))
                what = f"{left} are left out, for what is longer than the limits"
            found.append(f"of {count} {split} examples {what}")
        return found

    def bad_examples(self) -> list[str]:
        """Where each is, and what is wrong with it."""
        return [f"{each.where} {each.reason}" for each in self.sets.bad]

    @property
    def limits(self) -> Limits:
        """Beyond which examples are cut."""
        return Limits(self._config.max_source, self._config.max_target)

    @cached_property
    def _groups(self) -> dict[str, list[list[Turn]]]:
        """The examples of every split as tokens, cut where they are too long."""
        found, limits = {}, self.limits
        for split in ("train", "validation", "test"):
            examples = getattr(self.sets, split)
            alone = [[each] for each in examples]
            groups = group_turns(examples) if self._streams else alone
            found[split] = [
                encode_turns(self.vocabulary, group, limits, hear=self._hear)
                for group in groups
            ]
            if self._one_word and split == "train":
                self._require_one_word(examples, found[split])
        return found

    def _require_one_word(self, examples, encoded) -> None:
        for example, ((each, *_),) in zip(examples, encoded, strict=True):
            if len(each.target) != 2:
                raise ValueError(
                    f"{example.where} has the target {example.references[0]!r} of"
                    f" {len(each.target) - 1} tokens, and encoder.readout says one; set"
                    " it to False."
                )

    def _fitting(self, split: str) -> list[list[Turn]]:
        """The examples, without those that are to be left out for their length.

        What is scored is never left out, or the score would be of easier examples.
        """
        drop = self._config.too_long == "drop" and split == "train"
        return [
            group
            for group in self._groups[split]
            if not (drop and any(each.encoded.cut for each in group))
        ]


Dataset = TextData | ExampleData
"""Three splits as tokens; nothing is read before it is needed."""
