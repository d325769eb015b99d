"""The other processes of a run: joined, and not waited for when they are gone."""

import os
import re

import jax

HEARTBEAT_SECONDS = 30
"""After so long without a sign a process is taken for dead, and all others end.

JAX waits 100 seconds. It has to be longer than a machine may stand still for.
"""
LOST = os.EX_TEMPFAIL
"""The exit code of a process that another one has left alone: 75, "try again"."""


def join(coordinator: str | None, num_processes: int | None, number: int | None):
    """Joins the other processes of this job; before anything else of JAX.

    Args:
      coordinator: HOST:PORT of the first process, or None to ask SLURM, Kubernetes, MPI
        or the TPU, as for the other two.
      num_processes: how many there are.
      number: which one this is, from 0.

    Raises:
      ValueError: they cannot be joined.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            number,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the other processes cannot be joined ({error}); give --coordinator,"
            " --num_processes and --process_id, the same first two to all."
        ) from error


def is_lost_process(error: BaseException | None) -> bool:
    """Whether JAX says by this that what several processes compute has failed.

    It does so by an error of its own, or, where a program had been called before, by a
    ValueError that begins with the name of a status: "UNKNOWN: Gloo AllGather failed".
    """
    if jax.process_count() == 1:
        return False
    if isinstance(error, jax.errors.JaxRuntimeError):
        return True
    return isinstance(error, ValueError) and bool(re.match("[A-Z_]+: ", str(error)))
