"""Checkpoints: the newest two and the best, written while training goes on."""

import math
import sys
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from wmlstm_jax.training.hosts import is_lost_process
from wmlstm_jax.training.manifest import check_manifest, write_manifest, writing
from wmlstm_jax.training.state import TrainState

WHICH = ("best", "latest")


class Restored(NamedTuple):
    """A checkpoint."""

    step: int
    state: TrainState
    about: dict[str, Any]  # as it was saved


class Checkpoints:
    """The checkpoints of one workdir; a context manager that waits for its writes.

    Each has a manifest beside it, `manifests/STEP.json`, with the sha256 of its files;
    Orbax itself restores a flipped byte as it is. A manifest is written right after
    its checkpoint. One without, saved before there were manifests or right before the
    run was killed, is whole as far as anyone can tell: it is used, with a warning.

    Args:
      workdir: holds them in `checkpoints/`, by step.
      read_only: nothing is written, and what a training beside this one is writing is
        left to it.
      go_on: what cannot be saved is told in a warning, and not raised.

    Raises:
      ValueError: the workdir cannot be written; so do all methods that write.
    """

    def __init__(self, workdir: Path, *, read_only: bool = False, go_on: bool = False):
        self.directory = (workdir / "checkpoints").absolute()
        keep = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),
                checkpoint_managers.BestN(
                    get_metric_fn=_validation_loss, reverse=True, n=1
                ),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            best_fn=_validation_loss,
            best_mode="min",
            create=not read_only,
            # Of what was being written when a training was killed.
            cleanup_tmp_directories=not read_only,
            preservation_policy=keep,
        )
        with writing(self.directory):
            self._manager = _Manager(self.directory, options=options)
        self._tell = warnings.warn if go_on else None
        self._sealer = ThreadPoolExecutor(1, "manifest")
        self._sealed: Future[None] | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind=None, error=None, trace=None) -> None:
        if is_lost_process(error):
            return  # What is being written would wait for a process that is gone.
        try:
            self._wait()
        finally:
            self._sealer.shutdown()
            self._manager.close()

    def save(self, state: TrainState, about: dict[str, Any], loss: float) -> None:
        """Writes a state in the background, when the one before is written.

        Args:
          state: what to keep; may be donated right after. Whatever is there of this or
            a later step is replaced: training came from before it, as it is damaged.
          about: what JSON can hold: config, tokeniser, text, data position, seconds.
          loss: on the validation text; decides which is the best.
        """
        self._wait()
        # Orbax orders by this number, and a NaN would leave it no order.
        loss = loss if math.isfinite(loss) else sys.float_info.max
        step, sealed = int(state.step), False
        with writing(self.directory, self._tell):
            # Orbax would keep a damaged checkpoint, and drop this one in silence.
            for later in [each for each in self._manager.all_steps() if each >= step]:
                self._manager.delete(later)
                self._manifest(later).unlink(missing_ok=True)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), about=ocp.args.JsonSave(about)
                ),
                metrics={"validation_loss": loss},
            )
            sealed = True
        if sealed and jax.process_index() == 0:
            self._sealed = self._sealer.submit(self._seal, step)

    def restore(self, template: TrainState, which: str = "latest") -> Restored | None:
        """Reads a checkpoint; from a damaged one it falls back to the one before.

        Args:
          template: shapes, dtypes and shardings of the state.
          which: "latest", or "best" on the validation text.

        Returns:
          The checkpoint, or None where there is none at all.

        Raises:
          ValueError: `which` is neither, or there are checkpoints and all are damaged.
        """
        if which not in WHICH:
            raise ValueError(f"the checkpoint is {which!r}; it must be one of {WHICH}.")
        self._wait()
        found = sorted(self._manager.all_steps(), reverse=True)
        steps = found if which == "latest" else self._best_first(found)
        for step in steps:
            try:
                verified = self._verify(step)
                restored = self._restore(step, template)
            except Exception as error:  # Orbax raises many types for damaged files.
                self._warn(step, error)
                continue
            if not verified:
                warnings.warn(
                    f"checkpoint {self.directory / str(step)} has no manifest, so"
                    " nobody can tell whether a file of it is damaged.",
                    stacklevel=2,
                )
            return restored
        if found:
            raise ValueError(
                f"no checkpoint in {self.directory} can be read; delete the directory"
                " to start afresh."
            )
        return None

    def about(self) -> dict[str, Any] | None:
        """What was saved beside the newest state that says it; None where nothing was.

        It is the same in all checkpoints of a run but for the data position.
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                self._verify(step)
                only = ocp.args.Composite(about=ocp.args.JsonRestore())
                return self._manager.restore(step, args=only)["about"]
            except Exception:  # As in `restore`, which tells of it.
                continue
        return None

    def _wait(self) -> None:
        """Until what is being saved is there, with its manifest."""
        with writing(self.directory, self._tell):
            self._manager.wait_until_finished()
        if self._sealed is not None:
            with writing(self.directory, self._tell):
                self._sealed.result()

    def _seal(self, step: int) -> None:
        """Waits for a checkpoint, writes its manifest, and deletes those without."""
        with writing(self.directory):
            self._manager.wait_until_finished()
        write_manifest(self._manifest(step), self.directory / str(step))
        for manifest in self._manifest(step).parent.glob("*.json"):
            if not (self.directory / manifest.stem).exists():
                manifest.unlink()

    def _best_first(self, steps: list[int]) -> list[int]:
        """Without those whose loss is damaged: another than the best would win."""
        whole = []
        for step in steps:
            try:
                self._verify(step, "metrics/")
                whole.append(step)
            except Exception as error:  # As in `restore`.
                self._warn(step, error)
        best = self._manager.best_step()
        return sorted(whole, key=lambda step: step != best)

    def _warn(self, step: int, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        warnings.warn(
            f"checkpoint {self.directory / str(step)} cannot be read"
            f" ({type(error).__name__}: {reason}); trying the one before.",
            stacklevel=3,
        )

    def _verify(self, step: int, part: str = "") -> bool:
        """Whether a checkpoint has a manifest, which its files must then match."""
        manifest = self._manifest(step)
        if there := manifest.exists():
            check_manifest(manifest, self.directory / str(step), part)
        return there

    def _manifest(self, step: int) -> Path:
        # Not in `checkpoints/`: Orbax would take what it finds there for a step.
        return self.directory.parent / "manifests" / f"{step}.json"

    def _restore(self, step: int, template: TrainState) -> Restored:
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(template), about=ocp.args.JsonRestore()
            ),
        )
        return Restored(step, items["state"], items["about"])


class _Manager(ocp.CheckpointManager):
    """Orbax's, which would not even start where a file of metrics is damaged."""

    def metrics(self, step):
        try:
            metrics = super().metrics(step)
            return metrics and {"validation_loss": _validation_loss(metrics)}
        except (KeyError, TypeError, ValueError):
            return {"validation_loss": sys.float_info.max}


def _validation_loss(metrics):
    return metrics["validation_loss"]
