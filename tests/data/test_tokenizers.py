import pytest

from wmlstm_jax.data import ByteTokenizer, load_tokenizer

TEXT = "né → 🐍\n"


def test_text_survives():
    tokenizer = ByteTokenizer()
    tokens = tokenizer.encode(TEXT)
    assert tokens.dtype == "int32"
    assert len(tokens) == len(TEXT.encode())
    assert tokenizer.decode(tokens) == TEXT


def test_streaming_never_splits_a_character():
    tokenizer = ByteTokenizer()
    pieces = list(tokenizer.stream(tokenizer.encode(TEXT)))
    assert pieces == list(TEXT)


def test_bytes_that_are_no_text_are_marked():
    assert ByteTokenizer().decode([65, 0xF0, 0x9F]) == "A\ufffd"


def test_byte_counts_cover_the_vocabulary():
    tokenizer = ByteTokenizer()
    counts = tokenizer.byte_counts()
    assert counts.shape == (tokenizer.vocab_size,)
    assert counts[tokenizer.encode(TEXT)].sum() == len(TEXT.encode())


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"data\.tokenizer is 'byte'.*'bytes'"):
        load_tokenizer("byte")
