"""What the package needs to run, as it is installed here."""

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def read_requirements() -> list[Requirement]:
    """The lines of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] != "#"]


def needed() -> dict[str, Distribution]:
    """All that is needed for requirements.txt, itself and what it needs, by name."""
    found, wanted = {}, [(each.name, each.extras) for each in read_requirements()]
    seen = set()
    while wanted:
        name, extras = wanted.pop()
        name, extras = canonicalize_name(name), frozenset(extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        for line in found[name].requires or ():
            each = Requirement(line)
            if each.marker is None or any(
                each.marker.evaluate({"extra": extra}) for extra in {"", *extras}
            ):
                wanted.append((each.name, each.extras))
    return dict(sorted(found.items()))
