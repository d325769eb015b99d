"""Where text comes from, and how it is split."""

import hashlib
import platform
from collections.abc import Callable
from typing import NamedTuple

from wmlstm_jax.data.prepared_sets import read_prepared
from wmlstm_jax.data.refusals import no_such
from wmlstm_jax.data.text_files import read_files


class Corpus(NamedTuple):
    """A text in three pieces, and where it came from."""

    train: str
    validation: str
    test: str  # "" if there is none
    origin: dict[str, str]  # source, bytes, sha256 of all three, and what fixes them


class Source(NamedTuple):
    """A place that texts come from."""

    read: Callable[..., tuple[dict[str, str], dict[str, str]]]
    """Texts by split, of which only train has to be there, and what fixes them."""

    settings: tuple[str, ...]
    """The arguments of `read`, which are fields of the config too."""


def read_embedded() -> tuple[dict[str, str], dict[str, str]]:
    """The language documentation inside every CPython, about 465 kB of English.

    The text differs between versions of Python, so the origin records the version.

    Raises:
      ValueError: this Python comes without `pydoc_data`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise ValueError(
            "data.source=embedded needs pydoc_data.topics, which this Python was"
            " installed without; set data.source=file and data.path instead."
        ) from error
    text = "\n\n".join(topics[name] for name in sorted(topics))
    return {"train": text}, {"python": platform.python_version()}


SOURCES: dict[str, Source] = {
    "embedded": Source(read_embedded, ()),
    "file": Source(read_files, ("path", "validation_path", "test_path")),
    "tfds": Source(read_prepared, ("path", "text_field", "data_dir")),
}
"""The sources by the name that a config gives."""

_UNSET = {
    "path": "",
    "validation_path": "",
    "test_path": "",
    "text_field": "text",
    "data_dir": "",
}


def load_corpus(
    source: str,
    *,
    path: str = "",
    validation_path: str = "",
    test_path: str = "",
    text_field: str = "text",
    data_dir: str = "",
    validation_fraction: float = 0.05,
    test_fraction: float = 0.05,
) -> Corpus:
    """Reads a text in three splits.

    A split that the source does not have by itself is cut from the end of the training
    text, by bytes and in the order train, validation, test, never through a character.

    Args:
      source: a key of `SOURCES`.
      path: the text, for the sources file and tfds: see `read_files`, `read_prepared`.
      validation_path: the validation text, for file; "" cuts it from the training text.
      test_path: the test text, likewise.
      text_field: for tfds, the feature that is the text.
      data_dir: for tfds, where data sets are prepared.
      validation_fraction: of the training text, if the validation text is cut from it.
      test_fraction: likewise; 0 is no test text.

    Raises:
      ValueError: an unknown source, a setting that it does not read, a fraction out of
        range, or its text cannot be had.
    """
    if source not in SOURCES:
        raise no_such("data.source", source, SOURCES)
    settings = {
        "path": path,
        "validation_path": validation_path,
        "test_path": test_path,
        "text_field": text_field,
        "data_dir": data_dir,
    }
    read, used = SOURCES[source]
    for name, value in settings.items():
        if name not in used and value != _UNSET[name]:
            raise ValueError(
                f"data.{name} is {value!r}, which data.source={source} does not read;"
                f" leave it {_UNSET[name]!r} or use another source."
            )
    texts, origin = read(**{name: settings[name] for name in used})
    parts = {"validation": validation_fraction, "test": test_fraction}
    parts = {split: part for split, part in parts.items() if split not in texts}
    _check_fractions(parts)
    texts |= _cut(texts["train"], parts)
    content = {name: texts[name].encode() for name in ("train", "validation", "test")}
    origin = {
        "source": source,
        **origin,
        **{f"{split}_fraction": str(part) for split, part in parts.items()},
        "bytes": ", ".join(f"{name} {len(part)}" for name, part in content.items()),
        "sha256": hashlib.sha256(b"".join(content.values())).hexdigest(),
    }
    return Corpus(**texts, origin=origin)


def _check_fractions(parts: dict[str, float]) -> None:
    for split, part in parts.items():
        if not 0 <= part < 1:
            raise ValueError(
                f"data.{split}_fraction is {part}; it must be at least 0 and below 1."
            )
    if parts.get("validation") == 0:
        raise ValueError(
            "data.validation_fraction is 0, and there is no validation text to read;"
            " set it above 0, or data.validation_path with data.source=file."
        )
    if sum(parts.values()) >= 1:
        raise ValueError(
            f"data.validation_fraction and data.test_fraction are {parts['validation']}"
            f" and {parts['test']}; they must leave something to train on."
        )


def _cut(text: str, parts: dict[str, float]) -> dict[str, str]:
    """Cuts these parts off the end, in order; what is left is train."""
    content = text.encode()
    pieces, end, behind = {}, len(content), 0.0
    for split, part in reversed(parts.items()):
        behind += part
        start = _character_start(content, int((1 - behind) * len(content)))
        pieces[split] = content[start:end].decode()
        end = start
    return {"train": content[:end].decode(), **pieces}


def _character_start(content: bytes, position: int) -> int:
    """The first position from here on that does not cut a character."""
    while position < len(content) and content[position] & 0xC0 == 0x80:
        position += 1
    return position
