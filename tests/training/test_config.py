import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from configs import (
    char_shakespeare,
    default,
    dialogue,
    question_answering,
    summarization,
    translation,
    word_ptb,
)
from wmlstm_jax.training import parse_config
from wmlstm_jax.training.config import MeshConfig, config_differences, to_settings
from wmlstm_jax.training.objectives import make_objective, num_params
from wmlstm_jax.training.schema import flatten

CONFIGS = [
    importlib.import_module(f"configs.{path.stem}")
    for path in sorted(Path(default.__file__).parent.glob("*.py"))
    if path.stem not in ("__init__", "default")
]


def settings(**changes):
    """The default settings with some changed, `data__window=3` for data.window."""
    config = default.get_config().to_dict()
    for path, value in changes.items():
        *groups, name = path.split("__")
        place = config
        for group in groups:
            place = place[group]
        place[name] = value
    return config


def test_the_default_has_every_field_and_survives_json():
    config = parse_config(default.get_config())
    named = [dict(flatten(each)) for each in (settings(), to_settings(config))]
    assert sorted(named[0]) == sorted(named[1])
    assert parse_config(json.loads(json.dumps(to_settings(config)))) == config


def test_an_older_run_has_the_defaults_of_fields_that_came_later():
    older = settings()
    del older["model"]["num_blocks"], older["mesh"]["fsdp"]
    assert parse_config(older) == parse_config(settings())


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.__name__)
def test_every_mode_parses(file):
    for mode in file.MODES:
        parsed = parse_config(file.get_config(mode))
        assert parsed.compare == (mode == "compare")
        assert (parsed.num_steps == 2) == (mode == "smoke")
        assert num_params(make_objective(parsed, 300)) > 1000
    with pytest.raises(ValueError, match="the mode is 'smok'"):
        file.get_config("smok")


@pytest.mark.parametrize(
    ("file", "mode", "vocab_size"),
    [
        (char_shakespeare, "", 65),
        (word_ptb, "", 10_000),
        (translation, "", 8_003),
        (question_answering, "", 8_003),
        (question_answering, "babi", 190),
        (summarization, "", 8_003),
        (dialogue, "", 8_003),
    ],
)
def test_the_lstm_of_a_config_is_of_its_size(file, mode, vocab_size):
    sizes = [
        num_params(make_objective(parse_config(file.get_config(each)), vocab_size))
        for each in (mode, f"{mode}_lstm".strip("_"))
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model__num_slot": 3},
            "config.model has no field num_slot; did you mean num_",
        ),
        ({"zzz": 3}, "config has no field zzz; it has task, seed,"),
        ({"\n": 3}, r"config has no field '\\n'; it has task, seed,"),
        ({"model": 3}, "config.model is 3; it must hold embed_dim"),
        ({"num_steps": "3"}, "config.num_steps is '3'; it must be of type int"),
        ({"num_steps": True}, "config.num_steps is True; it must be of type int"),
        ({"compare": 1}, "config.compare is 1; it must be of type bool"),
        (
            {"model__read_modes": ("content", 0.5)},
            r"config.model.read_modes\[1\] is 0.5; it must be of type str or int",
        ),
        ({"vocab_share": 1.5}, r"config.vocab_share is 1.5; it must be in \[0, 1\]"),
        ({"label_smoothing": 1.0}, r"config.label_smoothing is 1.0; it must be in \[0"),
        ({"nonfinite": "rol_back"}, "config.nonfinite.*did you mean roll_back"),
        ({"unsaved": "goon"}, "config.unsaved.*did you mean go_on"),
        ({"num_steps": 0}, "config.num_steps is 0; it must be positive"),
        ({"data__window": 0}, "data.window is 0; it must be positive"),
        ({"optimizer__learning_rate": 0.0}, "optimizer.learning_rate is 0.0"),
        ({"sample__prompt": ""}, "sample.prompt is empty"),
        ({"sample__top_p": 1.5}, "sample.top_p is 1.5; it must be at most 1"),
        ({"sample__temperature": 0.0}, "sample.temperature is 0.0; it must be posi"),
        ({"optimizer__beta1": 1.0}, r"optimizer.beta1 is 1.0; it must be in \[0, 1\)"),
        ({"optimizer__beta2": -0.1}, r"optimizer.beta2 is -0.1; it must be in"),
        ({"optimizer__weight_decay": -1.0}, "weight_decay is -1.0; it must be at leas"),
        ({"encoder__coverage": 1.0}, "encoder.coverage is 1.0; it must be 0 for con"),
        ({"hear_targets": False}, "config.hear_targets is False; it must be True but"),
        ({"data__target_path": "x"}, "data.target_path is 'x'; it must be '' for con"),
        ({"data__max_source": 3}, "data.max_source is 3; it must be 0 for config.ta"),
        ({"model__embed_dim": 0}, "model.embed_dim is 0; it must be at least 1."),
    ],
)
def test_a_wrong_field_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        parse_config(settings(**changes))


def test_an_absent_field_is_named():
    short = settings()
    del short["data"]["window"]
    with pytest.raises(ValueError, match="config.data.window is absent"):
        parse_config(short)


def test_whole_numbers_and_lists_become_what_the_schema_says():
    config = parse_config(
        settings(
            optimizer__learning_rate=1,
            model__read=True,
            model__read_modes=["content", 1],
        )
    )
    assert type(config.optimizer.learning_rate) is float
    assert config.model.read_modes == ("content", 1)


def test_differences_are_named():
    config = parse_config(default.get_config())
    other = replace(config, seed=7, data=replace(config.data, window=3))
    elsewhere = replace(config, mesh=MeshConfig(data=4))
    assert config_differences(config, elsewhere) == []
    assert config_differences(config, config) == []
    assert config_differences(config, other) == [
        f"seed: {config.seed}, now 7",
        f"data.window: {config.data.window}, now 3",
    ]
