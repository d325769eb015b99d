"""Measurements: `python -m wmlstm_jax.benchmarks.<name> [--quick] [--out=DIR]`.

Each prints a table and leaves `<name>.json` and `<name>.png` in `--out`. What they have
in common is here: where results go, and how progress is told.
"""

import time
from pathlib import Path

from wmlstm_jax.training.manifest import require_writable


def results_dir(out: str | Path) -> Path:
    """Makes the directory for results, before anything is measured.

    Raises:
      ValueError: it cannot be made, or not be written to.
    """
    require_writable(out := Path(out))
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
