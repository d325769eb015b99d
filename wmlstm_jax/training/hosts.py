"""The other processes of a run: joined, and not waited for when they are gone."""

import os

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
