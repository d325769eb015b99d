"""A loss or gradient that is not finite, planted in one step."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.training.test_loop import journal, last_state
from wmlstm_jax.training import loop, train
from wmlstm_jax.training.run import Run
from wmlstm_jax.training.steps import StepMetrics


@pytest.fixture
def plant(monkeypatch):
    """Makes one step of the trainings to come do what a skipped update does."""

    compile_step = Run.train_step

    def at(bad):
        def make(whole):
            step = compile_step(whole)

            def run(state, batch):
                if int(state.step) + 1 != bad:
                    return step(state, batch)
                metrics = StepMetrics(np.float32("nan"), np.float32(7), np.bool(False))
                return state._replace(step=state.step + 1), metrics

            return run

        monkeypatch.setattr(Run, "train_step", make)

    return at


def trained_with(config, workdir, **changes):
    """The state at the end, without its step."""
    config = replace(config, **changes)
    train(config, workdir)
    state = last_state(config, workdir)
    assert state.step == 4
    return state


def test_it_is_named_where_it_happens(config, tmp_path, capsys, plant):
    plant(3)
    trained_with(config, tmp_path, log_every=4)
    said = capsys.readouterr().out
    assert (
        "step 3, data position 2: the loss is nan and the gradient norm 7; upd" in said
    )
    assert [row["step"] for row in journal(tmp_path) if "skipped" in row] == [3]


def test_it_ends_the_run(config, tmp_path, plant):
    plant(3)
    with pytest.raises(ValueError, match="step 3, data position 2: the loss is nan"):
        train(replace(config, nonfinite="stop"), tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2"]


def test_it_goes_back_to_the_checkpoint_and_on_with_the_next_batch(
    config, tmp_path, capsys, plant
):
    plant(3)
    skipped = trained_with(config, tmp_path / "skip")
    back = trained_with(config, tmp_path / "back", nonfinite="roll_back")
    # The checkpoint of step 2 is what the update of step 3 has left as it was.
    jax.tree.map(np.testing.assert_array_equal, skipped, back)
    assert "step 3: rolled back to the checkpoint of step 2" in capsys.readouterr().out
    # Seen only at the end: what was learned since is gone too.
    late = trained_with(config, tmp_path / "late", nonfinite="roll_back", log_every=4)
    short = trained_with_two(config, tmp_path / "short")
    jax.tree.map(np.testing.assert_array_equal, late.params, short.params)
    jax.tree.map(np.testing.assert_array_equal, late.carry, short.carry)


def trained_with_two(config, workdir):
    """The state after step 2 of the same run."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop.StopRequest, "after", lambda self, step: step == 2)
        with pytest.raises(loop.Stopped):
            train(config, workdir)
    return last_state(config, workdir)


def test_there_may_be_nothing_to_go_back_to(config, tmp_path, plant):
    plant(1)
    with pytest.raises(ValueError, match="there is no checkpoint to roll back to yet"):
        train(replace(config, nonfinite="roll_back"), tmp_path)
