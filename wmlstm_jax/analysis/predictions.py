"""Everything that a model says to a set of examples, beside what it should say."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from wmlstm_jax.analysis.scores import write_evaluation
from wmlstm_jax.data.examples import Example
from wmlstm_jax.tasks.dialogue import Dialogue
from wmlstm_jax.tasks.question_answering import QuestionAnswering
from wmlstm_jax.tasks.summarization import Summarization
from wmlstm_jax.tasks.translation import Translation
from wmlstm_jax.training.datasets import ExampleData
from wmlstm_jax.training.manifest import require_writable, write_whole
from wmlstm_jax.training.run import Evaluator
from wmlstm_jax.training.speaking import Said, say, vocabulary_of
from wmlstm_jax.training.trained import Trained, check_text

SCORED = {
    "translation": Translation(),
    "question_answering": QuestionAnswering(),
    "dialogue": Dialogue(),
}
"""How each task is scored that has no settings of its own."""


class Predictions(NamedTuple):
    """What was said to the examples of a split."""

    split: str
    examples: list[Example]
    said: list[Said]
    counts: Any  # of the task
    seconds: float


def predict(trained: Trained, split: str) -> Predictions | None:
    """Searches what to say to every example of a split; a bar shows where it is.

    Args:
      trained: the model.
      split: "validation" or "test".

    Returns:
      The predictions in the order of the examples; None where there are no examples.

    Raises:
      ValueError: the model has another task, or its examples cannot be read or are not
        those of the run.
    """
    vocabulary_of(trained)
    check_text(trained)
    assert isinstance(trained.run.data, ExampleData)
    examples = getattr(trained.run.data.sets, split)
    if not examples:
        return None
    began, said = time.perf_counter(), dict[int, Said]()
    found = say(trained, trained.run.data.asked(split))
    for number, each in tqdm(found, split, len(examples), leave=False, disable=None):
        said[number] = each
    in_order = [said[number] for number in range(len(examples))]
    count = scorer_of(trained).count
    counts = _sum([count(s.text, e) for s, e in zip(in_order, examples, strict=True)])
    return Predictions(split, examples, in_order, counts, time.perf_counter() - began)


def scorer_of(trained: Trained) -> Any:
    """What scores the task of a model."""
    task = trained.run.config.task
    if task == "summarization":
        return Summarization(stem=trained.run.config.stem)
    return SCORED[task]


def _sum(counts: list[Any]) -> Any:
    """Of neighbours, again and again: what is added stays small for long."""
    while len(counts) > 1:
        pairs = zip(counts[::2], counts[1::2], strict=False)
        rest = counts[-1:] if len(counts) % 2 else []
        counts = [a.plus(b) for a, b in pairs] + rest
    return counts[0]


def report(trained: Trained, workdir: Path) -> str:
    """Predicts the held-out examples, and keeps what was said and how good it is.

    Writes `predictions_SPLIT.jsonl` and `eval.json`.

    Args:
      trained: the model.
      workdir: of the run.

    Returns:
      Likelihood and scores of every split, as Markdown.

    Raises:
      ValueError: as in `predict`; or the workdir cannot be written.
    """
    require_writable(workdir)
    task, parts, scores = scorer_of(trained), [], []
    for split in ("validation", "test"):
        found = predict(trained, split)
        if found is None:
            continue
        write_predictions(found, workdir / f"predictions_{split}.jsonl")
        likelihood = Evaluator(trained.run, split)(trained.params)
        title = (
            f"{len(found.examples):,} {split} examples in {found.seconds:.0f} s,"
            f" perplexity {likelihood.perplexity:.3f} per token"
        )
        parts += [title, "", task.table(found.counts), ""]
        scores.append(
            {
                "split": split,
                "examples": len(found.examples),
                "seconds": found.seconds,
                "perplexity": likelihood.perplexity,
                **task.scores(found.counts),
            }
        )
    write_evaluation(trained, scores, workdir / "eval.json")
    return "\n".join(parts).rstrip()


def write_predictions(predictions: Predictions, path: Path) -> None:
    """A line of JSON for each example.

    Raises:
      ValueError: the file cannot be written.
    """
    lines = [
        json.dumps(
            {
                "source": example.source,
                "said": said.text,
                "references": example.references,
                "score": said.score,
                "kind": example.kind,
                "where": example.where,
            },
            ensure_ascii=False,
        )
        for example, said in zip(predictions.examples, predictions.said, strict=True)
    ]
    write_whole(path, "\n".join(lines) + "\n")
