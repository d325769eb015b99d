"""Text in, batches of token windows out."""

from wmlstm_jax.data.bpe_tokenizer import BpeTokenizer
from wmlstm_jax.data.buckets import bucket_length, pad_to_bucket
from wmlstm_jax.data.byte_tokenizer import ByteTokenizer
from wmlstm_jax.data.character_tokenizer import CharacterTokenizer
from wmlstm_jax.data.pipeline import StreamWindows, batches
from wmlstm_jax.data.sources import SOURCES, Corpus, load_corpus
from wmlstm_jax.data.tokenizers import (
    TOKENIZERS,
    Tokenizer,
    tokenizer_from_json,
    train_tokenizer,
)
from wmlstm_jax.data.word_tokenizer import PunctuatedTokenizer, WordTokenizer

__all__ = [
    "SOURCES",
    "TOKENIZERS",
    "BpeTokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Corpus",
    "PunctuatedTokenizer",
    "StreamWindows",
    "Tokenizer",
    "WordTokenizer",
    "batches",
    "bucket_length",
    "load_corpus",
    "pad_to_bucket",
    "tokenizer_from_json",
    "train_tokenizer",
]
