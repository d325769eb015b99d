"""Dataclasses from nested mappings, checked field by field."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from wmlstm_jax.data.refusals import closest, shown


def parse(schema: type, settings: Any, where: str) -> Any:
    """A dataclass whose fields are in a mapping, nested ones too.

    Args:
      schema: the dataclass.
      settings: the mapping.
      where: its name, for messages.

    Raises:
      ValueError: a field is unknown, of another type, or absent and without a default;
        a field that came later has one, so that older runs are read.
    """
    hints = typing.get_type_hints(schema)
    names = [field.name for field in fields(schema)]
    needed = [field.name for field in fields(schema) if field.default is MISSING]
    if not isinstance(settings, Mapping) and not hasattr(settings, "items"):
        raise ValueError(f"{where} is {settings!r}; it must hold {', '.join(names)}.")
    for name in settings.keys():
        if name not in names:
            close = closest(name, names)
            hint = f"did you mean {close}?" if close else f"it has {', '.join(names)}."
            raise ValueError(f"{where} has no field {shown(name)}; {hint}")
    for name in needed:
        if name not in settings:
            raise ValueError(f"{where}.{name} is absent; configs/default.py has it.")
    return schema(
        **{
            name: _value(hints[name], settings[name], f"{where}.{name}")
            for name in names
            if name in settings
        }
    )


def _value(hint, value, where):
    if isinstance(hint, type) and is_dataclass(hint):
        return parse(hint, value, where)
    if typing.get_origin(hint) is tuple and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return tuple(_value(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if hint is float and type(value) is int:
        return float(value)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(value) not in allowed:
        wanted = " or ".join(getattr(kind, "__name__", "tuple") for kind in allowed)
        raise ValueError(f"{where} is {value!r}; it must be of type {wanted}.")
    return value


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their names, `data.window`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def require_positive(where: str, config: Any, names: tuple[str, ...]) -> None:
    """Refuses fields that are not above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(
                f"{where}.{name} is {getattr(config, name)}; it must be positive."
            )


def require(where: str, config: Any, names: tuple[str, ...], least: float) -> None:
    """Refuses fields below a least value."""
    for name in names:
        if not getattr(config, name) >= least:
            raise ValueError(
                f"{where}.{name} is {getattr(config, name)}; it must be at least"
                f" {least}."
            )
