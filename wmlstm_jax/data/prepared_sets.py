"""Texts from data sets that TFDS has prepared, read without TensorFlow."""

import importlib
import re
from typing import Any

import numpy as np

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
    match = _NAME.fullmatch(path)
    if not match:
        raise ValueError(
            f"data.path is {path!r}; data.source=tfds needs the name of a data set,"
            " such as tiny_shakespeare, glue/cola or lm1b/1.1.0."
        )
    name = match["name"] + (match["config"] or "")
    name += f":{match['version']}" if match["version"] else ""
    builder = _find(path, name, data_dir)
    _require_text(path, text_field, builder)
    splits = _splits(path, list(builder.info.splits))
    texts = {
        split: join_texts(_texts(path, builder, stored, text_field))
        for split, stored in splits.items()
    }
    if not texts["train"]:
        raise ValueError(
            f"data.path={path} has no text in {text_field}; name another data set."
        )
    return texts, {"name": builder.info.full_name, "text_field": text_field}


def _find(path: str, name: str, data_dir: str) -> Any:
    """The builder of a set that is prepared in a format with random access."""
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


def _require_text(path: str, text_field: str, builder: Any) -> None:
    fields = [
        name
        for name, feature in builder.info.features.items()
        if feature.shape == () and np.dtype(feature.np_dtype).kind == "O"
    ]
    if text_field not in fields:
        names = " or ".join(sorted(fields))
        hint = (
            f"set it to {names}" if fields else "there is none; name another data set"
        )
        raise ValueError(
            f"data.text_field is {text_field!r}, which is no text field of {path};"
            f" {hint}."
        )


def _splits(path: str, stored: list[str]) -> dict[str, str]:
    """Which stored split is train, validation and test; the last two may be absent."""
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


def _texts(path: str, builder: Any, split: str, text_field: str) -> list[str]:
    try:
        examples = builder.as_data_source(split=split)
        texts = [example[text_field] for example in examples]
    except Exception as error:
        raise _unreadable(path, error) from error
    return [_text(path, split, i, text) for i, text in enumerate(texts)]


def _text(path: str, split: str, number: int, text: Any) -> str:
    # TFDS gives bytes from files, and str from its mock data.
    if isinstance(text, str):
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
