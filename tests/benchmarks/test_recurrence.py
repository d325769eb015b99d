import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.processes import run_python
from wmlstm_jax.benchmarks import cost, peers, recurrence, sweeps
from wmlstm_jax.benchmarks.sweeps import ROLLBACK, SCAN, TORCH, Case, Shape, Sweep

NNX, DNC = "nnx.LSTMCell", "dnc.DNC"
TINY = replace(sweeps.TINY, num_slots=3)


def test_everybody_is_somewhere():
    assert set(peers.CONTESTANTS) == {*sweeps.OURS, *sweeps.PEERS}
    assert set(sweeps.SWEEPS["main"].names) == {*sweeps.OURS[:2], *sweeps.PEERS}
    assert set(sweeps.SWEEPS["small"].names) == set(peers.CONTESTANTS)


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_a_sweep_is_one(name):
    for sweep in (sweeps.SWEEPS[name], sweeps.quick(sweeps.SWEEPS[name])):
        found = sweeps.cases(sweep)
        assert len(set(found)) == len(found)
        assert {getattr(c.shape, sweep.axis) for c in found} == set(sweep.values)
        for case in found:
            assert case.name in sweeps.MEMORIES or case.shape.num_slots == 0
            assert case.shape.config.memory.num_slots == case.shape.num_slots
    assert sweeps.SWEEPS[name].rounds >= 7


def test_who_runs():
    sweep = Sweep("num_slots", (0, 4), (ROLLBACK, TORCH, DNC), TINY)
    without, four = replace(TINY, num_slots=0), replace(TINY, num_slots=4)
    assert sweeps.cases(sweep) == [
        *(Case(ROLLBACK, without), Case(TORCH, without)),
        *(Case(ROLLBACK, four), Case(DNC, four)),
    ]
    sweep = Sweep("length", (2, 4), (ROLLBACK, TORCH), TINY)
    assert sweeps.cases(sweep) == [
        *(Case(ROLLBACK, replace(TINY, length=2)),),
        *(Case(TORCH, replace(without, length=2)),),
        *(Case(ROLLBACK, replace(TINY, length=4)),),
        *(Case(TORCH, replace(without, length=4)),),
    ]


def test_policies():
    assert Shape(num_slots=4, policy="ordered").config.read_modes == sweeps.READ_MODES
    salience = Shape(num_slots=4, policy="salience").config
    assert salience.memory.policy.request_fields == {"salience"}


@pytest.mark.parametrize("name", peers.CONTESTANTS)
def test_the_job_is_done(name):
    """Outputs and gradients have their shapes, and a gradient is that of the loss."""
    shape = TINY if name == DNC else sweeps.plain(TINY)
    try:
        built = peers.build(name, shape)
    except peers.Absent as absent:
        pytest.skip(str(absent))
    forward, (ys, grads) = built.forward.run(), built.both.run()
    width = shape.input_dim if name == DNC else shape.hidden_dim
    assert sorted(ys.shape) == sorted((shape.length, shape.batch, width))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(grads)]
    assert sum(leaf.size for leaf in leaves) == (
        built.num_params + shape.length * shape.batch * shape.input_dim
    )
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in leaves)
    if name != DNC:  # It starts from a state that it draws at random.
        # Float32, in another order: up to 8 steps of sums over 16.
        np.testing.assert_allclose(np.asarray(forward), _array(ys), atol=1e-5)
    if peers.CONTESTANTS[name].counted and not shape.num_slots:
        gates, wide = 4 * shape.hidden_dim, shape.input_dim + shape.hidden_dim
        # PyTorch has two biases.
        assert built.num_params in {gates * (wide + 1), gates * (wide + 2)}


def _array(ys):
    return np.asarray(ys.detach() if hasattr(ys, "detach") else ys)


def test_what_is_not_installed_is_absent(monkeypatch):
    def build(shape):
        raise ImportError("a part of it is missing")

    found = peers.CONTESTANTS | {
        "one": peers.Contestant("no-such-package", True, build),
        "two": peers.Contestant("jax", True, build),
    }
    monkeypatch.setattr(peers, "CONTESTANTS", found)
    with pytest.raises(peers.Absent, match=r"not installed \(.*no-such-package"):
        peers.build("one", TINY)
    with pytest.raises(peers.Absent, match="a part of it is missing"):
        peers.build("two", TINY)
    assert peers.versions()["no-such-package"] is None
    assert peers.versions()["jax"] == jax.__version__


def test_what_does_not_fit_is_absent(monkeypatch):
    with pytest.raises(peers.Absent, match="its links would need about"):
        peers.CONTESTANTS[DNC].build(Shape(num_slots=10**5))
    one = peers.Pass(lambda: None, 0.0, 10**9)
    built = peers.Built(one, one._replace(temporary_bytes=3 * 10**9), 1)
    monkeypatch.setattr(peers, "build", lambda *case: built)
    monkeypatch.setattr(peers, "physical_bytes", lambda: 6 * 10**9)
    assert recurrence.build(Case(NNX, TINY)) is built
    monkeypatch.setattr(peers, "physical_bytes", lambda: 4 * 10**9)
    with pytest.raises(peers.Absent, match="it would need 3 GB"):
        recurrence.build(Case(NNX, TINY))


def timing(*seconds, floor=None):
    return recurrence.Timing(list(seconds), 1.25, 3_000_000, floor)


def result_of(timings):
    both = {
        case: {"forward": timing(0.01, 0.02, 0.03, floor=0.01), "both": t}
        for case, t in timings.items()
    }
    machine = cost.Machine(1e9, {2**20: 2e9})
    absent = {Case(DNC, TINY): "it is not here"}
    return recurrence.Result(both, dict.fromkeys(timings, 1), absent, machine)


def test_ratios_are_of_pairs():
    mine, scan = Case(ROLLBACK, TINY), Case(SCAN, TINY)
    torch = Case(TORCH, sweeps.plain(TINY))
    result = result_of(
        {
            mine: timing(1.0, 2.0, 4.0, floor=0.5),
            scan: timing(2.0, 1.0, 1.0),
            torch: timing(0.5, 0.5, 0.25),
        }
    )
    assert recurrence.ratio(result, mine, scan) == 2.0  # Of 0.5, 2 and 4.
    assert recurrence.ratio(result, mine, torch) == 4.0  # Of 2, 4 and 16.
    assert recurrence.ratio(result, mine, Case(NNX, TINY)) is None
    shown = recurrence.table(result, Sweep("num_slots", (3,), ()))
    row, *_ = shown.splitlines()[2:]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *(ROLLBACK, "3", "20 (10 to 30)", "50%", "2000 (1000 to 4000)", "25%"),
        *("4.00", "2.00", "3.0", "1.2"),
    ]
    assert "Absent: dnc.DNC, num_slots 3: it is not here." in shown
    assert "Floor: 1 GFLOP/s; reads 2 GB/s over 1 MiB." in shown


def test_the_floor_is_that_of_the_sequence():
    machine = cost.Machine(1e9, {2**20: 2e9})
    step = cost.step_cost(TINY.config, TINY.batch, TINY.length)
    forward, both = recurrence.floors(Case(ROLLBACK, TINY), machine)
    assert forward == TINY.length * cost.floor(step.forward, machine, 1)
    assert both == TINY.length * cost.floor(step.both, machine, 1)
    assert recurrence.floors(Case(DNC, TINY), machine) == (None, None)


def test_what_is_fast_is_run_several_times(monkeypatch):
    monkeypatch.setattr(recurrence, "timed", lambda call, calls: 0.02)
    assert recurrence.warm_up(lambda: None, 0.05) == 3
    assert recurrence.warm_up(lambda: None, 0.0) == 1
    monkeypatch.undo()
    ran = []
    recurrence.timed(lambda: ran.append(1), 4)
    assert len(ran) == 4


def test_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost, "MATRIX_SIZE", 64)
    gone = peers.Contestant("no-such-package", True, lambda shape: None)
    monkeypatch.setitem(peers.CONTESTANTS, "gone", gone)
    names = (ROLLBACK, NNX, "gone")
    sweep = Sweep("num_slots", (0, 3), names, sweeps.TINY, rounds=2, shortest=0.0)
    recurrence.main("mine", sweep, tmp_path)
    shown = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in shown.splitlines() if "%" in line]
    assert [tuple(cell.strip() for cell in row[:2]) for row in rows] == [
        *((ROLLBACK, "0"), (NNX, "0"), (ROLLBACK, "3")),
    ]
    # Neither PyTorch nor our scan took part.
    assert {cell.strip() for row in rows for cell in row[6:8]} == {"-"}
    assert "Absent: gone, num_slots 0: not installed" in shown
    assert "round 2/2" in shown
    result = json.loads((tmp_path / "recurrence_mine.json").read_text())
    assert result["packages"]["no-such-package"] is None
    assert [row["contestant"] for row in result["absent"]] == ["gone"]
    assert result["sweep"]["shape"]["hidden_dim"] == sweeps.TINY.hidden_dim
    assert len(result["rows"]) == 3
    for row in result["rows"]:
        assert row["num_params"] > 0
        for which in ("forward", "both"):
            assert len(row[which]["seconds"]) == 2
            assert row[which]["compile_seconds"] > 0
            assert row[which]["temporary_bytes"] >= 0
            assert 0 < row[which]["floor"] < min(row[which]["seconds"])
    image = (tmp_path / "recurrence_mine.png").read_bytes()
    assert image.startswith(b"\x89PNG") and len(image) > 10_000


def test_an_unknown_sweep_is_refused(tmp_path):
    module = "wmlstm_jax.benchmarks.recurrence"
    done = run_python("-m", module, "--sweep=everything", f"--out={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.startswith("Error:") and "--sweep" in done.stderr
    assert not list(tmp_path.iterdir())
