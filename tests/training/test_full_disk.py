"""What becomes of a run whose disk is full."""

import errno
import os
import resource
from contextlib import contextmanager
from dataclasses import replace

import jax
import pytest

from tests.training.test_checkpoints import fill, kept, state_at
from tests.training.test_loop import journal
from wmlstm_jax.training import train
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.progress import Journal


@contextmanager
def small_files():
    """Fails a write as a full disk does, in the threads of TensorStore too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("then", ["saved again", "closed"])
def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path, then):
    noise = jax.random.normal(jax.random.key(0), (99, 99))
    large = state_at(2)._replace(params={"w": noise})
    said = r"checkpoints cannot be written \(File too large\); make room"
    fill(tmp_path, [3]).__exit__()
    with small_files():
        with pytest.raises(ValueError, match=said), Checkpoints(tmp_path) as full:
            full.save(large, {}, 2.0)
            if then == "saved again":
                with pytest.raises(ValueError, match=said):
                    full.save(state_at(3), {}, 1.0)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(state_at(0)).step == 1
        checkpoints.save(large, {}, 2.0)
    assert kept(tmp_path) == [1, 2]


@pytest.mark.parametrize("then", ["saved again", "closed"])
def test_a_manifest_that_cannot_be_written_is_told(tmp_path, monkeypatch, then):
    def full(part, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    said = r"manifests/1\.json cannot be written \(No space left on device\)"
    with pytest.raises(ValueError, match=said), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state_at(1), {}, 1.0)
        if then == "saved again":
            with pytest.raises(ValueError, match=said):
                checkpoints.save(state_at(2), {}, 1.0)
            assert kept(tmp_path) == [1]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ValueError, match=r"file/checkpoints cannot be written \(Not a"):
        Checkpoints(file)
    assert file.read_text() == "precious"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_may_go_on_without_what_cannot_be_saved(tmp_path):
    noise = jax.random.normal(jax.random.key(0), (99, 99))
    large = state_at(2)._replace(params={"w": noise})
    fill(tmp_path, [3]).__exit__()
    with small_files(), pytest.warns(UserWarning, match="cannot be written") as told:
        with Checkpoints(tmp_path, go_on=True) as full:
            full.save(large, {}, 2.0)
            full.save(large._replace(step=large.step + 1), {}, 1.0)
    assert all("what was saved before is whole" in str(each.message) for each in told)
    with Checkpoints(tmp_path, go_on=True) as checkpoints:
        assert checkpoints.restore(state_at(0)).step == 1
        checkpoints.save(large, {}, 2.0)
    assert kept(tmp_path) == [1, 2]


def test_a_journal_may_go_on_too(tmp_path):
    with Journal(tmp_path, 0, go_on=True) as log:
        log.write(1, loss=3.0)
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
        with pytest.warns(UserWarning, match=r"cannot be written \(No space left"):
            log.write(2, loss=2.0)


@pytest.mark.parametrize("unsaved", ["stop", "go_on"])
def test_a_run_does_what_its_config_says(config, tmp_path, monkeypatch, unsaved):
    def full(self, step):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("wmlstm_jax.training.checkpoints.write_manifest", full)
    changed = replace(config, unsaved=unsaved)
    if unsaved == "stop":
        with pytest.raises(ValueError, match=r"cannot be written \(No space left"):
            train(changed, tmp_path)
        return
    with pytest.warns(UserWarning, match=r"cannot be written \(No space left"):
        assert train(changed, tmp_path).step == 4
    assert [row["step"] for row in journal(tmp_path) if "loss" in row] == [1, 2, 3, 4]
