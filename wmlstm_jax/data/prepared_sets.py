"""Texts from data sets that TFDS has prepared, read without TensorFlow."""

import importlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from wmlstm_jax.data.examples import BadExample, Example
from wmlstm_jax.data.refusals import closest
from wmlstm_jax.data.text_files import join_texts

# TFDS also takes namespaces, which it asks the network about, and arguments.
_NAME = re.compile(
    r"(?P<name>[A-Za-z]\w*)(?P<config>/(?!\d+\.\d+\.\d+$)[\w+.-]+)?"
    r"([:/](?P<version>\d+\.\d+\.\d+))?"
)
_SPLITS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""What each split is called in data sets; the first name that there is counts."""

_KINDS_OF_TEXT = (
    "question_answering",
    "summarization",
    "text",
    "text_simplification",
    "translate",
)
"""The packages of TFDS with sets of texts."""


def read_prepared(
    *, path: str, text_field: str, data_dir: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of a data set of TFDS that lies prepared on this machine.

    Nothing is downloaded, and TensorFlow is not needed. The texts of a split are joined
    in the order in which they are stored, with a newline after one that does not end in
    any. All of it is held in memory.

    Args:
      path: its name, such as `tiny_shakespeare`, `glue/cola` or `lm1b/1.1.0`; the
        newest version that is prepared unless it names one.
      text_field: which feature of the examples is the text.
      data_dir: where data sets are prepared, or "" for the place that TFDS prefers.

    Returns:
      The texts by split, of train, validation and test those that the set has, and what
      fixes them: the name with the version, and the field.

    Raises:
      ValueError: TFDS does not know the set, it is not prepared or in a format that
        needs TensorFlow, has no training text or no such field, or is damaged.
    """
    builder = _find(path, data_dir)
    _require_text(path, "text_field", text_field, builder, shapes=((),))
    texts = {
        split: join_texts(_column(path, builder, stored, text_field))
        for split, stored in _splits(path, builder).items()
    }
    if not texts["train"]:
        raise ValueError(
            f"data.path={path} has no text in {text_field}; name another data set."
        )
    return texts, {"name": builder.info.full_name, "text_field": text_field}


def read_prepared_examples(
    path: str,
    source_fields: tuple[str, ...],
    target_field: str,
    kind_field: str,
    data_dir: str,
) -> tuple[dict[str, list[Example | BadExample]], dict[str, str]]:
    """Sources and targets of a data set of TFDS; see `read_prepared`.

    Args:
      path: its name, such as `wmt14_translate/de-en` or `squad`.
      source_fields: the features that make the source; `a/b` is feature b of a.
      target_field: a text, or several, any of which may be said, as `answers/text`.
      kind_field: what examples are counted by, or "".
      data_dir: where data sets are prepared, or "" for the place that TFDS prefers.

    Returns:
      Examples by split, and what fixes them: the name with the version.

    Raises:
      ValueError: as `read_prepared`.
    """
    builder = _find(path, data_dir)
    for field in source_fields:
        _require_text(path, "source_fields", field, builder, shapes=((),))
    _require_text(path, "target_field", target_field, builder, shapes=((), (None,)))
    if kind_field:
        scalars = ((),)
        _require_text(path, "kind_field", kind_field, builder, scalars, numbers=True)
    found = {}
    for split, stored in _splits(path, builder).items():
        sources = [_column(path, builder, stored, field) for field in source_fields]
        targets = _column(path, builder, stored, target_field)
        kinds = _column(path, builder, stored, kind_field) if kind_field else None
        found[split] = [
            _example(path, split, number, each, targets[number], kinds)
            for number, each in enumerate(zip(*sources, strict=True))
        ]
    return found, {"name": builder.info.full_name}


def _example(path, split, number, source, target, kinds) -> Example | BadExample:
    where = f"{path}, split {split}, example {number}"
    references = (target,) if isinstance(target, str) else tuple(dict.fromkeys(target))
    if not references:
        return BadExample(where, "has no target")
    return Example(source, references, where, str(kinds[number]) if kinds else "")


def _find(path: str, data_dir: str) -> Any:
    """The builder of a set that is prepared in a format with random access."""
    match = _NAME.fullmatch(path)
    if not match:
        raise ValueError(
            f"data.path is {path!r}; data.source=tfds needs the name of a data set,"
            " such as tiny_shakespeare, glue/cola or lm1b/1.1.0."
        )
    name = match["name"] + (match["config"] or "")
    name += f":{match['version']}" if match["version"] else ""
    # Importing TFDS takes a second, and only this source needs it.
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import constants, read_only_builder

    try:
        builder = read_only_builder.builder_from_files(name, data_dir=data_dir or None)
        formats = builder.info.available_file_formats()
    except tfds.core.DatasetNotFoundError as error:
        for kind in _KINDS_OF_TEXT:  # TFDS only lists what has been imported.
            importlib.import_module(f"tensorflow_datasets.{kind}")
        names = tfds.list_builders(with_community_datasets=False)
        raise _not_found(path, name, data_dir, names, constants.DATA_DIR) from error
    # What a damaged file raises depends on the library that reads it.
    except Exception as error:
        raise _unreadable(path, error) from error
    if not formats & tfds.core.FileFormat.with_random_access():
        found = " and ".join(sorted(each.value for each in formats))
        raise ValueError(
            f"data.path={path} is prepared as {found}, which only TensorFlow reads; set"
            " data.data_dir to another directory and prepare it there with"
            f" {_how_to_prepare(name, 'another/directory')}"
        )
    return builder


def _not_found(
    path: str, name: str, data_dir: str, names: list[str], default_dir: str
) -> ValueError:
    what = f"data.path={path} is not prepared in {data_dir or default_dir}"
    bare = re.split("[/:]", name)[0]
    if bare in names:
        how = _how_to_prepare(name, data_dir)
        return ValueError(f"{what}; prepare it with {how}")
    close = closest(bare, names)
    hint = f"did you mean {close}?" if close else "correct it or data.data_dir."
    return ValueError(f"{what} and no data set that TFDS knows; {hint}")


def _how_to_prepare(name: str, data_dir: str) -> str:
    where = f" data_dir={data_dir!r}," if data_dir else ""
    return (
        'python -c "import tensorflow_datasets as tfds;'
        f" tfds.builder({name!r},{where} file_format='array_record')"
        '.download_and_prepare()", for which some data sets need TensorFlow.'
    )


def _require_text(
    path,
    setting: str,
    field: str,
    builder: Any,
    shapes: tuple,
    *,
    numbers: bool = False,
) -> None:
    """Refuses a feature that is no text, nor a number where those are allowed."""
    fields = [
        name
        for name, info in _leaves(builder.info.features.get_tensor_info())
        if info.shape in shapes and (numbers or np.dtype(info.np_dtype).kind == "O")
    ]
    if field not in fields:
        names = " or ".join(sorted(fields))
        hint = (
            f"set it to {names}" if fields else "there is none; name another data set"
        )
        raise ValueError(
            f"data.{setting} is {field!r}, which is no text field of {path}; {hint}."
        )


def _leaves(infos: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Features by their names, `a/b` for feature b of a."""
    for name, info in infos.items():
        if isinstance(info, dict):
            yield from _leaves(info, f"{prefix}{name}/")
        else:
            yield prefix + name, info


def _splits(path: str, builder: Any) -> dict[str, str]:
    """Which stored split is train, validation and test; the last two may be absent."""
    stored = list(builder.info.splits)
    splits = {
        split: next(name for name in names if name in stored)
        for split, names in _SPLITS.items()
        if set(names) & set(stored)
    }
    if "train" not in splits:
        raise ValueError(
            f"data.path={path} has no split train but {', '.join(sorted(stored))}; name"
            " another data set."
        )
    return splits


def _column(path: str, builder: Any, split: str, field: str) -> list[Any]:
    """A feature of all examples: texts, or lists of texts."""
    *outer, last = field.split("/")
    try:
        found = []
        for example in builder.as_data_source(split=split):
            for name in outer:
                example = example[name]
            found.append(example[last])
    except Exception as error:
        raise _unreadable(path, error) from error
    return [_text(path, split, i, text) for i, text in enumerate(found)]


def _text(path: str, split: str, number: int, text: Any) -> Any:
    if isinstance(text, np.ndarray | list):
        return [_text(path, split, number, each) for each in text]
    # TFDS gives bytes from files, and str from its mock data; a kind may be a number.
    if not isinstance(text, bytes):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"data.path={path}, split {split}, example {number}, byte {error.start} is"
            " not UTF-8; use another data.text_field."
        ) from error


def _unreadable(path: str, error: Exception) -> ValueError:
    reason = str(error).partition("\n")[0]
    return ValueError(
        f"data.path={path} is prepared but cannot be read ({reason}); delete it and"
        " prepare it again."
    )
