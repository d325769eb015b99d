"""What a run says while it trains: a bar or lines for people, JSON lines for plots."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm


class Journal:
    """`metrics.jsonl`: one JSON object per report, each with its step.

    Args:
      path: the file; rows of steps that will be trained again are dropped from it.
      step: where training goes on.
    """

    def __init__(self, path: Path, step: int):
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(kept))
        self._path = path

    def write(self, step: int, **values: Any) -> None:
        """Appends one row."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class Progress:
    """Step, loss, speed and time left, at the terminal; plain lines elsewhere.

    Args:
      name: of the run.
      start: steps done before.
      stop: the last step.
      tokens_per_step: for the speed.
    """

    def __init__(self, name: str, start: int, stop: int, tokens_per_step: int):
        self._name, self._start, self._stop = name, start, stop
        self._tokens = tokens_per_step
        self._clock: tuple[float, int] | None = None
        self._bar = tqdm(
            desc=name,
            total=stop,
            initial=start,
            unit="step",
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self._bar.close()

    def report(self, step: int, loss: float) -> float:
        """Shows where training is; returns tokens per second since the first report."""
        now = time.perf_counter()
        speed = 0.0
        if self._clock is None:
            # The first steps compile; the clock starts behind them.
            self._clock = now, step
        else:
            since, first = self._clock
            speed = (step - first) * self._tokens / max(now - since, 1e-9)
        text = f"loss {loss:.4f}"
        if speed:
            left = (self._stop - step) * self._tokens / speed
            text += f" | {speed:,.0f} tokens/s | {_clock_time(left)} left"
        if self._bar.disable:
            print(f"{self._name} | step {step}/{self._stop} | {text}", flush=True)
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        return speed

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(f"{self._name} | {text}", file=sys.stdout)


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
