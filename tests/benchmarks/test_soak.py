import json

import pytest

from tests.training.conftest import config
from wmlstm_jax.benchmarks import soak
from wmlstm_jax.benchmarks.soak import GENERATION, TRAINING, Look

__all__ = ["config"]


def test_a_short_one_looks_at_both_phases(config, tmp_path, capsys):
    soak.main(config, tmp_path, generate_seconds=2, interval=0.02)
    looks = json.loads((tmp_path / "soak.json").read_text())["looks"]
    assert {look["phase"] for look in looks} == {TRAINING, GENERATION}
    assert looks[-1]["compilations"] > looks[0]["compilations"]
    assert all(look["resident"] > 10**7 and look["files"] > 2 for look in looks)
    assert (tmp_path / "soak.png").stat().st_size
    assert "generation: resident memory, MB" in capsys.readouterr().out


def test_the_quarters_are_of_a_phase():
    looks = [Look(TRAINING, i, 10 * i, 1, 2, 3) for i in range(8)]
    looks += [Look(GENERATION, 9, 7, 1, 2, 3)] * 4
    early, late = soak.early_and_late(looks, TRAINING)
    assert (early.resident, late.resident) == (25, 65)
    assert soak.early_and_late(looks, GENERATION)[1].resident == 7
    with pytest.raises(ValueError, match="the generation was looked at 3 times; it mu"):
        soak.early_and_late(looks[:-1], GENERATION)
