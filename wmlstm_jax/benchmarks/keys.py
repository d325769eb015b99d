"""What should a memory's key be made of? Steps to 95 % of multi-query recall.

    python -m wmlstm_jax.benchmarks.keys --out=runs/keys

A key is a projection of any of `x_t` ("input"), `h_{t-1}` ("previous") and `h_t`
("current"); the value is always one of `h_t`. Each choice, and a plain LSTM with as
many parameters as the largest, is trained from the first seed at each of the same
learning rates, and from the other seeds at the rate that was best for it, until it
answers 95 % of fresh questions or the steps are used up. `--quick` only shows it runs.
"""

import itertools
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from matplotlib.figure import Figure

from wmlstm_jax.benchmarks import Progress, results_dir
from wmlstm_jax.core import CellConfig, SlotMemory, init_carry, init_params, unroll
from wmlstm_jax.core.config import KEY_SOURCES
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.tasks import MultiQueryRecall, Task
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.provenance import provenance

Array = jax.Array

KEYS = tuple(k for n in (1, 2, 3) for k in itertools.combinations(KEY_SOURCES, n))
"""Every choice there is."""
PLAIN = "plain LSTM"


@dataclass(frozen=True)
class Settings:
    """What all choices have in common.

    Args:
      task: what is learned.
      keys: the choices, as in `CellConfig.key_from`.
      rates: of Adam, each tried for every choice with the first seed.
      seeds: of parameters and samples; all choices see the same samples.
      max_steps: where a run is given up.
      eval_every: steps between evaluations: the resolution of the result.
      batch_size: B of an update.
      eval_batch_size: B of an evaluation, on samples never seen before.
      target: the accuracy at which a run stops.
      cell: without the key; its memory holds whole sequences, so nothing is discarded.
    """

    task: MultiQueryRecall = MultiQueryRecall()
    keys: tuple[tuple[str, ...], ...] = KEYS
    rates: tuple[float, ...] = (0.003, 0.01, 0.03)
    seeds: tuple[int, ...] = (0, 1, 2)
    max_steps: int = 1000
    eval_every: int = 10
    batch_size: int = 32
    eval_batch_size: int = 128
    target: float = 0.95
    cell: CellConfig = CellConfig(input_dim=32, hidden_dim=64, memory=SlotMemory(40))


QUICK = Settings(
    task=MultiQueryRecall(8, 8, num_pairs=2, num_queries=2, length=8),
    keys=(("previous",),),
    rates=(0.003, 0.01),
    seeds=(0, 1),
    max_steps=5,
    eval_every=2,
    batch_size=4,
    eval_batch_size=8,
    cell=CellConfig(input_dim=8, hidden_dim=8, memory=SlotMemory(8)),
)


class Run(NamedTuple):
    """One training of one choice."""

    choice: str
    num_params: int
    rate: float
    seed: int
    steps: list[int]  # of the evaluations
    loss: list[float]  # nats per answer, at the update before each
    accuracy: list[float]
    reached: int | None  # the step of the first evaluation at the target
    seconds: float  # a choice's first run compiles


def init_model(rng: Array, config: CellConfig, vocab_size: int) -> dict:
    """Embedding, cell and output; `rng` is consumed."""
    embedding_rng, cell_rng, output_rng = jax.random.split(rng, 3)
    output = jax.random.normal(output_rng, (config.hidden_dim, vocab_size))
    return {
        "embedding": jax.random.normal(embedding_rng, (vocab_size, config.input_dim)),
        "cell": init_params(cell_rng, config),
        "output": output * config.hidden_dim**-0.5,
        "bias": jnp.zeros(vocab_size),
    }


def predict(params: dict, config: CellConfig, inputs: Array) -> Array:
    """The logits of every token at every place: `[B, T]` int32 to `[B, T, V]`."""
    xs = params["embedding"][inputs.T]
    _, ys = unroll(params["cell"], config, init_carry(config, inputs.shape[0]), xs)
    return jnp.einsum("tbh,hv->btv", ys, params["output"]) + params["bias"]


def count_params(config: CellConfig, vocab_size: int) -> int:
    """How many numbers the model learns."""
    init = partial(init_model, config=config, vocab_size=vocab_size)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def choices(settings: Settings) -> dict[str, CellConfig]:
    """What is compared, by its name: the keys, and an LSTM not smaller than any."""
    named = {" + ".join(k): replace(settings.cell, key_from=k) for k in settings.keys}
    size = partial(count_params, vocab_size=settings.task.form.num_tokens)
    largest = max(map(size, named.values()))
    plain = replace(settings.cell, memory=SlotMemory(0))
    while size(plain) < largest:
        plain = replace(plain, hidden_dim=plain.hidden_dim + 1)
    return {**named, PLAIN: plain}


@optax.inject_hyperparams
def _adam(learning_rate):
    # The rate is kept in the state, so that one compilation serves all rates.
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))


@partial(jax.jit, static_argnums=(0, 1))
def first_state(config: CellConfig, task: Task, rate: float, rng: Array):
    """Parameters and optimiser before the first update."""
    params = init_model(rng, config, task.form.num_tokens)
    return params, _adam(learning_rate=rate).init(params)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def train_step(config: CellConfig, task: Task, batch_size: int, state, rng: Array):
    """One update on a fresh batch: the state after it, and the loss before, `[]`."""
    params, opt_state = state
    batch = task.sample(rng, batch_size)

    def loss_fn(params):
        nats = optax.softmax_cross_entropy_with_integer_labels(
            predict(params, config, batch.inputs), batch.targets
        )
        return nats.mean(where=batch.scored)

    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, opt_state = _adam(learning_rate=0.0).update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), loss


@partial(jax.jit, static_argnums=(0, 1, 2))
def evaluate(config: CellConfig, task: Task, batch_size: int, params, rng: Array):
    """The share of right answers at scored places of fresh samples, `[]`."""
    batch = task.sample(rng, batch_size)
    answers = predict(params, config, batch.inputs).argmax(axis=-1)
    return jnp.mean(answers == batch.targets, where=batch.scored)


def train(
    name: str, config: CellConfig, settings: Settings, rate: float, seed: int, progress
) -> Run:
    """Trains until the target or the last step, whichever comes first."""
    task, began = settings.task, time.perf_counter()
    init_rng, train_rng, eval_rng = jax.random.split(jax.random.key(seed), 3)
    state = first_state(config, task, rate, init_rng)
    num_params = count_params(config, task.form.num_tokens)
    run = Run(name, num_params, rate, seed, [], [], [], None, 0.0)
    for step in range(1, settings.max_steps + 1):
        rng = jax.random.fold_in(train_rng, step)
        state, loss = train_step(config, task, settings.batch_size, state, rng)
        if step % settings.eval_every and step < settings.max_steps:
            continue
        rng = jax.random.fold_in(eval_rng, step)
        accuracy = evaluate(config, task, settings.eval_batch_size, state[0], rng)
        run.steps.append(step)
        run.loss.append(float(loss))
        run.accuracy.append(float(accuracy))
        reached = step if run.accuracy[-1] >= settings.target else None
        run = run._replace(reached=reached, seconds=time.perf_counter() - began)
        progress.glimpse(step / settings.max_steps, describe(run, settings))
        if reached:
            break
    return run


def describe(run: Run, settings: Settings) -> str:
    """The last evaluation of a run, in a line."""
    return (
        f"{run.choice}, rate {run.rate:g}, seed {run.seed} | step {run.steps[-1]}/"
        f"{settings.max_steps} | {run.steps[-1] / run.seconds:.1f} steps/s | loss"
        f" {run.loss[-1]:.3f} | accuracy {run.accuracy[-1]:.1%}"
    )


def summarize(runs: list[Run]) -> tuple[float, float]:
    """The median of steps to the target, infinite if most failed; the error left."""
    steps = statistics.median(run.reached or math.inf for run in runs)
    return steps, 1 - statistics.mean(run.accuracy[-1] for run in runs)


def train_all(settings: Settings) -> tuple[dict[str, list[Run]], list[Run]]:
    """Trains every choice.

    Returns:
      The runs of each choice at its best rate, one per seed, the best choice first as
      `summarize` ranks them; and all runs.
    """
    (first, *others), best, runs = settings.seeds, {}, []
    compared = choices(settings)
    progress = Progress(len(compared) * (len(settings.rates) + len(others)))

    def run(name, rate, seed):
        runs.append(train(name, compared[name], settings, rate, seed, progress))
        progress.say(len(runs), describe(runs[-1], settings))
        return runs[-1]

    for name in compared:
        tried = [run(name, rate, first) for rate in settings.rates]
        chosen = min(tried, key=lambda each: summarize([each]))
        best[name] = [chosen, *(run(name, chosen.rate, seed) for seed in others)]
    ranked = sorted(best, key=lambda name: summarize(best[name]))
    return {name: best[name] for name in ranked}, runs


def table(best: dict[str, list[Run]], settings: Settings) -> str:
    """One row per choice, in Markdown."""
    never, rows = f"> {settings.max_steps}", []
    for choice, runs in best.items():
        median, error = summarize(runs)
        rows.append(
            (
                choice,
                f"{runs[0].num_params:,}",
                f"{runs[0].rate:g}",
                ", ".join(str(run.reached or never) for run in runs),
                never if math.isinf(median) else f"{median:g}",
                f"{1 - error:.1%}",
            )
        )
    steps = f"steps to {settings.target:.0%}"
    header = ("key", "parameters", "best rate", steps, "median", "final accuracy")
    return markdown_table(header, rows)


def plot(best: dict[str, list[Run]], settings: Settings, path: Path) -> None:
    """Accuracy against steps: the median over seeds, in a band that holds them all."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for choice, runs in best.items():
        steps = max((run.steps for run in runs), key=len)
        # A run stays where it stopped.
        held = [run.accuracy + run.accuracy[-1:] * len(steps) for run in runs]
        curves = np.array([curve[: len(steps)] for curve in held])
        look = "k--" if choice == PLAIN else "-"
        (line,) = axes.plot(steps, np.median(curves, axis=0), look, label=choice)
        band, color = (curves.min(0), curves.max(0)), line.get_color()
        axes.fill_between(steps, *band, color=color, alpha=0.15)
    axes.axhline(settings.target, color="gray", linestyle=":")
    axes.set(xscale="log", xlabel="updates", ylabel="accuracy", ylim=(0, 1.02))
    axes.legend(title="key made of")
    figure.savefig(path, dpi=150)


def main(settings: Settings, out: str | Path) -> None:
    """Trains every choice; leaves `keys.json` and `keys.png` in `out`."""
    out, began = results_dir(out), time.perf_counter()
    best, runs = train_all(settings)
    result = {
        **provenance(),
        "seconds": time.perf_counter() - began,
        "settings": {**asdict(settings), "cell": repr(settings.cell)},
        "cells": {name: repr(config) for name, config in choices(settings).items()},
        "best_rates": {name: group[0].rate for name, group in best.items()},
        "runs": [run._asdict() for run in runs],
    }
    (out / "keys.json").write_text(json.dumps(result) + "\n")
    plot(best, settings, out / "keys.png")
    print(f"\n{table(best, settings)}\n\nResults: {out}/keys.json, {out}/keys.png")


if __name__ == "__main__":
    _QUICK = flags.DEFINE_bool("quick", False, "Only show that it runs.")
    _OUT = flags.DEFINE_string("out", "runs/keys", "Where JSON and plot go.")
    run_script(lambda: main(QUICK if _QUICK.value else Settings(), _OUT.value))
