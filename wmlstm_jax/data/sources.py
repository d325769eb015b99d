"""Where text comes from, and how it is split."""

import gzip
import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

VALIDATION_FROM, TEST_FROM = 0.90, 0.95
"""Where the validation and the test text begin, as a part of all bytes."""


class Corpus(NamedTuple):
    """A text in three consecutive pieces, and where it came from."""

    train: str
    validation: str
    test: str
    origin: dict[str, str]  # of the whole text: source, sha256 and what fixes it


def embedded(path: str) -> Corpus:
    """The language documentation inside every CPython, about 465 kB of English.

    The text differs between versions of Python, so the origin records the version.

    Args:
      path: must be empty; there is no file.

    Raises:
      ValueError: a path is given, or this Python comes without `pydoc_data`.
    """
    if path:
        raise ValueError(
            f"data.path is {path!r}, and the embedded source reads no file; leave it"
            " empty, or set data.source=file."
        )
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ValueError(
            "data.source=embedded needs pydoc_data.topics, which this Python was"
            " installed without; set data.source=file and data.path instead."
        ) from error
    text = "\n\n".join(topics[name] for name in sorted(topics))
    return _split(text, source="embedded", python=platform.python_version())


def local_file(path: str) -> Corpus:
    """One UTF-8 text file, gzipped if its name ends in `.gz`.

    Raises:
      ValueError: the file is absent, empty, no UTF-8 or not gzip.
    """
    if not path:
        raise ValueError("data.source=file needs data.path, the text file to read.")
    try:
        content = Path(path).read_bytes()
        content = gzip.decompress(content) if path.endswith(".gz") else content
    except (OSError, EOFError) as error:
        raise ValueError(f"data.path={path} cannot be read: {error}.") from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"data.path={path}, line {line}, byte {error.start}: not UTF-8; convert the"
            " file, for instance with iconv -t UTF-8."
        ) from error
    if not text:
        raise ValueError(f"data.path={path} is empty; name a file with text.")
    return _split(text, source="file", path=path)


SOURCES: dict[str, Callable[[str], Corpus]] = {
    "embedded": embedded,
    "file": local_file,
}
"""The sources by the name that a config gives."""


def load_corpus(source: str, path: str = "") -> Corpus:
    """Reads a text and splits it 90/5/5 by bytes, in order.

    Args:
      source: a name in `SOURCES`.
      path: the file, where the source reads one.

    Raises:
      ValueError: an unknown source, or its text cannot be had.
    """
    if source not in SOURCES:
        raise ValueError(
            f"data.source is {source!r}; must be one of {sorted(SOURCES)}."
        )
    return SOURCES[source](path)


def _split(text: str, **origin: str) -> Corpus:
    content = text.encode()
    first = _character_start(content, int(VALIDATION_FROM * len(content)))
    second = _character_start(content, int(TEST_FROM * len(content)))
    pieces = content[:first], content[first:second], content[second:]
    origin["sha256"] = hashlib.sha256(content).hexdigest()
    return Corpus(*(piece.decode() for piece in pieces), origin=origin)


def _character_start(content: bytes, position: int) -> int:
    """The first position from here on that does not cut a character."""
    while position < len(content) and content[position] & 0xC0 == 0x80:
        position += 1
    return position
