"""Dialogues: two who take turns, of whom the second is learned, or both."""

import json
import re

from wmlstm_jax.data.examples import BadExample, Example, Found
from wmlstm_jax.data.text_files import NUMBERED, lines_of

_TASK = re.compile(r"task(\d+)")
_END = "__eou__"


def read_dialog_babi(path: str, *, prefix: str = "") -> Found:
    """Numbered lines as dialog bAbI has them (Bordes et al. 2017).

    A line with a tab has what the user said and the response; one without is a fact of
    the knowledge base, which is part of what came in. An empty line ends a dialogue,
    and line 1 begins one.

    Args:
      path: the file, or a glob; `task3` in a name says the task.
      prefix: of `path` in messages, such as "validation_".

    Yields:
      Sources of all texts so far: facts and utterances, the responses among them. A
      response goes on from the one before it; their kind is the task.

    Raises:
      ValueError: a file cannot be read.
    """
    for file, lines in lines_of(f"{prefix}path", path):
        task = _TASK.search(file.name)
        kind, texts, told = task[1] if task else "", [], 0
        for number, line in enumerate(lines, 1):
            where = f"{file}, line {number}"
            if not line.strip():
                texts, told = [], 0
                continue
            match = NUMBERED.fullmatch(line)
            if match is None:
                yield BadExample(where, "does not start with a number and a blank")
                continue
            if match[1] == "1":
                texts, told = [], 0
            said, *response = match[2].split("\t")
            texts.append(said.strip())
            if response:
                answer = response[0].strip()
                news = tuple(texts[told:]) if told else None
                yield Example(tuple(texts), (answer,), where, kind, news)
                texts.append(answer)
                told = len(texts)


def read_dailydialog(path: str, *, prefix: str = "") -> Found:
    """A dialogue in every line, `__eou__` after each utterance (Li et al. 2017).

    Every utterance but the first is a response to those before it.

    Args:
      path: the file, or a glob.
      prefix: of `path` in messages, such as "validation_".

    Raises:
      ValueError: a file cannot be read.
    """
    for file, lines in lines_of(f"{prefix}path", path):
        for number, line in enumerate(lines, 1):
            texts = [text.strip() for text in line.split(_END)]
            texts = texts[:-1] if not texts[-1] else texts
            yield from _responses(texts, f"{file}, line {number}")


def read_turns(path: str, target_field: str, *, prefix: str = "") -> Found:
    """A JSON object in every line, with the utterances of a dialogue in one field.

    An utterance is a text, or an object with `text` and, where it matters, `speaker`,
    whose name is then put before what is said. Every one but the first is a response.

    Args:
      path: the file, or a glob.
      target_field: the field with the list.
      prefix: of `path` in messages, such as "validation_".

    Raises:
      ValueError: a file cannot be read.
    """
    for file, lines in lines_of(f"{prefix}path", path):
        for number, line in enumerate(lines, 1):
            where = f"{file}, line {number}"
            try:
                turns = json.loads(line)[target_field]
                if not isinstance(turns, list):
                    raise TypeError("no list")
                texts = [_utterance(each) for each in turns]
            except (ValueError, RecursionError) as error:
                yield BadExample(where, f"is no JSON ({error})")
            except (KeyError, TypeError, AttributeError):
                yield BadExample(
                    where, f"has no list of utterances in the field {target_field!r}"
                )
            else:
                yield from _responses(texts, where)


def _responses(texts: list[str], where: str) -> Found:
    if len(texts) < 2 or not all(texts):
        yield BadExample(where, "has no two utterances, or an empty one")
        return
    for turn in range(1, len(texts)):
        news = () if turn > 1 else None
        yield Example(tuple(texts[:turn]), (texts[turn],), where, "", news)


def _utterance(each) -> str:
    if isinstance(each, str):
        return each.strip()
    text, speaker = each["text"].strip(), each.get("speaker", "")
    if not isinstance(speaker, str):
        raise TypeError("no name")
    return f"{speaker}: {text}" if speaker and text else text
