import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import numpy_reference as reference
from wmlstm_jax import (
    CellConfig,
    Salience,
    SlotMemory,
    fill,
    init_carry,
    init_params,
    readout,
    unroll,
)

BATCH, LENGTH = 3, 7
SIZES = dict(num_heads=2, key_dim=3, value_dim=2, readout=True)


def make(**changes):
    config = CellConfig(4, 6, **SIZES | dict(memory=SlotMemory(5)) | changes)
    params = jax.jit(init_params, static_argnums=1)(jax.random.key(0), config)
    # Away from the symmetric start, every leaf on its own.
    rng = np.random.default_rng(1)
    return config, jax.tree.map(
        lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape).astype(leaf.dtype), params
    )


@functools.partial(jax.jit, static_argnums=1)
def run(params, config):
    xs = jax.random.normal(jax.random.key(2), (LENGTH, BATCH, 4))
    return unroll(params, config, init_carry(config, BATCH), xs)[0]


def by_hand(params, config, carry):
    """One head and row at a time, from the equations."""
    carry, params = jax.device_get((carry, params))
    memory, scalars = carry.memory, params["memory"]
    found = []
    for b in range(BATCH):
        for r in range(config.num_heads):
            g = r * config.num_blocks // config.num_heads
            width = config.hidden_dim // config.num_blocks
            hidden = carry.hidden[b, g * width : (g + 1) * width]
            query = hidden @ params["final"]["readout"][g]
            query = (query + params["bias"]["readout"][g]).reshape(-1, 3)
            query = query[r % len(query)]
            beta = 8 * reference.sigmoid(scalars["readout_sharpness"][r])
            vector = reference.rms(query) * beta / np.sqrt(3)
            live = np.flatnonzero(memory.live[b, g])
            logits = [scalars["null_logit"][r]]
            for n in live:
                bias = 0.0
                if memory.salience is not None:
                    decay = reference.decay_of(params, g)
                    bias = memory.salience[b, g, n] - decay * memory.age[b, g, n]
                logits.append(vector @ memory.keys[b, r, n] + bias)
            weights = reference.softmax(np.array(logits, np.float64))[1:]
            found.append(weights @ memory.values[b, r][live])
    found = np.array(found).reshape(BATCH, -1)
    return np.concatenate([carry.hidden, found], axis=1)


@pytest.mark.parametrize(
    "changes",
    [{}, {"num_blocks": 2}, {"memory": SlotMemory(4, Salience()), "num_blocks": 2}],
    ids=str,
)
def test_it_is_the_equation(changes):
    config, params = make(**changes)
    carry = run(params, config)
    found = readout(params, config, carry)
    assert found.shape == (BATCH, 6 + 2 * 2)
    np.testing.assert_allclose(found, by_hand(params, config, carry), rtol=2e-5)


def test_an_empty_memory_reads_zero():
    config, params = make()
    found = readout(params, config, init_carry(config, BATCH))
    np.testing.assert_array_equal(found, np.zeros((BATCH, 10)))


def test_its_query_learns_and_reaches_what_was_written():
    config, params = make()
    gradient = jax.jit(
        jax.grad(lambda p: readout(p, config, run(p, config))[:, 6:].sum())
    )(params)
    for part, to in (("final", "readout"), ("bias", "readout"), ("current", "value")):
        assert np.abs(gradient[part][to]).max() > 0
    assert np.abs(gradient["memory"]["readout_sharpness"]).max() > 0


def test_it_reads_the_source_too():
    config, params = make(memory=SlotMemory(0), source=True)
    keys = jax.random.normal(jax.random.key(3), (4, BATCH, 2, 3))
    values = jnp.ones((4, BATCH, 2, 2))
    found = readout(
        params, config, init_carry(config, BATCH), source=fill(keys, values)
    )
    # All values are one: what is read is the weight that is not the null slot's.
    assert ((found[:, 6:] > 0.3) & (found[:, 6:] < 1)).all()


def test_a_cell_without_it_is_refused():
    config, params = make(readout=False)
    with pytest.raises(ValueError, match="CellConfig.readout is False"):
        readout(params, config, init_carry(config, BATCH))
