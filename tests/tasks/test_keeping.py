import numpy as np
import pytest

from tests.tasks.samples import sampled
from wmlstm_jax import tasks
from wmlstm_jax.tasks import stories

MAX = 9


def rows(batch):
    return zip(*batch, strict=True)


def test_the_last_value_of_a_key_counts():
    task = tasks.ForgettingRecall(MAX, num_keys=6, num_values=5, num_live=3)
    sizes, changed = set(), 0
    for inputs, targets, scored in rows(sampled(task)):
        (questions,) = np.nonzero(scored)
        told = questions[0]
        keys, values = inputs[:told:2], inputs[1:told:2]
        assert ((keys >= 1) & (keys <= 6)).all() and (
            (values >= 7) & (values < 12)
        ).all()
        last = dict(zip(keys, values, strict=True))
        assert set(inputs[questions]) == set(last) and len(questions) == len(last) <= 3
        for place in questions:
            assert targets[place] == last[inputs[place]]
        np.testing.assert_array_equal(questions, told + 2 * np.arange(len(questions)))
        rest = np.delete(inputs[told:], questions - told)
        assert not rest.any() and not targets[~scored].any()
        sizes.add(len(keys))
        changed += len(keys) > len(last)
    assert sizes == set(range(1, MAX + 1)) and changed > 30


def test_noise_is_not_asked_for():
    task = tasks.NoisyRecall(MAX, num_keys=3, num_values=4, num_noise=5, noise=0.4)
    noise = 0
    for inputs, targets, scored in rows(sampled(task, MAX, MAX)):
        known = {}
        for place in range(0, 2 * MAX, 2):
            key, value = inputs[place : place + 2]
            if key > 7:
                assert value > 7 and not scored[place]
                noise += 1
                continue
            assert 1 <= key <= 3 < value <= 7
            assert scored[place] == (key in known)
            assert known.setdefault(key, value) == value
            assert targets[place] == (value if scored[place] else 0)
        assert not scored[1::2].any()
    # Of 576 pairs; four standard deviations.
    assert noise / (64 * MAX) == pytest.approx(0.4, abs=0.082)
    short = sampled(task, 2, 2)
    assert not short.inputs[:, 4:].any() and not short.scored[:, 4:].any()


def test_what_was_said_among_blanks():
    task, places = tasks.SelectiveCopy(MAX, num_kinds=4, num_symbols=3), set()
    for inputs, targets, scored in rows(sampled(task)):
        (mark,) = np.flatnonzero(inputs == 5)
        said = inputs[:mark]
        np.testing.assert_array_equal(targets[scored], said[said > 0])
        np.testing.assert_array_equal(np.flatnonzero(scored), mark + 1 + np.arange(3))
        assert not inputs[mark + 1 :].any() and (said > 0).sum() == 3
        places.add(mark)
    assert places == {size + 3 for size in range(1, MAX + 1)}


def test_filled_recall_leaves_no_blanks():
    task = tasks.MultiQueryRecall(
        50, 50, num_pairs=3, num_queries=3, length=40, filled=True
    )
    plain = tasks.MultiQueryRecall(50, 50, num_pairs=3, num_queries=3, length=40)
    filled, bare = sampled(task), sampled(plain)
    np.testing.assert_array_equal(filled.targets, bare.targets)
    stays = bare.inputs > 0
    np.testing.assert_array_equal(filled.inputs[stays], bare.inputs[stays])
    # Any token may stand there, the blank among 101.
    assert (filled.inputs == 0).mean() < 0.03
    assert len(set(filled.inputs[~stays])) == 101


def test_stories_are_told_and_asked():
    task = tasks.Stories(MAX)
    words, answers, sizes = stories.STORY_WORDS, set(), set()
    for inputs, targets, scored in rows(sampled(task, batch_size=300)):
        said = [[words[t] for t in s if t] for s in inputs.reshape(-1, 5)]
        told = [s for s in said if s and s[0] != "where"]
        asked = [s for s in said if s and s[0] == "where"]
        at, holder, lies = {}, {}, {}
        for person, verb, *rest in told:
            if verb == "went":
                assert rest[0] == "to" and rest[2] == "."
                at[person] = rest[1]
            elif verb == "took":
                holder[rest[0]] = person
            else:
                assert verb == "dropped" and holder.pop(rest[0]) == person
                lies[rest[0]] = at.get(person, "nowhere")
        wanted = []
        for _, _, thing, mark in asked:
            assert mark == "?"
            place = lies.get(thing, "nowhere")
            if thing in holder:
                place = at.get(holder[thing], "nowhere")
            wanted.append(place)
        assert [s[2] for s in asked] == list(stories.THINGS)
        assert [words[t] for t in targets[scored]] == wanted
        assert (inputs[scored] == words.index("?")).all()
        answers.update(wanted)
        sizes.add(len(told))
    assert answers == {*stories.PLACES, "nowhere"}
    assert sizes == set(range(1, MAX + 1))


def test_dialogues_end_in_what_was_wanted_last():
    task = tasks.Dialogues(MAX, num_values=3)
    words, wishes = task.vocabulary, set()
    for inputs, targets, scored in rows(sampled(task)):
        said = [words[t] for t in inputs]
        end = said.index("system")
        wanted = dict.fromkeys(stories.SLOT_NAMES, "anything")
        for start in range(0, end, 4):
            user, verb, slot, value = said[start : start + 4]
            assert user == "user" and (verb == "not") == (value == "")
            assert verb == "not" or value.startswith(slot)
            wanted[slot] = value or "anything"
        assert said[end + 1] == "call" and said[end + 2 : end + 6] == ["then"] * 4
        assert [words[t] for t in targets[scored]] == list(wanted.values())
        assert not any(said[end + 6 :]) and not targets[~scored].any()
        wishes.update(wanted.values())
    assert len(wishes) == 1 + 4 * 3
