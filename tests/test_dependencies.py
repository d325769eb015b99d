"""Few dependencies, bounded, with licences that are known and audited."""

import json
import subprocess
from email.message import Message
from types import SimpleNamespace

import pytest
from packaging.utils import canonicalize_name

from tests import audit
from tests.dependencies import needed, read_requirements
from tests.make_licences import PATH, licence_of

CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "Dependency not found"}
FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1", "2"]}
FLAWED = {"name": "c", "version": "1", "vulns": [FLAW]}


def test_they_are_few_and_bounded():
    """From below by what was tried; from above where a break is known or announced."""
    found = read_requirements()
    assert len(found) <= 20
    for each in found:
        assert any(bound.operator == ">=" for bound in each.specifier), each.name
        assert not each.extras and each.url is None and each.marker is None
    upper = {each.name for each in found if "<" in str(each.specifier)}
    assert upper >= {"flax", "orbax-checkpoint"}


def test_what_is_installed_is_what_is_asked_for():
    found = needed()
    for each in read_requirements():
        version = found[canonicalize_name(each.name)].version
        assert each.specifier.contains(version), each.name
    # What they need in turn, through extras that they ask for too.
    assert {"scipy", "tensorstore", "importlib-resources", "zipp"} <= found.keys()
    assert not {"pytest", "hypothesis", "torch", "tensorflow"} & found.keys()


def test_every_licence_is_listed():
    rows = dict(
        line.strip("| ").split(" | ")
        for line in PATH.read_text().splitlines()
        if line.startswith("| ") and "licence |" not in line
    )
    for each in read_requirements():
        name = canonicalize_name(each.name)
        assert rows[f"**{name}**"] != "see its files", name
    listed = {name.strip("*") for name in rows}
    assert len(listed & needed().keys()) > 50


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License-Expression": "MIT", "License": "BSD"}, "MIT"),
        (
            {"Classifier": "License :: OSI Approved :: X License", "License": "Y"},
            "X License",
        ),
        ({"Classifier": "License :: OSI Approved", "License": "Y 2.0"}, "Y 2.0"),
        ({"License": "Permission is\n granted"}, ""),
        ({"License": "  Y License\n Version 2.0"}, "Y License"),
        ({"Classifier": "Topic :: Z"}, ""),
    ],
)
def test_where_a_licence_stands(fields, licence):
    metadata = Message()
    for name, text in fields.items():
        metadata[name] = text
    assert licence_of(metadata) == licence


@pytest.mark.parametrize(
    ("packages", "explained", "said", "clean"),
    [
        ([CLEAN], {}, ["1 of 1 packages audited: clean or explained."], True),
        (
            [CLEAN, FLAWED],
            {},
            [
                "c 1 has PYSEC-1, fixed in 1.1 or 2",
                "2 of 2 packages audited: not clean.",
            ],
            False,
        ),
        (
            [FLAWED],
            {"PYSEC-1": "not called."},
            [
                "c 1 has PYSEC-1, explained: not called.",
                "1 of 1 packages audited: clean or explained.",
            ],
            True,
        ),
        (
            [CLEAN, SKIPPED],
            {},
            [
                "b was not audited: Dependency not found",
                "1 of 2 packages audited: not clean.",
            ],
            False,
        ),
        (
            [SKIPPED, SKIPPED],
            {},
            [
                "nothing was audited: the database of vulnerabilities answers for none"
                " of the 2 packages (Dependency not found)."
            ],
            False,
        ),
    ],
)
def test_what_an_audit_says(packages, explained, said, clean):
    assert audit.judge(packages, explained) == (said, clean)


@pytest.mark.parametrize(
    ("out", "err", "code", "said"),
    [
        (json.dumps({"dependencies": [CLEAN]}), "", 0, "1 of 1 packages audited: cl"),
        ("", "Traceback\nConnectionError: no name\n", 1, "nothing was audited: Conn"),
        ("", "", 3, "nothing was audited: it exits with 3"),
    ],
)
def test_an_audit_that_is_not_made_does_not_pass(
    monkeypatch, capsys, out, err, code, said
):
    done = SimpleNamespace(stdout=out, stderr=err, returncode=code)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: done)
    assert audit.main() == bool(code)
    shown = capsys.readouterr()
    assert (shown.err if code else shown.out).startswith(said)
    assert len((shown.err + shown.out).splitlines()) == 1
