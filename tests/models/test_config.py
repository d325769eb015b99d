from dataclasses import replace

import pytest
from flax import nnx

from wmlstm_jax.core import (
    Fifo,
    Gated,
    LeastRecentlyRead,
    LeastUsed,
    MatrixMemory,
    Salience,
    SelectiveFifo,
    SlotMemory,
    TopK,
)
from wmlstm_jax.models import DecoderConfig, LanguageModel, ModelConfig


def test_only_the_last_layer_copies():
    config = ModelConfig(16, 16, num_layers=3, num_slots=4, copy=True)
    assert [config.cell(layer).copy for layer in range(3)] == [False, False, True]


def test_what_nobody_reads_only_the_last_layer_has():
    config = ModelConfig(16, 16, num_layers=2, num_slots=4, read=False, copy=True)
    assert [config.cell(layer).memory.num_slots for layer in range(2)] == [0, 4]
    assert [config.cell(layer).reads for layer in range(2)] == [False, False]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("fifo", Fifo()),
        ("selective", SelectiveFifo()),
        ("salience", Salience()),
        ("least_recently_read", LeastRecentlyRead()),
        ("least_used", LeastUsed()),
        ("top_k", TopK()),
        ("gated", Gated()),
    ],
)
def test_policies_go_by_name(name, policy):
    config = ModelConfig(16, 16, num_slots=4, policy=name)
    assert config.cell(0).memory == SlotMemory(4, policy)


def test_fast_weights_stand_where_slots_do():
    config = ModelConfig(16, 16, num_slots=4, policy="matrix")
    assert config.cell(0).memory == MatrixMemory()
    assert replace(config, num_slots=0).cell(0).memory == SlotMemory(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": 0}, "model.num_layers is 0"),
        ({"mlp_dim": -1}, "model.mlp_dim is -1; it must be at least 0"),
        ({"policy": "lru"}, "model.policy is 'lru'; it must be one of"),
        ({"dropout": 1.0}, r"model.dropout is 1.0; it must be in \[0, 1\)"),
        ({"read_dropout": -0.1}, "model.read_dropout is -0.1"),
        ({"weight_dropout": 1.0}, "model.weight_dropout is 1.0"),
        ({"address_dropout": -0.1}, "model.address_dropout is -0.1"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(16, 16, **settings)


def test_what_copies_has_something_to_copy_from():
    with pytest.raises(ValueError, match="CellConfig.copy is True; it must be False w"):
        LanguageModel(ModelConfig(16, 16, copy=True), 9, rngs=nnx.Rngs(0))
    assert DecoderConfig(16, 16, copy=True).cell(0).copy
