"""The settings of a run: one schema, checked field by field.

`configs/default.py` gives every field its value and its reason; these dataclasses say
which fields there are and of what type.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wmlstm_jax.data.refusals import no_such
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.training.data_config import DataConfig
from wmlstm_jax.training.optimizer_config import OptimizerConfig
from wmlstm_jax.training.schema import flatten, parse, require, require_positive

LANGUAGE_MODELING = "language_modeling"
ANSWERING = "question_answering"
TASKS = (
    LANGUAGE_MODELING,
    "translation",
    ANSWERING,
    "summarization",
    "dialogue",
)
"""What a model can be trained for; all but the first have sources and targets."""
_OF_EXAMPLES = (
    "target_path",
    "validation_target_path",
    "test_target_path",
    "source_fields",
    "target_field",
    "kind_field",
    "skip_bad",
    "max_source",
    "max_target",
)
"""Settings of data that no text has."""
NONFINITE = ("skip", "stop", "roll_back")
"""What a loss or gradient that is not finite is answered with."""
UNSAVED = ("stop", "go_on")
"""What a checkpoint that cannot be written is answered with."""


@dataclass(frozen=True)
class EncoderConfig:
    """What reads the sources of examples.

    Args:
      num_layers: 0 leaves it to the model itself: one stream of source and target.
      readout: then an answer of one word is read out of the memory that is left after
        the source, and nothing else is said.
      hidden_dim: as in `Seq2SeqConfig`, like the two after it.
      num_slots: likewise.
      bidirectional: likewise.
      coverage: the weight in the loss of pointing where one had pointed; above 0 the
        copy head also knows where it had (See et al. 2017, "Get to the point").
    """

    num_layers: int
    readout: bool
    hidden_dim: int
    num_slots: int
    bidirectional: bool
    coverage: float

    def __post_init__(self):
        require("encoder", self, ("num_layers", "num_slots", "coverage"), 0)
        require_positive("encoder", self, ("hidden_dim",))
        if self.coverage and not self.num_layers:
            raise ValueError(
                f"encoder.coverage is {self.coverage}; it must be 0 without an encoder."
            )
        if self.readout and self.num_layers:
            raise ValueError(
                "encoder.readout asks the memory of the model itself; set"
                " encoder.num_layers to 0."
            )


@dataclass(frozen=True)
class SearchConfig:
    """How targets are searched.

    Args:
      size: as in `wmlstm_jax.inference.Beam`, like the two after it.
      length_penalty: likewise.
      block_ngram: likewise.
      early_stop: likewise.
      max_length: tokens of what is said, the end counted.
    """

    size: int
    length_penalty: float
    block_ngram: int
    early_stop: bool
    max_length: int

    def __post_init__(self):
        require_positive("search", self, ("size", "max_length"))
        require("search", self, ("length_penalty", "block_ngram"), 0)


@dataclass(frozen=True)
class MeshConfig:
    """How many devices work together, in each way.

    Args:
      data: those that share a batch; 0 is all that the other axes leave.
      fsdp: those that share a batch, and the parameters too.
      model: those that share heads with their blocks of the recurrence.
    """

    data: int
    fsdp: int = 1
    model: int = 1

    def __post_init__(self):
        require("mesh", self, ("data",), 0)
        require("mesh", self, ("fsdp", "model"), 1)


@dataclass(frozen=True)
class SampleConfig:
    """How texts are generated.

    Args:
      prompt: what the text continues that `compare` ends with.
      num_tokens: how many tokens.
      temperature: as in `wmlstm_jax.inference.Sample`.
      top_p: likewise.
    """

    prompt: str
    num_tokens: int
    temperature: float
    top_p: float

    def __post_init__(self):
        require_positive("sample", self, ("num_tokens", "temperature", "top_p"))
        if self.top_p > 1:
            raise ValueError(f"sample.top_p is {self.top_p}; it must be at most 1.")
        if not self.prompt:
            raise ValueError("sample.prompt is empty; a text has to start somewhere.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes.

    Args:
      task: a name in `TASKS`.
      seed: of parameters, dropout, the order of examples, and samples.
      num_steps: how long to train.
      log_every: steps between lines of progress.
      eval_every: steps between validations; each ends in a checkpoint.
      vocab_share: of the loss, in [0, 1]: the vocabulary alone, as if the model could
        not copy. Else what is easy to copy is not learned; one that does not copy has
        no difference between the two.
      label_smoothing: in [0, 1): of the loss, that of saying all tokens alike.
      watch_memory: at every validation also reports what the memory did with a training
        batch, as `wmlstm_jax.metrics.MemoryCounts` counts it.
      nonfinite: what a loss or gradient that is not finite is answered with. "skip"
        leaves that update out; parameters, optimiser and streamed carry stay what they
        were. "stop" ends the run. "roll_back" goes back to the last checkpoint, and on
        with the batches that come after.
      unsaved: what a checkpoint or report that cannot be written is answered with:
        "stop" or "go_on", with a warning.
      hear_targets: of questions in one stream with their answers: whether a model hears
        what was said; else it hears start tokens in its place, and no answer gives away
        a later one.
      stem: of summaries, compares words without their endings (ROUGE).
      compare: also train a plain LSTM of as many parameters, beside the model.
      data: the text, or the examples.
      model: the model; of a task with sources and targets, what says the targets.
      encoder: what reads sources.
      search: how targets are searched.
      optimizer: the optimiser.
      mesh: the devices; another one gives the same numbers, to rounding.
      sample: how texts are generated.
    """

    task: str
    seed: int
    num_steps: int
    log_every: int
    eval_every: int
    vocab_share: float
    watch_memory: bool
    nonfinite: str
    unsaved: str
    stem: bool
    compare: bool
    data: DataConfig
    model: ModelConfig
    encoder: EncoderConfig
    search: SearchConfig
    optimizer: OptimizerConfig
    mesh: MeshConfig
    sample: SampleConfig
    hear_targets: bool = True
    label_smoothing: float = 0.0

    def __post_init__(self):
        require_positive("config", self, ("num_steps", "log_every", "eval_every"))
        for field, known in (
            ("task", TASKS),
            ("nonfinite", NONFINITE),
            ("unsaved", UNSAVED),
        ):
            if getattr(self, field) not in known:
                raise no_such(f"config.{field}", getattr(self, field), known)
        if not 0 <= self.vocab_share <= 1:
            raise ValueError(
                f"config.vocab_share is {self.vocab_share}; it must be in [0, 1]."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"config.label_smoothing is {self.label_smoothing}; it must be in"
                " [0, 1)."
            )
        streams = not self.encoder.num_layers and not self.encoder.readout
        if not self.hear_targets and not (streams and self.task == ANSWERING):
            raise ValueError(
                "config.hear_targets is False; it must be True but for"
                f" config.task={ANSWERING} in one stream: encoder.num_layers=0."
            )
        if self.task != LANGUAGE_MODELING:
            return
        for name in _OF_EXAMPLES:
            if value := getattr(self.data, name):
                raise ValueError(
                    f"data.{name} is {value!r}; it must be {type(value)()!r} for"
                    " config.task=language_modeling, which reads a text."
                )
        if self.encoder.coverage:
            raise ValueError(
                f"encoder.coverage is {self.encoder.coverage}; it must be 0 for"
                " config.task=language_modeling, which has no encoder."
            )


def parse_config(settings: Mapping[str, Any]) -> TrainConfig:
    """A `TrainConfig` from nested mappings, such as an `ml_collections.ConfigDict`.

    Raises:
      ValueError: a field is unknown, absent, of another type or out of range; the
        message names it, and for an unknown one what it may have been meant to be.
    """
    return parse(TrainConfig, settings, "config")


def to_settings(config: TrainConfig) -> dict[str, Any]:
    """Nested dicts that survive JSON: `parse_config` gives an equal config back."""
    return asdict(config)


def config_differences(was: TrainConfig, now: TrainConfig) -> list[str]:
    """The fields in which two runs differ, `data.window: 64, now 128`.

    On which devices it computes makes no other run.
    """
    flat_was, flat_now = (dict(flatten(to_settings(config))) for config in (was, now))
    return [
        f"{name}: {flat_was[name]!r}, now {flat_now[name]!r}"
        for name in flat_was
        if flat_was[name] != flat_now[name] and not name.startswith("mesh.")
    ]
