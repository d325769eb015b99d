"""Writes `docs/licences.md`: under which licence each runtime dependency is.

    python -m tests.make_licences

As the packages themselves say it, in the metadata that pip installed.
"""

from importlib.metadata import PackageMetadata

from packaging.utils import canonicalize_name

from tests.dependencies import ROOT, needed, read_requirements

PATH = ROOT / "docs" / "licences.md"
_CLASSIFIER = "License :: "
_HEAD = """# Licences

wmlstm_jax itself is under Apache-2.0. What it needs to run is under these licences, as
the packages say it in their metadata (`python -m tests.make_licences` wrote this). In
bold what `requirements.txt` names; the others are what those need, on the Python and
the system where this was written. The extras `dev`, `bench` and `audit` are for working
on the project, and not in the list.

| package | licence |
|---|---|
"""


def licence_of(metadata: PackageMetadata) -> str:
    """What a package says of itself, or "" where it says nothing."""
    if expression := metadata.get("License-Expression"):
        return expression
    classified = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith(_CLASSIFIER) and not line.endswith("OSI Approved")
    ]
    # The other field may hold the whole text of the licence, under its title or not.
    title, *rest = (metadata.get("License") or "").strip().splitlines() or [""]
    return ", ".join(classified) or ("" if rest and "License" not in title else title)


def main():
    """Writes the file."""
    direct = {canonicalize_name(each.name) for each in read_requirements()}
    rows = [
        f"| {f'**{name}**' if name in direct else name}"
        f" | {licence_of(found.metadata) or 'see its files'} |\n"
        for name, found in needed().items()
    ]
    PATH.write_text(_HEAD + "".join(rows))


if __name__ == "__main__":
    main()
