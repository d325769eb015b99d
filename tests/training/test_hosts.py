"""Several processes on loopback train what one trains."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.processes import ROOT
from tests.training.conftest import TEXT


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(workdir, text, *flags, devices):
    """A training of eight rows, as a process with so many devices."""
    settings = {
        "data.source": "file",
        "data.path": text,
        "num_steps": 4,
        "eval_every": 2,
        "log_every": 1,
        "model.num_blocks": 2,
        "watch_memory": True,
    }
    command = [
        sys.executable,
        "train.py",
        "--config=configs/lm_embedded.py:smoke",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in settings.items()),
        *flags,
    ]
    flags = (
        "--xla_backend_optimization_level=0"
        f" --xla_force_host_platform_device_count={devices}"
    )
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    outputs = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        outputs.append(out)
    return outputs


def begin(workdir, text, count, *flags):
    """The same training by `count` processes of one device each."""
    joined = [
        "--distributed",
        f"--coordinator=127.0.0.1:{free_port()}",
        f"--num_processes={count}",
    ]
    return [
        start(workdir, text, *joined, f"--process_id={number}", *flags, devices=1)
        for number in range(count)
    ]


def together(workdir, text, count, *flags):
    return finish(begin(workdir, text, count, *flags))


def lose(processes, victim, how=signal.SIGKILL):
    """What the other of two says and exits with, within a minute of a signal."""
    try:
        processes[victim].send_signal(how)
        _, err = processes[1 - victim].communicate(timeout=60)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return err, processes[1 - victim].returncode


def journal(workdir):
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    return [{n: x for n, x in row.items() if n != "tokens_per_second"} for row in rows]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def alone(text, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone") / "run"
    finish([start(workdir, text, "--config.mesh.data=2", devices=2)])
    return workdir


@pytest.fixture(scope="module")
def by_two(text, tmp_path_factory):
    """The workdir of two processes, and what they say."""
    workdir = tmp_path_factory.mktemp("by_two") / "run"
    return workdir, together(workdir, text, 2, "--config.mesh.data=2")


def assert_near(workdir, alone):
    """The same steps, and the same numbers but for the order of sums."""
    wanted = journal(alone)
    assert len(wanted) == 8 and "memory/write_rate" in wanted[3]
    for got, row in zip(journal(workdir), wanted, strict=True):
        assert got == pytest.approx(row, rel=1e-4)


def test_two_processes_train_what_one_trains(by_two, alone):
    workdir, (first, second) = by_two
    # What two devices found is summed in one order only.
    assert journal(workdir) == journal(alone)
    # One of them talks.
    said = [line for line in second.splitlines() if not line.startswith("[Gloo]")]
    assert "validation perplexity" in first and said == []


@pytest.mark.long
def test_two_processes_share_parameters(text, alone, tmp_path):
    mesh = "--config.mesh.data=1", "--config.mesh.fsdp=2"
    together(tmp_path / "run", text, 2, *mesh)
    assert_near(tmp_path / "run", alone)


@pytest.mark.long
def test_four_processes_share_rows_and_heads(text, alone, tmp_path):
    mesh = "--config.mesh.data=2", "--config.mesh.model=2"
    together(tmp_path / "run", text, 4, *mesh)
    assert_near(tmp_path / "run", alone)


def test_two_go_on_where_one_stopped_and_one_of_them_died(text, alone, tmp_path):
    """The checkpoint of step 2 of one process, restored by two, and by two again."""
    workdir = shutil.copytree(alone, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "4")
    processes = begin(workdir, text, 2, "--config.mesh.data=2")
    # They have computed together, and have not made a step yet.
    assert any(line.startswith("[Gloo]") for line in processes[1].stdout)
    said, code = lose(processes, victim=1)
    (sentence,) = said.splitlines()
    assert re.fullmatch(
        "Error: .* failed .* one of them has died; start all .*", sentence
    )
    assert code == 75
    first, _ = together(workdir, text, 2, "--config.mesh.data=2")
    assert "resumes from step 2" in first
    assert_near(workdir, alone)


def test_one_goes_on_where_two_stopped(text, alone, by_two, tmp_path):
    """The checkpoint of step 2 of two processes, restored by one."""
    workdir = shutil.copytree(by_two[0], tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "4")
    (said,) = finish([start(workdir, text, "--config.mesh.data=2", devices=2)])
    assert "resumes from step 2" in said
    assert_near(workdir, alone)


def test_what_is_only_for_several_hosts_needs_them(text, tmp_path):
    process = start(tmp_path / "run", text, "--num_processes=2", devices=1)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "are of a run on several hosts; add --distributed." in err
