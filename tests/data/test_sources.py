import gzip
import hashlib
import platform
import sys

import pytest

from wmlstm_jax.data import load_corpus


def whole(corpus):
    return corpus.train + corpus.validation + corpus.test


def test_embedded_text_is_split_and_signed():
    corpus = load_corpus("embedded")
    size = len(whole(corpus).encode())
    assert size > 300_000
    assert len(corpus.train.encode()) == pytest.approx(0.9 * size, abs=4)
    assert len(corpus.validation.encode()) == pytest.approx(0.05 * size, abs=8)
    assert corpus.origin == {
        "source": "embedded",
        "python": platform.python_version(),
        "sha256": hashlib.sha256(whole(corpus).encode()).hexdigest(),
    }


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
def test_a_local_file_is_read(tmp_path, name):
    text = "ab¢d" * 50
    pack = gzip.compress if name.endswith(".gz") else bytes
    (tmp_path / name).write_bytes(pack(text.encode()))
    assert whole(load_corpus("file", str(tmp_path / name))) == text


@pytest.mark.parametrize("length", range(1, 24))
def test_no_split_cuts_a_character(tmp_path, length):
    path = tmp_path / "text.txt"
    path.write_text("🐍" * length)
    corpus = load_corpus("file", str(path))
    assert whole(corpus) == "🐍" * length


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"one\ntwo \xff", "line 2, byte 8: not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_corpus("file", str(path))
    assert str(path) in str(error.value)


def test_a_file_that_is_not_gzip_is_named(tmp_path):
    path = tmp_path / "text.gz"
    path.write_text("plain")
    with pytest.raises(ValueError, match="text.gz cannot be read: Not a gzipped file"):
        load_corpus("file", str(path))


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        ("embeded", "", "data.source is 'embeded'"),
        ("embedded", "x.txt", "reads no file"),
        ("file", "", "needs data.path"),
    ],
)
def test_a_wrong_setting_is_named(source, path, message):
    with pytest.raises(ValueError, match=message):
        load_corpus(source, path)


def test_a_python_without_the_text_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ValueError, match="data.source=file and data.path instead"):
        load_corpus("embedded")
