"""The state of a conversation in one file, apart from the weights.

A safetensors file: numbers and texts, nothing that could run. What it says is checked
before it is used.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from wmlstm_jax.core import Carry

Carries = tuple[Carry, ...]
FORMAT = "wmlstm_jax conversation, version 1"
_NO_JSON = (json.JSONDecodeError, RecursionError, UnicodeDecodeError)


def save(
    path: str | Path,
    carries: Carries,
    about: Mapping[str, Any],
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Writes the state of a conversation, apart from the weights, in one file.

    The file is a safetensors file: numbers only, nothing that could run.

    Args:
      path: the file; it is replaced as a whole.
      carries: the state.
      about: what a state belongs to, such as the settings of the model, as JSON can
        hold it; `load` compares it.
      notes: what else is kept, such as words that the tokens stand for.

    Raises:
      ValueError: the file cannot be written.
    """
    path = Path(path)
    leaves = _named(jax.device_get(carries))
    metadata = {
        "format": FORMAT,
        "about": json.dumps(about, sort_keys=True),
        "notes": json.dumps(notes or {}),
    }
    metadata["sha256"] = _digest(leaves, metadata)
    content = safetensors.numpy.save(
        {name: _as_bytes(leaf) for name, leaf in leaves.items()}, metadata
    )
    new = path.with_name(path.name + ".new")
    try:
        new.write_bytes(content)
        new.replace(path)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}); name another file."
        ) from error


def load(
    path: str | Path, carries: Carries, about: Mapping[str, Any]
) -> tuple[Carries, dict[str, Any]]:
    """Reads the state of a conversation with the same model, and the notes of it.

    Args:
      path: from `save`.
      carries: a state of that model, for its structure, shapes and dtypes.
      about: as it was given to `save`.

    Raises:
      ValueError: the file cannot be read, is none of these or is damaged, or it belongs
        to another model; the message names the first difference.
    """
    wanted = _named(carries)
    try:
        if (
            Path(path).stat().st_size
            > 2 * sum(_bytes(w) for w in wanted.values()) + 2**20
        ):
            raise ValueError(f"{path} is no conversation with this model: too large.")
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path} is {metadata.get('format', 'no conversation')!r}; this"
                    f" package reads {FORMAT!r}."
                )
            _compare(path, json.loads(metadata["about"]), about)
            stored = {name: file.get_tensor(name) for name in file.keys()}
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror or error}); name a file that"
            " `save` has written."
        ) from error
    except (safetensors.SafetensorError, KeyError, *_NO_JSON) as error:
        raise damaged(path, str(error)) from error
    for name, leaf in wanted.items():
        size = stored[name].nbytes if name in stored else None
        if size != _bytes(leaf):
            raise damaged(path, f"{name} has {size} bytes instead of {_bytes(leaf)}")
    leaves = {
        name: np.frombuffer(stored[name].tobytes(), leaf.dtype).reshape(leaf.shape)
        for name, leaf in wanted.items()
    }
    if "notes" not in metadata or _digest(leaves, metadata) != metadata.get("sha256"):
        raise damaged(path, "its sha256 is another")
    try:
        notes = dict(json.loads(metadata["notes"]))
    except (TypeError, *_NO_JSON) as error:
        raise damaged(path, f"its notes are none ({error})") from error
    tree = jax.tree.structure(carries)
    found = [jnp.asarray(leaves[name]) for name in wanted]
    return jax.tree.unflatten(tree, found), notes


def check_range(path: str | Path, carries: Carries, num_tokens: int) -> None:
    """Refuses a state that no model can have been in.

    The sha256 in a file only tells of accidents: whoever wrote it could write that too.

    Args:
      path: where it is from.
      carries: from `load`.
      num_tokens: how many tokens there are.

    Raises:
      ValueError: a tag is no token, the head is at no slot, a clock is negative, or a
        number is not finite.
    """
    for carry in jax.device_get(carries):
        for leaf in jax.tree.leaves(carry):
            if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
                raise damaged(path, "a number of it is not finite")
        memory = carry.memory
        if memory is None:
            continue
        slots = memory.slot_epoch.shape[-1]
        for name, leaf, low, high in (
            ("tag", memory.tags, -1, num_tokens),
            ("head", memory.head, 0, slots),
            ("clock", memory.clock, 0, np.inf),
            ("time of writing", memory.written, 0, memory.clock.max() + 1),
        ):
            if ((leaf < low) | (leaf >= high)).any():
                raise damaged(path, f"a {name} of it is out of range")


def _named(carries: Carries) -> dict[str, Any]:
    """The leaves by their places."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(carries)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _as_bytes(leaf: np.ndarray) -> np.ndarray:
    """The same as a row of bytes: of every dtype, bfloat16 too."""
    return np.frombuffer(np.ascontiguousarray(leaf).tobytes(), np.uint8)


def _bytes(leaf: Any) -> int:
    return leaf.size * leaf.dtype.itemsize


def _digest(leaves: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in ("format", "about", "notes"):
        digest.update(metadata[name].encode() + b"\0")
    for name, leaf in leaves.items():
        digest.update(f"{name} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _compare(path: str | Path, was: Any, now: Mapping[str, Any]) -> None:
    """Refuses a state that belongs to something else."""
    was, now = (dict(_flat(each)) for each in (was, json.loads(json.dumps(now))))
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            raise ValueError(
                f"{path} belongs to another model ({name}: {was.get(name)!r}, now"
                f" {now.get(name)!r}); load it beside that one."
            )


def _flat(tree: Any, prefix: str = ""):
    if not isinstance(tree, dict):
        yield prefix, tree
        return
    for name, value in tree.items():
        yield from _flat(value, f"{prefix}.{name}" if prefix else name)


def damaged(path: str | Path, what: str) -> ValueError:
    """For a file that cannot be used."""
    return ValueError(f"{path} is damaged: {what}; use another copy.")
