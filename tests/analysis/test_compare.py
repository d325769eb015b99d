from dataclasses import replace

import pytest

from wmlstm_jax.analysis.compare import compare, matched_lstm
from wmlstm_jax.training.objectives import LanguageModeling, num_params


@pytest.mark.parametrize("changes", [{}, {"num_layers": 2}, {"hidden_dim": 96}])
def test_the_plain_lstm_has_as_many_parameters(config, changes):
    wide = {"embed_dim": 64, "hidden_dim": 64, "num_slots": 8, **changes}
    model = replace(config.model, **wide)
    plain = matched_lstm(model, 256)
    assert plain.num_slots == 0
    sizes = [num_params(LanguageModeling(each, 256)) for each in (plain, model)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_a_comparison_tells_the_whole_story(config, tmp_path):
    story = compare(replace(config, num_steps=2), tmp_path)
    for wanted in (
        "| WM-LSTM",
        "| LSTM",
        "validation perplexity",
        config.sample.prompt,
        str(tmp_path / "wm_lstm" / "checkpoints" / "2"),
        str(tmp_path / "lstm" / "checkpoints" / "2"),
        "WM-LSTM, reading disabled",
        "LSTM, neural cache of 512",
        str(tmp_path / "memory.png"),
    ):
        assert wanted in story
    assert (tmp_path / "memory.png").stat().st_size


def test_a_prompt_that_cannot_be_is_refused_before_anything_is_trained(
    config, tmp_path
):
    data = replace(config.data, tokenizer="characters")
    sample = replace(config.sample, prompt="1 ß")
    with pytest.raises(ValueError, match="the prompt has 'ß'"):
        compare(replace(config, data=data, sample=sample), tmp_path / "run")
    assert not (tmp_path / "run").exists()
