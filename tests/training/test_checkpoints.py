import math
from dataclasses import replace

import jax.numpy as jnp
import pytest

from wmlstm_jax.training.checkpoints import Checkpoints, claim_workdir, saved_config
from wmlstm_jax.training.run import build
from wmlstm_jax.training.state import TrainState


def state_at(step):
    return TrainState(jnp.int32(step), {"w": jnp.full(3, float(step))}, (), (), None)


def fill(workdir, losses):
    with Checkpoints(workdir) as checkpoints:
        for step, loss in enumerate(losses, 1):
            checkpoints.save(state_at(step), {"data_position": step}, loss)
    return Checkpoints(workdir)


def kept(workdir):
    places = (workdir / "checkpoints").iterdir()
    return sorted(int(place.name) for place in places if place.name.isdigit())


@pytest.mark.parametrize(
    ("losses", "best", "left"),
    [
        ([3, 1, 2, 4, 5], 2, [2, 4, 5]),
        ([math.nan, 3, math.nan, 4], 2, [2, 3, 4]),
        ([math.inf, math.nan], 2, [1, 2]),
        ([5, 4, 3], 3, [2, 3]),
    ],
)
def test_the_newest_two_and_the_best_stay(tmp_path, losses, best, left):
    with fill(tmp_path, losses) as checkpoints:
        assert kept(tmp_path) == left
        restored = checkpoints.restore(state_at(0), "best")
        assert restored.step == restored.state.step == best
        assert restored.about == {"data_position": best}
        assert checkpoints.restore(state_at(0)).step == len(losses)


def test_an_empty_workdir_has_none(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_at(0)) is None
        with pytest.raises(ValueError, match="'newest'; it must be one of"):
            checkpoints.restore(state_at(0), "newest")


@pytest.mark.parametrize("which", ["best", "latest"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(tmp_path, which):
    with fill(tmp_path, [3, 2, 1]) as checkpoints:
        for path in (tmp_path / "checkpoints" / "3" / "state").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
        with pytest.warns(UserWarning, match=r"checkpoints/3 cannot be read"):
            assert checkpoints.restore(state_at(0), which).step == 2


def test_a_stray_directory_is_no_checkpoint(tmp_path):
    fill(tmp_path, [3]).__exit__()
    (tmp_path / "checkpoints" / "9").mkdir()
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.warns(UserWarning, match=r"checkpoints/9 cannot be read"):
            assert checkpoints.restore(state_at(0)).step == 1


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    with fill(tmp_path, [3]) as checkpoints:
        wrong = state_at(0)._replace(params={"w": jnp.zeros(4)})
        with (
            pytest.warns(UserWarning),
            pytest.raises(ValueError, match="no checkpoint"),
        ):
            checkpoints.restore(wrong)


def test_a_whole_state_comes_back(trained, config):
    run = build(config)
    with Checkpoints(trained) as checkpoints:
        restored = checkpoints.restore(run.template)
    assert restored.step == restored.state.step == restored.about["data_position"] == 4
    assert restored.about["text"] == run.corpus().origin
    assert restored.about["tokenizer"] == {"name": "bytes"}


def test_another_config_is_refused(trained, config):
    claim_workdir(trained, config)
    other = replace(config, num_steps=9)
    with pytest.raises(ValueError, match=r"num_steps: 4, now 9"):
        claim_workdir(trained, other)
    assert saved_config(trained) == config


def test_a_workdir_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        saved_config(tmp_path)
    (tmp_path / "config.json").write_text('{"seed": 1,')
    with pytest.raises(ValueError, match=r"config\.json, line 1: not JSON"):
        saved_config(tmp_path)
