"""A conversation with a trained model, whose memory lives on from turn to turn."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.data import bucket_length
from wmlstm_jax.data.example_tokens import Vocabulary
from wmlstm_jax.inference import Sampler, StepFn, conversation, generate
from wmlstm_jax.models import SingleStream
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
        config = trained.run.config
        # What the arrays of a state mean depends on the weights that made them.
        self._about = {
            "model": asdict(config.model),
            "seed": config.seed,
            "text": trained.about["text"]["sha256"],
            "step": trained.step,
        }
        self._begun = _State(model.decoder.initialize_carry(1), ())
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
        carries, known = self._state
        tokens, known = words.encode_source([text], known)
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
            # Whole, because what stands between two words depends on both.
            now = words.decode(found, known)
            if now.startswith(shown):
                yield now[len(shown) :]
                shown = now
        said = np.array([*found, words.end] if words.end not in found else found)
        self._state = _State(self._read(carries, said), known)

    def remembered(self) -> list[Remembered]:
        """The words in the memory of the last layer, the oldest first.

        Raises:
          ValueError: it has no slots.
        """
        vocabulary, (carries, words) = self._vocabulary, self._state
        special = {vocabulary.start: "(answer)", vocabulary.end: "(end)"}
        special[vocabulary.between] = "(next)"
        return [
            Remembered(
                slot.position,
                special.get(slot.token) or vocabulary.decode([slot.token], words),
                slot.pinned,
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
        notes = {"words": list(self._state.words)}
        conversation.save(path, self._state.carries, self._about, notes)

    def load(self, path: str | Path) -> None:
        """Goes to where a conversation was.

        Raises:
          ValueError: the file cannot be read, is damaged, or is of another model.
        """
        carries, notes = conversation.load(path, self._begun.carries, self._about)
        self._state = _State(carries, tuple(notes["words"]))

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


@jax.jit
def _go(step: StepFn, carries: Any, tokens: Array) -> tuple[Any, Array]:
    return step(carries, tokens)


@jax.jit
def _read(model: SingleStream, carries: Any, tokens: Array, valid: Array) -> Any:
    decoder = model.decoder
    return decoder.features(decoder.embed(tokens), carries, tags=tokens, valid=valid)[0]
