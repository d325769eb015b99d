"""The guided fuzzing runs."""

import importlib.util

import pytest

from tests.processes import run_python

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="there is no atheris; pip install -e '.[fuzz]' has it",
    ),
]


def test_it_runs_as_often_as_it_is_told():
    done = run_python("-m", "tests.fuzz.guided", "babi", "-runs=200")
    assert done.returncode == 0, done.stderr
    assert "Done 200 runs" in done.stderr


def test_it_knows_what_it_can_read():
    done = run_python("-m", "tests.fuzz.guided", "babbi")
    assert done.returncode == 1
    assert "Name what is read: jsonl" in done.stderr
