"""What a compiled program sends between devices, and where: read from its HLO."""

import math
import re
from typing import NamedTuple

_KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_COMPUTATION = re.compile(r"^\s*(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations)=\{?(%?[\w.\-, %]+)\}?"
)
_SENDS = re.compile(rf"= (.*?) ({'|'.join(_KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+(?:e\w+)?)\[([\d,]*)\]")
_BODY = re.compile(r"body=%?([\w.\-]+)")


class Collective(NamedTuple):
    """One instruction that sends."""

    kind: str  # such as "all-reduce"
    bytes: int  # of its result, on one device
    in_loop: bool  # it is sent in every turn of a loop


def find_collectives(hlo: str) -> list[Collective]:
    """All that a program sends.

    Args:
      hlo: of a compiled program, as `compiled.as_text()` gives it.
    """
    lines, called, bodies = _read(hlo)
    looped, open_names = set(), list(bodies)
    while open_names:
        name = open_names.pop()
        if name not in looped:
            looped.add(name)
            open_names += called.get(name, [])
    return [
        Collective(found[2], _bytes(found[1]), name in looped)
        for name, instructions in lines.items()
        for line in instructions
        if (found := _SENDS.search(line))
    ]


def _read(hlo):
    """Instructions and callees by computation, and the bodies of loops."""
    lines: dict[str, list[str]] = {}
    called: dict[str, list[str]] = {}
    bodies, name = set(), ""
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            name = header[1]
            lines[name], called[name] = [], []
        elif name:
            lines[name].append(line)
            for names in _CALLED.findall(line):
                called[name] += [each.strip(" %") for each in names.split(",")]
            bodies |= set(_BODY.findall(line))
    return lines, called, bodies


def _bytes(shapes: str) -> int:
    """Of `f32[4,8]{1,0}`, or of all in a tuple."""
    total = 0
    for dtype, dims in _ARRAY.findall(shapes):
        bits = 8 if dtype == "pred" else int(re.search(r"\d+", dtype)[0])
        total += math.prod(int(dim) for dim in dims.split(",") if dim) * bits // 8
    return total
