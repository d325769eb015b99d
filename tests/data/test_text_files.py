import gzip
import tracemalloc
from pathlib import Path

import pytest

from wmlstm_jax.data import text_files
from wmlstm_jax.data.text_files import read_files


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(path, validation_path="", test_path=""):
    return read_files(path=path, validation_path=validation_path, test_path=test_path)


def write(name, content):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz", "[a-c]*.txt"])
def test_a_file_is_read_as_it_is(name):
    text = " ab¢d\n\n\tü\r\0\ufeff" * 50
    write(name, gzip.compress(text.encode()) if name.endswith("gz") else text)
    assert read(name) == ({"train": text}, {"path": name})


def test_a_byte_order_mark_and_returns_are_dropped():
    write("text.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n\r\n")
    assert read("text.txt")[0] == {"train": "one\ntwo\rthree\n\n"}


def test_a_glob_joins_files_in_the_order_of_their_names():
    write("books/b.txt", "second")
    write("books/a.txt", b"\xef\xbb\xbffirst\n")
    write("books/c/d.txt", "deep\n")
    write("books/c/e.txt.gz", gzip.compress(b"packed"))
    write("books/f.md", "other")
    Path("books/g.txt").mkdir()
    assert read("books/*.txt") == (
        {"train": "first\nsecond"},
        {"path": "books/*.txt"},
    )
    assert read("books/**/*.txt")[0] == {"train": "first\nsecond\ndeep\n"}
    assert read("books/**/*.txt*")[0] == {"train": "first\nsecond\ndeep\npacked"}


def test_every_split_may_have_files_of_its_own():
    write("1.txt", "one")
    write("2.txt", "two")
    write("valid.txt", "three")
    write("test.txt", "four")
    texts, paths = read("[12].txt", "val*.txt", "test.txt")
    assert texts == {"train": "one\ntwo", "validation": "three", "test": "four"}
    assert paths == {
        "path": "[12].txt",
        "validation_path": "val*.txt",
        "test_path": "test.txt",
    }
    assert read("1.txt", test_path="2.txt")[0] == {"train": "one", "test": "two"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"data\.path: text.txt is empty; name a file with text"),
        (b"\xef\xbb\xbf", "text.txt is empty"),
        (b"one\r\ntwo \xff", "path: text.txt, line 2, byte 9 is not UTF-8; convert"),
        (b"\xef\xbb\xbf\xff", "text.txt, line 1, byte 3 is not UTF-8"),
    ],
)
def test_a_bad_file_is_named(content, message):
    write("text.txt", content)
    with pytest.raises(ValueError, match=message):
        read("text.txt")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"plain", "Not a gzipped file"),
        (gzip.compress(b"text", mtime=0)[:-9], "Compressed file ended"),
        (
            gzip.compress(b"text", mtime=0)[:-9] + b"\xff" * 9,
            "CRC check failed|invalid",
        ),
        (gzip.compress(b"", mtime=0)[:10] + b"\xff" * 9, "invalid"),
    ],
)
def test_a_file_that_is_not_gzip_is_named(content, reason):
    write("text.gz", content)
    with pytest.raises(ValueError, match=rf"text.gz cannot be read \(.*({reason})"):
        read("text.gz")


@pytest.mark.parametrize(
    ("name", "reason"), [("none.txt", "No such file"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_named(name, reason):
    write("text.txt", "text")
    with pytest.raises(ValueError, match=rf"data\.path: .* cannot be read \({reason}"):
        read(name)
    with pytest.raises(ValueError, match=r"data\.test_path: .* cannot be read"):
        read("text.txt", test_path=name)


def test_a_glob_without_files_is_named():
    write("text.txt", "text")
    with pytest.raises(ValueError, match=r"data\.path=\*\.md matches no file; correct"):
        read("*.md")
    with pytest.raises(ValueError, match=r"data\.validation_path=v\*"):
        read("*.txt", "v*")


def test_no_path_is_refused():
    with pytest.raises(ValueError, match="data.source=file needs data.path"):
        read("", "text.txt")


def test_a_text_that_is_trained_on_is_no_test():
    write("a.txt", "one")
    write("b.txt", "two")
    Path("c.txt").symlink_to("a.txt")
    for name in ("a.txt", "./a.txt", "c.txt", "[ac].txt"):
        with pytest.raises(ValueError, match="data.test_path and data.path both name"):
            read("[ab].txt", test_path=name)
    with pytest.raises(ValueError, match="validation_path and data.path both name b"):
        read("[ab].txt", validation_path="b.txt")


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
def test_a_file_that_no_memory_holds_is_refused(name, monkeypatch):
    """A thousandth of it packed, as in a bomb."""
    monkeypatch.setattr(text_files, "LARGEST", 10_000)
    large = b"a" * 100_000_000
    write(name, gzip.compress(large) if name.endswith("gz") else large)
    del large
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{name} has more than 10000 bytes; split"):
        read_files(path=name, validation_path="", test_path="")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000
