import json
from dataclasses import replace

import pytest

from wmlstm_jax.analysis import capacity
from wmlstm_jax.metrics import Likelihood
from wmlstm_jax.training.trained import load


def point(num_slots, loss):
    return capacity.Point(num_slots, Likelihood(100 * loss, 100, 100), 1.0, 8)


def test_the_smallest_near_the_best_is_recommended():
    points = [point(8, 1.5), point(16, 1.0101), point(32, 1.0099), point(64, 1.0)]
    assert capacity.recommend(points).num_slots == 32
    assert capacity.recommend(points[:2]).num_slots == 16


def test_a_trained_model_runs_with_other_capacities(trained, tmp_path, capsys):
    points = capacity.measure(None, str(trained), tmp_path, (16, 4, 8))
    assert [p.num_slots for p in points] == [4, 8, 16]
    assert len({p.validation.nats for p in points}) == 3
    assert len({p.validation.tokens for p in points}) == 1
    # Twice the slots, twice the memory, and a state beside it.
    few, more, most = (p.bytes_per_row for p in points)
    assert most - more == 2 * (more - few) and few > 0
    saved = json.loads((tmp_path / "capacity.json").read_text())
    assert saved["recommended"] in (4, 8, 16)
    assert (tmp_path / "capacity.png").read_bytes().startswith(b"\x89PNG")
    assert f"Recommended: {saved['recommended']} slots" in capsys.readouterr().out


def test_as_trained_it_scores_as_in_training(trained):
    model = load(trained, "latest")
    found = capacity.evaluate(model, model.run.config.model.num_slots)
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    wanted = [json.loads(line).get("validation_loss") for line in lines]
    last = [loss for loss in wanted if loss is not None][-1]
    assert found.validation.loss == pytest.approx(last, rel=1e-6)


@pytest.mark.long
def test_every_capacity_is_trained(config, tmp_path):
    short = replace(config, num_steps=2, eval_every=2)
    found = capacity.measure(short, None, tmp_path, (2, 3))
    for slots, each in zip((2, 3), found, strict=True):
        assert load(tmp_path / f"slots_{slots}").run.config.model.num_slots == slots
        assert each.num_slots == slots


def test_what_cannot_be_compared_is_refused(config, tmp_path, answering):
    with pytest.raises(ValueError, match="and not to go on with"):
        capacity.measure(None, str(answering), tmp_path, (2, 3))
    with pytest.raises(
        ValueError, match="give either --config, to train, or --trained"
    ):
        capacity.measure(None, None, tmp_path, (2, 3))
    with pytest.raises(ValueError, match="--slots is \\(2, 2\\); give at least two"):
        capacity.measure(config, None, tmp_path, (2, 2))
    with pytest.raises(ValueError, match="a capacity of 0 cannot be compared with 8"):
        capacity.with_slots(config, 0)
    plain = replace(config, model=replace(config.model, num_slots=0, copy=False))
    with pytest.raises(ValueError, match="cannot be compared with 0"):
        capacity.with_slots(plain, 8)
