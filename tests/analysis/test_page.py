"""The page: one file, whose numbers are those of the trace."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.analysis.test_traces import random_model
from wmlstm_jax.analysis import inspect, trace_source
from wmlstm_jax.analysis.exhibits import (
    LEAST,
    TOP,
    Exhibit,
    exhibit_source,
    exhibit_text,
    to_json,
)
from wmlstm_jax.analysis.page import write_page
from wmlstm_jax.analysis.traces import Copies, MemoryTrace, Reads, Writes
from wmlstm_jax.core import CellConfig, SlotMemory
from wmlstm_jax.metrics import MemoryCounts
from wmlstm_jax.training.trained import load

TEXT = "1 beside 2 is 3.\n2 beside 3 is 5."
HOSTILE = (
    "</script><script>hacked=1</script><img src=x onerror=hacked=1>%DATA%&amp;<!--"
)


def data_of(path):
    page = path.read_text("utf-8")
    found = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page)
    return json.loads(found[1])["exhibits"]


@pytest.fixture(params=["read", "pointed", "salience", "top_k"], scope="module")
def shown(request, config, tmp_path_factory):
    """An exhibit of a model with random weights, its trace, and its page."""
    settings = {"read": {}, "pointed": {"read": False, "read_dropout": 0.0}}
    settings = settings.get(request.param, {"policy": request.param})
    model = random_model(config, **settings)
    checkpoint = tmp_path_factory.mktemp("a") / "run" / "checkpoints" / "4"
    exhibit = exhibit_text(model._replace(checkpoint=checkpoint), TEXT)
    path = tmp_path_factory.mktemp("page") / "new" / "memory.html"
    write_page(path, [exhibit])
    (data,) = data_of(path)
    return exhibit, data, path


def test_it_needs_nothing_else(shown):
    _, _, path = shown
    page = path.read_text("utf-8")
    assert not re.search(r"\b(src|href|url|import|fetch)\s*[=(]", page)
    assert "http:" not in page and "https:" not in page
    assert "default-src 'none'" in page and page.count("'sha256-") == 2
    assert not re.search(r"%[A-Z_]+%", page)


def test_its_text_and_facts_are_those_of_the_model(shown):
    exhibit, data, _ = shown
    assert "".join(data["tokens"]) == TEXT and len(data["tokens"]) == len(TEXT)
    assert data["title"] == "run" and data["source"] == []
    facts = dict(data["facts"])
    assert facts["memory"].startswith("8 slots, ")
    found = exhibit.trace.counts.statistics()
    assert facts["write rate"] == f"{100 * found['write_rate']:.1f} %"


def test_its_weights_are_those_of_the_trace(shown):
    exhibit, data, _ = shown
    trace, lives = exhibit.trace, data["occupants"]
    length, slots = len(trace.tokens), data["slots"]

    def holder(row, step, when):
        """Which occupant a slot has when a step reads (or after it)."""
        at = step - 1 + when
        found = [
            i
            for i in range(len(lives["step"]))
            if lives["row"][i] == row and lives["step"][i] <= at < lives["end"][i]
        ]
        assert len(found) <= 1
        return found[0] if found else None

    for t in range(length):
        kinds = []
        if trace.reads is not None:
            kinds += [
                (data["reads"][t][head], trace.reads.slots[t, head], 0)
                for head in range(trace.reads.slots.shape[1])
            ]
        kinds.append((data["copies"][t], trace.copies.slots[t, 0], 1))
        for flat, weights, when in kinds:
            wanted = {holder(n, t, when): weights[n] for n in range(slots)}
            wanted.pop(None, None)
            got = dict(zip(flat[::2], flat[1::2], strict=True))
            assert len(got) <= TOP and list(got.values()) == sorted(got.values())[::-1]
            for at, weight in got.items():
                assert weight == round(1000 * wanted[at]) >= LEAST
            left = [round(1000 * w) for at, w in wanted.items() if at not in got]
            if len(got) < TOP:
                assert all(weight < LEAST for weight in left)
            else:
                assert max(left, default=0) <= min(got.values())
    np.testing.assert_array_equal(data["copyShare"], np.rint(1000 * trace.copies.gate))
    np.testing.assert_array_equal(data["given"], np.rint(1000 * trace.given))
    gates = np.rint(1000 * trace.gates.mean(-1)[:, [0, 1, 3]])
    np.testing.assert_array_equal(data["gates"], gates)


def test_its_writes_are_those_of_the_trace(shown):
    exhibit, data, _ = shown
    writes, lives = exhibit.trace.writes, data["occupants"]
    for t, entries in enumerate(data["writes"]):
        for newcomer, old, row, weight in entries:
            (k,) = np.flatnonzero(writes.slots[t, 0] == row)
            assert weight == round(1000 * writes.weights[t, 0, k])
            assert (newcomer >= 0) == writes.settled[t, 0, k]
            if newcomer >= 0:
                assert (lives["step"][newcomer], lives["row"][newcomer]) == (t, row)
            owner = -1 if old < 0 else lives["step"][old]
            assert owner == writes.owners[t, 0, k]
        refused = not writes.settled[t].any()
        assert (str(t) in data["refused"]) == refused
        assert entries or refused


def test_no_text_leaves_its_place(shown, tmp_path):
    exhibit, _, _ = shown
    hostile = exhibit._replace(
        tokens=[HOSTILE] * len(exhibit.tokens),
        title=HOSTILE,
        facts=[(HOSTILE, HOSTILE)],
    )
    path = tmp_path / "hostile.html"
    write_page(path, [hostile, exhibit])
    page = path.read_text("utf-8")
    assert page.count("<script") == page.count("</script") == 2
    assert "<img" not in page and "<!--" not in page
    first, second = data_of(path)
    assert set(first["tokens"]) == {first["title"]} == {HOSTILE}
    assert second["tokens"] == exhibit.tokens


def test_a_long_text_is_a_page_under_five_megabytes(tmp_path):
    length, slots, heads = 2000, 512, 8
    rng = np.random.default_rng(0)
    weights = rng.random((length, heads, slots), np.float32) ** 60
    weights /= weights.sum(-1, keepdims=True) + 1
    steps = np.arange(length)
    owners = np.full((length, 1, slots), -1)
    for t in steps:
        owners[t] = owners[t - 1] if t else -1
        owners[t, 0, t % slots] = t
    at = (length, 1, 1)
    trace = MemoryTrace(
        steps,
        owners,
        Reads(weights, None, 1 - weights.sum(-1), None),
        Writes(
            (steps % slots).reshape(at),
            np.ones(at),
            np.ones(at, bool),
            np.where(steps < slots, -1, steps - slots).reshape(at),
            None,
            None,
        ),
        Copies(weights[:, :1], None, weights[:, 0].sum(-1)),
        rng.random((length, 4, 8)),
        rng.random(length),
        MemoryCounts(*[1.0] * 11),
    )
    cell = CellConfig(8, 8, num_heads=heads, memory=SlotMemory(slots))
    words = [f"word{t}" for t in steps]
    exhibit = Exhibit("a", [("heads", "8")], trace, cell, words, [], True)
    write_page(tmp_path / "long.html", [exhibit])
    assert 500_000 < (tmp_path / "long.html").stat().st_size < 5_000_000


def test_a_source_stands_beside_what_is_said(pairs, tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "4"
    model = random_model(pairs)._replace(checkpoint=checkpoint)
    texts = "say 7", "again 5"
    said, trace = trace_source(model, texts)
    data = to_json(exhibit_source(model, texts))
    assert data["source"] == ["say", "7", "(next text)", "again", "5"]
    assert data["tokens"][0] == "(start)" and len(data["tokens"]) == len(said.tokens)
    assert data["spaced"]
    for t, flat in enumerate(data["copies"]):
        for at, weight in zip(flat[::2], flat[1::2], strict=True):
            if at < 0:
                assert weight == round(1000 * trace.copies.source[t, -1 - at])
    assert any(at < 0 for flat in data["copies"] for at in flat[::2])
    heads = [flat for step in data["reads"] for flat in step]
    assert any(at < 0 for flat in heads for at in flat[::2])


def test_one_stream_shows_its_source_among_its_tokens(pairs, tmp_path):
    encoder = replace(pairs.encoder, num_layers=0)
    model = random_model(replace(pairs, encoder=encoder))
    model = model._replace(checkpoint=tmp_path / "run" / "checkpoints" / "1")
    data = to_json(exhibit_source(model, ("say 7", "again 5")))
    assert data["source"] == []
    assert data["tokens"][:6] == ["say", "7", "(next text)", "again", "5", "(start)"]


def test_what_a_page_or_a_picture_cannot_show(workdir, tmp_path):
    model = load(workdir)
    inspect([model, model], tmp_path / "two.html", ("ab", "c"), layer=0)
    assert [each["tokens"] for each in data_of(tmp_path / "two.html")] == [
        ["a", "b", "\n", "c"]
    ] * 2
    inspect([model], tmp_path / "first.html")
    (data,) = data_of(tmp_path / "first.html")
    begin = model.run.data.corpus.validation[:400]
    assert "".join(data["tokens"]) == begin
    for models, layer in (([model, model], None), ([model], 0)):
        with pytest.raises(ValueError, match="a.png is a picture, which shows the"):
            inspect(models, tmp_path / "a.png", None, layer)
    with pytest.raises(ValueError, match="has 2001 tokens; a page shows 2000 at most"):
        inspect([model], tmp_path / "a.html", ("x" * 2001,))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"a.html cannot be written \("):
        inspect([model], tmp_path / "file" / "a.html", ("x",))
    with pytest.raises(ValueError, match="the text to look at is empty"):
        inspect([model], tmp_path / "a.html", ("",))


def test_the_same_page_again(shown, tmp_path):
    exhibit, _, path = shown
    write_page(tmp_path / "again.html", [exhibit])
    assert (tmp_path / "again.html").read_bytes() == path.read_bytes()


def test_a_space_is_shown_where_no_token_has_it(config, tmp_path):
    for tokenizer, spaced in (("words", True), ("punctuated", False)):
        data = replace(config.data, tokenizer=tokenizer, vocab_size=0)
        model = random_model(replace(config, data=data))
        model = model._replace(checkpoint=tmp_path / "run" / "checkpoints" / "1")
        assert exhibit_text(model, "1 beside 2").spaced == spaced
