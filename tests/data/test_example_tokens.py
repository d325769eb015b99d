import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.data import train_tokenizer
from wmlstm_jax.data.example_tokens import Vocabulary

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
    one, two, both = (
        vocabulary.encode_source(texts).source
        for texts in (["the mat"], ["the cat"], ["the mat", "the cat"])
    )
    assert both.tolist() == [*one, vocabulary.between, *two]
    none = vocabulary.encode_source([])
    assert len(none.source) == len(none.target) == 0 and not none.cut


@every
@pytest.mark.parametrize("limit", range(1, 24))
def test_of_what_is_too_long_the_first_text_loses_its_end(vocabulary, limit):
    texts = ["the mat on", "the cat", "sat on the mat"]
    parts = [vocabulary.encode_source([text]).source.tolist() for text in texts]
    whole = vocabulary.encode_source(texts).source.tolist()
    found = vocabulary.encode_source(texts, limit=limit)
    assert found.cut == (len(whole) > limit)
    assert len(found.source) == min(limit, len(whole)) or (
        # A text of which nothing is left takes the token after it along.
        len(found.source) == limit - 1
    )
    *first, last = parts
    kept = found.source.tolist()
    if limit < len(last):
        assert kept == last[:limit]
        return
    assert kept[len(kept) - len(last) :] == last
    pieces = ",".join(map(str, kept)).split(f",{vocabulary.between},")
    for piece, part in zip(reversed(pieces[:-1]), reversed(first), strict=False):
        piece = [int(token) for token in piece.split(",")]
        assert piece == part[: len(piece)]
    # What comes after the one that is cut is whole.
    for piece, part in zip(
        pieces[1:], parts[len(parts) - len(pieces) + 1 :], strict=True
    ):
        assert piece == ",".join(map(str, part))


def test_a_word_that_is_not_known_is_copied_from_the_source():
    source, _, words, _ = WORDS.encode_source(["the ox sat", "on a yak, ox"])
    target = WORDS.encode_target("a ox and yak", words)
    size, unknown = WORDS.size, WORDS.unknown
    assert words == (" ox", " a", " yak", ",")
    the, sat, on = WORDS.tokenizer.encode(" the sat on")
    between = WORDS.between
    assert source.tolist() == [
        the, size, sat, between, on, size + 1, size + 2, size + 3, size,
    ]  # fmt: skip
    assert target.tolist() == [size + 1, size, unknown, size + 2, WORDS.end]
    assert WORDS.decode(target, words) == "a ox<unk> yak"


def test_what_was_cut_cannot_be_copied():
    found = WORDS.encode_source(["the ox yak"], limit=2)
    assert found.words == (" ox",) and found.cut
    target = WORDS.encode_target("ox yak", found.words)
    assert target.tolist() == [WORDS.size, WORDS.unknown, WORDS.end]


def test_what_has_nothing_unknown_has_no_words():
    for name in ("bytes", "characters", "bpe"):
        encoded = VOCABULARIES[name].encode_source(["dog 🐍"])
        assert encoded.words == ()
        assert max(encoded.source) < VOCABULARIES[name].size


@every
def test_every_token_has_a_name(vocabulary):
    special = vocabulary.start, vocabulary.end, vocabulary.between
    names = [vocabulary.name(token) for token in special]
    assert names == ["(start)", "(end)", "(next text)"]
    assert vocabulary.name(vocabulary.size + 1, (" ox", " yak")) in ("yak", "")
    # What no word has such a number is nothing, whatever wrote it.
    assert vocabulary.name(vocabulary.size + 2, (" ox", " yak")) == ""


@given(st.text("abc ,.", min_size=1).filter(str.strip))
def test_any_text_can_be_said_by_copying_it(text):
    found = WORDS.encode_source([text])
    target = WORDS.encode_target(text, found.words)
    np.testing.assert_array_equal(target[:-1], found.source)
    assert WORDS.decode(target, found.words) == text.strip()
