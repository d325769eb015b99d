import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import config
from wmlstm_jax.benchmarks import distributed
from wmlstm_jax.benchmarks.distributed import Updated, compare
from wmlstm_jax.training.collectives import Collective
from wmlstm_jax.training.config import MeshConfig

__all__ = ["config"]


def test_differences_are_relative_and_counts_by_kind():
    ones, step = np.ones(3, np.float32), np.int32(1)
    sent = [
        Collective("all-reduce", 10, False),
        Collective("all-reduce", 5, True),
        Collective("all-gather", 2, False),
    ]
    one = Updated({"a": 2 * ones, "step": step}, (ones,), 2.0, 4.0, [])
    other = Updated({"a": 2.5 * ones, "step": 9 * step}, (ones,), 3.0, 3.0, sent)
    found = compare("a mesh", one, other)
    assert found[:5] == ("a mesh", 0.5, 0.25, 0.25, 0.0)
    assert found.sent == {"all-reduce": (2, 15), "all-gather": (1, 2)}
    assert found.in_loops == 1


@pytest.mark.long
def test_a_mesh_is_measured_and_processes_are_timed(
    config, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(distributed, "MESHES", {"data 2": MeshConfig(2)})
    given = ["--config=configs/lm_large.py:smoke", "--config.log_every=1"]
    given += ["--config.model.dtype=float32"]
    monkeypatch.setattr(sys, "argv", ["distributed", *given, "--out=elsewhere"])
    distributed.main(replace(config, num_steps=2), tmp_path, counts=(1,))
    found = json.loads((tmp_path / "distributed.json").read_text())
    (mesh,), (timed,) = found["meshes"], found["processes"]
    assert mesh["mesh"] == "data 2" and mesh["in_loops"] == 0
    assert max(mesh["loss"], mesh["params"], mesh["carry"]) < 1e-4
    assert mesh["sent"]["all-reduce"][0] > 0
    assert timed["processes"] == 1 and timed["tokens_per_second"] > 0
    assert "| data 2 | all-reduce" in " ".join(capsys.readouterr().out.split())


def test_processes_that_fail_are_not_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["distributed", "--config=configs/none.py"])
    with pytest.raises(RuntimeError, match="of 1 processes some ended with"):
        distributed.time_processes(1, tmp_path)
