"""What is shown of a problem: labels, numbers and pictures are those of the trace."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.analysis.test_task_traces import MODEL, TASKS, problem_of, random_model
from wmlstm_jax.analysis import Names, exhibit_task
from wmlstm_jax.analysis.exhibits import mode_name, to_json
from wmlstm_jax.tasks import Form
from wmlstm_jax.tasks.stories import STORY_WORDS

NAMES = {
    "vectors": Names(marks=("begin", "answer")),
    "tokens": Names(words=STORY_WORDS),
}


def exhibit_of(kind, problem=None, **settings):
    task = TASKS[kind]
    model = random_model(task, settings.pop("config", MODEL))
    problem = problem_of(task) if problem is None else problem
    return exhibit_task(
        model, task.form, problem, NAMES[kind], title="a", num_steps=7, **settings
    )


@pytest.fixture(params=TASKS, scope="module")
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def exhibit(kind):
    return exhibit_of(kind)


def test_names_of_what_comes_in():
    marked = Names(marks=("begin", "answer"))
    assert marked.of(np.array([0, 1.0, 0, 1, 1, 0, 0])) == "0b"
    assert marked.of(np.array([1, 1, 1, 1, 0, 0])) == "f"
    assert marked.of(np.array([0, 0, 0, 0, 1])) == "answer"
    assert Names(words=("", "a")).of(np.array(1)) == "a"
    assert Names().of(np.array(12)) == "12"


def test_names_of_answers():
    bits, classes = Form(0, 7, 5, "bits"), Form(3, 0, 3, "classes")
    assert Names(marks=("x",)).of_answer(bits, np.array([0.5, -1, -1, 2, -3])) == "12"
    assert Names(words=("", "a", "b")).of_answer(classes, np.array(2)) == "b"


def test_a_step_is_called_by_what_came_or_was_answered(kind, exhibit):
    problem = problem_of(TASKS[kind])
    for token, said, scored in zip(
        exhibit.tokens, exhibit.said, problem.scored, strict=True
    ):
        assert bool(said) == scored == ("→" in token)
    if kind == "vectors":
        assert exhibit.tokens[0] == "begin" and exhibit.tokens[5] == "answer"
        assert all(len(token) == 2 for token in exhibit.tokens[1:5])
        told, asked = (
            exhibit.tokens[1:5],
            zip(exhibit.tokens[6:], exhibit.said[6:], strict=True),
        )
        for wanted, (token, said) in zip(told, asked, strict=True):
            missed = "" if said == wanted else f"≠{wanted}"
            assert token == f"→{said}{missed}"
    else:
        assert exhibit.tokens[-2].startswith(f"?→{exhibit.said[-2]}")
        assert exhibit.said[-2] in STORY_WORDS
        # The blank at the end of a question; a "?" is a word.
        assert exhibit.tokens[-1] == "·"


def test_a_right_answer_has_no_other_beside_it(kind, exhibit):
    """Where what the model says is made the right answer."""
    task, problem = TASKS[kind], problem_of(TASKS[kind])
    found = {t: said for t, said in enumerate(exhibit.said) if said}
    if kind == "vectors":
        bits = [[c == "1" for c in f"{int(s, 16):05b}"] for s in found.values()]
        targets = problem.targets.at[jnp.array([*found])].set(jnp.array(bits, float))
    else:
        words = [STORY_WORDS.index(said) for said in found.values()]
        targets = problem.targets.at[jnp.array([*found])].set(jnp.array(words))
    right = exhibit_of(kind, problem._replace(targets=targets))
    assert any("≠" in token for token in exhibit.tokens)
    assert not any("≠" in token for token in right.tokens)
    assert right.said == exhibit.said and len(right.said) == task.length


def test_a_page_has_answers_and_modes(exhibit):
    data = to_json(exhibit)
    assert data["said"] == exhibit.said and data["tokens"] == exhibit.tokens
    assert data["modes"] == ["by content", "same slot", "next slot", "slot before"]
    np.testing.assert_array_equal(
        data["modeShares"], np.rint(1000 * exhibit.trace.reads.modes)
    )
    facts = dict(data["facts"])
    assert facts["trained for"] == "7 updates" and facts["layer"] == "1 of 0 to 1"
    assert facts["memory"] == "4 slots, fifo" and data["title"] == "a"


def test_the_layer_that_is_asked_for(kind, exhibit):
    first = exhibit_of(kind, layer=0)
    assert dict(first.facts)["layer"] == "0 of 0 to 1"
    assert not np.allclose(first.trace.gates, exhibit.trace.gates)


def test_modes_are_named_for_people():
    named = [mode_name(mode) for mode in ("content", "newest", 2, -3)]
    assert named == ["by content", "newest", "2 slots on", "3 slots back"]


def test_a_long_problem_is_refused(kind):
    problem = problem_of(TASKS[kind])
    long = problem._replace(
        **{
            name: jnp.concatenate([leaf] * 250)
            for name, leaf in problem._asdict().items()
        }
    )
    with pytest.raises(ValueError, match="a page shows 2000 at most"):
        exhibit_of(kind, long)
