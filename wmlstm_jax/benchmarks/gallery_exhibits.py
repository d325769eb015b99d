"""The exhibits of the gallery: what is shown, and what one sees in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wmlstm_jax.analysis.exhibits import Exhibit, mode_name
from wmlstm_jax.training.provenance import provenance


class Shown(NamedTuple):
    """An exhibit of the gallery."""

    name: str  # of its files
    title: str
    sentences: tuple[str, str]  # what one sees


@dataclass(frozen=True)
class Borrowed:
    """An exhibit by a model that was trained before.

    Args:
      shown: the exhibit; its name is also that of its flag.
      task: for which the model has to be trained.
      texts: what the model is given.
    """

    shown: Shown
    task: str
    texts: tuple[str, ...]


BORROWED = (
    Borrowed(
        Shown(
            "language_model",
            "A language model",
            (
                "Every column is a word that came in, every row a word in the memory,"
                " and dark is what the model read then or would copy as the next word.",
                "Look at the column of the second `mr.`: a memory that works is dark at"
                " `fisher`, which had followed the first.",
            ),
        ),
        "language_modeling",
        (
            "the ferry company said its new boat will carry cars to the island next"
            " spring\nmr. fisher the owner of the ferry said the island needs the boat"
            "\nresidents of the island said mr. fisher and the ferry company have"
            " waited too long\n",
        ),
    ),
    Borrowed(
        Shown(
            "translation",
            "A translation",
            (
                "Every row is a word of the source, every column a word that the model"
                " said, and dark is what it read or copied for it.",
                "A line from corner to corner is word for word; where it bends, the two"
                " languages put their words in different orders.",
            ),
        ),
        "translation",
        ("Ein kleiner Hund läuft mit einem roten Ball über die Wiese.",),
    ),
    Borrowed(
        Shown(
            "story",
            "A question about a story",
            (
                "Every row is a word of the story or of the question, every column a"
                " word of the answer, and dark is what was read or copied for it.",
                "It takes two facts to answer: who has the milk, and where she is.",
            ),
        ),
        "question_answering",
        (
            "Mary went to the kitchen. Mary got the milk there. John went to the"
            " garden. Mary moved to the bathroom. Sandra went to the office.",
            "Where is the milk?",
        ),
    ),
)


def describe_copy(exhibit: Exhibit, seconds: float) -> tuple[str, str]:
    """What one sees of the copy task, with the numbers of this run.

    Args:
      exhibit: of the task.
      seconds: that the training took.
    """
    asked = [t for t, said in enumerate(exhibit.said) if said]
    right = sum("≠" not in exhibit.tokens[t] for t in asked)
    reads = exhibit.trace.reads
    assert reads is not None and reads.modes is not None
    shares = reads.modes[asked].mean(0)  # [R, M]
    head, best = np.unravel_index(shares.argmax(), shares.shape)
    mode = mode_name(exhibit.cell.read_modes[best])
    trained = dict(exhibit.facts)["trained for"]
    return (
        f"A list of {len(asked)} bytes comes in, each is written into the next slot"
        " (green), and after `answer` the model says them again:"
        f" {right} of {len(asked)} are right, after {trained} ({seconds:.0f} seconds).",
        "A head finds a slot by its content, or moves on from the slot that it read"
        f" last; over the answers the strongest way is `{mode}`, in head {head + 1},"
        f" with a probability of {shares[head, best]:.2f}.",
    )


def describe(shown: Sequence[Shown], command: str, seed: int, pages: bool) -> str:
    """The gallery in Markdown.

    Args:
      shown: its exhibits.
      command: that made it.
      seed: of the copy task.
      pages: whether there are pages too.
    """
    lines = ["# What memories do", ""]
    for name, title, sentences in shown:
        lines += [f"## {title}", "", f"![{title}]({name}.png)", "", *sentences, ""]
        if pages:
            lines += [f"[Step by step]({name}.html)", ""]
    about = provenance()
    hardware, versions = about["hardware"], about["versions"]
    lines += [
        "## How it was made",
        "",
        f"    {command}",
        "",
        f"Seed {seed}, {hardware['num_cores']} cores of {hardware['processor']}, JAX"
        f" {versions['jax']}, commit {about['commit']}.",
    ]
    return "\n".join(lines) + "\n"
