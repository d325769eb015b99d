"""A finished run: restored, and continuing a text."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.data import Tokenizer, tokenizer_from_json
from wmlstm_jax.inference import Sampler, generate
from wmlstm_jax.models import LanguageModel
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.datasets import TextData
from wmlstm_jax.training.run import Run, build
from wmlstm_jax.training.workdirs import saved_config


class Trained(NamedTuple):
    """A model from a checkpoint."""

    run: Run
    step: int
    params: dict
    checkpoint: Path
    about: dict  # what the checkpoint holds beside the state


def load(workdir: str | Path, which: str = "best") -> Trained:
    """Restores a model with everything that it was trained with, on one device.

    Args:
      workdir: of the run.
      which: "best" on the validation text, or "latest".

    Raises:
      ValueError: there is no run or no checkpoint, none can be read, or it is of a
        run with another config.
    """
    workdir = Path(workdir)
    config = saved_config(workdir)
    if not (workdir / "checkpoints").is_dir():
        raise _no_checkpoint(workdir)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        about = checkpoints.about()
        tokenizer = None if about is None else tokenizer_from_json(about["tokenizer"])
        run = build(config, tokenizer, MeshConfig(data=1))
        if about is not None:
            run.check_config(about["config"])
        restored = checkpoints.restore(run.template, which)
    if restored is None:
        raise _no_checkpoint(workdir)
    path = checkpoints.directory / str(restored.step)
    return Trained(run, restored.step, restored.state.chosen, path, restored.about)


def _no_checkpoint(workdir):
    return ValueError(f"{workdir} holds no checkpoint yet; train it with train.py.")


def check_text(trained: Trained) -> None:
    """Refuses to score on other data than those of the run.

    Where the text is another, what is held out may be what was trained on.

    Raises:
      ValueError: as `Run.check_text`.
    """
    trained.run.check_text(trained.about["text"])


def language_model_of(trained: Trained) -> LanguageModel:
    """The model of a text.

    Raises:
      ValueError: it has another task.
    """
    text_of(trained)
    return nnx.merge(trained.run.graph, trained.params)


def text_of(trained: Trained) -> TextData:
    """The text that a language model was trained on.

    Raises:
      ValueError: the model has another task.
    """
    if not isinstance(trained.run.data, TextData):
        raise ValueError(
            f"the model is trained for {trained.run.config.task}, and not to go on with"
            " a text; name the --workdir of a language model."
        )
    return trained.run.data


def continue_text(
    trained: Trained, prompt: str, *, sampler: Sampler, num_tokens: int, seed: int
) -> Iterator[str]:
    """Generates what follows a prompt, piece by piece.

    Args:
      trained: the model.
      prompt: at least one token of text.
      sampler: how tokens are picked.
      num_tokens: how many.
      seed: equal seeds give equal texts.

    Raises:
      ValueError: the prompt is empty or has what the tokeniser does not know, or the
        model has another task.
    """
    model, tokenizer = language_model_of(trained), trained.run.tokenizer
    tokens = encode_prompt(tokenizer, prompt)
    carries, log_probs = jax.jit(LanguageModel.prefill)(
        model, jnp.asarray(tokens)[None]
    )
    generated = generate(
        jax.tree_util.Partial(LanguageModel.step, model),
        carries,
        log_probs,
        sampler=sampler,
        rng=jax.random.key(seed),
        num_tokens=num_tokens,
    )
    # What stands between the prompt and its continuation depends on both.
    pieces = tokenizer.stream(chain(tokens, _first_row(generated)))
    yield from _without(pieces, len(tokenizer.decode(tokens)))


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> np.ndarray:
    """The tokens of a prompt, `[n]` int32.

    Raises:
      ValueError: it is empty or has what the tokeniser does not know.
    """
    tokens = tokenizer.encode(prompt)
    if not len(tokens):
        raise ValueError("the prompt is empty; a text has to start somewhere.")
    if unknown := tokenizer.unknown(prompt):
        raise ValueError(
            f"the prompt has {', '.join(map(repr, unknown))}, which the text that the"
            " model was trained on had not; write it without."
        )
    return tokens


def _without(pieces: Iterable[str], length: int) -> Iterator[str]:
    """What comes after so many characters, piece by piece."""
    for piece in pieces:
        if len(piece) > length:
            yield piece[length:]
        length = max(length - len(piece), 0)


def _first_row(generated: Iterator[np.ndarray]) -> Iterator[int]:
    return (int(tokens[0]) for tokens in generated)
