"""Scripts and modules run as people run them, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """Of a process on one device, whose programs compile fast."""
    return {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}


def run_python(*arguments) -> subprocess.CompletedProcess:
    """`python ARGUMENTS...` in the root of the project, on one device."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
