import math

import pytest

from wmlstm_jax.data.examples import Example
from wmlstm_jax.metrics.summaries import RougeCounts, count_rouge
from wmlstm_jax.tasks.dialogue import Dialogue, Responses, distinct
from wmlstm_jax.tasks.question_answering import MOST_CLASSES, QuestionAnswering
from wmlstm_jax.tasks.summarization import Summarization
from wmlstm_jax.tasks.translation import Translation


def total(task, *said):
    first, *others = [
        task.count(text, Example(("no matter",), tuple(references), "here", *kind))
        for text, references, *kind in said
    ]
    for each in others:
        first = first.plus(each)
    return first


def test_translations_are_scored_three_ways():
    references = ["The cat sat on the mat today ."], ["A dog ran ."]
    task = Translation()
    right = total(task, (references[0][0], references[0]), ("A dog ran .", ["no"]))
    exact = total(task, (references[0][0], references[0]))
    assert task.scores(exact)["BLEU"] == pytest.approx(100)
    assert task.scores(right)["BLEU"] < 90
    case = total(task, ("the CAT sat on the mat today.", references[0]))
    scores = task.scores(case)
    assert scores["BLEU without case"] == pytest.approx(100)
    # The full stop is a word of its own only where sacrebleu splits words.
    assert scores["BLEU as tokenized"] < scores["BLEU"] < 100
    table = task.table(case)
    assert "| BLEU without case | 100.00 |" in table
    assert "BLEU as tokenized: nrefs:1|case:mixed|eff:no|tok:none" in table


def test_answers_are_scored_and_counted_by_kind():
    task = QuestionAnswering()
    counts = total(
        task,
        ("the hall", ["hall"], "1"),
        ("garden", ["hall", "garden"], "1"),
        ("red hall", ["hall"], "10"),
        ("office", ["hall"], "2"),
    )
    scores = task.scores(counts)
    assert scores["exact match"] == 50
    assert scores["F1"] == pytest.approx(100 * (2 + 2 / 3) / 4)
    assert scores["accuracy"] == 25  # As it stands there.
    assert scores["mean error of kinds"] == pytest.approx(200 / 3)
    table = task.table(counts)
    first = [line.split("|")[1].strip() for line in table.splitlines() if line]
    assert [cell for cell in first if cell.isdigit()] == ["1", "2", "10"]
    assert "| garden |     1.000 |  1.000 | 1.000 |" in table
    assert "| hall   |       nan |  0.000 | 0.000 |" in table


def test_one_kind_and_too_many_classes_are_not_told():
    task = QuestionAnswering()
    said = [(str(i), [str(i)]) for i in range(MOST_CLASSES + 1)]
    table = task.table(total(task, *said))
    assert "kind" not in table and "precision" not in table
    assert "mean error of kinds" not in task.scores(total(task, *said))
    assert "precision" in task.table(total(task, *said[:-1]))


def test_responses_are_right_one_by_one_and_all_together():
    task, counts = Dialogue(), Responses()
    turns = [("hi", True, "hi"), ("so  be it", False, "so be it"), ("no", True, "yes"),
             ("bye", False, "bye")]  # fmt: skip
    for said, begins, wanted in turns:
        example = Example(("a",), (wanted,), "here", news=None if begins else ())
        counts = counts.plus(task.count(said, example))
    scores = task.scores(counts)
    assert scores["accuracy by response"] == 75
    assert scores["accuracy by dialogue"] == 50
    assert "| accuracy by dialogue |  50.00 |" in task.table(counts)
    assert not any(name.startswith("accuracy by response,") for name in scores)


def test_every_kind_of_dialogue_has_its_accuracy():
    task, counts = Dialogue(), Responses()
    turns = [("a", "1", True, "a"), ("b", "2", True, "b"), ("c", "2", False, "x"),
             ("d", "1", True, "d"), ("e", "2", True, "e")]  # fmt: skip
    for said, kind, begins, wanted in turns:
        news = None if begins else ()
        example = Example(("a",), (wanted,), "here", kind, news)
        counts = counts.plus(task.count(said, example))
    scores = task.scores(counts)
    assert scores["accuracy by response"] == 80
    assert scores["accuracy by response, 1"] == scores["accuracy by dialogue, 1"] == 100
    assert scores["accuracy by response, 2"] == pytest.approx(100 * 2 / 3)
    assert scores["accuracy by dialogue, 2"] == 50


def test_distinct_is_how_many_different_runs_there_are_for_a_word():
    texts = ("a b a b", "a", "a b")
    assert distinct(texts, 1) == pytest.approx(100 * 2 / 7)
    assert distinct(texts, 2) == pytest.approx(100 * 2 / 7)
    assert distinct(texts, 5) == distinct(("", " "), 1) == 0


def test_summaries_stand_beside_the_lead():
    task = Summarization()
    source = ("The meeting is moved to Monday .", "Please tell everybody .")
    example = Example(source, ("Meeting moved", "the meetings move"), "here")
    counts = task.count("meeting moved", example)
    scores = task.scores(counts)
    # Without case, and without endings.
    assert scores["ROUGE-1"] == scores["ROUGE-2"] == scores["ROUGE-L"] == 100
    # As many words as the first reference: "The meeting" against the second one.
    assert scores["lead ROUGE-1"] == pytest.approx(100 * 2 * 2 / (2 + 3))
    plain = Summarization(stem=False).count("meetings moved", example)
    assert plain.said.scores["ROUGE-1"] == pytest.approx(50)
    # Lsum goes line by line.
    lines = Example(("x",), ("one two\nthree four",), "here")
    found = task.scores(task.count("three four\none two", lines))
    assert found["ROUGE-Lsum"] == 100 and found["ROUGE-L"] == 50
    both = counts.plus(task.count("nothing", example))
    assert both.said.summaries == 2 and both.said.scores["ROUGE-1"] == 50
    assert "| lead " in task.table(both)
    assert math.isnan(RougeCounts().scores["ROUGE-L"])
    with pytest.raises(ValueError, match="a summary has no reference"):
        count_rouge("a", [])
