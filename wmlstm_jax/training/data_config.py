"""The settings of a run's data."""

from dataclasses import dataclass

from wmlstm_jax.training.schema import require, require_positive


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is cut.

    Args:
      source: a name in `wmlstm_jax.data.SOURCES` for a text, or in
        `wmlstm_jax.data.EXAMPLE_SOURCES` for sources with targets.
      path: as in `wmlstm_jax.data.load_corpus` or `ExampleFiles`.
      validation_path: likewise.
      test_path: likewise.
      target_path: as in `ExampleFiles`, like the five after it.
      validation_target_path: likewise.
      test_target_path: likewise.
      source_fields: likewise.
      target_field: likewise.
      kind_field: likewise.
      text_field: as in `wmlstm_jax.data.load_corpus`.
      data_dir: likewise.
      validation_fraction: likewise, or as in `load_examples`.
      test_fraction: likewise.
      skip_bad: of examples, leaves out and lists what is none.
      max_source: tokens of a source; 0 is no limit.
      max_target: tokens of a target, its end counted; 0 is no limit.
      too_long: "drop" leaves training examples out that are longer, "truncate" cuts
        them; others are always cut.
      num_buckets: lengths of examples that are compiled for.
      tokenizer: a name in `wmlstm_jax.data.TOKENIZERS`.
      vocab_size: as in `wmlstm_jax.data.train_tokenizer`.
      batch_size: B, streams or examples side by side, over all devices.
      window: T, tokens per stream and step: how far gradients reach back.
    """

    source: str
    path: str
    validation_path: str
    test_path: str
    target_path: str
    validation_target_path: str
    test_target_path: str
    source_fields: tuple[str, ...]
    target_field: str
    kind_field: str
    text_field: str
    data_dir: str
    validation_fraction: float
    test_fraction: float
    skip_bad: bool
    max_source: int
    max_target: int
    too_long: str
    num_buckets: int
    tokenizer: str
    vocab_size: int
    batch_size: int
    window: int

    def __post_init__(self):
        require_positive("data", self, ("batch_size", "window", "num_buckets"))
        require("data", self, ("max_source", "max_target"), 0)
        if self.too_long not in ("drop", "truncate"):
            raise ValueError(
                f"data.too_long is {self.too_long!r}; it must be drop or truncate."
            )
