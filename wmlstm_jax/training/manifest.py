"""The files of a workdir: written whole, and told from damaged ones by their sha256."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# How TensorStore, which writes the arrays, says what the system said to it.
_SYSTEM_SAID = re.compile(r"os_error_code='(\d+)'")


class CannotWrite(ValueError):
    """A file cannot be written; the message is one sentence."""


@contextmanager
def writing(place: Path, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Makes one sentence of a full disk, or of a place that may not be written to.

    Args:
      place: the file or directory that is written in this context.
      tell: is told the sentence, which is then not raised.

    Raises:
      CannotWrite: it cannot be written; the message says why, and what to do.
    """
    try:
        yield
    except CannotWrite as error:
        if tell is None:
            raise
        tell(str(error))
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else None
        if said := _SYSTEM_SAID.search(str(error)):
            code = int(said[1])
        if code is None:
            raise
        sentence = (
            f"{place} cannot be written ({os.strerror(code)}); make room, or name"
            " another place, and start again: what was saved before is whole."
        )
        if tell is None:
            raise CannotWrite(sentence) from error
        tell(sentence)


def require_writable(directory: Path) -> None:
    """Makes a directory for what takes long to find out, before it is found out.

    Raises:
      ValueError: it cannot be made, or not be written to.
    """
    probe = directory / ".writable"
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()


def write_whole(path: Path, text: str) -> None:
    """Makes a text the content of a file; whoever looks sees all of it or none.

    Raises:
      ValueError: the file cannot be written; it is what it was.
    """
    part = path.with_name(f"{path.name}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)


def write_manifest(manifest: Path, directory: Path) -> None:
    """Notes size and sha256 of every file below a directory.

    Raises:
      ValueError: the manifest cannot be written.
    """
    files = {name: _known_by(path) for name, path in _files(directory).items()}
    write_whole(manifest, json.dumps(files, indent=1) + "\n")


def check_manifest(manifest: Path, directory: Path, part: str = "") -> None:
    """Compares the files below a directory with what was noted of them.

    Args:
      manifest: from `write_manifest`.
      directory: of which it was written.
      part: how the names begin of the files that are compared.

    Raises:
      ValueError: the manifest is damaged, or a file is missing, was not noted, or is
        not what it was; the message names it.
    """
    named = f"{manifest.parent.name}/{manifest.name}"
    try:
        noted = dict(json.loads(manifest.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{named} is damaged") from error
    found = _files(directory)
    for name in sorted(noted.keys() | found):
        if not name.startswith(part):
            continue
        place = f"{directory.parent.name}/{directory.name}/{name}"
        if name not in found:
            raise ValueError(f"{place} is missing")
        if name not in noted:
            raise ValueError(f"{place} is not in {named}")
        for what, value in _known_by(found[name]).items():
            if noted[name].get(what) != value:
                raise ValueError(f"{place}: {what} differs from {named}")


def _files(directory: Path) -> dict[str, Path]:
    """The files below a directory, by their names in it, sorted."""
    paths = sorted(path for path in directory.rglob("*") if not path.is_dir())
    return {path.relative_to(directory).as_posix(): path for path in paths}


def _known_by(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": sha256}
