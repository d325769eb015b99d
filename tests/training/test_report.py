from dataclasses import replace

import pytest

from wmlstm_jax.training.compare import compare, matched_lstm
from wmlstm_jax.training.report import continue_text, load, markdown_table, score_table
from wmlstm_jax.training.state import num_params


def test_a_table_lines_up():
    assert markdown_table(("name", "n"), [("a", "10"), ("long one", "3")]) == (
        "| name     |  n |\n| -------- | -: |\n| a        | 10 |\n| long one |  3 |"
    )


def test_the_scores_are_those_of_training(trained):
    table = score_table(load(trained, "latest"))
    assert [row.split("|")[1].strip() for row in table.splitlines()[2:]] == [
        "validation",
        "validation, reading disabled",
        "test",
        "test, reading disabled",
    ]


def test_equal_seeds_continue_equally(trained, config):
    model = load(trained)
    texts = ["".join(continue_text(model, "1 beside", config.sample)) for _ in range(2)]
    assert texts[0] == texts[1] != ""
    longer = replace(config.sample, num_tokens=12)
    assert "".join(continue_text(model, "1 beside", longer)) != texts[0]
    with pytest.raises(ValueError, match="the prompt is empty"):
        next(continue_text(model, "", config.sample))


def test_no_run_and_no_checkpoint_are_named(tmp_path, trained):
    with pytest.raises(ValueError, match="holds no run"):
        load(tmp_path)
    (tmp_path / "config.json").write_text((trained / "config.json").read_text())
    with pytest.raises(ValueError, match="holds no checkpoint yet"):
        load(tmp_path)


@pytest.mark.parametrize("changes", [{}, {"num_layers": 2}, {"hidden_dim": 96}])
def test_the_plain_lstm_has_as_many_parameters(config, changes):
    wide = {"embed_dim": 64, "hidden_dim": 64, "num_slots": 8, **changes}
    model = replace(config.model, **wide)
    plain = matched_lstm(model, 256)
    assert plain.num_slots == 0
    assert num_params(plain, 256) == pytest.approx(num_params(model, 256), rel=0.01)


def test_a_comparison_tells_the_whole_story(config, tmp_path):
    story = compare(replace(config, num_steps=2), tmp_path)
    for wanted in (
        "| WM-LSTM",
        "| LSTM",
        "validation perplexity",
        config.sample.prompt,
        str(tmp_path / "wm_lstm" / "checkpoints" / "2"),
        str(tmp_path / "lstm" / "checkpoints" / "2"),
    ):
        assert wanted in story
