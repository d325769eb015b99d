"""What does a generated token cost, the longer the text gets?

    python -m wmlstm_jax.benchmarks.generate --out=runs/generate

A WM-LSTM language model beside a GPT of as many parameters with a key-value cache, at
contexts up to 16,384 tokens. Both write in the same compiled loop, with their state
changed in place, and take turns. The WM-LSTM has read a text of that length; the cache
is filled at random, since what it holds does not change what reading it costs. Nobody
is trained: this is about time. `--quick` only shows that it runs.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import nnx
from matplotlib.figure import Figure

from wmlstm_jax.benchmarks import Progress, cost, results_dir
from wmlstm_jax.benchmarks.gpt import GPTConfig, fill_cache, gpt_step, init_gpt
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.models import LanguageModel, ModelConfig
from wmlstm_jax.training.command_line import run_script
from wmlstm_jax.training.provenance import provenance

Array = jax.Array

OURS, GPT = "WM-LSTM", "GPT"


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
      model: ours.
      vocab_size: V.
      contexts: tokens before the first that is timed, rising.
      num_tokens: written in one go, and timed together.
      batch_size: B.
      rounds: how often each model writes at each context.
      piece: tokens that ours reads in one call on the way to a context.
    """

    model: ModelConfig = ModelConfig(
        embed_dim=512, hidden_dim=512, num_layers=2, num_heads=8, key_dim=64,
        value_dim=64, num_slots=128,
    )  # fmt: skip
    vocab_size: int = 8192
    contexts: tuple[int, ...] = (256, 512, 1024, 2048, 4096, 8192, 16384)
    num_tokens: int = 32
    batch_size: int = 1
    rounds: int = 7
    piece: int = 256


QUICK = Settings(
    model=ModelConfig(32, 32, num_heads=2, key_dim=8, value_dim=8, num_slots=8),
    vocab_size=64,
    contexts=(16, 64),
    num_tokens=4,
    rounds=2,
    piece=16,
)


@partial(jax.jit, static_argnums=3, donate_argnums=(1, 2))
def write(step_fn: Callable, carry: Any, log_probs: Array, num_tokens: int):
    """Writes greedily: the carry and log probabilities after, and `[num_tokens, B]`."""

    def body(state, _):
        carry, log_probs = state
        tokens = jnp.argmax(log_probs, axis=-1).astype(jnp.int32)
        return step_fn(carry, tokens), tokens

    (carry, log_probs), tokens = jax.lax.scan(
        body, (carry, log_probs), length=num_tokens
    )
    return carry, log_probs, tokens


@jax.jit
def read(model: LanguageModel, carries, tokens: Array):
    """The carries after a piece of text, `tokens [B, T]`."""
    return model.features(model.embedding(tokens), carries, tags=tokens)[0]


def gpt_like(num_params: int, settings: Settings) -> GPTConfig:
    """A GPT of the same width and, as nearly as its parts allow, as many parameters."""
    width, vocab_size = settings.model.embed_dim, settings.vocab_size
    left = num_params - vocab_size * (width + 1) - width
    num_layers = max(1, round(left / (12 * width**2)))
    left_for_mlp = left / num_layers - 4 * width**2 - 2 * width
    mlp_dim = max(1, round(left_for_mlp / (2 * width)))
    heads = settings.model.num_heads
    return GPTConfig(width, heads, num_layers, mlp_dim, vocab_size)


class Writer(NamedTuple):
    """A model that writes."""

    step_fn: Callable
    num_params: int
    start: Callable[[int], Any]  # the carry after a context
    again: Callable[[Any, int], Any]  # the carry, put back to where it started
    state_bytes: Callable[[int], int]  # keys and values, which every token reads


class Point(NamedTuple):
    """A model at a context."""

    model: str
    context: int
    num_params: int
    state_bytes: int
    seconds: list[float]  # for a token of all rows, in each round

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    def floor(self, batch: int, machine: cost.Machine) -> float:
        """Seconds below which a token cannot be."""
        return cost.token_floor(self.num_params, self.state_bytes, batch, machine)


def count(tree: Any) -> int:
    """How many numbers there are."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def ours(settings: Settings, rng: Array) -> Writer:
    """The WM-LSTM; `rng` is consumed."""
    rng, text_rng = jax.random.split(rng)
    model = LanguageModel(settings.model, settings.vocab_size, rngs=nnx.Rngs(rng))
    batch, piece = settings.batch_size, settings.piece

    def start(context):
        carries = model.initialize_carry(batch)
        for key in jax.random.split(text_rng, context // piece):
            text = jax.random.randint(key, (batch, piece), 0, settings.vocab_size)
            carries = read(model, carries, text)
        return carries

    memories = [carry.memory for carry in model.initialize_carry(batch)]
    size = sum(memory.keys.nbytes + memory.values.nbytes for memory in memories)
    return Writer(
        step_fn=jax.tree_util.Partial(LanguageModel.step, model),
        num_params=count(nnx.state(model, nnx.Param)),
        start=start,
        again=lambda carries, _: carries,  # It costs the same wherever it is.
        state_bytes=lambda _: size,
    )


def gpt(settings: Settings, rng: Array, num_params: int) -> Writer:
    """The GPT with about as many parameters; `rng` is consumed."""
    rng, cache_rng = jax.random.split(rng)
    config, batch = gpt_like(num_params, settings), settings.batch_size
    params = jax.jit(init_gpt, static_argnums=1)(rng, config)

    def start(context):
        size = context + settings.num_tokens
        return fill_cache(cache_rng, config, batch, size, context)

    return Writer(
        step_fn=jax.tree_util.Partial(partial(gpt_step, config), params),
        num_params=count(params),
        start=start,
        again=lambda cache, context: cache._replace(position=jnp.int32(context)),
        state_bytes=lambda context: (
            2 * 4 * config.num_layers * batch * config.embed_dim * context
        ),
    )


def measure(settings: Settings) -> tuple[list[Point], cost.Machine]:
    """Lets both write at every context, in turns."""
    one_rng, other_rng = jax.random.split(jax.random.key(0))
    mine = ours(settings, one_rng)
    writers = {OURS: mine, GPT: gpt(settings, other_rng, mine.num_params)}
    progress, points, machine = Progress(len(settings.contexts)), [], cost.measure([])
    for done, context in enumerate(settings.contexts, 1):
        at, states = [], {}
        for name, writer in writers.items():
            size = writer.state_bytes(context)
            at.append(Point(name, context, writer.num_params, size, []))
            log_probs = jnp.zeros((settings.batch_size, settings.vocab_size))
            states[name] = writer.start(context), log_probs
        for number in range(-1, settings.rounds):  # The first compiles.
            sizes = [4 * point.num_params + point.state_bytes for point in at]
            machine = cost.faster(machine, cost.measure(sizes))
            for point in at:
                writer, (carry, log_probs) = writers[point.model], states[point.model]
                given = jax.block_until_ready((writer.again(carry, context), log_probs))
                began = time.perf_counter()
                *state, tokens = write(writer.step_fn, *given, settings.num_tokens)
                states[point.model] = jax.block_until_ready((state, tokens))[0]
                took = (time.perf_counter() - began) / settings.num_tokens
                point.seconds.extend([took] if number >= 0 else [])
        points += at
        progress.say(done, f"context {context}")
    return points, machine


def table(points: list[Point], machine: cost.Machine, batch: int) -> str:
    """One row per model and context, in Markdown."""
    header = ("", "parameters", "context", "tokens / s", "of floor", "x GPT", "state")
    others = {point.context: point for point in points if point.model == GPT}
    rows = []
    for point in points:
        pairs = zip(others[point.context].seconds, point.seconds, strict=True)
        times = statistics.median(theirs / mine for theirs, mine in pairs)
        speeds = [
            batch / t for t in (point.median, max(point.seconds), min(point.seconds))
        ]
        rows.append(
            (
                point.model,
                f"{point.num_params:,}",
                f"{point.context:,}",
                "{:.0f} ({:.0f} to {:.0f})".format(*speeds),
                f"{point.floor(batch, machine) / point.median:.0%}",
                f"{times:.2f}",
                f"{point.state_bytes / 1e6:.1f} MB",
            )
        )
    return f"{markdown_table(header, rows)}\n\n{cost.describe(machine)}"


def plot(points: list[Point], machine: cost.Machine, batch: int, path: Path) -> None:
    """Tokens per second and the state against the context."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    speed, state = figure.subplots(1, 2)
    for number, name in enumerate((OURS, GPT)):
        mine = [point for point in points if point.model == name]
        contexts, color = [point.context for point in mine], f"C{number}"
        middle, most, least = (
            np.array([batch / of(point.seconds) for point in mine])
            for of in (statistics.median, min, max)
        )
        bars = (middle - least, most - middle)
        speed.errorbar(contexts, middle, bars, color=color, marker="o", label=name)
        floor = [batch / point.floor(batch, machine) for point in mine]
        speed.plot(
            contexts, floor, color=color, linestyle=":", label=f"floor of {name}"
        )
        sizes = [point.state_bytes / 1e6 for point in mine]
        state.plot(contexts, sizes, color=color, marker="o", label=name)
    for axes in (speed, state):
        axes.set_xscale("log", base=2)
        axes.set_xticks(contexts, [f"{context:,}" for context in contexts], rotation=45)
        axes.minorticks_off()
        axes.set(xlabel="tokens of context")
        axes.grid(axis="y", alpha=0.3)
        axes.legend(frameon=False)
    speed.set(ylabel="generated tokens / s", ylim=(0, None))
    state.set(ylabel="state that a token reads, MB", yscale="log")
    state.yaxis.set_major_formatter("{x:,g}")
    figure.savefig(path, dpi=150)


def main(settings: Settings, out: str | Path) -> None:
    """Measures; leaves `generate.json` and `generate.png` in `out`."""
    out, began = results_dir(out), time.perf_counter()
    points, machine = measure(settings)
    batch = settings.batch_size
    result = {
        **provenance(),
        "seconds": time.perf_counter() - began,
        "settings": asdict(settings),
        "machine": machine._asdict(),
        "points": [p._asdict() | {"floor": p.floor(batch, machine)} for p in points],
    }
    (out / "generate.json").write_text(json.dumps(result) + "\n")
    plot(points, machine, batch, out / "generate.png")
    print(f"\n{table(points, machine, batch)}\n")
    print(f"Results: {out}/generate.json, {out}/generate.png")


if __name__ == "__main__":
    _QUICK = flags.DEFINE_bool("quick", False, "Only show that it runs.")
    _OUT = flags.DEFINE_string("out", "runs/generate", "Where JSON and plot go.")
    run_script(lambda: main(QUICK if _QUICK.value else Settings(), _OUT.value))
