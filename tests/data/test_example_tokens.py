import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.data import train_tokenizer
from wmlstm_jax.data.example_tokens import Vocabulary
from wmlstm_jax.data.examples import Example

TEXT = " the cat sat on the mat .\n"
NAMES = {"bytes": 0, "characters": 0, "words": 0, "punctuated": 0, "bpe": 260}
VOCABULARIES = {
    name: Vocabulary(train_tokenizer(name, TEXT, size)) for name, size in NAMES.items()
}
WORDS = VOCABULARIES["punctuated"]
every = pytest.mark.parametrize("vocabulary", VOCABULARIES.values(), ids=VOCABULARIES)


@every
def test_tokens_that_are_no_text_come_after_those_of_the_tokenizer(vocabulary):
    own = vocabulary.tokenizer.vocab_size
    special = vocabulary.start, vocabulary.end, vocabulary.between
    assert special == (own, own + 1, own + 2) and vocabulary.size == own + 3
    assert vocabulary.unknown < own
    counts = vocabulary.byte_counts()
    np.testing.assert_array_equal(counts[:own], vocabulary.tokenizer.byte_counts())
    np.testing.assert_array_equal(counts[own:], 0)


@every
def test_a_target_ends_and_is_read_back(vocabulary):
    tokens = vocabulary.encode_target("the mat on cat", ())
    assert tokens.dtype == np.int32 and tokens[-1] == vocabulary.end
    assert (tokens[:-1] < vocabulary.tokenizer.vocab_size).all()
    more = np.append(tokens, tokens)  # Nothing after the end counts.
    assert vocabulary.decode(more) == vocabulary.decode(tokens[:-1]) == "the mat on cat"
    special = [vocabulary.start, *tokens[:-1], vocabulary.between]
    assert vocabulary.decode(special) == "the mat on cat"


@every
def test_texts_of_a_source_are_kept_apart(vocabulary):
    one, _ = vocabulary.encode_source(["the mat"])
    two, _ = vocabulary.encode_source(["the cat"])
    both, _ = vocabulary.encode_source(["the mat", "the cat"])
    assert both.tolist() == [*one, vocabulary.between, *two]


def test_a_word_that_is_not_known_is_copied_from_the_source():
    example = Example(("the ox sat", "on a yak, ox"), ("a ox and yak",), "here")
    source, target, words = WORDS.encode(example)
    size, unknown = WORDS.size, WORDS.unknown
    assert words == (" ox", " a", " yak", ",")
    the, sat, on = WORDS.tokenizer.encode(" the sat on")
    between = WORDS.between
    assert source.tolist() == [
        the, size, sat, between, on, size + 1, size + 2, size + 3, size,
    ]  # fmt: skip
    assert target.tolist() == [size + 1, size, unknown, size + 2, WORDS.end]
    assert WORDS.decode(target, words) == "a ox<unk> yak"


def test_what_has_nothing_unknown_has_no_words():
    for name in ("bytes", "characters", "bpe"):
        encoded = VOCABULARIES[name].encode(Example(("dog 🐍",), ("ox",), "here"))
        assert encoded.words == ()
        assert max(encoded.source) < VOCABULARIES[name].size


@given(st.text("abc ,.", min_size=1).filter(str.strip))
def test_any_text_can_be_said_by_copying_it(text):
    source, words = WORDS.encode_source([text])
    target = WORDS.encode_target(text, words)
    np.testing.assert_array_equal(target[:-1], source)
    assert WORDS.decode(target, words) == text.strip()
