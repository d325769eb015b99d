"""Measurements: `python -m wmlstm_jax.benchmarks.<name> [--quick] [--out=DIR]`.

Each prints a table and leaves `<name>.json` and `<name>.png` in `--out`. What they have
in common is here: where results go, and what has to be known to repeat them.
"""

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import jax


def results_dir(out: str | Path) -> Path:
    """Makes the directory for results, before anything is measured.

    Raises:
      ValueError: it cannot be made, or not be written to.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise ValueError(
            f"--out={out} cannot hold results ({error.strerror}); name another"
            " directory."
        ) from error
    return out


class Progress:
    """Says what was measured last, and how long the rest takes at this pace.

    Args:
      total: how many runs there are.
    """

    def __init__(self, total: int):
        self._total, self._done = total, 0
        self._began = self._said = time.perf_counter()

    def say(self, done: int, text: str) -> None:
        """A run ended; `done` have."""
        self._done = done
        self._line(done, text)

    def glimpse(self, part: float, text: str) -> None:
        """A run has come to this `part` of it, in (0, 1]; a line every five seconds."""
        if time.perf_counter() - self._said > 5:
            self._line(self._done + part, text)

    def _line(self, done: float, text: str) -> None:
        self._said = time.perf_counter()
        line = f"{self._done}/{self._total} runs | {text}"
        if self._done:  # The first run compiles; its pace says nothing yet.
            left = (self._said - self._began) * (self._total - done) / done
            line += f" | about {left / 60:.1f} min left"
        print(line, flush=True)


def provenance() -> dict[str, Any]:
    """What JSON has to say for a number to be judged: commit, versions, hardware."""
    packages = ("wmlstm_jax", "jax", "jaxlib", "optax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    device = jax.devices()[0]
    return {
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **versions},
        "hardware": {
            "platform": device.platform,
            "device": device.device_kind,
            "num_devices": jax.device_count(),
            "processor": _processor(),
            "num_cores": os.cpu_count(),
            "system": platform.platform(),
        },
    }


def _commit() -> str | None:
    """The commit of the source, "-dirty" if it was changed since; None without git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine()).strip()
