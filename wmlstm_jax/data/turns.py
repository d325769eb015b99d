"""Examples that go on from each other, as one stream: what came in, what was said."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmlstm_jax.data.example_tokens import EncodedExample, Vocabulary
from wmlstm_jax.data.examples import Example


class Stream(NamedTuple):
    """One example or several, one after another."""

    tokens: np.ndarray  # [L] int32: source, start, target, end, source, ...
    said: np.ndarray  # [L] bool: is part of a target, ends included
    starts: np.ndarray  # [n] int: where the start tokens are
    words: tuple[str, ...]  # outside the vocabulary, in any of them


def group_turns(examples: Sequence[Example]) -> list[list[Example]]:
    """Every example with those that go on from it."""
    groups: list[list[Example]] = []
    for example in examples:
        if example.news is None or not groups:
            groups.append([example])
        else:
            groups[-1].append(example)
    return groups


def encode_turns(
    vocabulary: Vocabulary, turns: Sequence[Example]
) -> list[EncodedExample]:
    """Examples as tokens, each without what is known from those before it.

    Args:
      vocabulary: the tokens.
      turns: from `group_turns`; the first is taken in with its whole source.
    """
    words: tuple[str, ...] = ()
    found = []
    for turn in turns:
        source = turn.source if not found or turn.news is None else turn.news
        tokens, words = vocabulary.encode_source(source, words)
        target = vocabulary.encode_target(turn.references[0], words)
        found.append(EncodedExample(tokens, target, words))
    return found


def join_turns(vocabulary: Vocabulary, turns: Sequence[EncodedExample]) -> Stream:
    """One stream of what `encode_turns` gives."""
    parts, said, starts, length = [], [], [], 0
    for source, target, _ in turns:
        parts += [source, [vocabulary.start], target]
        said += [np.zeros(len(source) + 1, bool), np.ones(len(target), bool)]
        starts.append(length + len(source))
        length += len(source) + 1 + len(target)
    return Stream(
        np.concatenate(parts).astype(np.int32),
        np.concatenate(said),
        np.array(starts),
        turns[-1].words,
    )


def asked_in_turns(
    vocabulary: Vocabulary, turns: Sequence[EncodedExample]
) -> list[EncodedExample]:
    """Each turn with all that came before it as its source, also what was said."""
    stream = join_turns(vocabulary, turns)
    return [
        EncodedExample(stream.tokens[:start], turn.target, turn.words)
        for start, turn in zip(stream.starts, turns, strict=True)
    ]
