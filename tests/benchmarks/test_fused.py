import json
import re
from dataclasses import replace

import pytest

from tests.processes import run_python
from wmlstm_jax.benchmarks import fused, fused_contestants
from wmlstm_jax.benchmarks.fused_contestants import FUSED, SCAN, Shape, work

TINY = fused.QUICK.shape


def test_results(tmp_path, capsys):
    fused.main(fused.QUICK._replace(axes={"num_slots": (0,)}), tmp_path)
    shown = capsys.readouterr().out
    assert "equal to float64: float32, 0 slots" in shown
    for name in (FUSED, SCAN):
        assert len(re.findall(rf"\| {name} +\| +num_slots 0 \|", shown)) == 1
    result = json.loads((tmp_path / "fused.json").read_text())
    assert set(result["errors"]) == {"float32, 0 slots"}
    ours = [row for row in result["rows"] if row["name"] == FUSED]
    assert [row["shape"]["num_slots"] for row in ours] == [0]
    for row in result["rows"]:
        for which in fused.PASSES:
            assert 0 < row["floor"][which] and len(row["seconds"][which]) == 1
    image = (tmp_path / "fused.png").read_bytes()
    assert image.startswith(b"\x89PNG") and len(image) > 10_000


def test_a_machine_without_a_gpu_is_refused_in_a_sentence(tmp_path):
    done = run_python("-m", "wmlstm_jax.benchmarks.fused", f"--out={tmp_path / 'out'}")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert re.fullmatch(r"Error: the fused kernels need [^\n]*\.\n", done.stderr)
    assert "--quick" in done.stderr and not done.stdout


@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_what_is_wrong_is_not_measured(error):
    right = {"outputs": 1e-6, "parameters": 1e-6, "inputs": 1e-6}
    fused.require_right({FUSED: right, SCAN: right}, TINY)
    wrong = right | {"parameters": error}
    with pytest.raises(ValueError, match="wrong on this device: their parameters are"):
        fused.require_right({FUSED: wrong, SCAN: right}, TINY)


def test_what_cannot_be_done_without():
    shape = Shape(2, 5, num_heads=3, head_dim=32, num_slots=0, dtype="float32")
    wide = 3 * 32
    forward, both = work(shape)
    weights = wide * 4 * wide + 3 * 32 * 4 * 32
    assert forward.operations == 2 * 10 * weights
    assert both.operations == 3 * forward.operations
    assert forward.bytes == 4 * 10 * (2 * wide + 2 * 4 * wide) + 4 * weights
    slots, _ = work(replace(shape, num_slots=16))
    more = 3 * (2 * 32) * 16 + (wide * wide + 3 * 32 * 3 * 32) + 3 * 32 * 5 * 32
    assert slots.operations == forward.operations + 2 * 10 * more
    bound = fused.floors(shape, fused.Rates(forward.operations, 1e30))
    assert bound == {"forward": 1.0, "both": 3.0}


def test_what_is_not_installed_is_absent(monkeypatch):
    gone = {"gone": ("no-such-package", lambda shape: None)}
    monkeypatch.setattr(fused_contestants, "CONTESTANTS", gone)
    with pytest.raises(fused_contestants.Absent, match="no-such-package"):
        fused_contestants.build("gone", TINY)
