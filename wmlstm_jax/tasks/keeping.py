"""What to keep and what not: keys told anew, noise, blanks.

A memory with fewer slots than tokens has to choose here; to keep the newest is not
enough.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from wmlstm_jax.tasks.task import (
    BLANK,
    Array,
    Batch,
    Form,
    SizedTask,
    draw_distinct,
    refuse,
    require_positive,
)


@dataclass(frozen=True)
class ForgettingRecall(SizedTask):
    """Recall where keys are told again with other values: the last one counts.

    `size` pairs, each a random one of `num_live` keys of the sequence and a random
    value; then every key that was told, in random order, each followed by a blank:

        inputs    k1 v1 k2 v2 k1 v3  k2  .  k1  .
        targets    .  .  .  .  .  .  v2  .  v3  .

    What was told before is of no use any more, and in the way.

    Args:
      num_keys: how many tokens are keys.
      num_values: how many tokens are values.
      num_live: keys of one sequence.
    """

    num_keys: int = 32
    num_values: int = 32
    num_live: int = 4

    def __post_init__(self):
        super().__post_init__()
        for field in ("num_keys", "num_values", "num_live"):
            require_positive(self, field)
        if self.num_live > self.num_keys:
            refuse(self, "num_live", f"at most num_keys = {self.num_keys}")

    @property
    def form(self) -> Form:
        """The blank, the keys and the values, as inputs and as answers."""
        size = 1 + self.num_keys + self.num_values
        return Form(size, 0, size, "classes")

    @property
    def length(self) -> int:
        """T."""
        return 2 * (self.max_size + self.num_live)

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        key_rng, which_rng, value_rng, order_rng = jax.random.split(rng, 4)
        keys = 1 + draw_distinct(key_rng, jnp.zeros(self.num_keys), self.num_live)
        pair = jnp.arange(self.max_size)
        which = jax.random.randint(which_rng, pair.shape, 0, self.num_live)
        values = jax.random.randint(value_rng, pair.shape, 0, self.num_values)
        values = 1 + self.num_keys + values
        told = (which[:, None] == jnp.arange(self.num_live)) & (pair < size)[:, None]
        last = jnp.max(jnp.where(told, pair[:, None], -1), axis=0)
        # Those that were told, in random order; the others come last.
        order = jax.random.uniform(order_rng, last.shape)
        order = jnp.argsort(jnp.where(last >= 0, order, 2.0))
        time = jnp.arange(self.length)
        step, is_key = time // 2, time % 2 == 0
        tells = step < size
        pair = jnp.where(tells, step, 0)
        query = jnp.clip(step - size, 0, self.num_live - 1)
        asked = order[query]
        scored = ~tells & is_key & (step - size < self.num_live) & (last[asked] >= 0)
        stated = jnp.where(is_key, keys[which[pair]], values[pair])
        inputs = jnp.where(tells, stated, jnp.where(scored, keys[asked], BLANK))
        targets = jnp.where(scored, values[last[asked]], BLANK)
        return Batch(inputs.astype(jnp.int32), targets, scored)


@dataclass(frozen=True)
class NoisyRecall(SizedTask):
    """Recall of keys that come again, among noise (Poli et al. 2024, "MAD").

    `size` pairs of tokens: with probability `noise` two random noise tokens, else a
    random key and its value, which is the same all over the sequence. At a key that was
    told before, the target is its value. The paper: 128 tokens, 32 in all, 16 of them
    noise, a fifth of the pairs noise, up to four fifths.

    Args:
      num_keys: how many tokens are keys.
      num_values: how many tokens are values.
      num_noise: how many tokens are noise.
      noise: the probability of noise.
    """

    num_keys: int = 8
    num_values: int = 8
    num_noise: int = 16
    noise: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        for field in ("num_keys", "num_values", "num_noise"):
            require_positive(self, field)
        if not 0 <= self.noise < 1:
            refuse(self, "noise", "in [0, 1)")

    @property
    def form(self) -> Form:
        """The blank, keys, values and noise."""
        size = 1 + self.num_keys + self.num_values + self.num_noise
        return Form(size, 0, size, "classes")

    @property
    def length(self) -> int:
        """T."""
        return 2 * self.max_size

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        value_rng, key_rng, is_rng, noise_rng = jax.random.split(rng, 4)
        values = jax.random.randint(value_rng, (self.num_keys,), 0, self.num_values)
        values = 1 + self.num_keys + values
        keys = jax.random.randint(key_rng, (self.max_size,), 0, self.num_keys)
        is_noise = jax.random.bernoulli(is_rng, self.noise, (self.max_size,))
        noise = jax.random.randint(noise_rng, (self.max_size, 2), 0, self.num_noise)
        noise = 1 + self.num_keys + self.num_values + noise
        pairs = jnp.stack([1 + keys, values[keys]], -1)
        pairs = jnp.where(is_noise[:, None], noise, pairs)
        present = jnp.arange(self.max_size) < size
        same = (keys[:, None] == keys) & ~is_noise
        again = jnp.tril(same, -1).any(-1) & ~is_noise & present
        inputs = jnp.where(present[:, None], pairs, BLANK).reshape(-1)
        scored = jnp.stack([again, jnp.zeros_like(again)], -1).reshape(-1)
        answers = jnp.repeat(values[keys], 2)
        targets = jnp.where(scored, answers, BLANK)
        return Batch(inputs.astype(jnp.int32), targets, scored)


@dataclass(frozen=True)
class SelectiveCopy(SizedTask):
    """Says again what was said among blanks (Gu & Dao 2023; MAD's settings).

    `num_symbols` symbols at random places among `size` blanks, a mark, and then blanks
    where the symbols are asked for in their order. MAD: 14 kinds, 16 symbols, 223
    blanks: 256 tokens.

    Args:
      num_kinds: of symbols.
      num_symbols: to be copied.
    """

    num_kinds: int = 14
    num_symbols: int = 16

    def __post_init__(self):
        super().__post_init__()
        for field in ("num_kinds", "num_symbols"):
            require_positive(self, field)

    @property
    def form(self) -> Form:
        """The blank, the kinds, and the mark; the kinds."""
        return Form(self.num_kinds + 2, 0, self.num_kinds + 1, "classes")

    @property
    def length(self) -> int:
        """T."""
        return self.max_size + 2 * self.num_symbols + 1

    def one(self, rng: Array, size: Array) -> Batch:
        """See `SizedTask`."""
        symbol_rng, place_rng = jax.random.split(rng)
        symbols = jax.random.randint(
            symbol_rng, (self.num_symbols,), 1, self.num_kinds + 1
        )
        told = size + self.num_symbols
        place = jnp.arange(self.max_size + self.num_symbols)
        weights = jnp.where(place < told, 0.0, -jnp.inf)
        chosen = jnp.sort(draw_distinct(place_rng, weights, self.num_symbols))
        time = jnp.arange(self.length)
        inputs = jnp.zeros(self.length, jnp.int32).at[chosen].set(symbols)
        inputs = jnp.where(time == told, self.num_kinds + 1, inputs)
        answer = time - told - 1
        scored = (answer >= 0) & (answer < self.num_symbols)
        targets = jnp.where(scored, symbols[jnp.where(scored, answer, 0)], BLANK)
        return Batch(inputs, targets, scored)
