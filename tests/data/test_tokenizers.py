"""What holds for every tokeniser."""

import copy
import doctest
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.data import (
    TOKENIZERS,
    byte_tokenizer,
    character_tokenizer,
    tokenizer_from_json,
    train_tokenizer,
    word_tokenizer,
)

TEXT = "né → 🐍\nthe cat sat on the mat\nné → the cat 🐍\n"
TRAINED = {
    "bytes": train_tokenizer("bytes", TEXT, 0),
    "characters": train_tokenizer("characters", TEXT, 0),
    "words": train_tokenizer("words", TEXT, 0),
    "punctuated": train_tokenizer("punctuated", TEXT, 0),
    "bpe": train_tokenizer("bpe", TEXT, 270),
}

every = pytest.mark.parametrize("tokenizer", TRAINED.values(), ids=TRAINED)


def test_all_are_tried():
    assert list(TRAINED) == list(TOKENIZERS)
    assert [tokenizer.name for tokenizer in TRAINED.values()] == list(TOKENIZERS)


@every
def test_text_survives(tokenizer):
    tokens = tokenizer.encode(TEXT)
    assert tokens.dtype == np.int32 and tokens.ndim == 1
    assert tokenizer.decode(tokens) == TEXT
    assert tokenizer.unknown(TEXT) == []


@every
def test_no_text_is_no_tokens(tokenizer):
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.encode("").dtype == np.int32
    assert tokenizer.decode([]) == ""
    assert list(tokenizer.stream([])) == []


@every
@given(data=st.data())
def test_the_stream_is_the_decoded_text(tokenizer, data):
    ids = st.integers(0, tokenizer.vocab_size - 1)
    tokens = data.draw(st.lists(ids, max_size=30))
    pieces = list(tokenizer.stream(iter(tokens)))
    assert "".join(pieces) == tokenizer.decode(np.array(tokens, np.int32))
    assert all(pieces)


@every
def test_a_piece_comes_with_the_token_that_completes_it(tokenizer):
    tokens = tokenizer.encode(TEXT)
    for end in range(1, len(tokens) + 1):
        asked = []
        stream = tokenizer.stream(asked.append(t) or t for t in tokens[:end])
        first = next(stream)
        assert first and TEXT.startswith(first)
        assert len(asked) == len(tokenizer.encode(first))


@every
@given(text=st.text())
def test_any_text_becomes_tokens(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert ((tokens >= 0) & (tokens < tokenizer.vocab_size)).all()


@every
def test_byte_counts_cover_the_vocabulary(tokenizer):
    counts = tokenizer.byte_counts()
    assert counts.shape == (tokenizer.vocab_size,)
    assert counts.dtype == np.int32
    text = TEXT if tokenizer.name != "words" else TEXT.replace("\n", " \n")
    assert counts[tokenizer.encode(TEXT)].sum() == len(text.encode())


@every
def test_a_checkpoint_gives_an_equal_one_back(tokenizer):
    restored = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert restored == tokenizer
    assert type(restored) is type(tokenizer)
    assert restored.vocab_size == tokenizer.vocab_size
    np.testing.assert_array_equal(restored.encode(TEXT), tokenizer.encode(TEXT))


@pytest.mark.parametrize("name", ["characters", "words", "bpe"])
def test_another_text_gives_another_tokenizer(name):
    size = 270 if name == "bpe" else 0
    other = train_tokenizer(name, "other words than those", size)
    assert other != TRAINED[name]
    assert train_tokenizer(name, TEXT, size) == TRAINED[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("byte", r"data\.tokenizer is 'byte'; did you mean bytes\?"),
        ("word", r"did you mean words\?"),
        ("gpt2", "'gpt2'; it must be bpe or bytes or characters or punctuated"),
    ],
)
def test_an_unknown_name_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(name, TEXT, 0)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("bytes", 255, "is 255, and data.tokenizer=bytes always has 256 tokens; set"),
        ("characters", 1, "data.vocab_size is 1; it must be at least 2, or 0"),
        ("words", 1, "data.vocab_size is 1; it must be at least 2, or 0"),
        ("words", -3, "data.vocab_size is -3; it must be at least 2, or 0"),
        ("bpe", 0, "data.vocab_size is 0; data.tokenizer=bpe needs more than the 256"),
        ("bpe", 256, "data.vocab_size is 256; data.tokenizer=bpe needs more"),
    ],
)
def test_a_vocabulary_of_no_use_is_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(name, TEXT, size)


def test_the_least_and_the_greatest_vocabularies_are_taken():
    assert train_tokenizer("bytes", TEXT, 256) == TRAINED["bytes"]
    assert train_tokenizer("bpe", TEXT, 257).vocab_size == 257
    for name in ("characters", "words"):
        assert train_tokenizer(name, TEXT, 2).vocab_size == 2
        assert train_tokenizer(name, TEXT, 10**6) == TRAINED[name]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("characters", "", "characters"),
        ("characters", "aaaa", "characters"),
        ("words", " \t ", "words"),
        ("words", "the the  the", "words"),
        ("words", "\n\n\n", "words"),
    ],
)
def test_a_text_with_nothing_to_predict_is_refused(name, text, kind):
    message = f"fewer than two different {kind}, so that there is nothing to predict"
    with pytest.raises(ValueError, match=message):
        train_tokenizer(name, text, 0)


def damaged(name, change):
    saved = copy.deepcopy(TRAINED[name].to_json())
    change(saved)
    return saved


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ("bytes", "its name is None, not bytes or characters or words or punctuated"),
        ({}, "its name is None"),
        ({"name": ["bytes"]}, r"its name is \['bytes'\]"),
        ({"name": "characters"}, "characters must be a sorted string that has U.FFFD"),
        ({"name": "characters", "characters": list("ab\ufffd")}, "sorted string"),
        ({"name": "characters", "characters": "ba\ufffd"}, "sorted string"),
        ({"name": "characters", "characters": "aab\ufffd"}, "sorted string"),
        ({"name": "characters", "characters": "abc"}, "sorted string"),
        ({"name": "words"}, "words must be a list of different words with <unk>"),
        ({"name": "words", "words": "a <unk>"}, "list of different words"),
        ({"name": "words", "words": ["a", "b"]}, "list of different words"),
        ({"name": "words", "words": ["a", "a", "<unk>"]}, "list of different words"),
        ({"name": "words", "words": ["a b", "<unk>"]}, "list of different words"),
        ({"name": "words", "words": ["", "<unk>"]}, "list of different words"),
        ({"name": "punctuated", "words": ["a.", "<unk>"]}, "list of different words"),
        ({"name": "words", "words": [1, "<unk>"]}, "list of different words"),
        ({"name": "bpe"}, "the library tokenizers says"),
        ({"name": "bpe", "tokenizer": {"model": 3}}, "the library tokenizers says"),
        (
            damaged("bpe", lambda s: s["tokenizer"]["model"].update(vocab={})),
            "the library tokenizers says",
        ),
        (
            damaged("bpe", lambda s: s["tokenizer"]["model"]["vocab"].pop("ÿ")),
            "it has no token for some text",
        ),
        (
            damaged("bpe", lambda s: s["tokenizer"]["model"]["vocab"].update({"!": 9})),
            "it has no token for some text",
        ),
        (
            damaged("bpe", lambda s: s["tokenizer"].update(pre_tokenizer=None)),
            "it has no token for some text",
        ),
    ],
)
def test_a_damaged_checkpoint_is_refused(saved, message):
    with pytest.raises(ValueError, match=f"damaged: .*{message}.*; use another check"):
        tokenizer_from_json(saved)


@pytest.mark.parametrize(
    "module", [byte_tokenizer, character_tokenizer, word_tokenizer]
)
def test_the_examples_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed
