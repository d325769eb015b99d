"""A model tried by hand: texts in from a terminal or a pipe, what it says out."""

import shutil
import textwrap
from collections.abc import Iterator
from typing import TextIO

from wmlstm_jax.inference import Sampler
from wmlstm_jax.training.chat import Chat
from wmlstm_jax.training.config import LANGUAGE_MODELING
from wmlstm_jax.training.speaking import ask, say, vocabulary_of
from wmlstm_jax.training.trained import Trained

HELP = """\
:memory       what is remembered, the oldest first; * is pinned
:pin WORD     keep it, whatever comes; @12 is the word at position 12
:forget WORD  drop it from the memory
:branch NAME  begin a branch here, or go back to where it began
:save FILE    keep the conversation
:load FILE    go on with one that was kept
:reset        begin anew
:help         this"""


def converse(
    trained: Trained,
    given: TextIO,
    told: TextIO,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
) -> None:
    """Says something to every source that comes in, until the input ends.

    In translation each line is a source. In summarisation lines up to an empty one are;
    in question answering they are the text, and each line after it is asked of that,
    until another empty one. A dialogue goes on from line to line, and has commands.

    Args:
      trained: a model of sources and targets.
      given: lines of text.
      told: what is said; if both are terminals, prompts too.
      sampler: of a dialogue, in which responses stream.
      seed: of its draws.

    Raises:
      ValueError: the model has another task.
    """
    vocabulary_of(trained)
    prompts = told if given.isatty() and told.isatty() else None
    task, encoder = trained.run.config.task, trained.run.config.encoder
    if task == "dialogue" and not encoder.num_layers and sampler is not None:
        _chat(Chat(trained, sampler, seed), given, told, prompts)
        return
    for source in _sources(task, given, prompts):
        ((_, said),) = say(trained, [ask(trained, source)])
        print(said.text, file=told, flush=True)


def _sources(
    task: str, given: TextIO, prompts: TextIO | None
) -> Iterator[tuple[str, ...]]:
    assert task != LANGUAGE_MODELING
    if task in ("translation", "dialogue"):
        for line in _read(given, prompts, "source> "):
            if line:
                yield (line,)
        return
    while text := " ".join(_until_empty(given, prompts, "text> ")):
        if task == "summarization":
            yield (text,)
            continue
        for line in _until_empty(given, prompts, "question> "):
            yield text, line


def _chat(chat: Chat, given: TextIO, told: TextIO, prompts: TextIO | None) -> None:
    if prompts is not None:
        print("A conversation; :help tells what else there is.", file=told)
    for line in _read(given, prompts, "> "):
        if not line:
            continue
        try:
            if line.startswith(":"):
                print(_command(chat, *line[1:].split(maxsplit=1)), file=told)
                continue
            for piece in chat.tell(line):
                print(piece, end="", file=told, flush=True)
            print(file=told, flush=True)
        except ValueError as error:
            print(f"Error: {error}", file=told, flush=True)


def _command(chat: Chat, name: str = "", argument: str = "") -> str:
    """Does what was asked, and says what was done."""
    if name in ("memory", "reset", "help"):
        if argument:
            raise ValueError(f":{name} takes nothing behind it; leave it out.")
        if name == "help":
            return HELP
        if name == "reset":
            chat.reset()
            return "Everything is forgotten."
        return _memory(chat)
    if name not in ("pin", "forget", "branch", "save", "load"):
        raise ValueError(f":{name} is no command; :help has them all.")
    if not argument:
        raise ValueError(f":{name} needs a word behind it; :help says which.")
    if name == "branch":
        went = chat.branch(argument)
        return f"{'Back at' if went else 'Here begins'} branch {argument}."
    if name in ("save", "load"):
        getattr(chat, name)(argument)
        return f"{'Saved to' if name == 'save' else 'Gone on from'} {argument}."
    places = chat.pin(argument) if name == "pin" else chat.forget(argument)
    done = "Pinned" if name == "pin" else "Forgotten"
    if not places:
        return f"{argument} is not remembered."
    return f"{done} {argument}, in {places} place{'s' * (places > 1)}."


def _memory(chat: Chat) -> str:
    words = [
        f"{each.position}:{each.text or '?'}{'*' * each.pinned}"
        for each in chat.remembered()
    ]
    if not words:
        return "Nothing is remembered."
    width = max(shutil.get_terminal_size().columns, 20)
    return textwrap.fill("  ".join(words), width, break_long_words=False)


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
            if prompts is not None:
                print(file=prompts)
            return
        yield line.strip()
