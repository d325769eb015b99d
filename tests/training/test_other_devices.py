"""Stopped on some devices, a run goes on with others."""

from dataclasses import replace

import chex
import numpy as np
import pytest

from tests.training.test_loop import journal, last_state
from wmlstm_jax.training import train
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.run import Run, build
from wmlstm_jax.training.stopping import Stopped, StopRequest


def losses(workdir, name):
    return [row[name] for row in journal(workdir) if name in row]


@pytest.mark.parametrize(
    "stages",
    [
        [(2, 2), (4, 1)],
        pytest.param([(1, 8), (2, 4), (4, 1)], marks=pytest.mark.long),
    ],
    ids=["2-1", "8-4-1"],
)
def test_other_devices_go_on(stages, config, trained, tmp_path, monkeypatch):
    """Each batch once and in order, and the numbers of two devices."""
    seen, batches = [], Run.batches

    def look(self, split, start, stop=None):
        for batch in batches(self, split, start, stop):
            if split == "train":
                seen.append({name: np.asarray(rows) for name, rows in batch.items()})
            yield batch

    monkeypatch.setattr(Run, "batches", look)
    for last, devices in stages:
        asked = staticmethod(lambda step, last=last: step == last)
        monkeypatch.setattr(StopRequest, "after", asked)
        on_these = replace(config, mesh=MeshConfig(devices))
        if last < config.num_steps:
            with pytest.raises(Stopped, match=f"stopped after step {last},"):
                train(on_these, tmp_path)
        else:
            assert train(on_these, tmp_path).step == last
    wanted = build(config).data.batches("train")
    chex.assert_trees_all_equal(seen, [wanted[number] for number in range(4)])
    for name in ("loss", "validation_loss"):
        np.testing.assert_allclose(
            losses(tmp_path, name), losses(trained, name), rtol=3e-6
        )
    # Adam's first step magnifies what is rounded in another order.
    chex.assert_trees_all_close(
        last_state(config, tmp_path), last_state(config, trained), rtol=1e-4, atol=2e-5
    )
