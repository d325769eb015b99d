"""Examples that go on from each other, as one stream: what came in, what was said."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wmlstm_jax.data.example_tokens import EncodedExample, Limits, Vocabulary
from wmlstm_jax.data.examples import Example

_NO_LIMITS = Limits()


class Stream(NamedTuple):
    """One example or several, one after another."""

    tokens: np.ndarray  # [L] int32: source, start, target, end, source, ...
    targets: np.ndarray  # [L] int32: the same as it can be said: no word of a target
    # that nobody had told before
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


class Turn(NamedTuple):
    """An example of a stream."""

    encoded: EncodedExample  # its target can be said
    heard: np.ndarray  # [T] int32: the target as what follows can copy it
    words: tuple[str, ...]  # outside the vocabulary, those of the target too


def encode_turns(
    vocabulary: Vocabulary,
    turns: Sequence[Example],
    limits: Limits = _NO_LIMITS,
    *,
    hear: bool = True,
) -> list[Turn]:
    """Examples as tokens, each without what is known from those before it.

    Args:
      vocabulary: the tokens.
      turns: from `group_turns`; the first is taken in with its whole source.
      limits: of each.
      hear: whether what was said is heard; else start tokens are, so that later turns
        do not know it (as questions are asked in Graves et al. 2016, bAbI).
    """
    words: tuple[str, ...] = ()
    found: list[Turn] = []
    for turn in turns:
        source = turn.source if not found or turn.news is None else turn.news
        encoded = vocabulary.encode_source(source, words, limits.source)
        target = vocabulary.encode_target(turn.references[0], encoded.words)
        words, heard = encoded.words, np.full_like(target, vocabulary.start)
        if hear:
            # A word that is said for the first time can be copied from then on.
            words = vocabulary.encode_source(turn.references[:1], words).words
            heard = vocabulary.encode_target(turn.references[0], words)
        most = limits.target or len(target)
        encoded = encoded._replace(
            target=target[:most], cut=encoded.cut or most < len(target)
        )
        found.append(Turn(encoded, heard[:most], words))
    return found


def join_turns(vocabulary: Vocabulary, turns: Sequence[Turn]) -> Stream:
    """One stream of what `encode_turns` gives."""
    parts, targets, said, starts, length = [], [], [], [], 0
    for (source, target, *_), heard, _ in turns:
        parts += [source, [vocabulary.start], heard]
        targets += [source, [vocabulary.start], target]
        said += [np.zeros(len(source) + 1, bool), np.ones(len(target), bool)]
        starts.append(length + len(source))
        length += len(source) + 1 + len(target)
    return Stream(
        np.concatenate(parts).astype(np.int32),
        np.concatenate(targets).astype(np.int32),
        np.concatenate(said),
        np.array(starts),
        turns[-1].words,
    )


def asked_in_turns(
    vocabulary: Vocabulary, turns: Sequence[Turn]
) -> list[EncodedExample]:
    """Each turn with all that came before it as its source, also what was said."""
    stream = join_turns(vocabulary, turns)
    return [
        turn.encoded._replace(source=stream.tokens[:start])
        for start, turn in zip(stream.starts, turns, strict=True)
    ]
