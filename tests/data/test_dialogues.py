import json

import pytest

from wmlstm_jax.data import train_tokenizer
from wmlstm_jax.data.dialogues import read_dailydialog, read_dialog_babi, read_turns
from wmlstm_jax.data.example_tokens import Vocabulary
from wmlstm_jax.data.examples import BadExample, collect
from wmlstm_jax.data.turns import encode_turns, group_turns, join_turns

BABI = """1 hi\thello
2 resto_a R_phone 1
3 resto_a R_price cheap
4 which\tresto_a
5 <SILENCE>\tbye

1 hi\thello
"""


def write(tmp_path, text, name="dialog-babi-task3trn.txt"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_facts_come_in_with_what_is_said_after_them(tmp_path):
    found = collect(read_dialog_babi(write(tmp_path, BABI)), skip_bad=False).kept
    facts = ("resto_a R_phone 1", "resto_a R_price cheap")
    assert [(each.source, each.references[0], each.news) for each in found] == [
        (("hi",), "hello", None),
        (("hi", "hello", *facts, "which"), "resto_a", (*facts, "which")),
        (
            ("hi", "hello", *facts, "which", "resto_a", "<SILENCE>"),
            "bye",
            ("<SILENCE>",),
        ),
        (("hi",), "hello", None),
    ]
    assert {each.kind for each in found} == {"3"}
    assert found[1].where.endswith("task3trn.txt, line 4")


@pytest.mark.parametrize("closed", [True, False])
def test_every_utterance_is_a_response_to_those_before(tmp_path, closed):
    end = " __eou__" if closed else ""
    path = write(tmp_path, f"A . __eou__ B ? __eou__ C{end}\nD __eou__ E{end}\n")
    found = collect(read_dailydialog(path), skip_bad=False).kept
    assert [(each.source, each.references[0], each.news) for each in found] == [
        (("A .",), "B ?", None),
        (("A .", "B ?"), "C", ()),
        (("D",), "E", None),
    ]
    assert found[2].where.endswith("line 2")


def test_turns_are_texts_or_have_speakers(tmp_path):
    lines = [
        {"talk": ["a", "b"]},
        {"talk": [{"speaker": "Ann", "text": "a"}, {"text": "b"}]},
        {"talk": "ab"},
        {"other": []},
        {"talk": ["a"]},
        {"talk": ["a", " "]},
        {"talk": [1, 2]},
        {"talk": {"a": 1, "b": 2}},
        {"talk": [{"text": None}, {"text": "b"}]},
        {"talk": [{"text": "a", "speaker": 3}, {"text": "b"}]},
    ]
    text = "\n".join(map(json.dumps, lines))
    text += '\n{"talk": [' + "9" * 5000 + "]}\n{"
    path = write(tmp_path, text, "x.jsonl")
    found = list(read_turns(path, "talk"))
    good = [each for each in found if not isinstance(each, BadExample)]
    assert [(each.source, each.references) for each in good] == [
        (("a",), ("b",)),
        (("Ann: a",), ("b",)),
    ]
    bad = [each.reason for each in found if isinstance(each, BadExample)]
    assert bad[:5] == [
        "has no list of utterances in the field 'talk'",
        "has no list of utterances in the field 'talk'",
        "has no two utterances, or an empty one",
        "has no two utterances, or an empty one",
        "has no list of utterances in the field 'talk'",
    ]
    assert bad[5:8] == ["has no list of utterances in the field 'talk'"] * 3
    # Nor is a number that Python would not take.
    assert all(reason.startswith("is no JSON") for reason in bad[8:])
    assert len(bad) == 10


def test_line_one_begins_a_dialogue_and_the_file_names_the_task(tmp_path):
    (tmp_path / "task2").mkdir()
    text = "1 hi\thello\n1 you\tme\n"
    path = write(tmp_path / "task2", text, "dialog-babi-task5-trn.txt")
    found = collect(read_dialog_babi(path), skip_bad=False).kept
    assert [each.source for each in found] == [("hi",), ("you",)]
    assert {each.kind for each in found} == {"5"}


def test_a_line_without_a_number_is_bad(tmp_path):
    found = list(read_dialog_babi(write(tmp_path, "hi\thello\n1 a\tb\n")))
    assert found[0].reason == "does not start with a number and a blank"
    assert found[1].references == ("b",)


def test_a_dialogue_is_one_stream(tmp_path):
    found = list(read_dailydialog(write(tmp_path, "a __eou__ b __eou__ c\n")))
    names = Vocabulary(train_tokenizer("punctuated", " a b c", 0))
    (group,) = group_turns(found)
    stream = join_turns(names, encode_turns(names, group))
    a, b, c = names.tokenizer.encode(" a b c")
    start, end = names.start, names.end
    assert stream.tokens.tolist() == [a, start, b, end, start, c, end]
    assert stream.said.tolist() == [False, False, True, True, False, True, True]
