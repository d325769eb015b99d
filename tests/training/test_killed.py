"""Killed at any moment, a run ends where one ends that was not."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.processes import ROOT, environment
from tests.training.test_loop import last_state
from wmlstm_jax.training.config import MeshConfig, to_settings

PROGRAM = """
import json, sys
from wmlstm_jax.training import parse_config, train
train(parse_config(json.loads(sys.argv[1])), sys.argv[2])
"""


def start(config, workdir):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(to_settings(config)), str(workdir)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        # 1,500 steps with a checkpoint after every second one take minutes.
        out, err = process.communicate(timeout=1200)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out


def checkpoints_of(workdir):
    places = (workdir / "checkpoints").glob("*")
    return [int(place.name) for place in places if place.name.isdigit()]


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.long)])
def test_a_killed_run_ends_where_one_ends_that_was_not(config, tmp_path, kills):
    """It saves every second step, so that many are killed inside a save."""
    many = 40 if kills == 1 else 1500
    config = replace(config, num_steps=many, eval_every=2, mesh=MeshConfig(1))
    finish(start(config, tmp_path / "whole"))
    workdir, rng, killed = tmp_path / "killed", random.Random(0), 0
    while killed < kills:
        done = max([0, *checkpoints_of(workdir)])
        process = start(config, workdir)
        first = next((line for line in process.stdout if "| step " in line), None)
        if first is None:
            break
        # At most what came after the last whole checkpoint is trained again.
        again = int(first.split("| step ")[1].split("/")[0]) - 1
        assert again == done
        time.sleep(rng.uniform(0, 0.5 if kills == 1 else 2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    finish(start(config, workdir))
    jax.tree.map(
        np.testing.assert_array_equal,
        last_state(config, tmp_path / "whole"),
        last_state(config, workdir),
    )
    assert killed == kills and max(checkpoints_of(workdir)) == many
