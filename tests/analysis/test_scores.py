import json
import math
from dataclasses import replace

import jax.numpy as jnp
import pytest
from flax import nnx

from wmlstm_jax.analysis import score, score_table, write_scores
from wmlstm_jax.training import train
from wmlstm_jax.training.trained import load, on_one_device


@pytest.fixture(scope="module")
def scores(trained):
    return score(load(trained, "latest"))


def test_every_way_has_a_row(scores):
    cache = scores[1].way
    assert cache.startswith("neural cache of 8 (")
    ways = ["", cache, "reading disabled", "copying disabled"]
    assert [(s.text, s.way) for s in scores] == [
        (text, way) for text in ("validation", "test") for way in ways
    ]
    # Each is another number, and the same text.
    for half in scores[:4], scores[4:]:
        assert len({s.counts.nats for s in half}) == 4
        assert len({(s.counts.tokens, s.counts.bytes) for s in half}) == 1


@pytest.mark.parametrize(
    ("row", "changes"),
    [(0, {}), (2, {"reading": False}), (3, {"copying": False})],
)
def test_a_text_is_scored_as_one_stream(row, changes, scores, trained):
    model = load(trained, "latest")
    run = model.run
    tokens = jnp.asarray(run.tokenizer.encode(run.corpus().validation))[None]
    module = nnx.merge(run.graph, on_one_device(model.params))
    carry = module.initialize_carry(1)
    log_probs = module.predict(tokens[:, :-1], tokens[:, 1:], carry, **changes)[1]
    counts = scores[row].counts
    assert counts.tokens == tokens.size - 1
    assert counts.nats == pytest.approx(-float(log_probs.sum()), rel=1e-5)


def test_the_cache_is_chosen_on_the_validation_text(scores):
    assert scores[1].way == scores[5].way
    assert scores[1].counts.nats < scores[0].counts.nats


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
    assert [way.partition(" (")[0] for way in ways["plain"]] == [
        "",
        "neural cache of 3",
    ]
    assert ways["read"][2:] == ["reading disabled"]
    assert ways["pointed"][2:] == ["copying disabled"]


def test_the_file_says_what_the_table_says(scores, trained, tmp_path):
    path = tmp_path / "eval.json"
    write_scores(load(trained, "latest"), scores, path)
    result = json.loads(path.read_text())
    assert result["checkpoint_step"] == 4
    rows = score_table(scores).splitlines()[2:]
    assert len(rows) == len(result["scores"]) == 8
    for row, saved in zip(rows, result["scores"], strict=True):
        assert f" {saved['perplexity']:.3f} | " in row
        assert saved["way"] in row and saved["text"] in row
        assert saved["nats_per_token"] == saved["nats"] / saved["tokens"]
        assert math.log(saved["perplexity"]) == pytest.approx(saved["nats_per_token"])
