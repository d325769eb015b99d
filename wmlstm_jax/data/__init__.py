"""Text in, batches of token windows out."""

from wmlstm_jax.data.buckets import bucket_length, pad_to_bucket
from wmlstm_jax.data.pipeline import StreamWindows, batches
from wmlstm_jax.data.sources import SOURCES, Corpus, load_corpus
from wmlstm_jax.data.tokenizers import TOKENIZERS, ByteTokenizer, load_tokenizer

__all__ = [
    "SOURCES",
    "TOKENIZERS",
    "ByteTokenizer",
    "Corpus",
    "StreamWindows",
    "batches",
    "bucket_length",
    "load_corpus",
    "load_tokenizer",
    "pad_to_bucket",
]
