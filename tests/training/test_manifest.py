import errno
import os

import pytest

from wmlstm_jax.training.manifest import write_whole, writing


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, code):
    path = tmp_path / "made" / "file.json"
    write_whole(path, "old")

    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ValueError, match=rf"file\.json cannot .*\({os.strerror(code)}"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_tensorstore_says_of_a_full_disk_is_understood():
    said = "RESOURCE_EXHAUSTED: Error writing \"w/0\" [os_error_code='28'] [spec='{}']"
    with pytest.raises(ValueError, match=r"^here cannot .*\(No space left on device\)"):
        with writing("here"):
            raise ValueError(said)


def test_another_error_stays_what_it_is():
    with pytest.raises(ValueError, match="^no number$"), writing("here"):
        raise ValueError("no number")
