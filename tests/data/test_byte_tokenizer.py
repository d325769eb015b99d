import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax.data import ByteTokenizer

TEXT = "né → 🐍\n"


@given(st.text())
def test_any_text_survives(text):
    tokens = ByteTokenizer().encode(text)
    assert bytes(tokens.tolist()) == text.encode()
    assert ByteTokenizer().decode(tokens) == text
    assert ByteTokenizer().unknown(text) == []


def test_streaming_never_splits_a_character():
    tokenizer = ByteTokenizer()
    assert list(tokenizer.stream(tokenizer.encode(TEXT))) == list(TEXT)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [([65, 0xF0, 0x9F], "A\ufffd"), ([0xFF, 65], "\ufffdA"), ([0xC3, 65], "\ufffdA")],
)
def test_bytes_that_are_no_text_are_marked(tokens, text):
    assert ByteTokenizer().decode(tokens) == text
