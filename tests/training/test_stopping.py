"""Asked to end, a training saves what it has, and goes on from there."""

import json
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.processes import ROOT
from tests.training.test_loop import journal, last_state
from wmlstm_jax.training import train
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.stopping import Stopped, StopRequest


def validations(workdir):
    rows = [row for row in journal(workdir) if "validation_loss" in row]
    return [(row["step"], row["validation_loss"]) for row in rows]


@pytest.mark.parametrize(
    "step", [1, *(pytest.param(step, marks=pytest.mark.long) for step in (2, 3))]
)
def test_a_stopped_training_ends_where_an_unstopped_one_ends(
    step, config, trained, tmp_path, monkeypatch
):
    """Also where validation was due and the system did not wait for it."""
    with monkeypatch.context() as patched:
        patched.setattr(StopRequest, "after", lambda self, now: now == step)
        with pytest.raises(Stopped, match=f"stopped after step {step}, as the system"):
            train(config, tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        about = checkpoints.about()
    assert about["data_position"] == step and not about["validated"]
    assert train(config, tmp_path).step == 4
    jax.tree.map(
        np.testing.assert_array_equal,
        last_state(config, trained),
        last_state(config, tmp_path),
    )
    assert validations(tmp_path) == validations(trained)
    losses = [[row.get("loss") for row in journal(w)] for w in (trained, tmp_path)]
    assert [x for x in losses[0] if x] == [x for x in losses[1] if x]


def test_the_last_step_is_not_cut_short(config, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(StopRequest, "after", lambda self, now: now == 4)
    assert train(config, tmp_path).step == 4
    assert validations(tmp_path) == validations(trained)


def test_the_signal_is_heard_and_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as asked:
        assert not asked.after(1)
        signal.raise_signal(signal.SIGTERM)
        assert asked.after(2)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_process_says_that_it_was_asked(tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "train.py", "--config=configs/lm_embedded.py:smoke"),
            f"--workdir={tmp_path}/run",
            *("--config.num_steps=1000000", "--config.eval_every=1000000"),
            *("--config.log_every=1", "--config.optimizer.warmup_steps=1"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if "| step 3/" in line:
            break
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert f"stopped after step {path.name}, as the system asked" in err
    assert json.loads(
        (tmp_path / "run" / "manifests" / f"{path.name}.json").read_text()
    )
