"""The settings of a run: one schema, checked field by field.

`configs/default.py` gives every field its value and its reason; these dataclasses say
which fields there are and of what type.
"""

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from wmlstm_jax.models import ModelConfig


@dataclass(frozen=True)
class DataConfig:
    """Which text, and how it is cut.

    Args:
      source: a name in `wmlstm_jax.data.SOURCES`.
      path: as in `wmlstm_jax.data.load_corpus`, like the six after it.
      validation_path: likewise.
      test_path: likewise.
      text_field: likewise.
      data_dir: likewise.
      validation_fraction: likewise.
      test_fraction: likewise.
      tokenizer: a name in `wmlstm_jax.data.TOKENIZERS`.
      vocab_size: as in `wmlstm_jax.data.train_tokenizer`.
      batch_size: B, streams read side by side, over all devices.
      window: T, tokens per stream and step: how far gradients reach back.
    """

    source: str
    path: str
    validation_path: str
    test_path: str
    text_field: str
    data_dir: str
    validation_fraction: float
    test_fraction: float
    tokenizer: str
    vocab_size: int
    batch_size: int
    window: int

    def __post_init__(self):
        _require_positive("data", self, ("batch_size", "window"))


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW under a warm-up and a cosine, with the gradient clipped.

    Args:
      learning_rate: the peak.
      warmup_steps: linear from 0 to the peak.
      final_fraction: of the peak, where the cosine ends at the last step.
      weight_decay: of the kernels; biases, norms and scales have none.
      beta1: decay of the mean gradient.
      beta2: decay of the mean square gradient.
      clip_norm: of the whole gradient.
    """

    learning_rate: float
    warmup_steps: int
    final_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    clip_norm: float

    def __post_init__(self):
        _require_positive("optimizer", self, ("learning_rate", "clip_norm"))


@dataclass(frozen=True)
class MeshConfig:
    """How many devices work together, in each way.

    Args:
      data: those that share a batch; 0 is all there are.
    """

    data: int

    def __post_init__(self):
        if self.data < 0:
            raise ValueError(f"mesh.data is {self.data}; it must be at least 0.")


@dataclass(frozen=True)
class SampleConfig:
    """The text that is generated for a look at the model.

    Args:
      prompt: what it continues.
      num_tokens: how many tokens.
      temperature: as in `wmlstm_jax.inference.Sample`.
      top_p: likewise.
    """

    prompt: str
    num_tokens: int
    temperature: float
    top_p: float

    def __post_init__(self):
        _require_positive("sample", self, ("num_tokens",))
        if not self.prompt:
            raise ValueError("sample.prompt is empty; a text has to start somewhere.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes.

    Args:
      seed: of parameters, dropout and samples.
      num_steps: how long to train.
      log_every: steps between lines of progress.
      eval_every: steps between validations; each ends in a checkpoint.
      vocab_share: of the loss, in [0, 1]: the vocabulary alone, as if the model could
        not copy. Else what is easy to copy is not learned; one that does not copy has
        no difference between the two.
      compare: also train a plain LSTM of as many parameters, beside the model.
      data: the text.
      model: the model.
      optimizer: the optimiser.
      mesh: the devices; another one gives the same numbers, to rounding.
      sample: the text generated at the end.
    """

    seed: int
    num_steps: int
    log_every: int
    eval_every: int
    vocab_share: float
    compare: bool
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    mesh: MeshConfig
    sample: SampleConfig

    def __post_init__(self):
        _require_positive("config", self, ("num_steps", "log_every", "eval_every"))
        if not 0 <= self.vocab_share <= 1:
            raise ValueError(
                f"config.vocab_share is {self.vocab_share}; it must be in [0, 1]."
            )


def parse_config(settings: Mapping[str, Any]) -> TrainConfig:
    """A `TrainConfig` from nested mappings, such as an `ml_collections.ConfigDict`.

    Raises:
      ValueError: a field is unknown, absent, of another type or out of range; the
        message names it, and for an unknown one what it may have been meant to be.
    """
    return _parse(TrainConfig, settings, "config")


def to_settings(config: TrainConfig) -> dict[str, Any]:
    """Nested dicts that survive JSON: `parse_config` gives an equal config back."""
    return asdict(config)


def config_differences(was: TrainConfig, now: TrainConfig) -> list[str]:
    """The fields in which two runs differ, `data.window: 64, now 128`.

    On which devices it computes makes no other run.
    """
    flat_was, flat_now = (dict(_flatten(to_settings(config))) for config in (was, now))
    return [
        f"{name}: {flat_was[name]!r}, now {flat_now[name]!r}"
        for name in flat_was
        if flat_was[name] != flat_now[name] and not name.startswith("mesh.")
    ]


def _parse(schema, settings, where):
    hints = typing.get_type_hints(schema)
    names = [field.name for field in fields(schema)]
    if not isinstance(settings, Mapping) and not hasattr(settings, "items"):
        raise ValueError(f"{where} is {settings!r}; it must hold {', '.join(names)}.")
    for name in settings.keys():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}."
            )
            raise ValueError(f"{where} has no field {name}; {hint}")
    for name in names:
        if name not in settings:
            raise ValueError(f"{where}.{name} is absent; configs/default.py has it.")
    return schema(
        **{
            name: _value(hints[name], settings[name], f"{where}.{name}")
            for name in names
        }
    )


def _value(hint, value, where):
    if is_dataclass(hint):
        return _parse(hint, value, where)
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return tuple(_value(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if hint is float and type(value) is int:
        return float(value)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(value) not in allowed:
        wanted = " or ".join(getattr(kind, "__name__", "tuple") for kind in allowed)
        raise ValueError(f"{where} is {value!r}; it must be of type {wanted}.")
    return value


def _flatten(settings, prefix=""):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _require_positive(where, config, names):
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(
                f"{where}.{name} is {getattr(config, name)}; it must be positive."
            )
