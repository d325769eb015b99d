"""A model tried by hand: texts in from a terminal or a pipe, what it says out."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TextIO

from wmlstm_jax.inference import Sampler
from wmlstm_jax.training.chat import Chat
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
    notes: TextIO = sys.stderr,
    sampler: Sampler | None = None,
    seed: int = 0,
) -> None:
    """Says something to every source that comes in, until the input ends.

    In translation each line is a source. In summarisation lines up to an empty one are;
    in question answering they are the text, and each line after it is asked of that,
    until another empty one. A dialogue goes on from line to line, and has commands.

    What cannot be read is refused with a sentence, and the next line is taken; in a
    translation a line of output answers every line of input, an empty one too.

    Args:
      trained: a model of sources and targets.
      given: lines of text.
      told: what is said; if both are terminals, prompts too.
      notes: what is told beside it.
      sampler: of a dialogue, in which responses stream.
      seed: of its draws.

    Raises:
      ValueError: the model has another task.
    """
    vocabulary_of(trained)
    lines = _Lines(given, told if given.isatty() and told.isatty() else None, notes)
    task, encoder = trained.run.config.task, trained.run.config.encoder
    if task == "dialogue" and not encoder.num_layers and sampler is not None:
        _chat(Chat(trained, sampler, seed), lines, told)
        return
    limit = trained.run.config.data.max_source
    history: tuple[str, ...] = ()
    for source in _SOURCES[task](lines):
        if not source:
            print(file=told, flush=True)
            continue
        if task == "dialogue":  # An encoder remembers nothing of the turns before.
            source = (*history, *source)
        asked = ask(trained, source)
        if asked.cut:
            print(f"Note: only {limit} tokens are taken in.", file=notes, flush=True)
        ((_, said),) = say(trained, [asked])
        print(printable(said.text), file=told, flush=True)
        history = (*source, *filter(None, [said.text]))


def printable(text: str) -> str:
    """The text with what a terminal would obey made visible."""
    return "".join(
        each if each.isprintable() or each == "\n" else repr(each)[1:-1]
        for each in text
    )


class _Lines:
    """Lines without blanks around them, each behind its prompt.

    Args:
      given: where they come from.
      prompts: where prompts go, if somebody is there to see them.
      notes: where is told what cannot be read.
    """

    def __init__(self, given: TextIO, prompts: TextIO | None, notes: TextIO):
        self._given, self._prompts, self._notes = given, prompts, notes
        self.ended = False

    @property
    def seen(self) -> bool:
        """Whether somebody is there to see prompts."""
        return self._prompts is not None

    def read(self, prompt: str) -> Iterator[str]:
        """To the end of the input; a line that is none is an empty one."""
        while not self.ended:
            if self._prompts is not None:
                print(prompt, end="", file=self._prompts, flush=True)
            line = self._given.readline()
            if not line:
                self.ended = True
                if self._prompts is not None:
                    print(file=self._prompts)
                return
            line = line.strip()
            if reason := _unreadable(line):
                print(f"Error: {reason}", file=self._notes, flush=True)
                line = ""
            yield line

    def until_empty(self, prompt: str) -> Iterator[str]:
        """To an empty line."""
        for line in self.read(prompt):
            if not line:
                return
            yield line


def _unreadable(line: str) -> str:
    """What is wrong with a line, if anything; "" for nothing."""
    for place, each in enumerate(line):
        if "\ud800" <= each <= "\udfff":
            return f"character {place} of the line is no UTF-8; write it anew."
        if not each.isprintable() and each != "\t":
            what = repr(each)[1:-1]
            return f"character {place} of the line is {what}; write it without."
    return ""


def _each_line(lines: _Lines) -> Iterator[tuple[str, ...]]:
    """Nothing for an empty line, unless somebody just pressed the key."""
    for line in lines.read("source> "):
        if line or not lines.seen:
            yield (line,) if line else ()


def _texts(lines: _Lines) -> Iterator[tuple[str, ...]]:
    while not lines.ended:
        if text := " ".join(lines.until_empty("text> ")):
            yield (text,)


def _questions(lines: _Lines) -> Iterator[tuple[str, ...]]:
    for (text,) in _texts(lines):
        for line in lines.until_empty("question> "):
            yield text, line


def _turns(lines: _Lines) -> Iterator[tuple[str, ...]]:
    for line in lines.read("> "):
        if line:
            yield (line,)


_SOURCES = {
    "translation": _each_line,
    "summarization": _texts,
    "question_answering": _questions,
    "dialogue": _turns,
}
"""What is read of each task."""


def _chat(chat: Chat, lines: _Lines, told: TextIO) -> None:
    if lines.seen:
        print("A conversation; :help tells what else there is.", file=told)
    for line in lines.read("> "):
        if not line:
            continue
        try:
            if line.startswith(":"):
                done = _command(chat, *line[1:].split(maxsplit=1))
                print(printable(done), file=told, flush=True)
                continue
            for piece in chat.tell(line):
                print(printable(piece), end="", file=told, flush=True)
            print(file=told, flush=True)
        except ValueError as error:
            print(f"Error: {error}", file=told, flush=True)
        except KeyboardInterrupt:
            # Of a response; where none is being said, it ends the conversation.
            print("\n(stopped; that was not said)", file=told, flush=True)


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
