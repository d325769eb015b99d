"""Where examples come from, and how they are split."""

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from wmlstm_jax.data.dialogues import (
    read_dailydialog,
    read_dialog_babi,
    read_turns,
)
from wmlstm_jax.data.examples import (
    BadExample,
    Example,
    Examples,
    Found,
    collect,
    read_jsonl,
    read_parallel,
    read_table,
)
from wmlstm_jax.data.prepared_sets import read_prepared_examples
from wmlstm_jax.data.questions import read_babi, read_squad
from wmlstm_jax.data.refusals import no_such
from wmlstm_jax.data.sources import read_embedded
from wmlstm_jax.data.text_files import matching_files, refuse_trained


@dataclass(frozen=True)
class ExampleFiles:
    """What a source of examples reads; which of it, depends on the source.

    Args:
      path: files of the training examples, or the name of a set of TFDS.
      validation_path: "" cuts them from the training examples.
      test_path: likewise.
      target_path: for `parallel`, the other side of `path`.
      validation_target_path: likewise.
      test_target_path: likewise.
      source_fields: for `jsonl`, `table` and `tfds`.
      target_field: likewise.
      kind_field: likewise; "" counts all together.
      data_dir: for `tfds`, where sets are prepared.
    """

    path: str = ""
    validation_path: str = ""
    test_path: str = ""
    target_path: str = ""
    validation_target_path: str = ""
    test_target_path: str = ""
    source_fields: tuple[str, ...] = ()
    target_field: str = ""
    kind_field: str = ""
    data_dir: str = ""


class ExampleSource(NamedTuple):
    """A format of examples."""

    read: Callable[..., Any]
    """Gives what it finds in one split, or, for TFDS, in all."""

    settings: tuple[str, ...]
    """Its arguments; beside them `prefix`."""

    whole_kinds: bool = False
    """A split takes whole kinds, such as articles, and not a part of each."""

    both_learned: bool = False
    """What comes in after the first utterance is said by the other, and learned too."""


def read_backwards(*, prefix: str = "") -> Found:
    """Lines of the text inside Python, to be said from their last word to the first.

    For a look at everything without a file: see `read_embedded`.
    """
    lines = read_embedded()[0]["train"].splitlines()
    for number, line in enumerate(lines, 1):
        if 2 <= len(words := line.split()) <= 12:
            where = f"embedded text, line {number}"
            yield Example((" ".join(words),), (" ".join(reversed(words)),), where)


_FIELDS = ("source_fields", "target_field", "kind_field")
EXAMPLE_SOURCES: dict[str, ExampleSource] = {
    "backwards": ExampleSource(read_backwards, ()),
    "parallel": ExampleSource(read_parallel, ("path", "target_path")),
    "jsonl": ExampleSource(read_jsonl, ("path", *_FIELDS)),
    "table": ExampleSource(read_table, ("path", *_FIELDS)),
    "squad": ExampleSource(read_squad, ("path",), whole_kinds=True),
    "babi": ExampleSource(read_babi, ("path",)),
    "dialog_babi": ExampleSource(read_dialog_babi, ("path",)),
    "dailydialog": ExampleSource(read_dailydialog, ("path",), both_learned=True),
    "turns": ExampleSource(read_turns, ("path", "target_field"), both_learned=True),
    "tfds": ExampleSource(read_prepared_examples, ("path", *_FIELDS, "data_dir")),
}
"""The sources of examples by the name that a config gives."""

_OPTIONAL = ("kind_field", "data_dir")
_SPLITS = ("train", "validation", "test")


class ExampleSets(NamedTuple):
    """Examples in three splits, and where they came from."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]  # empty if there are none
    bad: list[BadExample]  # what was left out
    origin: dict[str, str]  # source, examples, sha256 of all, and what fixes them


def load_examples(
    source: str,
    files: ExampleFiles,
    *,
    validation_fraction: float = 0.05,
    test_fraction: float = 0.0,
    skip_bad: bool = False,
) -> ExampleSets:
    """Reads examples in three splits.

    A split that has no files of its own is cut from the training examples: of every
    kind the last, or, where kinds are documents, the last whole kinds.

    Args:
      source: a key of `EXAMPLE_SOURCES`.
      files: what it reads.
      validation_fraction: of the training examples, if the validation set is cut off.
      test_fraction: likewise; 0 is no test set.
      skip_bad: leaves out what is no example; else the first such is refused.

    Raises:
      ValueError: an unknown source, a setting that it needs or does not read, a
        fraction out of range, or its examples cannot be had.
    """
    if source not in EXAMPLE_SOURCES:
        raise no_such("data.source", source, EXAMPLE_SOURCES)
    reader = EXAMPLE_SOURCES[source]
    _check_settings(source, reader, files)
    found, fixed = _find(source, reader, files)
    read: dict[str, Examples] = {
        split: collect(each, skip_bad=skip_bad) for split, each in found.items()
    }
    kept = {split: each.kept for split, each in read.items()}
    parts = {"validation": validation_fraction, "test": test_fraction}
    parts = {split: part for split, part in parts.items() if split not in kept}
    for split, part in parts.items():
        _check_fraction(split, part)
        kept["train"], kept[split] = _cut(kept["train"], part, reader.whole_kinds)
    for split in ("train", "validation"):
        if not kept[split]:
            raise ValueError(
                f"there is no example left for {split}; change"
                " data.validation_fraction, or name more examples."
            )
    origin = {
        "source": source,
        **fixed,
        **{f"{split}_fraction": str(part) for split, part in parts.items()},
        "examples": ", ".join(f"{split} {len(kept[split])}" for split in _SPLITS),
        "sha256": _digest(kept[split] for split in _SPLITS),
    }
    bad = [each for examples in read.values() for each in examples.bad]
    return ExampleSets(**kept, bad=bad, origin=origin)


def _check_settings(source: str, reader: ExampleSource, files: ExampleFiles) -> None:
    of_splits = {
        f"{split}{name}"
        for split in ("validation_", "test_")
        for name in reader.settings
        if name.endswith("path") and source != "tfds"
    }
    for name in vars(files):
        given = getattr(files, name)
        if given and name not in (*reader.settings, *of_splits):
            raise ValueError(
                f"data.{name} is {given!r}, which data.source={source} does not read;"
                f" leave it {type(given)()!r}."
            )
        if name in reader.settings and name not in _OPTIONAL and not given:
            raise ValueError(f"data.source={source} needs data.{name}.")
    for split in ("validation", "test"):
        sides = {n for n in of_splits if n.startswith(split) and getattr(files, n)}
        if len(sides) == 1 and "target_path" in reader.settings:
            missing = {f"{split}_path", f"{split}_target_path"} - sides
            raise ValueError(
                f"data.{sides.pop()} is given without data.{missing.pop()}; name both."
            )


def _find(source, reader, files) -> tuple[dict[str, Iterable], dict[str, str]]:
    """What there is in each split that has files, and what fixes it."""
    given = {name: getattr(files, name) for name in reader.settings}
    if source == "tfds":
        return reader.read(**given)
    trained = {file.resolve() for file in matching_files("path", files.path)}
    for field in ("validation_path", "test_path"):
        if pattern := getattr(files, field):
            refuse_trained(field, pattern, trained)
    found = {}
    for split in _SPLITS:
        prefix = "" if split == "train" else f"{split}_"
        paths = {n: getattr(files, prefix + n) for n in given if n.endswith("path")}
        if paths.get("path", split == "train"):
            found[split] = reader.read(**given | paths, prefix=prefix)
    return found, {name: str(value) for name, value in vars(files).items() if value}


def _check_fraction(split: str, part: float) -> None:
    if not 0 <= part < 1 or (split == "validation" and not part):
        least = "above 0" if split == "validation" else "at least 0"
        raise ValueError(
            f"data.{split}_fraction is {part}; it must be {least} and below 1, or name"
            f" data.{split}_path."
        )


def _cut(
    examples: list[Example], part: float, whole_kinds: bool
) -> tuple[list[Example], list[Example]]:
    """What stays, and about this part of all, from the ends."""
    by_kind: dict[str, list[Example]] = {}
    for example in examples:
        by_kind.setdefault(example.kind, []).append(example)
    wanted, cut = part * len(examples), []
    if whole_kinds:
        for kind in reversed(list(by_kind)):
            if len(cut) < wanted and len(by_kind) > 1:
                cut[:0] = by_kind.pop(kind)
    else:
        for kind, count in _shares(by_kind, math.ceil(wanted)).items():
            members = by_kind[kind]
            start = len(members) - count
            # Not through examples that go on from each other.
            while 0 < start < len(members) and members[start].news is not None:
                start -= 1
            cut += members[start:]
            del members[start:]
    return [each for members in by_kind.values() for each in members], cut


def _shares(by_kind: dict[str, list[Example]], wanted: int) -> dict[str, int]:
    """How many of each kind make so many, in proportion; of each at least one stays."""
    total = sum(map(len, by_kind.values()))
    exact = {kind: wanted * len(each) / total for kind, each in by_kind.items()}
    shares = {kind: int(share) for kind, share in exact.items()}
    # What is lost by rounding goes to those that lost most.
    order = sorted(exact, key=lambda kind: shares[kind] - exact[kind])
    missing = wanted - sum(shares.values())
    while missing:
        room = [kind for kind in order if shares[kind] < len(by_kind[kind]) - 1]
        for kind in room[:missing]:
            shares[kind] += 1
        missing -= len(room[:missing])
        if not room:
            break
    return shares


def _digest(splits: Iterable[list[Example]]) -> str:
    digest = hashlib.sha256()
    for examples in splits:
        for each in examples:
            digest.update(repr((each.source, each.references, each.kind)).encode())
        digest.update(b"\0")
    return digest.hexdigest()
