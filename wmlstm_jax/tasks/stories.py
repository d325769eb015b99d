"""Stories in the manner of bAbI, and dialogues that fill slots: words with answers.

bAbI: Weston et al. 2015; dialog bAbI: Bordes & Weston 2016. A world is simulated and
told in sentences of a fixed number of words, blanks at their end; nothing is asked that
was not told.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.task import BLANK, Array, Batch, Form, SizedTask, require_positive

PEOPLE = ("mary", "john", "sandra", "daniel")
PLACES = ("kitchen", "garden", "office", "bathroom", "hallway", "bedroom")
THINGS = ("apple", "football", "milk")
_REST = ("went", "to", "took", "dropped", "where", "is", "?", ".", "nowhere")
STORY_WORDS = ("", *PEOPLE, *PLACES, *THINGS, *_REST)
"""The words of stories by their token."""
WENT, TO, TOOK, DROPPED, WHERE, IS, ASK, STOP, NOWHERE = (
    STORY_WORDS.index(word) for word in _REST
)
_PERSON, _PLACE, _THING = (STORY_WORDS.index(k[0]) for k in (PEOPLE, PLACES, THINGS))


@dataclass(frozen=True)
class Stories(SizedTask):
    """Where is the thing? Two facts that belong together (bAbI, task 2).

        mary went to kitchen .   mary took apple .   mary went to garden .
        where is apple ?         garden, at the question mark

    `size` sentences, then a question for each thing. A thing that is carried is where
    who carries it is; who has not gone anywhere yet is nowhere. Who takes a
    thing has it, whoever had it before.
    """

    words: ClassVar[int] = 5

    @property
    def form(self) -> Form:
        """Words, as inputs and as answers."""
        return Form(len(STORY_WORDS), 0, len(STORY_WORDS), "classes")

    @property
    def length(self) -> int:
        """T."""
        return self.words * (self.max_size + len(THINGS))

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        turn = jnp.arange(self.max_size + len(THINGS))
        kind_rng, who_rng, where_rng, what_rng = jax.random.split(rng, 4)

        def draw(rng, count):
            return jax.random.randint(rng, turn.shape, 0, count)

        steps = (
            turn,
            draw(kind_rng, 4),  # goes in one of two, takes, drops
            draw(who_rng, len(PEOPLE)),
            draw(where_rng, len(PLACES)),
            draw(what_rng, len(THINGS)),
        )
        none = jnp.int32(-1)
        world = (
            jnp.full(len(PEOPLE), none),  # the place of each person
            jnp.full(len(THINGS), none),  # who has each thing
            jnp.full(len(THINGS), none),  # where it lies
        )

        def happen(world, step):
            at, holder, lies = world
            turn, kind, who, where, what = step
            told = turn < size
            owner = holder[what]
            drops = told & (kind == 3) & (owner >= 0)
            takes = told & (kind == 2)
            goes = told & ~takes & ~drops
            who = jnp.where(drops, owner, who)
            at = at.at[who].set(jnp.where(goes, where, at[who]))
            lies = lies.at[what].set(jnp.where(drops, at[who], lies[what]))
            holder = holder.at[what].set(
                jnp.where(drops, -1, jnp.where(takes, who, owner))
            )
            thing = _THING + what
            went = [_PERSON + who, WENT, TO, _PLACE + where, STOP]
            took = [_PERSON + who, TOOK, thing, STOP, BLANK]
            dropped = [_PERSON + who, DROPPED, thing, STOP, BLANK]
            asked = jnp.clip(turn - size, 0, len(THINGS) - 1)
            asks = [WHERE, IS, _THING + asked, ASK, BLANK]
            went, took, dropped, asks = (
                jnp.stack([jnp.asarray(word, jnp.int32) for word in sentence])
                for sentence in (went, took, dropped, asks)
            )
            sentence = jnp.where(takes, took, jnp.where(drops, dropped, went))
            question = ~told & (turn - size < len(THINGS))
            sentence = jnp.where(told, sentence, jnp.where(question, asks, BLANK))
            has = holder[asked]
            place = jnp.where(has >= 0, at[jnp.maximum(has, 0)], lies[asked])
            answer = jnp.where(place >= 0, _PLACE + place, NOWHERE)
            scored = question & (jnp.arange(self.words) == 3)
            return (at, holder, lies), (sentence, answer * scored, scored)

        _, (inputs, targets, scored) = jax.lax.scan(happen, world, steps)
        return Batch(*(leaf.reshape(-1) for leaf in (inputs, targets, scored)))


SLOT_NAMES = ("cuisine", "city", "people", "price")
_DIALOGUE_REST = ("user", "system", "want", "not", "call", "anything", "then")


@dataclass(frozen=True)
class Dialogues(SizedTask):
    """A user states wishes and changes them; at the end the system calls the service.

        user want cuisine italian   user want city paris   user want cuisine thai
        system call                 then the value of each slot, or "anything"

    `size` turns of four words, the last two a slot and its value. One in five takes a
    wish back: `user not city` and a blank.

    Args:
      num_values: of each slot.
    """

    num_values: int = 5
    words: ClassVar[int] = 4

    def __post_init__(self):
        super().__post_init__()
        require_positive(self, "num_values")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words by their token."""
        values = (f"{s}_{v}" for s in SLOT_NAMES for v in range(self.num_values))
        return ("", *_DIALOGUE_REST, *SLOT_NAMES, *values)

    @property
    def form(self) -> Form:
        """Words, as inputs and as answers."""
        size = len(self.vocabulary)
        return Form(size, 0, size, "classes")

    @property
    def length(self) -> int:
        """T."""
        return self.words * self.max_size + 2 + len(SLOT_NAMES)

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        user, system, want, negate, call, anything, then = (
            self.vocabulary.index(word) for word in _DIALOGUE_REST
        )
        first_slot = self.vocabulary.index(SLOT_NAMES[0])
        first_value = first_slot + len(SLOT_NAMES)
        slot_rng, value_rng, kind_rng = jax.random.split(rng, 3)
        turn = jnp.arange(self.max_size)
        slot = jax.random.randint(slot_rng, turn.shape, 0, len(SLOT_NAMES))
        value = jax.random.randint(value_rng, turn.shape, 0, self.num_values)
        value = first_value + slot * self.num_values + value
        takes_back = jax.random.bernoulli(kind_rng, 0.2, turn.shape)
        value = jnp.where(takes_back, BLANK, value)
        verb = jnp.where(takes_back, negate, want)
        sentence = jnp.stack(
            [jnp.full_like(turn, user), verb, first_slot + slot, value], -1
        )
        told = (slot[:, None] == jnp.arange(len(SLOT_NAMES))) & (turn < size)[:, None]
        last = jnp.max(jnp.where(told, turn[:, None], -1), axis=0)
        wish = jnp.where(last >= 0, value[jnp.maximum(last, 0)], BLANK)
        wish = jnp.where(wish == BLANK, anything, wish)
        time = jnp.arange(self.length)
        end = self.words * size
        place = time - end - 2
        scored = (place >= 0) & (place < len(SLOT_NAMES))
        inputs = jnp.pad(sentence.reshape(-1), (0, 2 + len(SLOT_NAMES)))
        inputs = jnp.where(time < end, inputs, BLANK)
        inputs = jnp.where(time == end, system, inputs)
        inputs = jnp.where(time == end + 1, call, inputs)
        inputs = jnp.where(scored, then, inputs)
        targets = jnp.where(scored, wish[jnp.where(scored, place, 0)], BLANK)
        return Batch(inputs.astype(jnp.int32), targets, scored)
