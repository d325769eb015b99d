"""The picture of single heads: what is painted is what was traced."""

from dataclasses import replace

import numpy as np
import pytest

from tests.analysis.test_task_exhibits import exhibit_of
from tests.analysis.test_task_traces import MODEL, SLOTS
from wmlstm_jax.analysis import draw_steps, step_pictures
from wmlstm_jax.analysis.traces import held_before


@pytest.fixture
def painted(monkeypatch):
    """The figure that would be written, of either kind of problem."""
    figures = []
    monkeypatch.setattr(
        step_pictures, "save_figure", lambda figure, path: figures.append(figure)
    )

    def draw(exhibit):
        draw_steps(exhibit, "a.png")
        return figures.pop()

    return draw


@pytest.mark.parametrize("kind", ["vectors", "tokens"])
def test_it_shows_reads_modes_and_writes_of_every_head(painted, kind):
    exhibit = exhibit_of(kind)
    trace, figure = exhibit.trace, painted(exhibit)
    before, steps = held_before(trace), len(exhibit.tokens)
    axes = figure.axes[:4]  # Then comes the bar of colours.
    for head in range(2):
        reads, modes = axes[head], axes[2 + head]
        shown = np.ma.filled(reads.images[0].get_array(), np.nan)
        for t in range(steps):
            for slot in range(SLOTS):
                if (owner := before[t, 0, slot]) >= 0:
                    wanted = trace.reads.slots[t, head, slot]
                    np.testing.assert_allclose(shown[owner, t], wanted, rtol=1e-5)
        # Nothing else is in the memory.
        assert np.isfinite(shown).sum() == (before >= 0).sum()
        np.testing.assert_array_equal(
            modes.images[0].get_array(), trace.reads.modes[:, head].T
        )
        (dots,) = (line for line in reads.lines if line.get_marker() == ".")
        np.testing.assert_array_equal(dots.get_xdata(), np.arange(steps))
        rows = [label.get_text() for label in reads.get_yticklabels()]
        assert rows[5].startswith(exhibit.tokens[5]) and rows[5].endswith(" 1")
        names = [label.get_text() for label in modes.get_xticklabels()]
        assert names == exhibit.tokens
        asked = [t for t, said in enumerate(exhibit.said) if said]
        bars = [line.get_xdata() for line in reads.lines if line is not dots]
        assert [t for a, b in bars for t in range(int(a + 0.5), int(b + 0.5))] == asked


def test_a_step_without_a_slot_has_no_dot(painted):
    exhibit = exhibit_of("vectors")
    writes = exhibit.trace.writes
    settled = writes.settled.copy()
    settled[3] = False
    trace = exhibit.trace._replace(writes=writes._replace(settled=settled))
    reads = painted(exhibit._replace(trace=trace)).axes[0]
    (dots,) = (line for line in reads.lines if line.get_marker() == ".")
    assert 3 not in dots.get_xdata() and 4 in dots.get_xdata()
    assert reads.get_yticklabels()[3].get_text().endswith(" -")


def test_heads_of_two_groups_have_slots_of_their_own(painted):
    settings = {"policy": "salience", "num_blocks": 2, "read_modes": ("content",)}
    exhibit = exhibit_of("tokens", config=replace(MODEL, **settings))
    trace, figure = exhibit.trace, painted(exhibit)
    before = held_before(trace)
    assert not np.array_equal(before[:, 0], before[:, 1])
    for group in range(2):
        reads = figure.axes[group]
        shown = np.ma.filled(reads.images[0].get_array(), np.nan)
        t, slot = np.nonzero(before[:, group] >= 0)
        np.testing.assert_allclose(
            shown[before[t, group, slot], t],
            trace.reads.slots[t, group, slot],
            rtol=1e-5,
        )
        (dots,) = (line for line in reads.lines if line.get_marker() == ".")
        (written,) = np.nonzero(trace.writes.settled[:, group, 0])
        np.testing.assert_array_equal(dots.get_xdata(), written)
        for step in written:
            row = reads.get_yticklabels()[step].get_text()
            assert row.endswith(f" {trace.writes.slots[step, group, 0]}")


def test_without_modes_there_are_only_reads(painted):
    config = replace(MODEL, read_modes=("content",))
    figure = painted(exhibit_of("vectors", config=config))
    assert len(figure.axes) == 3  # Two heads, and the bar of colours.


def test_it_is_a_file_or_a_sentence(tmp_path):
    exhibit = exhibit_of("vectors")
    draw_steps(exhibit, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"a.txt ends in '.txt'"):
        draw_steps(exhibit, tmp_path / "a.txt")
    long = exhibit._replace(tokens=["x"] * 401)
    with pytest.raises(ValueError, match="has 401 steps; 400 at most"):
        draw_steps(long, tmp_path / "a.png")
    unread = exhibit._replace(trace=exhibit.trace._replace(reads=None))
    with pytest.raises(ValueError, match=r"the memory is not read \(model.read"):
        draw_steps(unread, tmp_path / "a.png")
