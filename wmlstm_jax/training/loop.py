"""The story of a run: build, go on where it stopped, train, validate, keep."""

import time
from pathlib import Path
from typing import NamedTuple

import jax

from wmlstm_jax.metrics import Likelihood
from wmlstm_jax.training.checkpoints import Checkpoints, claim_workdir
from wmlstm_jax.training.config import TrainConfig, to_settings
from wmlstm_jax.training.losses import LanguageLoss
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.progress import Journal, Progress
from wmlstm_jax.training.provenance import provenance
from wmlstm_jax.training.run import Evaluator, Run, build
from wmlstm_jax.training.state import TrainState
from wmlstm_jax.training.steps import (
    StepMetrics,
    make_memory_step,
    make_train_step,
)


class Summary(NamedTuple):
    """How a run ended."""

    step: int
    validation: Likelihood  # of the last step
    checkpoints: Path
    seconds: float  # of all starts together, compilation and validation included


def train(config: TrainConfig, workdir: str | Path) -> Summary:
    """Trains a model in a workdir, or finishes what was begun there.

    Stopped at any moment, the same call resumes from the last checkpoint and computes
    what it would have computed: the same numbers, on the same devices.

    Args:
      config: the settings.
      workdir: where config, metrics and checkpoints are kept.

    Raises:
      ValueError: a setting cannot be met, the workdir holds another run, or it cannot
        be written.
    """
    workdir, began = Path(workdir), time.perf_counter()
    run = build(config)
    for split in ("train", "validation"):
        run.data.batches(split)  # Refuses what is too little, before anything is made.
    claim_workdir(workdir, config)
    validate = Evaluator(run, "validation")
    with Checkpoints(workdir) as checkpoints:
        # Before the state: another text may have another vocabulary.
        if (saved := checkpoints.about()) is not None:
            run.check_text(saved["text"])
        restored = checkpoints.restore(run.template)
        before = 0.0 if restored is None else restored.about.get("seconds", 0.0)
        begun = run.first_state() if restored is None else restored.state
        start = int(begun.step)
        tokens = run.data.tokens_per_batch()
        about = _about(run)
        with (
            Journal(workdir, start) as journal,
            Progress(workdir.name, start, config.num_steps, tokens) as progress,
        ):
            _note_data(run, workdir, progress)
            if start:
                progress.say(f"resumes from step {start}")
            watch = _Watch(run, journal, progress)
            seconds = before
            for state in _steps(run, begun, start, journal, progress):
                step = int(state.step)
                validation = validate(state.chosen)
                _note_validation(step, validation, journal, progress)
                watch(step, state)
                seconds = before + time.perf_counter() - began
                now = {"data_position": step, "seconds": seconds}
                checkpoints.save(state, about | now, validation.loss)
        if start == config.num_steps:
            validation = validate(begun.chosen)
    return Summary(config.num_steps, validation, checkpoints.directory, seconds)


def _steps(run: Run, state: TrainState, start, journal, progress):
    """Trains, and yields the state whenever validation is due."""
    config = run.config
    train_step = make_train_step(
        run.objective,
        run.graph,
        run.optimizer,
        run.mesh,
        run.template,
        LanguageLoss(config.vocab_share, config.encoder.coverage),
        config.optimizer,
    )
    pending = []
    data = run.batches("train", start, config.num_steps)
    for step, batch in enumerate(data, start + 1):
        state, metrics = train_step(state, batch)
        pending.append(metrics)
        last = step == config.num_steps
        # Reading a metric waits for the device, so they are read together.
        if step % config.log_every == 0 or step == start + 1 or last:
            _note_steps(step, jax.device_get(pending), journal, progress)
            pending = []
        if step % config.eval_every == 0 or last:
            yield state


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


def _note_steps(step: int, pending: list[StepMetrics], journal, progress) -> None:
    first = step - len(pending) + 1
    for skipped in (first + i for i, m in enumerate(pending) if not m.finite):
        progress.say(f"step {skipped}: loss or gradient not finite; update skipped")
        journal.write(skipped, skipped=True)
    losses = [float(metrics.loss) for metrics in pending if metrics.finite]
    if losses:
        loss = sum(losses) / len(losses)
        speed = progress.report(step, loss)
        norm = [float(metrics.grad_norm) for metrics in pending if metrics.finite][-1]
        # The first step compiles, and has no speed.
        rate = {"tokens_per_second": speed} if speed else {}
        journal.write(step, loss=loss, grad_norm=norm, **rate)


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
