import hashlib
import platform
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wmlstm_jax.data import SOURCES, load_corpus, sources


def whole(corpus):
    return corpus.train + corpus.validation + corpus.test


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_embedded_text_is_split_and_signed():
    corpus = load_corpus("embedded")
    train, validation, test = (len(piece.encode()) for piece in corpus[:3])
    size = train + validation + test
    assert size > 300_000
    assert train == pytest.approx(0.9 * size, abs=4)
    assert validation == pytest.approx(0.05 * size, abs=8)
    assert corpus.origin == {
        "source": "embedded",
        "python": platform.python_version(),
        "validation_fraction": "0.05",
        "test_fraction": "0.05",
        "bytes": f"train {train}, validation {validation}, test {test}",
        "sha256": digest(whole(corpus)),
    }


def test_a_python_without_the_text_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ValueError, match="data.source=file and data.path instead"):
        load_corpus("embedded")


@given(
    st.text(st.sampled_from("a¢→🐍")),
    st.floats(0.01, 0.98),
    st.just(0.0) | st.floats(0.01, 0.98),
)
def test_no_split_cuts_a_character_or_loses_one(text, validation, test):
    assume(validation + test < 1)
    pieces = sources._cut(text, {"validation": validation, "test": test})
    assert list(pieces) == ["train", "test", "validation"]
    assert pieces["train"] + pieces["validation"] + pieces["test"] == text
    size = len(text.encode())
    # Each of its borders is put off to the next character and the next whole byte.
    assert abs(len(pieces["test"].encode()) - test * size) <= 4
    assert abs(len(pieces["validation"].encode()) - validation * size) <= 7
    assert test or pieces["test"] == ""


@pytest.mark.parametrize(
    ("fractions", "sizes"),
    [
        ({}, (900, 50, 50)),
        ({"validation_fraction": 0.2}, (750, 200, 50)),
        ({"validation_fraction": 0.1, "test_fraction": 0.0}, (900, 100, 0)),
        ({"validation_fraction": 0.1, "test_fraction": 0.3}, (600, 100, 300)),
    ],
)
def test_the_fractions_are_those_asked_for(tmp_path, fractions, sizes):
    path = tmp_path / "text.txt"
    path.write_text("0123456789" * 100)
    corpus = load_corpus("file", path=str(path), **fractions)
    assert tuple(map(len, corpus[:3])) == sizes
    assert whole(corpus) == "0123456789" * 100
    for name, value in fractions.items():
        assert corpus.origin[name] == str(value)


def test_texts_of_their_own_are_not_cut_off(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / name).write_text(f"the {name} text, " * 20)
    train, valid, test = (str(tmp_path / name) for name in ("train", "valid", "test"))
    corpus = load_corpus("file", path=train, validation_path=valid, test_path=test)
    assert corpus.train == "the train text, " * 20
    assert corpus.validation == "the valid text, " * 20
    assert corpus.test == "the test text, " * 20
    assert corpus.origin == {
        "source": "file",
        "path": train,
        "validation_path": valid,
        "test_path": test,
        "bytes": "train 320, validation 320, test 300",
        "sha256": digest(whole(corpus)),
    }


def test_one_text_of_its_own_leaves_the_other_to_be_cut(tmp_path):
    (tmp_path / "a").write_text("a" * 100)
    (tmp_path / "b").write_text("b" * 100)
    paths = {"path": str(tmp_path / "a"), "validation_path": str(tmp_path / "b")}
    corpus = load_corpus("file", **paths, validation_fraction=0.0, test_fraction=0.25)
    assert corpus[:3] == ("a" * 75, "b" * 100, "a" * 25)
    assert corpus.origin["test_fraction"] == "0.25"
    assert "validation_fraction" not in corpus.origin
    paths = {"path": str(tmp_path / "a"), "test_path": str(tmp_path / "b")}
    corpus = load_corpus("file", **paths)
    assert corpus[:3] == ("a" * 95, "a" * 5, "b" * 100)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        (
            {"validation_fraction": 0.0},
            "data.validation_fraction is 0, and there is no",
        ),
        ({"validation_fraction": -0.1}, "data.validation_fraction is -0.1; it must be"),
        ({"test_fraction": -0.1}, "data.test_fraction is -0.1; it must be at least 0"),
        ({"test_fraction": 1.0}, "data.test_fraction is 1.0; it must be .* below 1"),
        ({"test_fraction": float("nan")}, "data.test_fraction is nan"),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            "are 0.5 and 0.5; they must leave something to train on",
        ),
    ],
)
def test_a_fraction_out_of_range_is_refused(fractions, message):
    with pytest.raises(ValueError, match=message):
        load_corpus("embedded", **fractions)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("embeded", r"data\.source is 'embeded'; did you mean embedded\?"),
        ("web", r"data\.source is 'web'; it must be embedded or file or tfds\."),
    ],
)
def test_an_unknown_source_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        load_corpus(source)


@pytest.mark.parametrize(
    ("source", "setting"),
    [
        *(("embedded", name) for name in sources._UNSET),
        ("file", "text_field"),
        ("file", "data_dir"),
        ("tfds", "validation_path"),
        ("tfds", "test_path"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(source, setting):
    default = "text" if setting == "text_field" else ""
    message = (
        rf"data\.{setting} is 'x', which data\.source={source} does not read; leave it"
        f" '{default}' or use another source"
    )
    with pytest.raises(ValueError, match=message):
        load_corpus(source, **{setting: "x"})


def test_every_setting_is_of_some_source():
    used = {name for source in SOURCES.values() for name in source.settings}
    assert used == set(sources._UNSET)
