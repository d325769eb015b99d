import numpy as np

from wmlstm_jax.data import train_tokenizer
from wmlstm_jax.data.example_tokens import Limits, Vocabulary
from wmlstm_jax.data.examples import Example
from wmlstm_jax.data.questions import read_babi
from wmlstm_jax.data.turns import (
    asked_in_turns,
    encode_turns,
    group_turns,
    join_turns,
)

STORY = """1 Mary went to the hall.
2 John went to the office.
3 Where is Mary? \thall\t1
4 Where is John? \toffice\t2
5 Mary took the yak.
6 Where is the yak? \thall\t5
1 John is here.
2 Where is John? \there\t1
"""
VOCABULARY = Vocabulary(
    train_tokenizer("punctuated", STORY.replace("yak", "").replace("office", ""), 0)
)


def turns(tmp_path):
    path = tmp_path / "qa1_x.txt"
    path.write_text(STORY)
    return list(read_babi(str(path)))


def stream_of(group, hear=True):
    return join_turns(VOCABULARY, encode_turns(VOCABULARY, group, hear=hear))


def test_a_question_goes_on_from_the_one_before(tmp_path):
    found = turns(tmp_path)
    assert [each.news for each in found] == [
        None,
        ("Where is John?",),
        ("Mary took the yak.", "Where is the yak?"),
        None,
    ]
    assert [len(group) for group in group_turns(found)] == [3, 1]


def test_a_stream_is_sources_and_what_was_said(tmp_path):
    first = group_turns(turns(tmp_path))[0]
    stream, names = stream_of(first), VOCABULARY
    assert stream.words == (" office", " yak")
    text = names.decode([t for t in stream.tokens if t != names.end], stream.words)
    assert text == (
        "Mary went to the hall. John went to the office. Where is Mary? hall"
        " Where is John? office Mary took the yak. Where is the yak? hall"
    )
    said = stream.tokens[stream.said]
    end = names.end
    pieces = np.split(said, np.flatnonzero(said == end) + 1)[:-1]
    answers = [names.decode(piece, stream.words) for piece in pieces]
    assert answers == ["hall", "office", "hall"]
    assert all(piece[-1] == end for piece in pieces)
    assert (stream.tokens[stream.starts] == names.start).all()
    # Two texts are kept apart, and what was said needs no more than its end.
    assert (stream.tokens == names.between).sum() == 2


def test_each_is_asked_with_all_before_it(tmp_path):
    group = group_turns(turns(tmp_path))[0]
    stream = stream_of(group)
    asked = asked_in_turns(VOCABULARY, encode_turns(VOCABULARY, group))
    for each, start, turn in zip(asked, stream.starts, group, strict=True):
        np.testing.assert_array_equal(each.source, stream.tokens[:start])
        text = VOCABULARY.decode(each.target, each.words)
        assert text == turn.references[0] and each.target[-1] == VOCABULARY.end
    alone = VOCABULARY.encode_source(group[0].source)
    np.testing.assert_array_equal(asked[0].source, alone.source)


def test_who_goes_on_from_nobody_begins():
    example = Example(("a", "b"), ("c",), "here", news=("b",))
    (group,) = group_turns([example])
    stream = stream_of(group)
    np.testing.assert_array_equal(
        stream.tokens[: stream.starts[0]], VOCABULARY.encode_source(("a", "b")).source
    )


def test_a_new_word_that_was_said_can_be_copied_from_then_on():
    """It cannot be said by itself the first time: nobody had told it."""
    turns = [
        Example(("Where is Mary?",), ("zyx",), "here"),
        Example(("Where is Mary?", "zyx"), ("zyx qwv",), "here", news=()),
    ]
    stream, size = stream_of(turns), VOCABULARY.size
    assert stream.words == (" zyx", " qwv")
    end, unknown = VOCABULARY.end, VOCABULARY.unknown
    assert stream.tokens[stream.said].tolist() == [size, end, size, size + 1, end]
    assert stream.targets[stream.said].tolist() == [unknown, end, size, unknown, end]
    rest = ~stream.said
    np.testing.assert_array_equal(stream.tokens[rest], stream.targets[rest])
    second = asked_in_turns(VOCABULARY, encode_turns(VOCABULARY, turns))[1]
    assert size in second.source and second.words == (" zyx",)


def test_what_is_not_heard_gives_nothing_away(tmp_path):
    """Of two worlds with other answers the streams are the same, but the targets."""
    group = group_turns(turns(tmp_path))[0]
    other = [each._replace(references=("Mary",)) for each in group]
    stream, heard = stream_of(group, hear=False), stream_of(group)
    np.testing.assert_array_equal(stream.tokens, stream_of(other, hear=False).tokens)
    assert (stream.tokens[stream.said] == VOCABULARY.start).all()
    for name in ("said", "starts"):
        np.testing.assert_array_equal(getattr(stream, name), getattr(heard, name))
    rest = ~stream.said
    np.testing.assert_array_equal(stream.tokens[rest], heard.tokens[rest])
    # Told by the story, they can be copied as before.
    np.testing.assert_array_equal(stream.targets, heard.targets)


def test_what_was_not_heard_cannot_be_copied():
    turns = [
        Example(("Where is Mary?",), ("zyx",), "here"),
        Example(("Where is Mary?", "zyx"), ("zyx",), "here", news=()),
    ]
    stream = stream_of(turns, hear=False)
    assert stream.words == ()
    end, unknown = VOCABULARY.end, VOCABULARY.unknown
    assert stream.targets[stream.said].tolist() == [unknown, end] * 2


def test_each_turn_has_its_limits(tmp_path):
    group = group_turns(turns(tmp_path))[0]
    found = encode_turns(VOCABULARY, group, Limits(source=5, target=1))
    assert [len(each.encoded.source) for each in found] == [4, 4, 5]
    assert [len(each.encoded.target) for each in found] == [1, 1, 1]
    assert all(each.encoded.cut for each in found)
    assert not any(
        e.encoded.cut for e in encode_turns(VOCABULARY, group, Limits(99, 9))
    )
