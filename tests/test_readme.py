"""What the documents say runs."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def blocks(text):
    return [match[1] for match in _BLOCK.finditer(text)]


def anchors(text):
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_code_runs(path):
    namespace = {}
    for block in blocks(path.read_text()):
        exec(compile(block, path.name, "exec"), namespace)
    if path.name == "README.md":
        assert namespace["logits"].shape == (100, 8, 10)


def test_the_first_example_is_twelve_lines():
    """As long as the promise: the core inside somebody else's scan."""
    first = blocks((ROOT / "README.md").read_text())[0]
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 12


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = path.read_text()
    for target, anchor in _LINK.findall(text):
        there = path.parent / target if target else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text()), f"{target}#{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_exist(path):
    for file, name in _TEST.findall(path.read_text()):
        assert f"\ndef {name}(" in (ROOT / file).read_text(), name


def test_flags_of_the_commands_exist():
    """Every `--config.field` in a document is a field, every file is there."""
    from configs import default

    config = default.get_config()
    found = 0
    for path in DOCUMENTS:
        for word in shlex.split(
            re.sub(r"['\",\]]", "", path.read_text()), comments=False
        ):
            if word.startswith("--config="):
                assert (ROOT / word.removeprefix("--config=").split(":")[0]).exists()
                found += 1
            elif word.startswith("--config."):
                name = word.removeprefix("--config.").split("=")[0]
                value = config
                for field in name.split("."):
                    assert field in value, f"{path.name}: {word}"
                    value = value[field]
    assert found
