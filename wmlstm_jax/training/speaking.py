"""What a trained model says to sources."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.data import bucket_length
from wmlstm_jax.data.example_batches import (
    ExampleBatches,
    fill_pairs,
    lengths_of,
    plan_buckets,
)
from wmlstm_jax.data.example_tokens import EncodedExample, Vocabulary
from wmlstm_jax.inference import Beam, Hypotheses, beam_search, repeat_rows
from wmlstm_jax.models import ConditionalModel
from wmlstm_jax.training.datasets import ExampleData
from wmlstm_jax.training.trained import Trained

Array = jax.Array
MULTIPLE = 16
"""What lengths of sources are rounded up to, so that few programs serve all."""


class Said(NamedTuple):
    """The likeliest target that was found for a source."""

    text: str
    tokens: np.ndarray  # [T] int32, the end counted if it was said
    score: float  # its log probability, normalised for length
    encoded: EncodedExample  # the source, as the model saw it


def vocabulary_of(trained: Trained) -> Vocabulary:
    """The tokens of a model of sources and targets.

    Raises:
      ValueError: it is none; it has another task.
    """
    if not isinstance(trained.run.data, ExampleData):
        raise ValueError(
            f"the model is trained for {trained.run.config.task}, which has no sources"
            " to answer; name the --workdir of another."
        )
    return trained.run.data.vocabulary


def ask(trained: Trained, texts: tuple[str, ...]) -> EncodedExample:
    """A source as `say` takes it.

    Args:
      trained: the model.
      texts: of which the source is made. Beyond what the model was trained for the
        first of them is cut, and `cut` says so.

    Raises:
      ValueError: the model has another task, or a text is empty.
    """
    vocabulary = vocabulary_of(trained)
    if not all(text.strip() for text in texts):
        raise ValueError("a source is empty; give it at least one word.")
    limit = trained.run.config.data.max_source
    found = vocabulary.encode_source(texts, limit=limit)
    return found._replace(target=np.array([vocabulary.end], np.int32))


def say(
    trained: Trained, asked: Sequence[EncodedExample]
) -> Iterator[tuple[int, Said]]:
    """Searches what to say to each source, sources of similar lengths together.

    Args:
      trained: the model; its config says how to search.
      asked: the sources, at least one; their targets are not looked at.

    Yields:
      The number of a source and what was found for it, batch after batch.

    Raises:
      ValueError: the model has another task.
    """
    vocabulary, config = vocabulary_of(trained), trained.run.config
    beam = Beam(
        end=vocabulary.end,
        max_length=config.search.max_length,
        size=config.search.size,
        length_penalty=config.search.length_penalty,
        block_ngram=config.search.block_ngram,
        early_stop=config.search.early_stop,
    )
    sources = [each._replace(target=each.target[:1]) for each in asked]
    lengths = lengths_of(sources)
    buckets = plan_buckets(lengths, config.data.num_buckets, MULTIPLE)
    rows = min(config.data.batch_size, len(sources))
    fill = fill_pairs(sources, vocabulary.start)
    batches = ExampleBatches(fill, buckets, rows)
    model = nnx.merge(trained.run.graph, trained.params)
    # One number of words, so that a bucket is compiled once.
    most = max(len(each.words) for each in asked)
    num_words = bucket_length(most) if most else 0
    for number in range(len(batches)):
        batch = batches[number]
        those = [asked[i] for i in batch["examples"] if i >= 0]
        found = _search(
            beam,
            num_words,
            model,
            batch["source"],
            batch["source_valid"],
            vocabulary.start,
        )
        tokens, lengths, scores, _ = (leaf[:, 0] for leaf in jax.device_get(found))
        for row, (i, each) in enumerate(zip(batch["examples"], those, strict=False)):
            best = tokens[row, : lengths[row]]
            text = vocabulary.decode(best, each.words)
            yield int(i), Said(text, best, float(scores[row]), each)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _search(
    beam: Beam,
    num_words: int,
    model: ConditionalModel,
    source: Array,
    valid: Array,
    start: Array,
) -> Hypotheses:
    carries, sources = model.encode(source, valid)
    first = jnp.full(len(source), start, jnp.int32)
    carries, log_probs = model.step_fn(sources, num_words)(carries, first)
    step_fn = model.step_fn(repeat_rows(sources, beam.size), num_words)
    return beam_search(step_fn, carries, log_probs, beam)
