"""A WM-LSTM beside a plain LSTM of as many parameters: same text, steps, optimiser."""

import time
from dataclasses import replace
from pathlib import Path

from wmlstm_jax.models import ModelConfig
from wmlstm_jax.training.config import TrainConfig
from wmlstm_jax.training.loop import train
from wmlstm_jax.training.report import continue_text, load, markdown_table
from wmlstm_jax.training.run import Evaluator, build
from wmlstm_jax.training.state import num_params

NAMES = {"wm_lstm": "WM-LSTM", "lstm": "LSTM"}


def matched_lstm(config: ModelConfig, vocab_size: int) -> ModelConfig:
    """The plain LSTM whose number of parameters is nearest.

    Only the hidden width is free; embedding, depth and dropout stay.

    Args:
      config: the model to match.
      vocab_size: V.
    """
    wanted = num_params(config, vocab_size)

    def at(hidden_dim: int) -> ModelConfig:
        return replace(
            config,
            hidden_dim=hidden_dim,
            num_slots=0,
            copy=False,
            read_modes=("content",),
        )

    def excess(hidden_dim: int) -> int:
        return num_params(at(hidden_dim), vocab_size) - wanted

    low, high = 1, 2
    while excess(high) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return at(min((low, high), key=lambda hidden_dim: abs(excess(hidden_dim))))


def compare(config: TrainConfig, workdir: str | Path) -> str:
    """Trains both, in `wm_lstm/` and `lstm/` of the workdir, and reports.

    Args:
      config: of the WM-LSTM.
      workdir: of both; what was begun there is finished.

    Returns:
      A table of sizes, times and validation scores of the best checkpoints, a text
      generated from the restored WM-LSTM, and where the checkpoints are.

    Raises:
      ValueError: a setting cannot be met, or the workdir holds another run.
    """
    workdir = Path(workdir)
    config = replace(config, compare=False)
    vocab_size = build(config).tokenizer.vocab_size
    baseline = replace(config, model=matched_lstm(config.model, vocab_size))
    rows, places = [], []
    for name, each in (("wm_lstm", config), ("lstm", baseline)):
        began = time.perf_counter()
        train(each, workdir / name)
        seconds = time.perf_counter() - began
        trained = load(workdir / name)
        score = Evaluator(trained.run, "validation")(trained.params)
        rows.append(
            (
                NAMES[name],
                f"{num_params(each.model, vocab_size):,}",
                f"{seconds:.0f} s",
                f"{score.perplexity:.3f}",
                f"{score.bits_per_byte:.3f}",
            )
        )
        places.append(f"{NAMES[name]}: {trained.checkpoint}")
    header = ("model", "parameters", "time", "validation perplexity", "bits per byte")
    prompt = config.sample.prompt
    generated = "".join(continue_text(load(workdir / "wm_lstm"), prompt, config.sample))
    return "\n".join(
        [
            "",
            markdown_table(header, rows),
            "",
            f"The WM-LSTM, from its checkpoint, continues {prompt!r}:",
            "",
            prompt + generated,
            "",
            "Best checkpoints:",
            *places,
        ]
    )
