"""Looking at a finished run: its scores, and text that it generates."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.data import tokenizer_from_json
from wmlstm_jax.inference import Sample, generate
from wmlstm_jax.models import LanguageModel
from wmlstm_jax.training.checkpoints import Checkpoints, saved_config
from wmlstm_jax.training.config import SampleConfig
from wmlstm_jax.training.run import Evaluator, Run, build


class Trained(NamedTuple):
    """A model from a checkpoint."""

    run: Run
    step: int
    params: dict
    checkpoint: Path


def load(workdir: str | Path, which: str = "best") -> Trained:
    """Restores a model with everything that it was trained with.

    Args:
      workdir: of the run.
      which: "best" on the validation text, or "latest".

    Raises:
      ValueError: there is no run or no checkpoint, or none can be read.
    """
    workdir = Path(workdir)
    config = saved_config(workdir)
    with Checkpoints(workdir) as checkpoints:
        about = checkpoints.about()
        tokenizer = None if about is None else tokenizer_from_json(about["tokenizer"])
        run = build(config, tokenizer)
        restored = checkpoints.restore(run.template, which)
    if restored is None:
        raise ValueError(f"{workdir} holds no checkpoint yet; train it with train.py.")
    path = checkpoints.directory / str(restored.step)
    return Trained(run, restored.step, restored.state.params, path)


def score_table(trained: Trained) -> str:
    """Perplexity and bits per byte on validation and test text, as a Markdown table.

    A model with a memory is also scored with reading disabled: what it loses is what
    reading is worth to it.
    """
    ways = [("", True)]
    if trained.run.config.model.num_slots:
        ways.append((", reading disabled", False))
    rows = []
    for split in ("validation", "test"):
        for suffix, reading in ways:
            score = Evaluator(trained.run, split, reading=reading)(trained.params)
            numbers = f"{score.perplexity:.3f}", f"{score.bits_per_byte:.3f}"
            rows.append((split + suffix, *numbers))
    return markdown_table(("text", "perplexity per token", "bits per byte"), rows)


def continue_text(trained: Trained, prompt: str, sample: SampleConfig) -> Iterator[str]:
    """Generates what follows a prompt, piece by piece.

    Args:
      trained: the model.
      prompt: at least one token of text.
      sample: how much, and how it is drawn; the seed is the config's.

    Raises:
      ValueError: the prompt is empty.
    """
    run = trained.run
    tokens = run.tokenizer.encode(prompt)
    if not len(tokens):
        raise ValueError("the prompt is empty; a text has to start somewhere.")
    if unknown := run.tokenizer.unknown(prompt):
        raise ValueError(
            f"the prompt has {', '.join(map(repr, unknown))}, which the text that the"
            " model was trained on had not; write it without."
        )
    # The parameters lie on all devices; one text is generated on one of them.
    params = jax.device_put(jax.device_get(trained.params), jax.local_devices()[0])
    model = nnx.merge(run.graph, params)
    carries, log_probs = jax.jit(LanguageModel.prefill)(
        model, jnp.asarray(tokens)[None]
    )
    generated = generate(
        jax.tree_util.Partial(LanguageModel.step, model),
        carries,
        log_probs,
        sampler=Sample(temperature=sample.temperature, top_p=sample.top_p),
        rng=jax.random.key(run.config.seed),
        num_tokens=sample.num_tokens,
    )
    yield from run.tokenizer.stream(_first_row(generated))


def markdown_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Cells in columns of equal width; all but the first column to the right."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row):
        first, *others = zip(row, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(w) for cell, w in others)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(tuple(rule)), *map(line, rows)])


def _first_row(generated: Iterator[np.ndarray]) -> Iterator[int]:
    return (int(tokens[0]) for tokens in generated)
