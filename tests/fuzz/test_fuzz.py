"""Whatever is read from outside: success, or one sentence of ours."""

import copy
import gzip
import json
import traceback
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import default
from tests.analysis.test_page import data_of
from tests.inference.test_conversation import ABOUT, begin
from wmlstm_jax.analysis.exhibits import Exhibit
from wmlstm_jax.analysis.page import write_page
from wmlstm_jax.analysis.traces import MemoryTrace
from wmlstm_jax.core import CellConfig, SlotMemory
from wmlstm_jax.data import load_corpus, tokenizer_from_json, train_tokenizer
from wmlstm_jax.data.example_sets import ExampleFiles, load_examples
from wmlstm_jax.data.tokenizers import TOKENIZERS
from wmlstm_jax.inference import conversation_files
from wmlstm_jax.metrics import MemoryCounts
from wmlstm_jax.training import parse_config
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.manifest import check_manifest
from wmlstm_jax.training.workdirs import saved_config

often = pytest.mark.parametrize(
    "count", [40, pytest.param(10_000, marks=pytest.mark.long)]
)


def check(count, strategy, run):
    """Runs inputs; what is raised must be a sentence that this package says."""

    @settings(max_examples=count, deadline=10_000, database=None)
    @given(strategy)
    def one(value):
        try:
            run(value)
        except ValueError as error:
            assert_ours(error)

    one()


def assert_ours(error):
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    assert frames[-1].f_globals["__name__"].startswith("wmlstm_jax")
    assert str(error) and "\n" not in str(error)


@st.composite
def damaged(draw, whole: bytes):
    """Bytes cut, doubled, changed or put in; or others altogether."""
    found = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(found)))
        stop = draw(st.integers(start, min(len(found), start + 40)))
        new = draw(st.sampled_from([b"", bytes(found[start:stop]) * 2]) | st.binary())
        found[start:stop] = new
    return draw(st.sampled_from([bytes(found)]) | st.binary())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)


@st.composite
def altered(draw, whole):
    """A nested value with some of its parts replaced, taken away or added."""
    found = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = found
        while isinstance(place, dict) and place:
            name = draw(st.sampled_from(sorted(place)))
            if not isinstance(place[name], dict) or draw(st.booleans()):
                break
            place = place[name]
        else:
            break
        act = draw(st.sampled_from(["take", "add", "replace", "negate"]))
        if act == "take":
            del place[name]
        elif act == "add":
            place[draw(st.text())] = draw(JSON)
        elif act == "negate" and isinstance(place[name], int | float):
            place[name] = -place[name]
        else:
            place[name] = draw(JSON)
    return found


ANSWER = {"text": "cat", "answer_start": 4}
ASKED = {"id": "1", "question": "Who?", "answers": [ANSWER]}
PARAGRAPH = {"context": "The cat sat.", "qas": [ASKED]}
EXAMPLES = {
    "jsonl": '{"a": "x y", "b": "y", "k": "z"}\n{"a": "x", "b": "é", "k": "z"}\n',
    "table": 'a,b,k\n"x, y",y,z\nx,y,z\n',
    "squad": json.dumps({"data": [{"title": "t", "paragraphs": [PARAGRAPH]}] * 2}),
    "babi": "1 Mary went home.\n2 Where is Mary? \thome\t1\n" * 2,
    "dialog_babi": "1 hi\thello\n2 resto R_phone 1\n3 which\tresto\n\n1 hi\thello\n",
    "dailydialog": "A . __eou__ B ? __eou__ C __eou__\nD __eou__ E __eou__\n",
    "turns": '{"b": ["a", {"speaker": "Ann", "text": "b"}]}\n{"b": ["a", "c"]}\n',
}


FIELDS = {
    "jsonl": dict(source_fields=("a",), target_field="b", kind_field="k"),
    "table": dict(source_fields=("a",), target_field="b", kind_field="k"),
    "turns": dict(target_field="b"),
}


def read_examples(source, path, content, skip_bad=False):
    path.write_bytes(content)
    files = ExampleFiles(path=str(path), **FIELDS.get(source, {}))
    sets = load_examples(source, files, validation_fraction=0.5, skip_bad=skip_bad)
    assert sets.train and sets.validation


@often
@pytest.mark.parametrize("source", EXAMPLES)
def test_examples(source, count, tmp_path):
    def run(given):
        read_examples(source, tmp_path / "file", *given)

    content = damaged(EXAMPLES[source].encode())
    check(count, st.tuples(content, st.booleans()), run)


@often
@pytest.mark.parametrize("name", ["file.txt", "file.txt.gz"])
def test_texts(name, count, tmp_path):
    text = "Some words,\r\nand é more.\n" * 3
    whole = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()

    def run(content):
        (tmp_path / name).write_bytes(content)
        corpus = load_corpus(
            "file", path=str(tmp_path / name), validation_fraction=0.2, test_fraction=0
        )
        for tokenizer in ("bytes", "characters", "words", "punctuated"):
            train_tokenizer(tokenizer, corpus.train, 0).encode(corpus.validation)

    check(count, damaged(whole), run)


@often
@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers(name, count):
    size = 300 if name == "bpe" else 0
    saved = train_tokenizer(name, "the cat, the dog\nthe cat\n", size).to_json()
    texts = "the cat \udcff é\n", "", " the\x00dog"

    def run(changed):
        tokenizer = tokenizer_from_json(changed)
        assert len(tokenizer.byte_counts()) == tokenizer.vocab_size
        for text in texts[1:]:
            tokens = tokenizer.encode(text)
            assert all(0 <= tokens) and all(tokens < tokenizer.vocab_size)
            tokenizer.decode(tokens)

    check(count, altered(saved) | JSON, run)


@often
def test_configs(count):
    whole = json.loads(json.dumps(default.get_config().to_dict()))
    check(count, altered(whole) | JSON, parse_config)


@often
def test_conversations(count, tmp_path):
    path, carries = tmp_path / "saved", begin()
    conversation_files.save(path, carries, ABOUT, {"words": ["é"]})
    whole = path.read_bytes()

    def run(content):
        path.write_bytes(content)
        found, _ = conversation_files.load(path, carries, ABOUT)
        conversation_files.check_range(path, found, 20)

    check(count, damaged(whole), run)
    assert [each.name for each in tmp_path.iterdir()] == ["saved"]


@often
def test_what_lies_beside_checkpoints(count, trained, workdir):
    """Settings, manifests, and what was saved beside a state."""
    places = [
        workdir / "config.json",
        workdir / "manifests" / "4.json",
        workdir / "checkpoints" / "4" / "about" / "metadata",
        workdir / "checkpoints" / "4" / "metrics" / "metrics",
    ]
    whole = {place: place.read_bytes() for place in places}
    there = sorted(workdir.rglob("*"))

    def run(given):
        place, content = given
        place.write_bytes(content)
        try:
            saved_config(workdir)
            with warnings.catch_warnings(action="ignore"):
                with Checkpoints(workdir, read_only=True) as checkpoints:
                    about = checkpoints.about()
            # What is damaged is not used: the one before is.
            assert about["data_position"] == (4 if content == whole[place] else 2)
        finally:
            place.write_bytes(whole[place])

    cases = [st.tuples(st.just(place), damaged(whole[place])) for place in places[2:3]]
    check(count, st.one_of(cases), run)

    def only_told(given):
        place, content = given
        place.write_bytes(content)
        try:
            saved_config(workdir)
            check_manifest(places[1], workdir / "checkpoints" / "4")
        finally:
            place.write_bytes(whole[place])

    cases = [st.tuples(st.just(place), damaged(whole[place])) for place in places[:2]]
    check(count, st.one_of(cases), only_told)
    assert sorted(workdir.rglob("*")) == there


@often
def test_texts_of_a_page(count, tmp_path):
    cell = CellConfig(8, 8, num_heads=1, memory=SlotMemory(0), copy=False)

    def run(tokens):
        steps = len(tokens)
        trace = MemoryTrace(
            np.arange(steps),
            None,
            None,
            None,
            None,
            np.zeros((steps, 4, 8)),
            np.zeros(steps),
            MemoryCounts(*[1.0] * 11),
        )
        exhibit = Exhibit("a", [("b", tokens[0])], trace, cell, tokens, [], False)
        write_page(tmp_path / "page.html", [exhibit])
        (data,) = data_of(tmp_path / "page.html")
        assert data["tokens"] == tokens and data["facts"] == [["b", tokens[0]]]

    hostile = st.sampled_from(["</script>", "<!--", "%SCRIPT%", "\u2028", "]]>"])
    texts = st.text(st.characters(exclude_categories=["Cs"])) | hostile
    check(count, st.lists(texts, min_size=1, max_size=5), run)
