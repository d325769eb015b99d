"""A WM-LSTM beside a plain LSTM of as many parameters: same text, steps, optimiser."""

from dataclasses import replace
from pathlib import Path

from wmlstm_jax.analysis.heat_map import draw_text
from wmlstm_jax.analysis.scores import score
from wmlstm_jax.inference import Sample
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.models.sizes import nearest_width
from wmlstm_jax.training.config import LANGUAGE_MODELING, TrainConfig
from wmlstm_jax.training.loop import train
from wmlstm_jax.training.objectives import LanguageModeling, num_params
from wmlstm_jax.training.run import build
from wmlstm_jax.training.trained import continue_text, encode_prompt, load

NAMES = {"wm_lstm": "WM-LSTM", "lstm": "LSTM"}


def match_size(config: ModelConfig, wanted: int, vocab_size: int) -> ModelConfig:
    """The same model at the hidden width whose number of parameters is nearest.

    Args:
      config: the model; embedding, depth, memory and dropout stay.
      wanted: how many parameters.
      vocab_size: V.
    """

    def count(hidden_dim: int) -> int:
        wide = replace(config, hidden_dim=hidden_dim)
        return num_params(LanguageModeling(wide, vocab_size))

    return replace(config, hidden_dim=nearest_width(count, wanted))


def matched_lstm(config: ModelConfig, vocab_size: int) -> ModelConfig:
    """The plain LSTM with as many parameters as a model has, as `match_size` finds it.

    Args:
      config: the model to match.
      vocab_size: V.
    """
    plain = replace(config, num_slots=0, copy=False, read_modes=("content",))
    wanted = num_params(LanguageModeling(config, vocab_size))
    return match_size(plain, wanted, vocab_size)


def compare(config: TrainConfig, workdir: str | Path) -> str:
    """Trains both, in `wm_lstm/` and `lstm/` of the workdir, and reports.

    Args:
      config: of the WM-LSTM.
      workdir: of both; what was begun there is finished.

    Returns:
      A table of sizes, times and validation scores of the best checkpoints, a text
      generated from the restored WM-LSTM, where the checkpoints are, and where the
      picture of its memory is.

    Raises:
      ValueError: a setting cannot be met, the workdir holds another run, or the prompt
        of `config.sample` has what the text has not.
    """
    if config.task != LANGUAGE_MODELING:
        raise ValueError(
            f"config.compare is for language models, and config.task is {config.task};"
            " leave it False."
        )
    workdir = Path(workdir)
    config = replace(config, compare=False)
    tokenizer, sample = build(config).tokenizer, config.sample
    encode_prompt(tokenizer, sample.prompt)
    lstm = matched_lstm(config.model, tokenizer.vocab_size)
    baseline = replace(config, model=lstm)
    rows, trained = [], {}
    for name, each in (("wm_lstm", config), ("lstm", baseline)):
        seconds = train(each, workdir / name).seconds
        trained[name] = load(workdir / name)
        size = f"{num_params(trained[name].run.objective):,}", f"{seconds:.0f} s"
        for _, way, counts in score(trained[name], ("validation",)):
            title = f"{NAMES[name]}, {way}" if way else NAMES[name]
            numbers = f"{counts.perplexity:.3f}", f"{counts.bits_per_byte:.3f}"
            rows.append((title, *(("", "") if way else size), *numbers))
    header = ("model", "parameters", "time", "validation perplexity", "bits per byte")
    picture = workdir / "memory.png"
    generated = continue_text(
        trained["wm_lstm"],
        sample.prompt,
        sampler=Sample(temperature=sample.temperature, top_p=sample.top_p),
        num_tokens=sample.num_tokens,
        seed=config.seed,
    )
    lines = [
        "",
        markdown_table(header, rows),
        "",
        f"The WM-LSTM, from its checkpoint, continues {sample.prompt!r}:",
        "",
        sample.prompt + "".join(generated),
        "",
        "Best checkpoints:",
        *(f"{NAMES[name]}: {each.checkpoint}" for name, each in trained.items()),
    ]
    if config.model.num_slots:
        draw_text(trained["wm_lstm"], picture)
        lines += ["", f"The memory at work: {picture}"]
    return "\n".join(lines)
