import json
import shutil

import jax
import numpy as np

from wmlstm_jax.training import train
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.run import build


def last_state(config, workdir):
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(build(config).template).state
    return jax.device_get(state._replace(rng=jax.random.key_data(state.rng)))


def journal(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_four_steps_equal_two_and_two_resumed(config, trained, workdir, capsys):
    """What is left of a run that was killed after step 2 is its checkpoint 2."""
    shutil.rmtree(workdir / "checkpoints" / "4")
    train(config, workdir)
    assert "resumes from step 2" in capsys.readouterr().out
    jax.tree.map(
        np.testing.assert_array_equal,
        last_state(config, trained),
        last_state(config, workdir),
    )
    losses = [[row.get("loss") for row in journal(each)] for each in (trained, workdir)]
    assert losses[0] == losses[1]


def test_the_journal_has_every_report(trained):
    rows = journal(trained)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    validated = [row for row in rows if "validation_loss" in row]
    assert [row["step"] for row in validated] == [2, 4]


def test_a_finished_run_is_only_scored(config, workdir):
    before = journal(workdir)
    summary = train(config, workdir)
    assert journal(workdir) == before
    assert summary.validation.loss == before[-1]["validation_loss"]
    assert summary.step == 4
