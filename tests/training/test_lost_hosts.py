"""One of two processes on loopback dies, stands still, or makes a mistake."""

import random
import signal
import time

import pytest

from tests.training.test_hosts import begin, finish, journal, lose, text
from wmlstm_jax.training.workdirs import locked

__all__ = ["text"]
MESH = "--config.mesh.data=2"
# What JAX itself says where it ends a process before an error could reach us.
OF_JAX = "Terminating process because the JAX distributed service detected fatal errors"
OURS = "most likely one of them has died; start all again, and they resume"


def begin_two(workdir, text, steps):
    """Two that save every second step."""
    many = f"--config.num_steps={steps}", "--config.eval_every=2"
    return begin(workdir, text, 2, MESH, *many)


def await_step(process):
    """Reads on until a step is reported."""
    if not any("| step " in line for line in process.stdout):
        raise AssertionError(process.communicate()[1])


@pytest.mark.long
def test_whichever_dies_both_go_on(text, tmp_path):
    """Killed six times, in turn, also inside of saves: the same numbers, exactly."""
    steps, rng = 400, random.Random(0)
    finish(begin_two(tmp_path / "whole", text, steps))
    workdir = tmp_path / "killed"
    for kill in range(6):
        processes = begin_two(workdir, text, steps)
        await_step(processes[0])
        time.sleep(rng.uniform(0, 1))
        said, code = lose(processes, victim=kill % 2)
        assert code not in (0, None), said
        assert (OURS in said and code == 75) or (kill % 2 == 0 and OF_JAX in said), said
    finish(begin_two(workdir, text, steps))
    assert journal(workdir) == journal(tmp_path / "whole")


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 1])
def test_one_that_stands_still_is_taken_for_dead(victim, text, tmp_path):
    """As where a machine has no power or no network: nothing tells the other."""
    processes = begin_two(tmp_path / "run", text, 100_000)
    await_step(processes[0])
    said, code = lose(processes, victim, signal.SIGSTOP)
    assert code not in (0, None) and OF_JAX in said


@pytest.mark.long
def test_a_mistake_of_one_ends_both(text, tmp_path):
    """Only the first host holds a workdir, so only it knows who else does."""
    with locked(tmp_path / "run"):
        processes = begin(tmp_path / "run", text, 2, MESH)
        _, err = processes[0].communicate(timeout=120)
        _, other = processes[1].communicate(timeout=60)
    assert processes[0].returncode == 2 and "is being trained by process" in err
    assert processes[1].returncode not in (0, None)
    assert OF_JAX in other or OURS in other
