import io
import logging
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import absl.logging
import jax
import pytest

from wmlstm_jax.training import command_line
from wmlstm_jax.training.command_line import keep_programs, run_script
from wmlstm_jax.training.hosts import LOST


@pytest.fixture(autouse=True)
def no_flags(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script"])


def raising(error, spec):
    """A function of a module that runs as `python -m` runs it."""
    module = {"__name__": "__main__", "__spec__": spec and ModuleSpec(spec, None)}
    module["jax"] = jax
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


GONE = "'UNKNOWN: Gloo AllGather failed: Read error\\nand more'"


@pytest.mark.parametrize("kind", ["jax.errors.JaxRuntimeError", "ValueError"])
def test_a_loss_is_one_sentence_where_there_are_others(kind, capsys, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(SystemExit) as left:
        run_script(raising(f"{kind}({GONE})", None))
    assert left.value.code == LOST
    (said,) = capsys.readouterr().err.splitlines()
    assert "failed (UNKNOWN: Gloo AllGather failed: Read error): most" in said


@pytest.mark.parametrize("kind", ["jax.errors.JaxRuntimeError", "ValueError"])
def test_alone_there_is_no_loss(kind):
    with pytest.raises((jax.errors.JaxRuntimeError, ValueError), match="UNKNOWN: Gloo"):
        run_script(raising(f"{kind}({GONE})", None))


def test_a_failed_program_of_ours_is_no_mistake_of_the_user():
    error = "jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: memory')"
    with pytest.raises(jax.errors.JaxRuntimeError, match="memory"):
        run_script(raising(error, "wmlstm_jax.training.steps"))


@pytest.mark.parametrize("number", [1, 2])
def test_a_mistake_is_no_loss(number, capsys, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: number)
    with pytest.raises(SystemExit) as left:
        run_script(raising("ValueError('NaN: no.')", "wmlstm_jax.training.steps"))
    assert left.value.code == 2
    assert capsys.readouterr().err == "Error: NaN: no.\n"


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


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """What JAX is told of its cache; a directory of the user, and a file."""
    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    return told


def test_programs_are_kept_with_the_caches_of_the_user(cache, tmp_path, monkeypatch):
    keep_programs()
    assert cache == {
        "jax_compilation_cache_dir": str(tmp_path / ".cache" / "wmlstm_jax"),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    cache.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    keep_programs()
    assert cache == {
        "jax_compilation_cache_dir": str(tmp_path / "caches" / "wmlstm_jax")
    }


def test_nothing_is_kept_where_nothing_can_be_written(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    keep_programs()
    monkeypatch.setenv("HOME", str(tmp_path))

    def refused(dir):
        raise PermissionError(dir)

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    keep_programs()
    monkeypatch.undo()
    monkeypatch.setattr(jax.config, "update", cache.__setitem__)
    monkeypatch.setattr(Path, "home", lambda: exec("raise RuntimeError"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    keep_programs()
    assert cache == {}


@pytest.mark.parametrize("keep", [True, False])
def test_programs_are_kept_where_it_is_asked_for(monkeypatch, keep):
    """A benchmark times what it compiles."""
    kept = []
    monkeypatch.setattr(command_line, "keep_programs", lambda: kept.append(True))
    with pytest.raises(SystemExit):
        run_script(lambda: None, keep=keep)
    assert bool(kept) == keep


SCRIPT = """
import jax
from wmlstm_jax.training.command_line import run_script

run_script(lambda: print(jax.jit(lambda x: 2 * x)(21)), keep=True)
"""


@pytest.mark.parametrize("place", ["named", "file"])
def test_a_script_fills_the_named_directory_or_does_without(tmp_path, place):
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / place)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert ("Error reading" in done.stderr) == (place == "file")
    assert bool(list(tmp_path.glob("named/*-cache"))) == (place == "named")
