"""Several processes on loopback train what one trains."""

import json
import os
import shutil
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


def together(workdir, text, count, *flags):
    """The same training by `count` processes of one device each."""
    joined = [
        "--distributed",
        f"--coordinator=127.0.0.1:{free_port()}",
        f"--num_processes={count}",
    ]
    return finish(
        [
            start(workdir, text, *joined, f"--process_id={number}", *flags, devices=1)
            for number in range(count)
        ]
    )


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


@pytest.mark.parametrize("fsdp", [1, pytest.param(2, marks=pytest.mark.long)])
def test_two_processes_train_what_one_trains(fsdp, text, alone, tmp_path):
    mesh = f"--config.mesh.data={2 // fsdp}", f"--config.mesh.fsdp={fsdp}"
    first, second = together(tmp_path / "run", text, 2, *mesh)
    wanted = journal(alone)
    assert len(wanted) == 8 and "memory/write_rate" in wanted[3]
    for got, row in zip(journal(tmp_path / "run"), wanted, strict=True):
        assert got == pytest.approx(row, rel=1e-4)
    # One of them talks.
    said = [line for line in second.splitlines() if not line.startswith("[Gloo]")]
    assert "validation perplexity" in first and said == []


@pytest.mark.long
def test_four_processes_share_rows_and_heads(text, alone, tmp_path):
    mesh = "--config.mesh.data=2", "--config.mesh.model=2"
    together(tmp_path / "run", text, 4, *mesh)
    for got, row in zip(journal(tmp_path / "run"), journal(alone), strict=True):
        assert got == pytest.approx(row, rel=1e-4)


def test_two_go_on_where_one_stopped(text, alone, tmp_path):
    """The checkpoint of step 2 of one process, restored by two."""
    workdir = shutil.copytree(alone, tmp_path / "run")
    shutil.rmtree(workdir / "checkpoints" / "4")
    first, _ = together(workdir, text, 2, "--config.mesh.data=2")
    assert "resumes from step 2" in first
    for got, row in zip(journal(workdir), journal(alone), strict=True):
        assert got == pytest.approx(row, rel=1e-4)


def test_what_is_only_for_several_hosts_needs_them(text, tmp_path):
    process = start(tmp_path / "run", text, "--num_processes=2", devices=1)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "are of a run on several hosts; add --distributed." in err
