"""A conversation with a trained model, whose memory lives on from turn to turn."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.data import bucket_length
from wmlstm_jax.data.example_sets import EXAMPLE_SOURCES
from wmlstm_jax.data.example_tokens import Vocabulary
from wmlstm_jax.inference import Sampler, StepFn, conversation, generate
from wmlstm_jax.inference.conversation_files import check_range, damaged
from wmlstm_jax.models import SingleStream
from wmlstm_jax.training.config import to_settings
from wmlstm_jax.training.speaking import MULTIPLE, vocabulary_of
from wmlstm_jax.training.trained import Trained

Array = jax.Array


class Remembered(NamedTuple):
    """A word in the memory."""

    position: int  # how many tokens came before it in the conversation
    text: str
    pinned: bool


class _State(NamedTuple):
    """Where a conversation is."""

    carries: Any
    words: tuple[str, ...]  # outside the vocabulary, which tokens V + i stand for
    turns: int  # how often it was told something


class Chat:
    """Tells a model things, and hears what it says to them.

    Args:
      trained: a model in which source and target are one stream.
      sampler: how tokens are picked.
      seed: equal seeds and equal conversations give equal responses.

    Raises:
      ValueError: the model has another task, or an encoder.
    """

    def __init__(self, trained: Trained, sampler: Sampler, seed: int = 0):
        self._vocabulary: Vocabulary = vocabulary_of(trained)
        model = nnx.merge(trained.run.graph, trained.params)
        if not isinstance(model, SingleStream):
            raise ValueError(
                "the model has an encoder, and no memory that lives on; train one with"
                " encoder.num_layers=0."
            )
        self._model, self._sampler = model, sampler
        self._rng = jax.random.key(seed)
        self._longest = trained.run.config.search.max_length
        self._both = EXAMPLE_SOURCES[trained.run.config.data.source].both_learned
        self._about = _fingerprint(trained)
        self._begun = _State(model.decoder.initialize_carry(1), (), 0)
        self._state, self._branches = self._begun, dict[str, _State]()

    def tell(self, text: str) -> Iterator[str]:
        """Says something to the model, and gives its response as it comes.

        The response is part of the conversation once all of it was taken.

        Raises:
          ValueError: the text is empty.
        """
        if not text.strip():
            raise ValueError("there is nothing to say something to; write a word.")
        words = self._vocabulary
        carries, known, turns = self._state
        heard = words.encode_source([text], known)
        tokens, known = heard.source, heard.words
        if turns and self._both:  # As it was learned: said by the other.
            tokens = np.array([words.start, *tokens, words.end])
        carries = self._read(carries, tokens)
        number = bucket_length(len(known)) if known else 0
        step = self._model.step_fn(None, number)
        carries, log_probs = _go(step, carries, jnp.array([words.start]))
        self._rng, rng = jax.random.split(self._rng)
        found: list[int] = []
        shown = ""
        for (token,) in generate(
            step,
            carries,
            log_probs,
            sampler=self._sampler,
            rng=rng,
            num_tokens=self._longest,
        ):
            found.append(int(token))
            if token == words.end:
                break
            # Whole, because what stands between two words depends on both; and half
            # a character may still change.
            now = words.decode(found, known).rstrip("\ufffd")
            if now.startswith(shown):
                yield now[len(shown) :]
                shown = now
        whole = words.decode(found, known)
        if whole.startswith(shown):
            yield whole[len(shown) :]
        said = np.array([*found, words.end] if words.end not in found else found)
        heard = np.asarray(self._model.hear(said))
        self._state = _State(self._read(carries, heard), known, turns + 1)

    def remembered(self) -> list[Remembered]:
        """The words in the memory of the last layer, the oldest first.

        Raises:
          ValueError: it has no slots.
        """
        carries, words, _ = self._state
        return [
            Remembered(
                slot.position, self._vocabulary.name(slot.token, words), slot.pinned
            )
            for slot in conversation.remembered(carries)
        ]

    def pin(self, word: str) -> int:
        """Keeps a word, whatever comes; or, `@12`, the one at that position.

        Returns:
          In how many places it is remembered.
        """
        return self._change(conversation.pin, word)

    def forget(self, word: str) -> int:
        """Drops a word from the memory; see `pin`."""
        return self._change(conversation.forget, word)

    def reset(self) -> None:
        """Begins anew."""
        self._state = self._begun

    def branch(self, name: str) -> bool:
        """Goes back to where a branch began, or begins one here if there is none.

        Returns:
          Whether it went back.
        """
        if known := name in self._branches:
            self._state = self._branches[name]
        self._branches[name] = self._state
        return known

    def save(self, path: str | Path) -> None:
        """Keeps where the conversation is, apart from the weights.

        Raises:
          ValueError: the file cannot be written.
        """
        notes = {"words": list(self._state.words), "turns": self._state.turns}
        conversation.save(path, self._state.carries, self._about, notes)

    def load(self, path: str | Path) -> None:
        """Goes to where a conversation was.

        Raises:
          ValueError: the file cannot be read, is damaged, or is of another model.
        """
        carries, notes = conversation.load(path, self._begun.carries, self._about)
        words, turns = notes.get("words"), notes.get("turns")
        if (
            not isinstance(words, list)
            or not all(isinstance(word, str) for word in words)
            or not isinstance(turns, int)
        ):
            raise damaged(path, "its notes are not those of a chat")
        size = self._vocabulary.size + len(words)
        check_range(path, carries, size)
        self._state = _State(carries, tuple(words), turns)

    def _read(self, carries: Any, tokens: np.ndarray) -> Any:
        """The state after more tokens; few lengths are compiled."""
        padded = np.zeros(bucket_length(len(tokens), MULTIPLE), np.int32)
        padded[: len(tokens)] = tokens
        valid = np.arange(len(padded)) < len(tokens)
        return _read(self._model, carries, padded[None], valid[None])

    def _change(self, change, word: str) -> int:
        places = [
            each.position
            for each in self.remembered()
            if word in (each.text, f"@{each.position}")
        ]
        if places:
            carries = change(self._state.carries, np.array(places))
            self._state = self._state._replace(carries=carries)
        return len(places)


def _fingerprint(trained: Trained) -> dict[str, Any]:
    """What a state belongs to: its arrays mean nothing to other weights.

    The settings are there so that a difference has a name.
    """
    settings = to_settings(trained.run.config)
    weights = hashlib.sha256()
    for leaf in jax.tree.leaves(trained.params):
        weights.update(np.asarray(leaf).tobytes())
    tokenizer = json.dumps(trained.run.tokenizer.to_json(), sort_keys=True)
    return {
        "config": {part: settings[part] for part in ("task", "data", "model")},
        "step": trained.step,
        "tokenizer": hashlib.sha256(tokenizer.encode()).hexdigest(),
        "weights": weights.hexdigest(),
    }


@jax.jit
def _go(step: StepFn, carries: Any, tokens: Array) -> tuple[Any, Array]:
    return step(carries, tokens)


@jax.jit
def _read(model: SingleStream, carries: Any, tokens: Array, valid: Array) -> Any:
    decoder = model.decoder
    return decoder.features(decoder.embed(tokens), carries, tags=tokens, valid=valid)[0]
