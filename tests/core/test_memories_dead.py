"""What is dead is never seen: by no read, no backend and no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import (
    BACKENDS,
    B,
    quick_jit,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core
from wmlstm_jax.core.memories import wipe

T = 3
FLOATS = ("keys", "values", "salience", "weights")

per_config = pytest.mark.parametrize(
    "config",
    [small_cell(read_modes=("content", 0)), small_cell(core.Salience())],
    ids=["fifo", "salience"],
)
per_backend = pytest.mark.parametrize("backend", BACKENDS)


def one_alive(config, rubbish) -> core.Carry:
    """A carry whose slot 0 is live; the others are dead and hold rubbish.

    Args:
      config: the settings.
      rubbish: what the floating fields hold there, one for each dead slot.
    """
    rng = np.random.default_rng(0)
    carry = jax.tree.map(np.array, core.init_carry(config, B))
    memory = carry.memory
    for field in FLOATS:
        leaf = getattr(memory, field)
        if leaf is not None:
            leaf[...] = rng.normal(size=leaf.shape)
            leaf[:, :, 1:] = np.reshape(rubbish, (-1, *(1,) * (leaf.ndim - 3)))
    memory.slot_epoch[..., 0] = 0
    memory.pinned[..., 1:] = True
    memory.written[..., 1:] = 9
    memory.tags[..., 1:] = 1
    memory.clock[...] = memory.head[...] = 1
    return carry


@per_config
def test_wipe_leaves_the_live_and_nothing_of_the_dead(config):
    memory = one_alive(config, [7, jnp.nan]).memory
    memory = memory._replace(epoch=memory.epoch + 3, slot_epoch=memory.slot_epoch + 3)
    wiped = wipe(jax.tree.map(jnp.asarray, memory))
    np.testing.assert_array_equal(wiped.slot_epoch, [[[0, -1, -1]]] * B)
    blank = dict.fromkeys((*FLOATS, "written"), 0) | {"tags": -1, "pinned": False}
    for field, nothing in blank.items():
        leaf, before = getattr(wiped, field), getattr(memory, field)
        if leaf is not None:
            np.testing.assert_array_equal(leaf[:, :, 0], before[:, :, 0], field)
            np.testing.assert_array_equal(leaf[:, :, 1:], nothing, field)
    np.testing.assert_array_equal(wiped.epoch, 0)
    for field in ("clock", "head"):
        np.testing.assert_array_equal(getattr(wiped, field), getattr(memory, field))


@per_config
@per_backend
def test_what_is_not_finite_reaches_nothing_where_it_is_dead(
    config, backend, monkeypatch
):
    # The three steps are undone in two pieces.
    monkeypatch.setattr("wmlstm_jax.core.rollback.PIECE", 2)
    params = random_params(config)
    xs = random_inputs(config, length=T)
    reset = np.array([[False, False], [False, True], [False, False]])

    @quick_jit
    def differentiate(floats, carry, xs):
        def loss(params, xs, floats):
            memory = carry.memory._replace(**floats)
            final, ys = core.unroll(
                params,
                config,
                carry._replace(memory=memory),
                xs,
                reset=reset,
                backend=backend,
            )
            content = final.memory.keys.sum() + (final.memory.values**2).sum()
            return (ys**2).sum() + final.cell.sum() + content, (ys, final)

        gradients = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
        return gradients(params, xs, floats)

    def run(rubbish, xs=xs):
        carry = one_alive(config, rubbish)
        floats = {field: getattr(carry.memory, field) for field in FLOATS}
        floats = {field: leaf for field, leaf in floats.items() if leaf is not None}
        return differentiate(floats, carry, xs)

    clean = run([0, 0])
    for leaf in jax.tree.leaves(clean):
        assert np.isfinite(leaf).all()
    for rubbish in ([jnp.nan, jnp.inf], [-jnp.inf, 1e38]):
        jax.tree.map(np.testing.assert_array_equal, run(rubbish), clean)
    (_, _, d_floats), (ys, final) = clean
    for field, leaf in d_floats.items():
        assert np.any(leaf[:, :, 0]), field
        np.testing.assert_array_equal(leaf[:, :, 1:], 0, field)
    # A row that NaN has taken is as good as new after its reset; the other never knew.
    lost = xs.copy()
    lost[0, 1] = jnp.nan
    _, (ys_lost, final_lost) = run([0, 0], lost)
    assert np.isnan(ys_lost[0, 1]).all()
    np.testing.assert_array_equal(ys_lost[:, 0], ys[:, 0])
    np.testing.assert_array_equal(ys_lost[1:], ys[1:])
    jax.tree.map(np.testing.assert_array_equal, final_lost, final)
