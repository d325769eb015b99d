import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.data import CharacterTokenizer


def trained(text, vocab_size=0):
    return CharacterTokenizer.train(text, vocab_size)


def test_characters_stand_in_the_order_of_unicode():
    assert trained("🐍banana\n").characters == "\nabn\ufffd🐍"


def test_the_most_frequent_are_kept():
    text = "aaa bb cc d"
    assert trained(text, 5).characters == " abc\ufffd"
    # Of those that are as frequent, the first in the order of Unicode.
    assert trained(text, 4).characters == " ab\ufffd"
    assert trained(text, 3).characters == " a\ufffd"
    assert trained(text, 2).characters == " \ufffd"


@given(st.text(min_size=2), st.text())
def test_known_characters_survive_and_others_are_marked(text, other):
    if len(set(text)) < 2:
        text += "ab"
    tokenizer = trained(text)
    known = set(text) | {"\ufffd"}
    marked = "".join(c if c in known else "\ufffd" for c in other)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(other)) == marked
    assert set(tokenizer.unknown(other)) == set(other) - known


def test_unknown_characters_are_named_once_and_in_order():
    assert trained("abc").unknown("cab zéz\ufffd \udcff") == [" ", "z", "é", "\udcff"]


def test_the_unknown_character_is_one_token():
    tokenizer = trained("abc")
    assert tokenizer.vocab_size == 4
    assert tokenizer.encode("\ufffda🐍\0\udcff").tolist() == [3, 0, 3, 3, 3]
    assert trained("ab\ufffd").vocab_size == 3


def test_the_unknown_character_counts_no_bytes():
    tokenizer = trained("aé🐍")
    np.testing.assert_array_equal(tokenizer.byte_counts(), [1, 2, 0, 4])
