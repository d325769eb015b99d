import pytest

from wmlstm_jax.tasks.question_answering import MOST_CLASSES, QuestionAnswering
from wmlstm_jax.tasks.translation import Translation


def total(task, *said):
    first, *others = [task.count(*each) for each in said]
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
