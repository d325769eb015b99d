import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from tests.training.conftest import TEXT
from wmlstm_jax.analysis import capacity, score, score_table, write_scores
from wmlstm_jax.training import parse_config, train
from wmlstm_jax.training.trained import load


@pytest.fixture(scope="module")
def scores(trained):
    return score(load(trained, "latest"))


def test_every_way_has_a_row(scores):
    cache = scores[3].way
    assert cache.startswith("neural cache of 8 (")
    ways = ["", "copying disabled", "reading disabled", cache]
    assert [(s.text, s.way) for s in scores] == [
        (text, way) for text in ("validation", "test") for way in ways
    ]
    # Each is another number, and the same text.
    for half in scores[:4], scores[4:]:
        assert len({s.counts.nats for s in half}) == 4
        assert len({(s.counts.tokens, s.counts.bytes) for s in half}) == 1


def test_a_text_is_scored_as_one_stream(scores, trained):
    model = load(trained, "latest")
    run = model.run
    tokens = jnp.asarray(run.tokenizer.encode(run.data.corpus.validation))[None]
    module = nnx.merge(run.graph, model.params)
    carry, window = module.initialize_carry(1), (tokens[:, :-1], tokens[:, 1:])
    said = module.predict(*window, carry)[1]
    unread = module.predict(*window, carry, reading=False)[1]
    wanted = said.log_probs, said.log_vocab, unread.log_probs
    for score_, log_probs in zip(scores, wanted, strict=False):
        assert score_.counts.tokens == score_.counts.bytes == tokens.size - 1
        assert score_.counts.nats == pytest.approx(-float(log_probs.sum()), rel=1e-5)


def test_the_cache_is_chosen_on_the_validation_text(scores):
    assert scores[3].way == scores[7].way
    assert scores[3].counts.nats < scores[0].counts.nats


def test_what_there_is_not_is_not_disabled(config, tmp_path):
    ways = {}
    for name, changes in {
        "pointed": {"read": False, "read_dropout": 0.0},
        "read": {"copy": False},
        "plain": {"num_slots": 0, "copy": False},
    }.items():
        model = replace(config.model, **changes)
        train(replace(config, model=model, num_steps=2), tmp_path / name)
        trained = load(tmp_path / name)
        ways[name] = [s.way for s in score(trained, ("validation",), cache_slots=3)]
    ways = {name: [w.partition(" (")[0] for w in each] for name, each in ways.items()}
    cache = "neural cache of 3"
    assert ways == {
        "pointed": ["", "copying disabled", cache],
        "read": ["", "reading disabled", cache],
        "plain": ["", cache],
    }


def test_a_text_that_there_is_not_is_left_out(config, tmp_path):
    data = replace(config.data, test_fraction=0.0)
    train(replace(config, data=data, num_steps=2), tmp_path)
    assert {s.text for s in score(load(tmp_path))} == {"validation"}


def test_the_file_says_what_the_table_says(scores, trained, tmp_path):
    path = tmp_path / "eval.json"
    write_scores(load(trained, "latest"), scores, path)
    result = json.loads(path.read_text())
    assert result["checkpoint_step"] == 4
    # All that the numbers depend on.
    model = load(trained, "latest")
    assert parse_config(result["settings"]) == model.run.config
    assert result["num_params"] == sum(p.size for p in jax.tree.leaves(model.params))
    assert result["training"]["text"] == model.run.data.origin
    for about in result, result["training"]:
        assert "commit" in about and about["versions"]["jax"] == jax.__version__
        assert about["hardware"]["num_devices"] == jax.device_count()
    rows = score_table(scores).splitlines()[2:]
    assert len(rows) == len(result["scores"]) == 8
    for row, saved in zip(rows, result["scores"], strict=True):
        assert f" {saved['perplexity']:.3f} | " in row
        assert saved["way"] in row and saved["text"] in row
        assert saved["nats_per_token"] == saved["nats"] / saved["tokens"]
        assert math.log(saved["perplexity"]) == pytest.approx(saved["nats_per_token"])


def test_another_text_is_not_scored(config, tmp_path):
    """One whose vocabulary is another too: that it is another text is what is said."""
    text, workdir = tmp_path / "text.txt", tmp_path / "run"
    text.write_text(TEXT)
    data = replace(config.data, path=str(text), tokenizer="characters")
    short = replace(config, data=data, num_steps=2)
    train(short, workdir)
    text.write_text(TEXT.replace("beside", "BESIDE"))
    for use in (
        lambda: score(load(workdir)),
        lambda: capacity.evaluate(load(workdir), 4),
        lambda: train(short, workdir),
    ):
        with pytest.raises(ValueError, match="the text is not the one that this run"):
            use()
