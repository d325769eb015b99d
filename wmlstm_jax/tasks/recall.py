"""Associative recall: which value stood beside this key?"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.task import (
    BLANK,
    Array,
    Batch,
    Form,
    draw_distinct,
    refuse,
    require_positive,
)


@dataclass(frozen=True)
class MultiQueryRecall:
    """Multi-query associative recall (MQAR; Arora et al. 2023, "Zoology").

    Key-value pairs come first, then some of the keys again, each in a random place
    among blanks; there the target is the value of the key:

        inputs    k1 v1 k2 v2 k3 v3  .  .  k2  .  k3  .  .  .  k1  .
        targets    .  .  .  .  .  .  .  .  v2  .  v3  .  .  .  v1  .

    Keys and values are distinct within a sequence and tokens of two kinds: 0 is blank,
    then come the keys, then the values. A query takes a place of two tokens, itself and
    a blank. The places are drawn without replacement with `p(n) ~ n^(power - 1)`, n = 1
    being the one next to the pairs: the paper's law of gaps. Every pair is asked for as
    often as every other, or once more. The paper puts random tokens between the queries
    (`filled`); in a small vocabulary they would be keys too often.

    Equal settings are equal and hash alike, so a task can be a static argument.

    Example:
      >>> task = MultiQueryRecall(num_pairs=2, num_queries=2, length=12)
      >>> batch = task.sample(jax.random.key(0), 4)  # inputs, targets, scored [4, 12]

    Args:
      num_keys: how many tokens are keys.
      num_values: how many tokens are values.
      num_pairs: P, pairs per sequence.
      num_queries: Q, queries per sequence.
      length: T, even; what pairs and queries leave over is blank.
      power: of the law of gaps, positive; 1 draws places uniformly.
      filled: what is left over is not blank but any tokens.

    Raises:
      ValueError: a setting is out of range or does not go with another.
    """

    num_keys: int = 128
    num_values: int = 128
    num_pairs: int = 8
    num_queries: int = 8
    length: int = 40
    power: float = 0.01
    filled: bool = False

    def __post_init__(self):
        for field in ("num_keys", "num_values", "num_pairs", "num_queries", "length"):
            require_positive(self, field)
        for field in ("num_keys", "num_values"):
            if getattr(self, field) < self.num_pairs:
                wanted = f"at least num_pairs = {self.num_pairs}, to be distinct"
                refuse(self, field, wanted)
        shortest = 2 * (self.num_pairs + self.num_queries)
        if self.length % 2 or self.length < shortest:
            wanted = f"even and at least 2 * (num_pairs + num_queries) = {shortest}"
            refuse(self, "length", wanted)
        if not self.power > 0:
            refuse(self, "power", "positive")

    @property
    def form(self) -> Form:
        """The blank, the keys and the values, as inputs and as answers."""
        size = 1 + self.num_keys + self.num_values
        return Form(size, 0, size, "classes")

    @property
    def max_scored(self) -> int:
        """Q: so few places of a long sequence that the others need no outputs."""
        return self.num_queries

    def sample(self, rng: Array, batch_size: int) -> Batch:
        """Draws sequences; pure, and compiled into whatever calls it.

        Args:
          rng: a PRNG key; consumed.
          batch_size: B.

        Returns:
          `inputs`, `targets` and `scored`, `[B, T]`.
        """
        return jax.vmap(self._sample_one)(jax.random.split(rng, batch_size))

    def _sample_one(self, rng: Array) -> Batch:
        """One sequence, `[T]`."""
        key_rng, value_rng, order_rng, place_rng = jax.random.split(rng, 4)
        keys = 1 + draw_distinct(key_rng, jnp.zeros(self.num_keys), self.num_pairs)
        values = draw_distinct(value_rng, jnp.zeros(self.num_values), self.num_pairs)
        values = 1 + self.num_keys + values

        rounds = -(-self.num_queries // self.num_pairs)
        even = jnp.zeros((rounds, self.num_pairs))
        asked = draw_distinct(order_rng, even, self.num_pairs).reshape(-1)[
            : self.num_queries
        ]
        gaps = 1 + jnp.arange(self.length // 2 - self.num_pairs)
        places = draw_distinct(
            place_rng, (self.power - 1) * jnp.log(gaps), self.num_queries
        )
        places = 2 * (self.num_pairs + places)

        blank = jnp.full(self.length, BLANK, jnp.int32)
        told = jnp.stack([keys, values], axis=1).reshape(-1)
        inputs = blank.at[: told.size].set(told).at[places].set(keys[asked])
        targets = blank.at[places].set(values[asked])
        if self.filled:
            fill_rng = jax.random.fold_in(rng, 4)
            any_token = jax.random.randint(
                fill_rng, inputs.shape, 0, self.form.num_tokens
            )
            inputs = jnp.where(inputs == BLANK, any_token, inputs)
        return Batch(inputs, targets, scored=targets != BLANK)
