"""What an earlier version has trained is loaded, and trained on."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.make_golden import FOLDER
from tests.make_golden_run import KEPT, LAST, log_probs_of, losses
from wmlstm_jax.training import train
from wmlstm_jax.training.manifest import check_manifest
from wmlstm_jax.training.trained import check_text, load
from wmlstm_jax.training.workdirs import saved_config

# Float32, and other machines and versions of XLA sum in another order.
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(params=sorted(FOLDER.glob("run_*")), ids=lambda path: path.name)
def expected(request, tmp_path, monkeypatch):
    """What the run computed, of which a copy is in the current directory."""
    shutil.copytree(request.param, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return np.load("expected.npz")


def test_it_is_whole_and_computes_what_it_computed(expected):
    check_manifest(Path(f"run/manifests/{KEPT}.json"), Path(f"run/checkpoints/{KEPT}"))
    found = load("run")
    check_text(found)
    assert found.step == KEPT
    np.testing.assert_allclose(log_probs_of(found), expected["kept"], **CLOSE)


def test_it_goes_on(expected):
    assert train(saved_config(Path("run")), "run").step == LAST
    np.testing.assert_allclose(losses(), expected["losses"], rtol=1e-5)
    found = load("run", "latest")
    # Adam's first steps magnify what is rounded in another order.
    np.testing.assert_allclose(log_probs_of(found), expected["last"], rtol=0, atol=1e-4)


def test_it_is_small(expected):
    files = [path for path in Path(".").rglob("*") if path.is_file()]
    assert sum(map(os.path.getsize, files)) < 160_000
