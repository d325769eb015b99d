import json
import math
import os

import jax.numpy as jnp
import pytest

from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.run import build
from wmlstm_jax.training.state import TrainState


def state_at(step):
    params = {"w": jnp.full(3, float(step))}
    return TrainState(jnp.int32(step), params, (), None, (), None)


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


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def files_of(workdir, step):
    place = workdir / "checkpoints" / str(step)
    return sorted(path for path in place.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", [flip, truncate, os.unlink])
def test_a_damaged_file_is_named_and_the_checkpoint_before_used(tmp_path, damage):
    """Whichever file it is; Orbax alone restores half of them as if they were whole."""
    fill(tmp_path, [3, 2]).__exit__()
    said = {
        flip: "{}: sha256 differs from manifests/2.json",
        truncate: "{}: size differs from manifests/2.json",
        os.unlink: "{} is missing",
    }[damage]
    files = files_of(tmp_path, 2)
    assert len(files) > 10
    for path in files:
        whole = path.read_bytes()
        damage(path)
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.warns(UserWarning, match="trying the one before") as told,
        ):
            for which in ("best", "latest"):
                restored = checkpoints.restore(state_at(0), which)
                assert restored.step == restored.about["data_position"] == 1
            assert checkpoints.about() == {"data_position": 1}
        messages = [str(each.message) for each in told]
        assert len(messages) == 2 and len(set(messages)) == 1
        assert said.format(path.relative_to(tmp_path)) in messages[0]
        path.write_bytes(whole)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_at(0)).step == 2


def test_a_file_that_was_not_saved_is_named(tmp_path):
    with fill(tmp_path, [3, 2]) as checkpoints:
        (tmp_path / "checkpoints" / "2" / "state" / "more").touch()
        with pytest.warns(UserWarning, match=r"2/state/more is not in manifests/2"):
            assert checkpoints.restore(state_at(0)).step == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", '"1"', "3"])
def test_a_damaged_manifest_is_named_and_the_checkpoint_before_used(tmp_path, text):
    with fill(tmp_path, [3, 2]) as checkpoints:
        (tmp_path / "manifests" / "2.json").write_text(text)
        with pytest.warns(UserWarning, match=r"manifests/2\.json is damaged"):
            assert checkpoints.restore(state_at(0)).step == 1


def test_a_checkpoint_without_manifest_is_used_with_a_warning(tmp_path):
    """What a run leaves that was killed between the two, or made before there were."""
    with fill(tmp_path, [3, 2]) as checkpoints:
        (tmp_path / "manifests" / "2.json").unlink()
        with pytest.warns(UserWarning, match=r"checkpoints/2 has no manifest") as told:
            assert checkpoints.restore(state_at(0)).step == 2
        assert len(told) == 1
        assert checkpoints.about() == {"data_position": 2}


def test_manifests_go_with_their_checkpoints(tmp_path):
    fill(tmp_path, [3, 1, 2, 4, 5]).__exit__()
    names = sorted(path.name for path in (tmp_path / "manifests").iterdir())
    assert names == ["2.json", "4.json", "5.json"]
    noted = json.loads((tmp_path / "manifests" / "5.json").read_text())
    place = tmp_path / "checkpoints" / "5"
    assert list(noted) == [
        path.relative_to(place).as_posix() for path in files_of(tmp_path, 5)
    ]
    assert all(noted[name]["size"] == (place / name).stat().st_size for name in noted)


def test_a_step_is_read_for_its_manifest_once(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "wmlstm_jax.training.checkpoints.check_manifest",
        lambda manifest, directory, part: part or seen.append(directory.name),
    )
    with fill(tmp_path, [3, 2]) as checkpoints:
        checkpoints.restore(state_at(0), "best")
    assert seen == ["2"]


def test_training_again_replaces_what_was_damaged(tmp_path):
    """Orbax drops a save of a step that is not above all others, and says nothing."""
    fill(tmp_path, [1, 3, 2]).__exit__()
    for step in (2, 3):
        flip(files_of(tmp_path, step)[0])
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.warns(UserWarning, match="sha256 differs"):
            assert checkpoints.restore(state_at(0)) is not None
        checkpoints.save(state_at(2), {"data_position": "again"}, 2.0)
    assert kept(tmp_path) == [1, 2]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_at(0)).about == {"data_position": "again"}
    assert not (tmp_path / "manifests" / "3.json").exists()


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
    assert restored.about["text"] == run.data.origin
    assert restored.about["tokenizer"] == {"name": "bytes"}


def test_who_only_looks_leaves_what_is_being_written(tmp_path):
    fill(tmp_path, [3]).__exit__()
    part = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    part.mkdir()
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.restore(state_at(0)).step == 1
    assert part.exists()
    # Who writes has it cleared away before the first save.
    fill(tmp_path, [3]).__exit__()
    assert not part.exists()


def test_a_new_checkpoint_is_not_judged_by_an_old_manifest(tmp_path, monkeypatch):
    fill(tmp_path, [1, 3]).__exit__()
    flip(files_of(tmp_path, 2)[0])
    monkeypatch.setattr(Checkpoints, "_seal", lambda self, step: None)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_at(2), {"data_position": "again"}, 2.0)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.warns(UserWarning, match="has no manifest"),
    ):
        assert checkpoints.restore(state_at(0)).about == {"data_position": "again"}
