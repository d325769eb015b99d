"""Being asked to end: a checkpoint first, and an exit code that says so."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils

EXIT_CODE = 128 + signal.SIGTERM
"""Of a training that was asked to end and has saved what it had."""


class Stopped(Exception):
    """A training has ended early, because it was asked to; its state is saved."""


class StopRequest:
    """Whether the system has asked this process to end, by SIGTERM.

    A context manager that listens; outside the main thread nobody can. Of several
    hosts, all agree on the step: JAX passes the notice on.
    """

    def __init__(self):
        self._asked, self._before = False, None

    def __enter__(self) -> "StopRequest":
        alone = jax.process_count() == 1
        if alone and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *exception) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def after(self, step: int) -> bool:
        """Whether to end after this step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True
