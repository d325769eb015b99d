"""What a run reads: a text in streams, or sources with targets."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from wmlstm_jax.data import (
    Corpus,
    StreamWindows,
    Tokenizer,
    load_corpus,
    train_tokenizer,
)
from wmlstm_jax.data.example_batches import ExampleBatches, plan_buckets
from wmlstm_jax.data.example_sets import ExampleFiles, ExampleSets, load_examples
from wmlstm_jax.data.example_tokens import EncodedExample, Vocabulary
from wmlstm_jax.training.config import DataConfig


class TextData:
    """A text, window after window.

    Args:
      config: which.
      tokenizer: of the run, if it has been trained.
    """

    def __init__(self, config: DataConfig, tokenizer: Tokenizer | None = None):
        self._config, self._given = config, tokenizer

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
        return StreamWindows(
            self.tokenizer.encode(getattr(self.corpus, split)),
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
    """

    def __init__(
        self, config: DataConfig, seed: int, tokenizer: Tokenizer | None = None
    ):
        self._config, self._seed, self._given = config, seed, tokenizer

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
            for text in (*each.source, each.references[0])
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

    def encoded(self, split: str) -> list[EncodedExample]:
        """The examples of a split as tokens, whatever their lengths."""
        return [self.vocabulary.encode(each) for each in getattr(self.sets, split)]

    def batches(
        self, split: str, *, shard: int = 0, num_shards: int = 1
    ) -> ExampleBatches:
        """Batches of similar lengths; of the training split in an order by the seed."""
        examples = self._fitting(split)
        if not examples:
            raise ValueError(
                f"all {split} examples are longer than data.max_source or"
                " data.max_target; raise them, or set data.too_long to truncate."
            )
        return ExampleBatches(
            examples,
            plan_buckets(examples, self._config.num_buckets),
            self._config.batch_size,
            start=self.vocabulary.start,
            seed=self._seed if split == "train" else None,
            shard=shard,
            num_shards=num_shards,
        )

    def tokens_per_batch(self) -> float:
        """Of sources and targets together."""
        examples = self._fitting("train")
        sizes = [len(each.source) + len(each.target) for each in examples]
        return float(np.mean(sizes)) * self._config.batch_size

    def notes(self) -> list[str]:
        """Which examples were left out or cut."""
        config, found = self._config, []
        if bad := self.sets.bad:
            found.append(
                f"{len(bad)} examples are bad and left out; bad_examples.txt lists them"
            )
        dropped = config.too_long == "drop"
        for split in ("train", "validation", "test"):
            examples = self.encoded(split)
            if many := sum(self._is_long(each) for each in examples):
                what = "left out" if dropped and split == "train" else "cut"
                found.append(
                    f"{many} of {len(examples)} {split} examples are longer than"
                    f" data.max_source or data.max_target and {what}"
                )
        return found

    def bad_examples(self) -> list[str]:
        """Where each is, and what is wrong with it."""
        return [f"{each.where} {each.reason}" for each in self.sets.bad]

    def _is_long(self, example: EncodedExample) -> bool:
        config = self._config
        return 0 < config.max_source < len(
            example.source
        ) or 0 < config.max_target < len(example.target)

    def _fitting(self, split: str) -> Sequence[EncodedExample]:
        """The examples that are neither too long nor left so.

        What is scored is never left out, or the score would be of easier examples.
        """
        drop = self._config.too_long == "drop" and split == "train"
        source, target = (
            slice(limit or None)
            for limit in (self._config.max_source, self._config.max_target)
        )
        return [
            EncodedExample(each.source[source], each.target[target], each.words)
            for each in self.encoded(split)
            if not (drop and self._is_long(each))
        ]


Dataset = TextData | ExampleData
"""Three splits as tokens; nothing is read before it is needed."""
