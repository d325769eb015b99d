import itertools
import json
import re
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter

from wmlstm_jax.benchmarks.soak import COMPILED
from wmlstm_jax.training import loop, train
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.progress import Journal
from wmlstm_jax.training.run import build
from wmlstm_jax.training.steps import StepMetrics


def last_state(config, workdir):
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(build(config).template).state
    return jax.device_get(state._replace(rng=jax.random.key_data(state.rng)))


def journal(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def events(workdir):
    """What TensorBoard shows: of a step that was trained again, the last training."""
    shown = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            if event.session_log.status == SessionLog.START:
                shown = [row for row in shown if row["step"] < event.step]
            elif not event.file_version:
                values = {each.tag: each.simple_value for each in event.summary.value}
                shown.append({"step": event.step, **values})
    return shown


def assert_shown(workdir):
    for event, row in zip(events(workdir), journal(workdir), strict=True):
        assert event == pytest.approx(row, rel=1e-6)  # Events are in float32.


def test_four_steps_equal_two_and_two_resumed(
    config, trained, workdir, capsys, monkeypatch
):
    """What is left of a run that was killed after step 2 is its checkpoint 2."""
    shutil.rmtree(workdir / "checkpoints" / "4")
    with Checkpoints(workdir) as checkpoints:
        seconds = checkpoints.about()["seconds"]
    # The loop looks at the clock when it starts and when it saves.
    clock = SimpleNamespace(perf_counter=itertools.count(1000, 100).__next__)
    monkeypatch.setattr("wmlstm_jax.training.loop.time", clock)
    train(config, workdir)
    assert "resumes from step 2" in capsys.readouterr().out
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.about()["seconds"] == pytest.approx(seconds + 100)
    jax.tree.map(
        np.testing.assert_array_equal,
        last_state(config, trained),
        last_state(config, workdir),
    )
    losses = [[row.get("loss") for row in journal(each)] for each in (trained, workdir)]
    assert losses[0] == losses[1]
    assert len(list((workdir / "tensorboard").iterdir())) == 2
    assert_shown(workdir)


def test_nothing_is_compiled_after_the_second_checkpoint(config, tmp_path, monkeypatch):
    save, compiled, counted = Checkpoints.save, [], []

    def count(event, *_, **__):
        compiled.append(event == COMPILED)

    def look(self, *args):
        save(self, *args)
        counted.append(sum(compiled))

    monkeypatch.setattr(Checkpoints, "save", look)
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        train(replace(config, num_steps=5, eval_every=1), tmp_path)
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert len(counted) == 5
    assert counted[1] == counted[-1] > 0


def test_the_journal_has_every_report(trained):
    rows = journal(trained)
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    validated = [row for row in rows if "validation_loss" in row]
    assert [row["step"] for row in validated] == [2, 4]
    # The first step has no speed: it compiles.
    assert all("tokens_per_second" in row for row in rows[1:] if "loss" in row)
    assert {*rows[0], *validated[0]} == {
        *("step", "loss", "grad_norm"),
        *("validation_loss", "validation_bits_per_byte"),
    }


def test_tensorboard_shows_what_the_journal_has(trained):
    assert len(events(trained)) == 6
    assert_shown(trained)


def test_a_row_that_a_full_disk_cut_is_dropped(tmp_path):
    with Journal(tmp_path, 0) as log:
        log.write(1, loss=3.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    with Journal(tmp_path, 2) as log:
        log.write(3, loss=1.0)
    assert journal(tmp_path) == [{"step": 1, "loss": 3.0}, {"step": 3, "loss": 1.0}]


@pytest.mark.parametrize("full", ["metrics.jsonl", "tensorboard"])
def test_a_full_disk_ends_the_journal_with_one_sentence(tmp_path, full):
    with pytest.raises(ValueError, match=r"cannot be written \(No space left"):
        with Journal(tmp_path, 0) as log:
            log.write(1, loss=3.0)
            if full == "metrics.jsonl":
                (tmp_path / full).unlink()
                (tmp_path / full).symlink_to("/dev/full")
            else:
                log._events.close()
                log._events._file = RecordWriter("/dev/full")
            log.write(2, loss=2.0)


def test_another_text_is_refused(config, workdir):
    path = Path(config.data.path)
    text = path.read_text()
    path.write_text(text.replace("beside", "behind"))
    try:
        with pytest.raises(ValueError, match="the text is not the one that this run"):
            train(config, workdir)
    finally:
        path.write_text(text)
    assert len(journal(workdir)) == 6


def test_a_damaged_newest_checkpoint_is_trained_again(config, trained, workdir):
    damaged = workdir / "checkpoints" / "4" / "about" / "metadata"
    damaged.write_text(damaged.read_text().replace("data_position", "data_pOsition"))
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.about()["data_position"] == 2
    with pytest.warns(UserWarning, match=r"checkpoints/4/about/metadata: sha256"):
        train(config, workdir)
    jax.tree.map(
        np.testing.assert_array_equal,
        last_state(config, trained),
        last_state(config, workdir),
    )


def test_a_workdir_that_cannot_be_made_is_one_sentence(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["script"])
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as left:
        run_script(lambda: train(config, tmp_path / "file") and None)
    assert left.value.code == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"Error: \S*file/config\.json cannot be written .*", sentence)


def test_only_the_first_process_reports(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with Journal(tmp_path, 0) as log:
        log.write(1, loss=3.0)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_only_scored(config, workdir):
    before = journal(workdir)
    summary = train(config, workdir)
    assert journal(workdir) == before
    assert summary.validation.loss == before[-1]["validation_loss"]
    assert summary.step == 4
    with Checkpoints(workdir) as checkpoints:
        assert summary.seconds == checkpoints.about()["seconds"]


def test_what_is_reported_is_of_the_last_finite_update(config, tmp_path):
    def step(loss, norm):
        return StepMetrics(loss, norm, np.isfinite(loss) and np.isfinite(norm))

    pending = [step(2.0, 3.0), step(4.0, 5.0), step(1.0, np.inf), step(np.nan, 1.0)]
    said = SimpleNamespace(say=print, report=lambda step, loss: 0.0)
    with Journal(tmp_path, 0) as log:
        run = SimpleNamespace(config=config)
        training = loop._Training(run, 0, None, None, log, said)
        assert not training._note(9, pending)
    rows = journal(tmp_path)
    assert [row["step"] for row in rows if "skipped" in row] == [8, 9]
    assert rows[-1] == {"step": 9, "loss": 3.0, "grad_norm": 5.0}
