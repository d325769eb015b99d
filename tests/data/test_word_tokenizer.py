import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.data import PunctuatedTokenizer, WordTokenizer

# Two lines as the Penn Treebank has them.
LINES = " the <unk> sat on the mat \n the end <unk> \n"
WORDS = WordTokenizer.train(LINES, 0)
texts = st.text(st.sampled_from("ab \t\n\r\x0b\x85\xa0\u3000é🐍"))


def test_a_line_ends_in_a_token():
    tokens = [WORDS.words[i] for i in WORDS.encode(LINES)]
    assert tokens == "the <unk> sat on the mat \n the end <unk> \n".split(" ")


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x85", "\xa0", "\u2028"])
def test_only_spaces_tabs_and_newlines_divide(end):
    tokenizer = WordTokenizer.train(f"a{end}b c\td\ne", 0)
    assert set(tokenizer.words) == {f"a{end}b", "c", "d", "\n", "e", "<unk>"}


def test_the_most_frequent_come_first():
    tokenizer = WordTokenizer.train("c b b a a d d d\n", 0)
    assert tokenizer.words == ("d", "a", "b", "\n", "c", "<unk>")


def test_what_the_limit_leaves_out_counts_for_the_unknown_word():
    text = "c b b a a d d d\n"
    assert WordTokenizer.train(text, 5).words == ("d", "a", "b", "\n", "<unk>")
    assert WordTokenizer.train(text, 4).words == ("d", "<unk>", "a", "b")
    assert WordTokenizer.train(text, 2).words == ("<unk>", "d")


def test_an_unknown_word_of_the_text_is_the_unknown_word():
    assert WORDS.words == ("the", "\n", "<unk>", "end", "mat", "on", "sat")
    assert WORDS.encode("a <unk> the").tolist() == [2, 2, 0]
    assert WordTokenizer.train(LINES + "one more", 4).words[:2] == ("<unk>", "the")


def test_unknown_words_are_named_once_and_in_order():
    text = "the dog saw\nthe bird <unk> dog"
    assert WORDS.unknown(text) == ["dog", "saw", "bird"]


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("the end", "the end"),
        ("  the \t end ", "the end"),
        ("the\n\n end\n", "the\n\nend\n"),
        (" \n the", "\nthe"),
        ("the dog", "the <unk>"),
        ("\t ", ""),
    ],
)
def test_blanks_become_single_spaces(text, decoded):
    assert WORDS.decode(WORDS.encode(text)) == decoded


@given(texts)
def test_only_blanks_are_lost(text):
    tokenizer = WordTokenizer.train(text + " one two", 0)
    decoded = tokenizer.decode(tokenizer.encode(text))
    plain = re.sub(r" ?\n ?", "\n", re.sub(r"[ \t]+", " ", text)).strip(" ")
    assert decoded == plain
    np.testing.assert_array_equal(tokenizer.encode(decoded), tokenizer.encode(text))


def test_the_space_comes_with_the_second_word():
    tokens = WORDS.encode("the mat\nthe end")
    assert list(WORDS.stream(tokens)) == ["the", " mat", "\n", "the", " end"]


def test_a_word_counts_its_bytes_and_a_blank():
    tokenizer = WordTokenizer.train("né the the\n", 0)
    assert tokenizer.words == ("the", "\n", "né", "<unk>")
    np.testing.assert_array_equal(tokenizer.byte_counts(), [4, 1, 4, 0])


def test_punctuation_stands_apart_and_blanks_go_with_what_follows():
    pieces = PunctuatedTokenizer.split('He said: "né,\tit\'s 3.5!"  \n\nYes')
    assert pieces == [
        "He", " said", ":", ' "', "né", ",", "\t", "it", "'", "s", " 3", ".", "5", "!",
        '"', " ", " ", "\n", "\n", "Yes",
    ]  # fmt: skip


@given(st.text())
def test_punctuated_text_survives_exactly(text):
    assert "".join(PunctuatedTokenizer.split(text)) == text
    tokenizer = PunctuatedTokenizer.train(text + " one two", 0)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(texts)
def test_there_is_a_word_for_every_token(text):
    for tokenizer in WORDS, PunctuatedTokenizer.train(LINES, 0):
        tokens, pieces = tokenizer.encode(text), tokenizer.split(text)
        for token, piece in zip(tokens, pieces, strict=True):
            known = piece in tokenizer.words
            assert token == (
                tokenizer.words.index(piece) if known else tokenizer.unknown_token
            )
