"""The rules of the house, read from the source: arrows, sizes, docstrings, paths."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "wmlstm_jax"

LAYERS = (
    {"core"},
    {"nn", "inference", "data", "metrics"},
    {"models"},
    {"tasks"},
    {"training"},
    {"analysis"},
    {"benchmarks"},
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LONGEST = 300

_SKIPPED = {".venv", ".git", "build", "dist", "runs", "golden", "__pycache__"}
_MACHINE_PATH = re.compile(r"(?<![\w.}:/])/(work|root|tmp)/")
_UNDONE = re.compile(r"\bTO" + r"DO\b")
_TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".html", ".sh", ""}


def project_files():
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(p in _SKIPPED or p.endswith(".egg-info") for p in parts)
        caches = any(p.endswith("_cache") or p == ".hypothesis" for p in parts)
        if path.is_file() and not hidden and not caches and path.suffix in _TEXT:
            yield path


FILES = list(project_files())
SOURCES = [path for path in FILES if path.suffix == ".py"]
MODULES = [path for path in SOURCES if PACKAGE in path.parents]


def name_of(path):
    return str(path.relative_to(ROOT))


per_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)
per_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def imported(source):
    """Every module that a source names in an import, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            elif node.module == "wmlstm_jax":
                for alias in node.names:
                    yield f"wmlstm_jax.{alias.name}"
            else:
                yield node.module


def broken_arrows(layer, source):
    """What a module of `layer` imports and may not."""
    for name in imported(source):
        root, *rest = name.split(".")
        if name.startswith("."):
            yield f"{name} (relative)"
        elif root == "wmlstm_jax":
            target = rest[0] if rest else None
            if target != layer and RANK.get(target, len(LAYERS)) >= RANK[layer]:
                yield name
        elif root in ("tests", "configs", "train", "eval"):
            yield name
        elif layer == "core" and root != "jax" and root not in sys.stdlib_module_names:
            yield name


def undocumented(source):
    """Public modules, classes, functions and methods that say nothing."""

    def visit(node, path):
        if not ast.get_docstring(node):
            yield path or "the module"
        for child in node.body:
            kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            if isinstance(child, kinds) and not child.name.startswith("_"):
                if isinstance(child, ast.ClassDef):
                    yield from visit(child, f"{path}{child.name}.")
                elif not ast.get_docstring(child):
                    yield f"{path}{child.name}"

    yield from visit(ast.parse(source), "")


@per_module
def test_imports_point_down(path):
    layer = path.relative_to(PACKAGE).parts[0]
    if layer in RANK:
        assert not list(broken_arrows(layer, path.read_text()))
    else:
        assert layer.endswith(".py"), f"{layer} is no part of the package"


@per_module
def test_public_names_have_docstrings(path):
    assert not list(undocumented(path.read_text()))


@per_source
def test_no_file_is_long(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_machine_paths_and_nothing_left_undone(path):
    if path == Path(__file__):
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for pattern in (_MACHINE_PATH, _UNDONE):
            assert not pattern.search(line), f"line {number}: {line.strip()}"


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("core", "import numpy as np"),
        ("core", "from wmlstm_jax.nn import WMLSTM"),
        ("core", "def f():\n    import flax"),
        ("nn", "from wmlstm_jax.inference import beam"),
        ("nn", "from wmlstm_jax import models"),
        ("data", "import wmlstm_jax"),
        ("tasks", "import wmlstm_jax.training.loop as loop"),
        ("training", "from . import state"),
        ("training", "from tests import numpy_reference"),
    ],
)
def test_a_broken_arrow_is_seen(layer, line):
    assert list(broken_arrows(layer, line))


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("core", "import functools\nfrom jax import numpy\nimport jax.numpy as jnp"),
        ("core", "from wmlstm_jax.core.types import Memory"),
        ("nn", "import flax\nfrom wmlstm_jax.core import unroll"),
        ("benchmarks", "from wmlstm_jax import analysis, core, training"),
    ],
)
def test_a_good_arrow_passes(layer, line):
    assert not list(broken_arrows(layer, line))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = 1", ["the module"]),
        ('"""M."""\ndef f(): pass', ["f"]),
        ('"""M."""\ndef _f(): pass', []),
        ('"""M."""\nclass A:\n    """A."""\n    def f(self): pass', ["A.f"]),
    ],
)
def test_a_missing_docstring_is_seen(source, names):
    assert list(undocumented(source)) == names


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ('open("/wo' + 'rk/x")', True),
        ("/ro" + "ot/.cache", True),
        ("https://host/wo" + "rk/x", False),
        ("self/wo" + "rk/x", False),
    ],
)
def test_a_machine_path_is_seen(line, seen):
    assert bool(_MACHINE_PATH.search(line)) == seen
