"""One config and one training for a workdir."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.processes import ROOT
from wmlstm_jax.training.workdirs import claim_workdir, locked, saved_config


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
    (tmp_path / "config.json").write_bytes(b'{"seed": "\xff"}')
    with pytest.raises(ValueError, match=r"config\.json cannot be read \(not UTF-8\)"):
        saved_config(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be read \(Not a directory\); name"):
        saved_config(tmp_path / "config.json")


def test_a_place_that_cannot_be_written_is_told(tmp_path, config):
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(ValueError, match=r"file/config\.json cannot be written \(File"):
        claim_workdir(file, config)
    with pytest.raises(ValueError, match=r"file/lock cannot be written \(File exists"):
        locked(file).__enter__()
    assert file.read_text() == "precious"


def test_a_second_training_is_refused(tmp_path):
    said = rf"{tmp_path} is being trained by process {os.getpid()} on \S+; wait until"
    with locked(tmp_path):
        with pytest.raises(ValueError, match=said):
            locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from wmlstm_jax.training.workdirs import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_training_holds_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"by process {process.pid} on"):
        locked(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_file_system_without_locks_is_trained_on(tmp_path, monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    if code == errno.EIO:
        with pytest.raises(OSError, match="Input/output"):
            locked(tmp_path).__enter__()
        return
    with locked(tmp_path):
        pass
