"""What training says of the memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.test_loop import assert_shown, journal, last_state
from wmlstm_jax.metrics import MemoryCounts
from wmlstm_jax.training import loop, train
from wmlstm_jax.training.run import build

NAMES = {
    "write_rate",
    "eviction_age",
    "read_bits",
    "null_share",
    "copy_share",
    "dead_slots",
}


def of_the_memory(workdir):
    rows = []
    for row in journal(workdir):
        found = {n: x for n, x in row.items() if n.startswith("memory/")}
        rows.append({n.removeprefix("memory/"): x for n, x in found.items()})
    return [row for row in rows if row]


def test_statistics_stand_beside_every_validation(config, trained, tmp_path):
    train(replace(config, watch_memory=True), tmp_path)
    rows = of_the_memory(tmp_path)
    assert len(rows) == 2 and all(row.keys() == NAMES for row in rows)
    assert rows[0]["write_rate"] == 1 and rows[0] != rows[1]
    # The stream is longer than the memory: the oldest of 8 goes.
    assert rows[1]["eviction_age"] == 8
    assert_shown(tmp_path)
    # To look at it changes nothing.
    watched, plain = last_state(config, tmp_path), last_state(config, trained)
    jax.tree.map(np.testing.assert_array_equal, watched, plain)
    assert of_the_memory(trained) == []


@pytest.mark.parametrize("copies", [0.0, 1.0])
def test_a_memory_that_nobody_uses_is_reported_once(
    config, tmp_path, capsys, monkeypatch, copies
):
    counts = dict.fromkeys(MemoryCounts._fields, 1.0) | {"null": 0.995}
    counts = MemoryCounts(**counts | {"copies": copies})
    counts = jax.tree.map(jnp.float32, counts)
    monkeypatch.setattr(loop, "make_memory_step", lambda *_: lambda *_: counts)
    train(replace(config, watch_memory=True), tmp_path)
    said = [line for line in capsys.readouterr().out.splitlines() if "hardly" in line]
    if copies:
        assert said == []
    else:
        (line,) = said
        assert "step 2: the memory is hardly used (write_rate 1.000," in line
        assert "null_share 0.995" in line


@pytest.mark.long
def test_sources_with_targets_are_watched_too(pairs, tmp_path):
    encoder = replace(pairs.encoder, num_layers=0)
    train(replace(pairs, encoder=encoder, watch_memory=True, num_steps=2), tmp_path)
    (row,) = of_the_memory(tmp_path)
    assert row.keys() >= {"write_rate", "read_bits", "copy_share"}


def test_a_plain_lstm_has_nothing_to_watch(config, tmp_path):
    model = replace(config.model, num_slots=0, copy=False)
    train(replace(config, model=model, watch_memory=True, num_steps=2), tmp_path)
    assert of_the_memory(tmp_path) == []


def test_the_memory_is_watched_on_what_it_has_not_seen(config, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        loop, "make_memory_step", lambda *_: lambda *given: seen.append(given[-1])
    )
    train(replace(config, watch_memory=True), tmp_path)
    data = build(config).data.batches("train")
    for step, batch in zip((2, 4), seen, strict=True):
        np.testing.assert_array_equal(batch["inputs"], data[step]["inputs"])
