"""Questions about texts, in the formats of SQuAD and bAbI."""

import json
import re

from wmlstm_jax.data.examples import BadExample, Example, Found
from wmlstm_jax.data.text_files import NUMBERED, lines_of, matching_files, read_text

_BABI_TASK = re.compile(r"qa(\d+)_")


def read_squad(path: str, *, prefix: str = "") -> Found:
    """JSON as SQuAD has it (Rajpurkar et al. 2016): a context, a question, answers.

    Args:
      path: the file, or a glob.
      prefix: of `path` in messages, such as "validation_".

    Yields:
      Sources of two texts, the context and the question; their kind is the title.

    Raises:
      ValueError: a file cannot be read, or is not laid out so.
    """
    for file in matching_files(f"{prefix}path", path):
        text = read_text(f"{prefix}path", file)
        try:
            articles = json.loads(text)["data"]
            for article in articles:
                for paragraph in article["paragraphs"]:
                    for question in paragraph["qas"]:
                        yield _asked(file, article, paragraph["context"], question)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is no JSON ({error}); correct it.") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} is not laid out as SQuAD's files are ({error!r}); name one"
                " with data, paragraphs, context, qas, question and answers."
            ) from error


def _asked(file, article, context: str, question: dict):
    where = f"{file}, question {question['id']}"
    asked = question["question"]
    answers = tuple(dict.fromkeys(each["text"] for each in question["answers"]))
    if not all(isinstance(text, str) for text in (context, asked, *answers)):
        return BadExample(where, "has a context, question or answer that is no text")
    if not answers:
        return BadExample(where, "has no answer")
    for answer in answers:
        if answer not in context:
            return BadExample(where, f"has the answer {answer!r}, not in its context")
    title = str(article.get("title", ""))
    return Example((context, asked), answers, where, title)


def read_babi(path: str, *, prefix: str = "") -> Found:
    """Numbered lines as bAbI has them (Weston et al. 2015); line 1 starts a story.

    A question has a tab, then its answer, and its facts after another.

    Args:
      path: the file, or a glob; `qa7_` in a name says the task.
      prefix: of `path` in messages, such as "validation_".

    Yields:
      Sources of two texts, the story so far and the question; their kind is the task.
      A question goes on from the one before it in its story.

    Raises:
      ValueError: a file cannot be read.
    """
    for file, lines in lines_of(f"{prefix}path", path):
        task = _BABI_TASK.search(file.name)
        kind, story, told = task[1] if task else "", [], 0
        for number, line in enumerate(lines, 1):
            where = f"{file}, line {number}"
            match = NUMBERED.fullmatch(line)
            if match is None:
                yield BadExample(where, "does not start with a number and a blank")
                continue
            if match[1] == "1":
                story, told = [], 0
            said, *answer = match[2].split("\t")
            if answer:
                question, news = said.strip(), None
                if told:
                    since = [" ".join(story[told:])] if story[told:] else []
                    news = (*since, question)
                told, source = len(story), (" ".join(story), question)
                yield Example(source, (answer[0].strip(),), where, kind, news)
            else:
                story.append(said.strip())
