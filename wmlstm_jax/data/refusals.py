"""Sentences with which more than one module refuses."""

import difflib
import re
from collections.abc import Iterable


def no_such(field: str, name: str, names: Iterable[str]) -> ValueError:
    """For a setting that names none of `names`."""
    names = sorted(names)
    close = closest(name, names)
    hint = f"did you mean {close}?" if close else f"it must be {' or '.join(names)}."
    return ValueError(f"{field} is {name!r}; {hint}")


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` was probably meant to be, if any is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return close[0] if close else None


def shown(name: str) -> str:
    """A name that comes from outside, in one line that shows where it begins."""
    return name if re.fullmatch(r"[\w.-]+", name) else repr(name)


def listed(names: Iterable[str]) -> str:
    """Several of them."""
    return ", ".join(map(shown, names))


def damaged(what: str) -> ValueError:
    """For what a checkpoint says of its tokeniser."""
    return ValueError(
        f"the saved tokeniser is damaged: {what}; use another checkpoint."
    )
