"""What a run says while it trains: a bar or lines for people, JSON lines for plots."""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from wmlstm_jax.training.manifest import write_whole, writing


class Journal:
    """`metrics.jsonl`, one JSON object per report, and the same for TensorBoard.

    A context manager that closes them. Only the first process writes.

    Args:
      workdir: holds the file, and the events in `tensorboard/`.
      step: where training goes on; what was reported of later steps, which will be
        trained again, is dropped from the file and purged from the events.
      go_on: what cannot be written later is told in a warning, and not raised.

    Raises:
      ValueError: the workdir cannot be written; so does `write`.
    """

    def __init__(self, workdir: Path, step: int, *, go_on: bool = False):
        self._path = workdir / "metrics.jsonl"
        self._tell = warnings.warn if go_on else None
        self._events = None
        if jax.process_index() == 0:
            text = self._path.read_text() if self._path.exists() else ""
            # A full disk may have cut the last row.
            rows = text[: text.rfind("\n") + 1].splitlines(keepends=True)
            kept = [row for row in rows if json.loads(row)["step"] <= step]
            write_whole(self._path, "".join(kept))
            with writing(workdir):
                self._events = _Events(workdir / "tensorboard", step)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception) -> None:
        if self._events is not None:
            with writing(self._path.parent, self._tell):
                self._events.close()

    def write(self, step: int, **values: float) -> None:
        """Appends one row."""
        if self._events is not None:
            with writing(self._path.parent, self._tell):
                with self._path.open("a") as file:
                    file.write(json.dumps({"step": step, **values}) + "\n")
                self._events.write(step, values)


class _Events:
    """A file of events, as TensorBoard reads them.

    Written at once and in this thread: the one of tensorboardX's SummaryWriter dies
    when the disk is full, and whoever reports to it then waits for ever.
    """

    def __init__(self, directory: Path, step: int):
        # Loads PyTorch where that is installed; only who trains has to wait for it.
        from tensorboardX.proto import event_pb2
        from tensorboardX.record_writer import RecordWriter

        self._event: Any = event_pb2
        directory.mkdir(exist_ok=True)
        # TensorBoard reads the files in the order of their names.
        name = f"events.out.tfevents.{time.time_ns()}"
        self._file = RecordWriter(str(directory / name))
        self._add(file_version="brain.Event:2")
        # From this step on, TensorBoard forgets what the files before have.
        self._add(step=step + 1, session_log={"status": "START"})

    def write(self, step: int, values: dict[str, float]) -> None:
        scalars = [{"tag": tag, "simple_value": x} for tag, x in values.items()]
        self._add(step=step, summary={"value": scalars})

    def close(self) -> None:
        self._file.close()

    def _add(self, **values: Any) -> None:
        event = self._event.Event(wall_time=time.time(), **values)
        self._file.write(event.SerializeToString())
        self._file.flush()


class Progress:
    """Step, loss, speed and time left, at the terminal; plain lines elsewhere.

    Args:
      name: of the run.
      start: steps done before.
      stop: the last step.
      tokens_per_step: for the speed.
    """

    def __init__(self, name: str, start: int, stop: int, tokens_per_step: float):
        self._name, self._start, self._stop = name, start, stop
        self._tokens = tokens_per_step
        self._clock: tuple[float, int] | None = None
        self._bar = tqdm(
            desc=name,
            total=stop,
            initial=start,
            unit="step",
            disable=not sys.stderr.isatty() or jax.process_index() > 0,
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
        if jax.process_index():
            return speed
        if self._bar.disable:
            print(f"{self._name} | step {step}/{self._stop} | {text}", flush=True)
        else:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
        return speed

    def say(self, text: str) -> None:
        """A line above the bar; of several processes, the first says it."""
        if jax.process_index():
            return
        tqdm.write(f"{self._name} | {text}", file=sys.stdout)


def _clock_time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
