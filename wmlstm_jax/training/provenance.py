"""What has to be known to judge a number: commit, versions, hardware."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax


def provenance() -> dict[str, Any]:
    """As JSON can hold it."""
    packages = ("wmlstm_jax", "jax", "jaxlib", "optax", "numpy")
    versions = {name: _version(name) for name in packages}
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


def _version(package: str) -> str | None:
    """None for what is run from its source, without having been installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
