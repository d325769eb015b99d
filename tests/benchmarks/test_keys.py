import itertools
import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.processes import run_python
from wmlstm_jax.benchmarks import keys
from wmlstm_jax.core import CellConfig, SlotMemory
from wmlstm_jax.tasks import MultiQueryRecall

CELL = CellConfig(input_dim=4, hidden_dim=4)
TASK = MultiQueryRecall(1, 1, num_pairs=1, num_queries=1, length=6)
SETTINGS = replace(keys.QUICK, task=TASK, cell=CELL, max_steps=5)


def module(*options):
    """The benchmark, in which a warning is an error."""
    return run_python("-W", "error", "-m", "wmlstm_jax.benchmarks.keys", *options)


@pytest.mark.long
def test_quick(tmp_path):
    done = module("--quick", f"--out={tmp_path}/new/results")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "| steps to 95% |" in done.stdout
    assert "6/6 runs | plain LSTM, rate 0.0" in done.stdout
    rows = [line for line in done.stdout.splitlines() if "> 5, > 5 |" in line]
    assert len(rows) == 2
    image = (tmp_path / "new/results/keys.png").read_bytes()
    assert image.startswith(b"\x89PNG") and len(image) > 10_000
    result = json.loads((tmp_path / "new/results/keys.json").read_text())
    assert result["hardware"]["num_devices"] == 1
    assert result["versions"]["jax"] == jax.__version__
    assert result["seconds"] > 0
    assert result["settings"]["task"]["num_pairs"] == 2
    assert set(result["best_rates"]) == {"previous", "plain LSTM"}
    for run in result["runs"]:
        assert run["steps"] == [2, 4, 5]
        assert len(run["loss"]) == len(run["accuracy"]) == 3
        assert run["reached"] is None
    assert len(result["runs"]) == 6


def test_a_file_cannot_hold_results(tmp_path):
    (tmp_path / "file").touch()
    done = module("--quick", f"--out={tmp_path}/file")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {tmp_path}/file cannot be written (File")
    assert len(done.stderr.splitlines()) == 1


def test_every_choice_is_compared_with_a_plain_lstm():
    settings = keys.Settings()
    compared = keys.choices(settings)
    *named, plain = compared.values()
    assert [config.key_from for config in named] == list(keys.KEYS)
    assert len(set(map(frozenset, keys.KEYS))) == 7
    assert plain.memory == SlotMemory(0)
    sizes = [
        keys.count_params(config, settings.task.form.num_tokens)
        for config in compared.values()
    ]
    assert max(sizes[:-1]) <= sizes[-1] < 1.01 * max(sizes[:-1])
    assert min(sizes[:-1]) > 0.9 * sizes[-1]


def test_nothing_is_ever_discarded():
    for settings in (keys.Settings(), keys.QUICK):
        assert settings.cell.memory.num_slots >= settings.task.length


def answering(token):
    """Parameters of a model that gives one answer, whatever it is asked."""
    params = keys.init_model(jax.random.key(0), CELL, TASK.form.num_tokens)
    return {**params, "bias": params["bias"].at[token].set(100.0)}


@pytest.mark.parametrize(("token", "accuracy"), [(0, 0.0), (1, 0.0), (2, 1.0)])
def test_only_scored_places_count(token, accuracy):
    """The one value is the answer to every question; 4 of 6 places are blank."""
    found = keys.evaluate(CELL, TASK, 8, answering(token), jax.random.key(1))
    assert float(found) == accuracy


def test_loss_is_of_scored_places():
    state = keys.first_state(CELL, TASK, 0.1, jax.random.key(0))
    state = (answering(2), state[1])
    _, loss = keys.train_step(CELL, TASK, 8, state, jax.random.key(1))
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_the_rate_is_that_of_the_run():
    """Adam's first update is the rate times the sign of the gradient."""
    moved = []
    for rate in (0.0, 0.01, 0.03):
        state = keys.first_state(CELL, TASK, rate, jax.random.key(0))
        before = np.asarray(state[0]["bias"])
        (params, _), _ = keys.train_step(CELL, TASK, 8, state, jax.random.key(1))
        moved.append(np.abs(params["bias"] - before))
    np.testing.assert_array_equal(moved[0], 0)
    # Adam's epsilon of 1e-8 beside gradients of about 1e-2, in float32.
    np.testing.assert_allclose(moved[1], 0.01, rtol=1e-4)
    np.testing.assert_allclose(moved[2], 0.03, rtol=1e-4)


class Silent:
    def glimpse(self, part, text):
        assert 0 < part <= 1


def run_of(settings, seed=0):
    return keys.train("plain", CELL, settings, 0.01, seed, Silent())


def test_a_run_stops_at_the_target():
    run = run_of(replace(SETTINGS, target=0.0))
    assert run.reached == 2 and run.steps == [2]


def test_a_run_ends_with_an_evaluation_and_is_repeatable():
    run, again = (run_of(replace(SETTINGS, target=1.1)) for _ in range(2))
    assert run.reached is None and run.steps == [2, 4, 5]
    assert run.seconds > 0
    assert (run.loss, run.accuracy) == (again.loss, again.accuracy)
    assert run.loss != run_of(replace(SETTINGS, target=1.1), seed=1).loss


# What an imagined training gives, by choice, rate and seed: the step at which it gets
# there, or the accuracy at which it stays.
OUTCOMES = {
    ("previous", 0.003): [60, 0.75],
    ("previous", 0.01): [0.9, 20],
    ("current", 0.003): [90, 10],
    ("current", 0.01): [70, 80],
    ("plain LSTM", 0.003): [0.25, 0.75],
    ("plain LSTM", 0.01): [0.5, 0.5],
}


def imagined(name, config, settings, rate, seed, progress):
    outcome = OUTCOMES[name, rate][seed]
    reached, accuracy = (outcome, 1.0) if outcome > 1 else (None, outcome)
    steps, curve = [50, reached or 100], [0.1, accuracy]
    return keys.Run(name, 1234, rate, seed, steps, [2.0, 1.0], curve, reached, 1.0)


def test_each_choice_is_shown_at_its_best(monkeypatch):
    """The rate is chosen by the first seed alone; the table by all of them."""
    monkeypatch.setattr(keys, "train", imagined)
    settings = replace(keys.QUICK, keys=(("previous",), ("current",)), max_steps=100)
    best, runs = keys.train_all(settings)
    assert [(run.choice, run.rate, run.seed) for run in runs] == [
        ("previous", 0.003, 0),
        ("previous", 0.01, 0),
        ("previous", 0.003, 1),
        ("current", 0.003, 0),
        ("current", 0.01, 0),
        ("current", 0.01, 1),
        ("plain LSTM", 0.003, 0),
        ("plain LSTM", 0.01, 0),
        ("plain LSTM", 0.01, 1),
    ]
    shown = keys.table(best, settings).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in shown[2:]]
    assert cells == [
        ["current", "1,234", "0.01", "70, 80", "75", "100.0%"],
        ["previous", "1,234", "0.003", "60, > 100", "> 100", "87.5%"],
        ["plain LSTM", "1,234", "0.01", "> 100, > 100", "> 100", "50.0%"],
    ]


def test_time_left_is_in_proportion(monkeypatch, capsys):
    clock = itertools.count(0, 30)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = keys.Progress(4)
    progress.say(1, "one")
    progress.glimpse(0.5, "two")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "1/4 runs | one | about 1.5 min left"
    # 90 seconds for one and a half, so 150 for the other two and a half.
    assert second == "1/4 runs | two | about 2.5 min left"
