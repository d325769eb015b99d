"""Sources with what may be said to them, from files of the usual formats.

Readers give what they find one after another, the bad among it, so that it can be
refused with its place or, where one wants to, counted and left out.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wmlstm_jax.data.refusals import listed
from wmlstm_jax.data.text_files import lines_of, matching_files, read_text


class Example(NamedTuple):
    """What goes in, and what may come out."""

    source: tuple[str, ...]  # one text, or several, such as a context and a question
    references: tuple[str, ...]  # what may be said to it; the first is trained on
    where: str  # the file and the line
    kind: str = ""  # what it is counted with, such as the number of a task
    news: tuple[str, ...] | None = None  # what came since the example before, if this
    # one goes on from it: `source` without what is known already


class BadExample(NamedTuple):
    """What is no example, and why."""

    where: str
    reason: str


Found = Iterator[Example | BadExample]
_HALF = re.compile("[\ud800-\udfff]")


class Examples(NamedTuple):
    """What was kept, and what was left out."""

    kept: list[Example]
    bad: list[BadExample]


def collect(found: Iterable[Example | BadExample], *, skip_bad: bool) -> Examples:
    """All examples, which have a source and a reference that are not blank.

    Args:
      found: from a reader.
      skip_bad: leaves out what is bad; else the first such is refused.

    Raises:
      ValueError: something is bad, or nothing is left.
    """
    examples, broken = Examples([], []), False
    for each in found:
        each = _checked(each) if isinstance(each, Example) else each
        if isinstance(each, Example):
            # What goes on from one that is left out begins anew, with all it knows.
            begun = broken and each.news is not None
            examples.kept.append(each._replace(news=None) if begun else each)
            broken = False
        elif skip_bad:
            examples.bad.append(each)
            broken = True
        else:
            raise ValueError(
                f"{each.where} {each.reason}; correct it, or leave such examples out"
                " with data.skip_bad."
            )
    if not examples.kept:
        raise ValueError(
            f"there is no example left, {len(examples.bad)} were bad; name other files."
        )
    return examples


def _checked(example: Example) -> Example | BadExample:
    if not all(text.strip() for text in example.source):
        return BadExample(example.where, "has an empty source")
    if not example.references or not all(r.strip() for r in example.references):
        return BadExample(example.where, "has an empty target")
    if _HALF.search("\n".join((*example.source, *example.references))):
        return BadExample(
            example.where, "has half of a surrogate pair, which is no text"
        )
    return example


def read_parallel(path: str, target_path: str, *, prefix: str = "") -> Found:
    """Text files with a source and a target in lines of the same number.

    Args:
      path: the file of sources, or a glob.
      target_path: the file of targets, or a glob that matches as many.
      prefix: of the two in messages, such as "validation_".

    Raises:
      ValueError: a line has no partner, or a file cannot be read.
    """
    names = f"{prefix}path", f"{prefix}target_path"
    sources, targets = (
        list(lines_of(*each)) for each in zip(names, (path, target_path), strict=True)
    )
    if len(sources) != len(targets):
        raise ValueError(
            f"data.{names[0]} matches {len(sources)} files and data.{names[1]}"
            f" {len(targets)}; they must be as many."
        )
    for (source, *lines), (target, *others) in zip(sources, targets, strict=True):
        lines += others
        counts = [len(each) for each in lines]
        if counts[0] != counts[1]:
            longer, shorter = (source, target)[:: 1 if counts[0] > counts[1] else -1]
            raise ValueError(
                f"{longer}, line {min(counts) + 1} has no partner in {shorter}, which"
                f" has {min(counts)} lines; bring both to the same number."
            )
        for number, pair in enumerate(zip(*lines, strict=True), 1):
            yield Example(pair[:1], pair[1:], f"{source}, line {number}")


def read_jsonl(
    path: str,
    source_fields: tuple[str, ...],
    target_field: str,
    kind_field: str = "",
    *,
    prefix: str = "",
) -> Found:
    """Files with a JSON object in every line.

    Args:
      path: the file, or a glob.
      source_fields: the fields that make the source, each a text.
      target_field: a text, or a list of texts, any of which may be said.
      kind_field: what examples are counted by, if anything.
      prefix: of `path` in messages, such as "validation_".
    """
    for file, lines in lines_of(f"{prefix}path", path):
        for number, line in enumerate(lines, 1):
            where = f"{file}, line {number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield BadExample(where, f"is no JSON ({error})")
                continue
            yield _from_record(record, source_fields, target_field, kind_field, where)


def read_table(
    path: str,
    source_fields: tuple[str, ...],
    target_field: str,
    kind_field: str = "",
    *,
    prefix: str = "",
) -> Found:
    """Tables whose first row names the columns: `.tsv` between tabs, else CSV.

    Args:
      path: the file, or a glob; `.gz` may follow.
      source_fields: the columns that make the source.
      target_field: the column that should be said.
      kind_field: what examples are counted by, if anything.
      prefix: of `path` in messages, such as "validation_".

    Raises:
      ValueError: a column is missing, or a file cannot be read.
    """
    csv.field_size_limit(2**31 - 1)  # A field may be a book.
    for file in matching_files(f"{prefix}path", path):
        tabs = ".tsv" in file.suffixes
        # A field in quotes may hold line ends.
        rows = csv.reader(
            io.StringIO(read_text(f"{prefix}path", file), newline=""),
            delimiter="\t" if tabs else ",",
            quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
            strict=not tabs,
        )
        try:
            header = next(rows)
            wanted = (*source_fields, target_field, *filter(None, [kind_field]))
            if missing := [field for field in wanted if field not in header]:
                raise ValueError(
                    f"{file} has no column {missing[0]!r}; it has {listed(header)}."
                )
            for row in rows:
                where = f"{file}, line {rows.line_num}"
                if not row:  # A blank line.
                    continue
                if len(row) != len(header):
                    reason = f"has {len(row)} cells and the first row {len(header)}"
                    yield BadExample(where, reason)
                    continue
                record = dict(zip(header, row, strict=True))
                yield _from_record(
                    record, source_fields, target_field, kind_field, where
                )
        except csv.Error as error:
            raise ValueError(
                f"{file}, line {rows.line_num} is no table ({error}); correct it."
            ) from error


def _from_record(record, source_fields, target_field, kind_field, where):
    if not isinstance(record, dict):
        return BadExample(where, "is no JSON object")
    for field in (*source_fields, target_field, *filter(None, [kind_field])):
        if field not in record:
            names = listed(map(str, record)) or "none"
            return BadExample(where, f"has no field {field!r}; it has {names}")
    source = tuple(record[field] for field in source_fields)
    targets = record[target_field]
    targets = tuple(targets) if isinstance(targets, list) else (targets,)
    if not all(isinstance(text, str) for text in (*source, *targets)):
        return BadExample(where, "has a field that is no text")
    return Example(source, targets, where, str(record.get(kind_field, "")))
