"""Texts from files, one or many."""

import glob
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

LARGEST = 2**31
"""Bytes of one file, unpacked; its text and its tokens take several times as much."""
NUMBERED = re.compile(r"(\d+) (.*)")
"""A line with its number, as in the files of bAbI."""


def read_files(
    *, path: str, validation_path: str, test_path: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Text files in UTF-8: one, or several by a glob, gzipped if named `.gz`.

    Files are joined in the order of their names, with a newline after one that does not
    end in any. A byte order mark at the start of a file is dropped, and CR LF becomes
    LF; nothing else is changed.

    Args:
      path: the training text, a file or a glob such as `books/**/*.txt`.
      validation_path: likewise, or "" for none.
      test_path: likewise.

    Returns:
      The texts by split, and the paths by field; "" has neither.

    Raises:
      ValueError: no file is named, one is both trained on and scored, or one is absent,
        empty, no UTF-8 or not gzip.
    """
    if not path:
        raise ValueError(
            "data.source=file needs data.path, a text file or a glob such as"
            " books/*.txt."
        )
    given = {"path": path, "validation_path": validation_path, "test_path": test_path}
    paths = {field: pattern for field, pattern in given.items() if pattern}
    files = {field: matching_files(field, pattern) for field, pattern in paths.items()}
    trained = {file.resolve() for file in files["path"]}
    texts = {}
    for field, matches in files.items():
        if field != "path":
            refuse_trained(field, paths[field], trained)
        split = "train" if field == "path" else field.removesuffix("_path")
        texts[split] = join_texts([read_text(field, file) for file in matches])
    return texts, paths


def join_texts(texts: Sequence[str]) -> str:
    """The texts after one another, each from a line of its own."""
    closed = [text if text.endswith("\n") else text + "\n" for text in texts[:-1]]
    return "".join([*closed, *texts[-1:]])


def matching_files(field: str, pattern: str) -> list[Path]:
    """The file of that name, or the files that a glob matches, in order.

    Raises:
      ValueError: a glob matches nothing.
    """
    # A file may have a name that looks like a glob.
    if not glob.has_magic(pattern) or Path(pattern).is_file():
        return [Path(pattern)]
    names = sorted(glob.glob(pattern, recursive=True))
    files = [file for file in map(Path, names) if file.is_file()]
    if not files:
        raise ValueError(f"data.{field}={pattern} matches no file; correct the glob.")
    return files


def lines_of(field: str, pattern: str) -> Iterator[tuple[Path, list[str]]]:
    """The lines of each file that a name or a glob matches; only LF ends one.

    Raises:
      ValueError: as in `matching_files` and `read_text`.
    """
    for file in matching_files(field, pattern):
        yield file, read_text(field, file).removesuffix("\n").split("\n")


def refuse_trained(field: str, pattern: str, trained: set[Path]) -> None:
    """Refuses to score on a file that is trained on; paths are resolved.

    Raises:
      ValueError: a file of `pattern` is among them, or it matches none.
    """
    for file in matching_files(field, pattern):
        if file.resolve() in trained:
            raise ValueError(
                f"data.{field} and data.path both name {file}; a text that is trained"
                " on is no measure, so name it in one of them."
            )


def read_text(field: str, file: Path) -> str:
    """A text in UTF-8, gzipped if it is named so; see `read_files`.

    Raises:
      ValueError: the file cannot be read, is empty or too large, no UTF-8 or not gzip.
    """
    try:
        # Not all at once: a few bytes may unpack to more than any memory holds.
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"data.{field}: {file} cannot be read ({reason}); name a file that can be."
        ) from error
    if len(content) > LARGEST:
        raise ValueError(
            f"data.{field}: {file} has more than {LARGEST} bytes; split it, and name"
            " the parts by a glob."
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"data.{field}: {file}, line {line}, byte {error.start} is not UTF-8;"
            " convert the file, for instance with iconv -t UTF-8."
        ) from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text:
        raise ValueError(f"data.{field}: {file} is empty; name a file with text.")
    return text
