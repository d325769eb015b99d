import json

import pytest

from wmlstm_jax import tasks
from wmlstm_jax.benchmarks import memory, report_card
from wmlstm_jax.benchmarks.challenges import ALL_WAYS, CORE, REST, WAYS, contestants
from wmlstm_jax.benchmarks.learning import count_params
from wmlstm_jax.models import POLICIES, ModelConfig
from wmlstm_jax.models.config import MATRIX


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name not in ("copy", "S3")))
        for name in CORE
    ],
)
def test_contestants_are_as_large(name):
    challenge = CORE[name]
    models = contestants(challenge, 64, WAYS)
    form = challenge.course.task.form
    sizes = {model: count_params(config, form) for model, config in models.items()}
    assert max(sizes.values()) < 1.015 * min(sizes.values()), sizes
    assert len(models) == len(WAYS) + 2
    for way in WAYS:
        config = models[way]
        assert isinstance(config, ModelConfig) and config.num_slots > 0


def test_every_memory_is_somewhere():
    policies = [way["policy"] for way in ALL_WAYS.values()]
    assert sorted(policies) == sorted([*POLICIES, MATRIX, "fifo"])
    assert list(ALL_WAYS)[: len(WAYS)] == list(WAYS)


def test_there_are_eight_and_tests_have_room():
    assert len(CORE) == 8 and not set(CORE) & set(REST)
    asked = {type(each.course.task).__name__ for each in (CORE | REST).values()}
    others = {"Batch", "Form", "SizedTask", "Task", "accuracy", "correct", "nats"}
    assert asked == set(tasks.__all__) - others
    for challenge in (CORE | REST).values():
        for _, test in challenge.tests:
            assert test.task.form == challenge.course.task.form


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("memory") / "out"
    memory.main(memory.QUICK, out, [], [])
    return out


def test_quick_tells_everything(finished):
    records = memory.read_records(finished / "runs.jsonl")
    # Three models, two rates with one seed, and one more seed at the best.
    assert len(records) == 3 * 3
    card = (finished / "report_card.md").read_text()
    for wanted in ("WM-LSTM, fifo", "LSTM", "Transformer", "copy, 5", "best rate"):
        assert wanted in card
    assert (finished / "memory_lengths.png").read_bytes().startswith(b"\x89PNG")
    saved = json.loads((finished / "memory.json").read_text())
    assert len(saved["runs"]) == 9
    for model, rate in saved["best_rates"]["copy"].items():
        runs = [run for run in saved["runs"] if run["model"] == model]
        assert [(run["rate"], run["seed"]) for run in runs] == [
            (0.001, 0), (0.01, 0), (rate, 1)
        ]  # fmt: skip
        assert all(run["steps"] == 4 and len(run["tests"]) == 2 for run in runs)


def test_what_is_known_is_not_run_again(finished, monkeypatch, capsys):
    lines = (finished / "runs.jsonl").read_text().splitlines()
    whole = "\n".join(lines[:-1]) + "\n" + lines[-1][:40]
    (finished / "runs.jsonl").write_text(whole)
    ran, plain = [], memory.train

    def train(*given):
        ran.append(given)
        return plain(*given)

    monkeypatch.setattr(memory, "train", train)
    memory.main(memory.QUICK, finished, [], [])
    assert len(ran) == 1
    assert len(memory.read_records(finished / "runs.jsonl")) == 9
    assert capsys.readouterr().out.count("| known") == 8


def test_an_unknown_challenge_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--only=copi is no challenge; there are"):
        memory.main(memory.QUICK, tmp_path, ["copi"], [])
    with pytest.raises(ValueError, match="--model=lstm is no model; there are .*LSTM"):
        memory.main(memory.QUICK, tmp_path, [], ["lstm"])


def test_one_model_can_be_run_alone(finished, tmp_path):
    (tmp_path / "runs.jsonl").write_text((finished / "runs.jsonl").read_text())
    memory.main(memory.QUICK, tmp_path, ["copy"], ["WM-LSTM, fifo"])
    # The same run as beside the others: nothing was missing.
    assert len(memory.read_records(tmp_path / "runs.jsonl")) == 9
    saved = json.loads((tmp_path / "memory.json").read_text())
    assert list(saved["best_rates"]["copy"]) == ["WM-LSTM, fifo"]
    assert {run["model"] for run in saved["runs"]} == {"WM-LSTM, fifo"}
    assert "Transformer" not in (tmp_path / "report_card.md").read_text()


def record(model, seed, **tests):
    blank = dict(settings="", rate=0.1, num_params=5, loss=[1.0], seconds=2.0)
    return memory.Record(
        challenge="c", model=model, seed=seed, steps=[9], accuracy=[0.5],
        kept={"distance": {2: [9, 200], 4: [9, 200]}, "retold": {0: [9, 200]}},
        cached=None,
        tests=tests, **blank
    )  # fmt: skip


BEST = {
    "c": {
        "a": [record("a", 0, x=0.5, y=0.9), record("a", 1, x=1.0, y=0.7)],
        "b": [record("b", 0, x=0.5, y=0.8), record("b", 1, x=0.6, y=0.8)],
    }
}


def test_the_table_has_the_mean_and_the_best():
    rows = report_card.table(BEST).splitlines()
    assert [cell.strip() for cell in rows[2].split("|")[1:-1]] == [
        "c, x", "0.750 (1.000)", "0.550 (0.600)",
    ]  # fmt: skip


def test_who_wins_is_better_on_the_mean():
    assert report_card.wins(BEST, ["a", "b"]) == {"a": ["c, x"], "b": []}


def test_retention_is_drawn_where_it_is_known(tmp_path):
    assert report_card.draw_retention(BEST, tmp_path / "kept.png")
    assert (tmp_path / "kept.png").stat().st_size > 10_000
    bare = {"c": {"a": [record("a", 0, x=1.0)._replace(kept=None)]}}
    assert not report_card.draw_retention(bare, tmp_path / "none.png")


def test_the_best_rate_is_right_most_often_and_soonest():
    slow = record("a", 0)
    fast = slow._replace(steps=[3])
    assert memory.summarize(fast) < memory.summarize(slow)
    surer = fast._replace(loss=[0.9])
    assert memory.summarize(surer) < memory.summarize(fast)
    better = slow._replace(accuracy=[0.4, 0.6])
    assert memory.summarize(better) < memory.summarize(fast)
