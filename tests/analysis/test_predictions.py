import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from wmlstm_jax.analysis import converse, interactive, predict, report, score
from wmlstm_jax.analysis.alignments import align, draw_alignment
from wmlstm_jax.training.speaking import Said, ask, say
from wmlstm_jax.training.trained import continue_text, load


@pytest.fixture(scope="module")
def model(answering):
    return load(answering, "latest")


@pytest.fixture(scope="module")
def found(model):
    return predict(model, "validation")


def test_everything_is_said_in_order_as_it_is_said_alone(model, found):
    examples = model.run.data.sets.validation
    assert found.examples == examples and len(found.said) == len(examples) == 4
    for example, said in zip(examples, found.said, strict=True):
        ((number, alone),) = say(model, [ask(model, example.source)])
        assert number == 0 and alone.text == said.text
        np.testing.assert_array_equal(alone.tokens, said.tokens)
        assert alone.score == pytest.approx(said.score, rel=1e-5)
        words = model.run.data.vocabulary
        assert words.decode(said.tokens, said.encoded.words) == said.text
    assert found.counts.total.questions == 4


def test_the_report_is_kept(model, answering, tmp_path):
    copy = shutil.copytree(answering, tmp_path / "run")
    text = report(model, copy)
    assert "4 validation examples in" in text and "2 test examples in" in text
    assert "| exact match" in text
    kept = json.loads((copy / "eval.json").read_text())["scores"]
    assert [(each["split"], each["examples"]) for each in kept] == [
        ("validation", 4), ("test", 2),
    ]  # fmt: skip
    assert all(each["F1"] >= 0 and each["perplexity"] > 1 for each in kept)
    lines = (copy / "predictions_validation.jsonl").read_text().splitlines()
    for line, example in zip(lines, model.run.data.sets.validation, strict=True):
        row = json.loads(line)
        assert tuple(row["source"]) == example.source and "said" in row
        assert tuple(row["references"]) == example.references


def test_a_split_that_there_is_not_has_no_predictions(model):
    data = model.run.data
    sets = data.sets
    try:
        data.sets = sets._replace(test=[])
        assert predict(model, "test") is None
    finally:
        data.sets = sets


SAID = Said("so", np.zeros(1, np.int32), 0.0, None)


def told(model, text):
    out = io.StringIO()
    converse(model, io.StringIO(text), out)
    return out.getvalue().splitlines()


def test_questions_are_asked_of_the_text_before_them(model):
    def answer(text, question):
        ((_, said),) = say(model, [ask(model, (text, question))])
        return said.text

    given = "say 1\nsay 2\n\nsay what\nand why\n\nsay 3\n\nsay 4"
    assert told(model, given) == [
        answer("say 1 say 2", "say what"),
        answer("say 1 say 2", "and why"),
        answer("say 3", "say 4"),
    ]
    assert told(model, "") == told(model, "say 1") == told(model, "\n") == []


def test_an_empty_block_is_no_end_of_the_input(model):
    given = "say 1\n\nsay what\n\n\n\n\nsay 3\n\nsay 4\n"
    assert len(told(model, given)) == 2


def test_what_is_cut_is_told(model):
    config = model.run.config
    config = replace(config, data=replace(config.data, max_source=5))
    short = model._replace(run=model.run._replace(config=config))
    out, notes = io.StringIO(), io.StringIO()
    converse(short, io.StringIO("say 1 again\n\nsay 2\nsay\n"), out, notes=notes)
    assert notes.getvalue() == "Note: only 5 tokens are taken in.\n"
    # What is asked is what is kept whole.
    assert ask(short, ("say 1 again", "say 2")).source.tolist()[-2:] == (
        ask(model, ("say 2",)).source.tolist()
    )


@pytest.mark.parametrize("task", ["translation", "dialogue", "summarization"])
def test_lines_are_read_as_the_task_has_them(model, task, monkeypatch):
    config = replace(model.run.config, task=task)
    other = model._replace(run=model.run._replace(config=config))
    asked = []

    def spy(trained, source):
        asked.append(source)
        return ask(trained, source)

    monkeypatch.setattr(interactive, "ask", spy)
    monkeypatch.setattr(interactive, "say", lambda *_: [(0, SAID)])
    said = told(other, "say 1\n\nsay 2\nsay 3\n\n")
    if task == "translation":
        assert asked == [("say 1",), ("say 2",), ("say 3",)]
        # A line for a line, so that files stay beside each other.
        assert said == ["so", "", "so", "so", ""]
    elif task == "dialogue":
        first = ("say 1", "so", "say 2")
        assert asked == [("say 1",), first, (*first, "so", "say 3")]
    else:
        assert asked == [("say 1",), ("say 2 say 3",)]


def test_what_is_read_and_copied_is_of_the_source(model, tmp_path):
    found = align(model, ("say 7", "again 5"))
    shape = len(found.said.tokens), len(found.said.encoded.source)
    assert found.read.shape == found.copied.shape == shape
    for weights in (found.read, found.copied):
        assert (weights >= 0).all() and (weights.sum(1) <= 1 + 1e-6).all()
        assert weights.any()
    picture = tmp_path / "alignment.png"
    drawn = draw_alignment(model, picture)
    assert picture.stat().st_size > 5_000
    example = model.run.data.sets.validation[0]
    ((_, said),) = say(model, [ask(model, example.source)])
    np.testing.assert_array_equal(drawn.said.tokens, said.tokens)


def test_the_picture_names_the_words(model, tmp_path, monkeypatch):
    labels = []
    plain = Figure.savefig

    def save(figure, *args, **options):
        for axes in figure.axes[:1]:
            labels.append([t.get_text() for t in axes.get_yticklabels()])
        plain(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", save)
    draw_alignment(model, tmp_path / "a.png", ("say 77", "again"))
    # A word that the vocabulary has not is named too.
    assert labels == [["say", "77", "(next text)", "again"]]


def test_another_task_is_refused(model, trained):
    language = load(trained)
    with pytest.raises(ValueError, match="is trained for language_modeling, which has"):
        predict(language, "validation")
    with pytest.raises(ValueError, match="has no sources to answer; name the --workd"):
        converse(language, io.StringIO("a"), io.StringIO())
    with pytest.raises(ValueError, match="for question_answering, and not to go on"):
        score(model)
    with pytest.raises(ValueError, match="not to go on with a text; name the --workd"):
        next(continue_text(model, "a", sampler=None, num_tokens=1, seed=0))


def test_an_empty_source_is_refused(model):
    with pytest.raises(ValueError, match="a source is empty; give it at least one"):
        ask(model, ("a", " "))
