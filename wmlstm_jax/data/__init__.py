"""Text in, batches of token windows out."""

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
    "load_corpus",
    "load_tokenizer",
]
