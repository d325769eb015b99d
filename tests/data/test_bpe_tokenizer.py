import os
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from wmlstm_jax.data import BpeTokenizer

TEXT = "the cat's mat: it's 12 née → 🐍🐍\n\n  the\tcats' 123 mats \n" * 9
BPE = BpeTokenizer.train(TEXT, 280)
LIBRARY = Tokenizer.from_str(BPE.serialized)
# What the library cuts at, and blanks of which Python and it might think differently.
texts = st.text() | st.text(
    st.sampled_from("abtheé'strevml19 \t\n\r!,_\x0b\x0c\x1c\x1f\x85\xa0\u200b\u3000🐍")
)


@given(texts)
def test_any_text_survives(text):
    assert BPE.decode(BPE.encode(text)) == text
    assert BPE.unknown(text) == []


@given(texts)
def test_cutting_at_blanks_changes_no_token(text):
    assert BPE.encode(text).tolist() == LIBRARY.encode(text).ids


@given(st.lists(st.integers(0, BPE.vocab_size - 1)))
def test_tokens_are_the_bytes_that_the_library_says(tokens):
    assert BPE.decode(tokens) == LIBRARY.decode(tokens)


@given(texts)
def test_byte_counts_are_exact(text):
    assert BPE.byte_counts()[BPE.encode(text)].sum() == len(text.encode())


def test_frequent_words_are_one_token():
    assert len(BPE.encode(" the")) == 1
    assert len(BPE.encode(TEXT)) < len(TEXT.encode()) / 2


def test_every_single_byte_is_a_token():
    assert sorted(BPE.byte_counts()[:256]) == [1] * 256
    assert (BPE.byte_counts()[256:] > 1).all()


def test_the_vocabulary_is_as_large_as_asked_where_the_text_allows_it():
    assert BpeTokenizer.train(TEXT, 280).vocab_size == 280
    assert BpeTokenizer.train("ab ab", 300).vocab_size == 257
    assert BpeTokenizer.train("", 300).vocab_size == 256


def test_no_text_is_special():
    assert len(BPE.encode("<unk>")) > 1
    assert len(BPE.encode("<|endoftext|>")) > 1


def test_a_character_in_several_tokens_is_held_back():
    tokenizer = BpeTokenizer.train("ab ab", 300)
    tokens = tokenizer.encode("né → 🐍")
    assert len(tokens) == len("né → 🐍".encode())
    assert list(tokenizer.stream(tokens)) == list("né → 🐍")
    assert list(tokenizer.stream(tokens[:-1])) == [*"né → ", "\ufffd"]


def test_another_process_learns_the_same_and_starts_no_threads():
    program = (
        "import os, sys; from wmlstm_jax.data import BpeTokenizer;"
        " assert os.environ['TOKENIZERS_PARALLELISM'] == 'false';"
        " sys.stdout.write(BpeTokenizer.train(sys.stdin.read(), 280).serialized)"
    )
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONUTF8": "1"}
    env.pop("TOKENIZERS_PARALLELISM")
    command = [sys.executable, "-W", "error", "-c", program]
    outcome = subprocess.run(
        command, input=TEXT, capture_output=True, text=True, env=env
    )
    assert outcome.stderr == ""
    assert outcome.stdout == BPE.serialized


def test_each_stretch_of_a_long_text_is_encoded_once(monkeypatch):
    tokenizer = BpeTokenizer.train(TEXT, 300)
    asked = []

    class Counting:
        def __init__(self, library):
            self.library = library

        def encode(self, stretch):
            asked.append(stretch)
            return self.library.encode(stretch)

    monkeypatch.setitem(tokenizer.__dict__, "_library", Counting(tokenizer._library))
    tokens = tokenizer.encode(" the cat" * 1000)
    np.testing.assert_array_equal(tokens[:2], LIBRARY.encode(" the cat").ids[:2])
    assert sorted(asked) == [" cat", " the"]
