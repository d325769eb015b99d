import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.metrics import (
    AnswerCounts,
    count_answer,
    count_classes,
    normalize_answer,
)
from wmlstm_jax.metrics.answers import overlap

texts = st.text(st.sampled_from("ab the-an.A "), max_size=20)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  Cat.", "cat"),
        ("an a the", ""),
        ("theory of a-theism", "theory of atheism"),
        ("U.S.", "us"),
        ("Łódź, 1945", "łódź 1945"),
    ],
)
def test_normal_form(text, wanted):
    assert normalize_answer(text) == wanted


@given(texts, texts)
def test_overlap_is_symmetric_and_one_for_equal_words(one, other):
    assert overlap(one, other) == overlap(other, one)
    assert 0 <= overlap(one, other) <= 1
    words = [sorted(normalize_answer(text).split()) for text in (one, other)]
    assert (overlap(one, other) == 1) == (words[0] == words[1])


def test_overlap_by_hand():
    # Two of three said words are among the four wanted.
    assert overlap("in New York", "New York, New Jersey") == 4 / 7


def test_the_best_reference_counts():
    counts = count_answer("the Seine", ["Paris", "seine!"])
    assert counts == AnswerCounts(1, 1, 1.0)
    counts = counts.plus(count_answer("old Rome", ["Rome", "Milan"]))
    assert counts.exact_match == 50
    assert counts.f1 == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert math.isnan(AnswerCounts().f1)
    with pytest.raises(ValueError, match="no reference"):
        count_answer("a", [])


def test_classes_by_hand():
    counts = count_classes(list("aaab"), list("aabb")).plus(count_classes("b", "c"))
    assert counts.classes == ["a", "b", "c"]
    assert counts.accuracy == 3 / 5
    assert counts.of("a") == (1, pytest.approx(2 / 3), 0.8)
    assert counts.of("b") == (0.5, 0.5, 0.5)
    precision, recall, f1 = counts.of("c")
    assert precision == f1 == 0 and math.isnan(recall)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_recall_weighed_by_class_is_accuracy(pairs):
    wanted, said = zip(*pairs, strict=True)
    counts = count_classes(wanted, said)
    recalled = sum(counts.of(name)[1] * wanted.count(name) for name in set(wanted))
    assert recalled / len(pairs) == pytest.approx(counts.accuracy)
