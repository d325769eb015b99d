"""A model tried by hand: texts in from a terminal or a pipe, what it says out."""

from collections.abc import Iterator
from typing import TextIO

from wmlstm_jax.training.speaking import ask, say, vocabulary_of
from wmlstm_jax.training.trained import Trained


def converse(trained: Trained, given: TextIO, told: TextIO) -> None:
    """Says something to every source that comes in, until the input ends.

    Of a task with one text, each line is a source. Of one with two, as a story and a
    question, lines up to an empty one are the first text, and each line after it is
    asked of that, until another empty one.

    Args:
      trained: a model of sources and targets.
      given: lines of text.
      told: what is said, a line for each source; if both are terminals, prompts too.

    Raises:
      ValueError: the model has another task.
    """
    vocabulary_of(trained)
    asks = trained.run.config.task == "question_answering"
    prompts = told if given.isatty() and told.isatty() else None
    for source in _questions(given, prompts) if asks else _lines(given, prompts):
        ((_, said),) = say(trained, [ask(trained, source)])
        print(said.text, file=told, flush=True)


def _lines(given: TextIO, prompts: TextIO | None) -> Iterator[tuple[str, ...]]:
    for line in _read(given, prompts, "source> "):
        if line:
            yield (line,)


def _questions(given: TextIO, prompts: TextIO | None) -> Iterator[tuple[str, ...]]:
    while True:
        text = " ".join(_until_empty(given, prompts, "text> "))
        if not text:
            return
        for line in _until_empty(given, prompts, "question> "):
            yield text, line


def _until_empty(given, prompts, prompt: str) -> Iterator[str]:
    for line in _read(given, prompts, prompt):
        if not line:
            return
        yield line


def _read(given: TextIO, prompts: TextIO | None, prompt: str) -> Iterator[str]:
    """Lines without blanks around them, each behind its prompt."""
    while True:
        if prompts is not None:
            print(prompt, end="", file=prompts, flush=True)
        line = given.readline()
        if not line:
            return
        yield line.strip()
