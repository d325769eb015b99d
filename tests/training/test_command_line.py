import io
import logging
import sys
from importlib.machinery import ModuleSpec

import absl.logging
import pytest

from wmlstm_jax.training.command_line import run_script


@pytest.fixture(autouse=True)
def no_flags(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script"])


def raising(error, spec):
    """A function of a module that runs as `python -m` runs it."""
    module = {"__name__": "__main__", "__spec__": spec and ModuleSpec(spec, None)}
    exec(f"def main(): raise {error}", module)
    return module["main"]


def test_an_interruption_says_what_becomes_of_it(capsys):
    with pytest.raises(SystemExit) as left:
        run_script(raising("KeyboardInterrupt", None), "stopped, and resumed by magic.")
    assert left.value.code == 130
    assert capsys.readouterr().err == "stopped, and resumed by magic.\n"


def test_a_mistake_is_one_sentence_under_its_module_too(capsys):
    with pytest.raises(SystemExit) as left:
        run_script(raising("ValueError('no.')", "wmlstm_jax.benchmarks.keys"))
    assert left.value.code == 2
    assert capsys.readouterr().err == "Error: no.\n"


@pytest.mark.parametrize("spec", [None, "numpy.linalg"])
def test_a_fault_keeps_its_traceback(spec):
    with pytest.raises(ValueError, match="no"):
        run_script(raising("ValueError('no.')", spec))


def test_an_exception_that_is_raised_is_not_logged_too(monkeypatch):
    """Of a full disk, Orbax and asyncio would log some hundred lines."""
    said = io.StringIO()
    handler = absl.logging.get_absl_handler().python_handler
    monkeypatch.setattr(handler, "stream", said)

    def main():
        logger = logging.getLogger("asyncio")
        logger.error("Task exception was never retrieved", exc_info=OSError(28, "full"))
        logger.error("Something else")

    with pytest.raises(SystemExit):
        run_script(main)
    assert "Something else" in said.getvalue()
    assert "never retrieved" not in said.getvalue()
