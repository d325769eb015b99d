"""The memory of a conversation as a thing of its own: kept, looked into, changed.

A carry is a value, so a branch of a conversation is another name for it. Everything
here takes the carries of a model's layers, each leaf leading with B, and gives new
ones; a slot is known by the position of the token that wrote it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from wmlstm_jax.core import Carry, Memory

Array = jax.Array
Carries = tuple[Carry, ...]
FORMAT = "wmlstm_jax conversation, version 1"


class Slot(NamedTuple):
    """What one slot of a row remembers."""

    position: int  # of the token that wrote it: how many came before it in this row
    token: int
    pinned: bool
    salience: float | None  # where the policy looks at it
    usage: float | None  # likewise


def remembered(carries: Carries, row: int = 0, layer: int = -1) -> list[Slot]:
    """What the memory of a layer holds, the oldest first.

    With groups of heads, whose slots differ, a token counts as held if one group holds
    it; of pins, saliences and uses the largest is told.

    Args:
      carries: the state.
      row: which row.
      layer: which layer, the last by default.

    Raises:
      ValueError: the layer has no slots.
    """
    memory = jax.device_get(_slots(carries[layer]))
    live, written = memory.live[row], memory.written[row]

    def most(leaf, there):
        return None if leaf is None else float(leaf[row][there].max())

    found = []
    for position in np.unique(written[live]):
        there = live & (written == position)
        found.append(
            Slot(
                int(position),
                int(memory.tags[row][there].max()),
                bool(memory.pinned[row][there].any()),
                most(memory.salience, there),
                most(memory.usage, there),
            )
        )
    return found


def reset(carries: Carries, empty: Carries) -> Carries:
    """Forgets everything, the state of the LSTM and pins too.

    Args:
      carries: the state; only its structure is looked at.
      empty: what `initialize_carry` gives for as many rows.
    """
    return jax.tree.map(lambda _, leaf: leaf, carries, empty)


def pin(carries: Carries, positions: Array, pinned: bool = True) -> Carries:
    """Keeps what was written at some positions, whatever comes; or lets it go again.

    A policy never names a pinned slot; when all are pinned, nothing is written.

    Args:
      carries: the state.
      positions: `[n]` int, in every row; where no slot holds it, nothing happens.
      pinned: False lifts the pins.

    Raises:
      ValueError: no layer has slots.
    """

    def mark(memory: Memory, there: Array) -> Memory:
        return memory._replace(pinned=jnp.where(there, pinned, memory.pinned))

    return _change(carries, positions, mark)


def forget(carries: Carries, positions: Array) -> Carries:
    """Empties the slots that were written at some positions.

    What the LSTM itself still knows of them stays in its state.

    Args:
      carries: the state.
      positions: `[n]` int, in every row.

    Raises:
      ValueError: no layer has slots.
    """

    def empty(memory: Memory, there: Array) -> Memory:
        return memory._replace(
            slot_epoch=jnp.where(there, -1, memory.slot_epoch),
            tags=jnp.where(there, -1, memory.tags),
            pinned=jnp.where(there, False, memory.pinned),
        )

    return _change(carries, positions, empty)


def branch(carries: Carries) -> Carries:
    """A copy whose buffers are its own, so that either may be donated."""
    return jax.tree.map(jnp.copy, carries)


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
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise _damaged(path, str(error)) from error
    for name, leaf in wanted.items():
        size = stored[name].nbytes if name in stored else None
        if size != _bytes(leaf):
            raise _damaged(path, f"{name} has {size} bytes instead of {_bytes(leaf)}")
    leaves = {
        name: np.frombuffer(stored[name].tobytes(), leaf.dtype).reshape(leaf.shape)
        for name, leaf in wanted.items()
    }
    if "notes" not in metadata or _digest(leaves, metadata) != metadata.get("sha256"):
        raise _damaged(path, "its sha256 is another")
    tree = jax.tree.structure(carries)
    found = [jnp.asarray(leaves[name]) for name in wanted]
    return jax.tree.unflatten(tree, found), json.loads(metadata["notes"])


def _slots(carry: Carry) -> Memory:
    memory = carry.memory
    if memory is None or memory.slot_epoch.shape[-1] == 0:
        raise ValueError("this memory has no slots; there is nothing to tell of it.")
    return memory


def _change(
    carries: Carries, positions: Array, change: Callable[[Memory, Array], Memory]
) -> Carries:
    """Every layer's memory, changed in the slots that were written there."""
    wanted, found = jnp.atleast_1d(jnp.asarray(positions)), []
    for carry in carries:
        if carry.memory is None:
            found.append(carry)
            continue
        memory = _slots(carry)
        there = (memory.written[..., None] == wanted).any(-1) & memory.live
        found.append(carry._replace(memory=change(memory, there)))
    if all(carry.memory is None for carry in carries):
        raise ValueError("the model has no memory; there is nothing to pin or forget.")
    return tuple(found)


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


def _damaged(path: str | Path, what: str) -> ValueError:
    return ValueError(f"{path} is damaged: {what}; use another copy.")
