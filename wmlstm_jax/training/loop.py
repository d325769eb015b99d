"""The story of a run: build, go on where it stopped, train, validate, keep."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wmlstm_jax.metrics import Likelihood
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.config import TrainConfig, to_settings
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.progress import Journal, Progress
from wmlstm_jax.training.provenance import provenance
from wmlstm_jax.training.run import Evaluator, Run, build
from wmlstm_jax.training.sharding import spread
from wmlstm_jax.training.state import TrainState
from wmlstm_jax.training.steps import (
    StepMetrics,
    make_memory_step,
)
from wmlstm_jax.training.stopping import Stopped, StopRequest
from wmlstm_jax.training.workdirs import claim_workdir, locked


class Summary(NamedTuple):
    """How a run ended."""

    step: int
    validation: Likelihood  # of the last step
    checkpoints: Path
    seconds: float  # of all starts together, compilation and validation included


def train(config: TrainConfig, workdir: str | Path) -> Summary:
    """Trains a model in a workdir, or finishes what was begun there.

    Stopped at any moment, the same call resumes from the last checkpoint and computes
    what it would have computed: the same numbers, on the same devices. Asked to end by
    SIGTERM, it saves a checkpoint first.

    Args:
      config: the settings.
      workdir: where config, metrics and checkpoints are kept.

    Raises:
      ValueError: a setting cannot be met, the workdir holds another run or one that is
        being trained, it cannot be written, or the loss is not finite and that is to
        end the run.
      Stopped: the system asked for it.
    """
    workdir, began = Path(workdir), time.perf_counter()
    run = build(config)
    for split in ("train", "validation"):
        run.data.batches(split)  # Refuses what is too little, before anything is made.
    claim_workdir(workdir, config)
    with locked(workdir):
        return _train(run, workdir, began)


def _train(run: Run, workdir: Path, began: float) -> Summary:
    config, validate = run.config, Evaluator(run, "validation")
    go_on, stopped = config.unsaved == "go_on", False
    with Checkpoints(workdir, go_on=go_on) as checkpoints:
        # Before the state: another text may have another vocabulary.
        if (saved := checkpoints.about()) is not None:
            run.check_config(saved["config"])
            run.check_text(saved["text"])
        restored = checkpoints.restore(run.template)
        before = {} if restored is None else restored.about
        seconds = before.get("seconds", 0.0)
        begun = run.first_state() if restored is None else restored.state
        start = int(begun.step)
        tokens = run.data.tokens_per_batch()
        about = _about(run)
        with (
            Journal(workdir, start, go_on=go_on) as journal,
            Progress(workdir.name, start, config.num_steps, tokens) as progress,
            StopRequest() as asked,
        ):
            _note_data(run, workdir, progress)
            if start:
                progress.say(f"resumes from step {start}")
            watch = _Watch(run, journal, progress)
            training = _Training(run, start, checkpoints, asked, journal, progress)
            validated = before.get("validated", True)
            for state, stopped in training.run(begun, validated=validated):
                step, loss = int(state.step), math.inf
                if not stopped:
                    validation = validate(state.chosen)
                    loss = validation.loss
                    _note_validation(step, validation, journal, progress)
                    watch(step, state)
                seconds = before.get("seconds", 0.0) + time.perf_counter() - began
                now = {
                    "data_position": step,
                    "seconds": seconds,
                    "validated": not stopped,
                }
                checkpoints.save(state, about | now, loss)
        if start == config.num_steps:
            validation = validate(begun.chosen)
    if stopped:
        raise Stopped(
            f"stopped after step {step}, as the system asked; the same command resumes"
            " there."
        )
    return Summary(config.num_steps, validation, checkpoints.directory, seconds)


class _Training:
    """Update after update, and what is said of them."""

    def __init__(self, run: Run, start: int, checkpoints, asked, journal, progress):
        self._run, self._start, self._asked = run, start, asked
        self._checkpoints, self._journal = checkpoints, journal
        self._progress = progress

    def run(
        self, state: TrainState, *, validated: bool
    ) -> Iterator[tuple[TrainState, bool]]:
        """Yields the state whenever it is to be kept.

        Args:
          state: where training goes on.
          validated: that it was, if it was due.

        Yields:
          The state, and whether the system asked to end here, without validation.
        """
        run, config = self._run, self._run.config
        if not validated and self._start % config.eval_every == 0:
            yield state, False
        train_step = run.train_step()
        pending = []
        data = run.batches("train", self._start, config.num_steps)
        for step, batch in enumerate(data, self._start + 1):
            state, metrics = train_step(state, batch)
            pending.append(metrics)
            last = step == config.num_steps
            stopped = self._asked.after(step) and not last
            noted = step % config.log_every == 0 or step == self._start + 1
            # Reading a metric waits for the device, so they are read together.
            if noted or last or stopped:
                finite = self._note(step, jax.device_get(pending))
                pending = []
                if not finite and config.nonfinite == "roll_back":
                    state = self._roll_back(step)
            if stopped:
                yield state, True
                return
            if step % config.eval_every == 0 or last:
                yield state, False

    def _note(self, step: int, pending: list[StepMetrics]) -> bool:
        """Reports updates, the last of which is `step`; whether all were finite.

        Raises:
          ValueError: one was not, and that is to end the run.
        """
        first = step - len(pending) + 1
        for number, metrics in enumerate(pending, first):
            if metrics.finite:
                continue
            found = (
                f"step {number}, data position {number - 1}: the loss is"
                f" {metrics.loss:g} and the gradient norm {metrics.grad_norm:g}"
            )
            if self._run.config.nonfinite == "stop":
                raise ValueError(
                    f"{found}; lower optimizer.learning_rate, or set config.nonfinite"
                    " to skip or roll_back."
                )
            self._progress.say(f"{found}; update skipped")
            self._journal.write(number, skipped=True)
        losses = [float(metrics.loss) for metrics in pending if metrics.finite]
        norms = [float(metrics.grad_norm) for metrics in pending if metrics.finite]
        if losses:
            loss = sum(losses) / len(losses)
            speed = self._progress.report(step, loss)
            # The first step compiles, and has no speed.
            rate = {"tokens_per_second": speed} if speed else {}
            self._journal.write(step, loss=loss, grad_norm=norms[-1], **rate)
        return len(losses) == len(pending)

    def _roll_back(self, step: int) -> TrainState:
        """The last checkpoint, as the state after this step."""
        restored = self._checkpoints.restore(self._run.template)
        if restored is None:
            raise ValueError(
                f"step {step}: there is no checkpoint to roll back to yet; lower"
                " optimizer.learning_rate, or set config.nonfinite to skip."
            )
        self._progress.say(
            f"step {step}: rolled back to the checkpoint of step {restored.step}; goes"
            " on with the next batch"
        )
        now = spread(jnp.int32(step), restored.state.step.sharding)
        return restored.state._replace(step=now)


class _Watch:
    """Reports what the memory does, and says once if it does nothing."""

    def __init__(self, run: Run, journal: Journal, progress: Progress):
        config, self._run = run.config, run
        self._journal, self._progress = journal, progress
        self._step, self._warned = None, False
        if config.watch_memory and config.model.num_slots:
            self._step = make_memory_step(
                run.objective, run.graph, config.model, run.mesh
            )

    def __call__(self, step: int, state: TrainState) -> None:
        if self._step is None:
            return
        # The batch to come: the memory has not seen it yet.
        batch = next(self._run.batches("train", step, step + 1))
        counts = jax.device_get(self._step(state.chosen, state.carry, batch))
        if counts is None:
            return
        found = counts.statistics()
        self._journal.write(step, **{f"memory/{n}": x for n, x in found.items()})
        if counts.unused and not self._warned:
            self._warned = True
            self._progress.say(
                f"step {step}: the memory is hardly used"
                f" ({', '.join(f'{n} {x:.3f}' for n, x in found.items())}); if that"
                " stays, try a copy head, fewer slots, or a larger learning rate"
            )


def _note_data(run: Run, workdir: Path, progress: Progress) -> None:
    """Says what to know of the data, and lists what was left out as bad."""
    for note in run.data.notes():
        progress.say(note)
    if (bad := run.data.bad_examples()) and jax.process_index() == 0:
        write_whole(workdir / "bad_examples.txt", "\n".join(bad) + "\n")


def _note_validation(step: int, validation: Likelihood, journal, progress) -> None:
    perplexity, bits = validation.perplexity, validation.bits_per_byte
    progress.say(
        f"step {step}: validation perplexity {perplexity:.3f}, {bits:.3f} bits per byte"
    )
    journal.write(step, validation_loss=validation.loss, validation_bits_per_byte=bits)


def _about(run: Run) -> dict:
    """What is saved beside the state, whatever the step."""
    return {
        "config": to_settings(run.config),
        "tokenizer": run.tokenizer.to_json(),
        "text": run.data.origin,
        **provenance(),
    }
