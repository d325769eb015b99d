"""The fused kernels, interpreted, equal the readable loop; and Mosaic takes them.

Interpreting says nothing about what a GPU accepts: for that they are lowered for one.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.kernels.fused_cells import cell, used_carry
from tests.core.small_cells import quick_jit, random_params
from wmlstm_jax import core
from wmlstm_jax.core.kernels import fit
from wmlstm_jax.core.trees import combine, partition

# Float32 of equations with other orders of adding: 1e-5 of what a sum is made of.
CLOSE = 1e-5

pytestmark = pytest.mark.usefixtures("compiled_step")


def everything(config, backend, *, length, batch, seed, masked=True):
    """Outputs, carry and all gradients of a loss that looks at all of them."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    xs, carry = draw(length, batch, config.input_dim), used_carry(config, batch, seed)
    given = {}
    if masked:
        given["valid"] = rng.random((length, batch)) < 0.8
        given["reset"] = rng.random((length, batch)) < 0.2
        given["tags"] = rng.integers(0, 9, (length, batch))
        xs[~given["valid"]] = np.nan
    floats, fixed = partition(carry)
    mask = draw(batch, config.num_heads * config.value_dim)
    weights = draw(length, batch, config.hidden_dim)

    def loss(params, changed, xs, mask):
        if not config.memory.num_slots:
            mask = None
        start = combine(changed, fixed)
        end, ys = core.unroll(
            params, config, start, xs, read_mask=mask, backend=backend, **given
        )
        total = (weights * ys).sum() + (end.hidden**2).sum() + jnp.sin(end.cell).sum()
        if end.memory is not None:
            total += (end.memory.keys**3).sum() + (end.memory.values**2).sum()
            if end.memory.salience is not None:
                total += (end.memory.salience**2).sum()
        return total, (end, ys)

    run = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)
    point = random_params(config, seed, 0.4), floats, xs, mask
    return (run if backend == "loop" else quick_jit(run))(*point)


# Eight-bit significands: one in bfloat16 is 2^-9 of it, and a sum of products has few.
ROUGH = 2e-2


def assert_close(wanted, found, close=CLOSE):
    """Every leaf is as close as that to its largest number."""
    assert jax.tree.structure(wanted) == jax.tree.structure(found)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(wanted), jax.tree.leaves(found), strict=True
    ):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(
            b, a, rtol=close, atol=close * max(1, np.abs(a).max()), err_msg=where
        )


CASES = {
    "lstm": dict(config=cell(0), length=5, batch=3),
    "lstm, one step": dict(config=cell(0, heads=1), length=1, batch=1, masked=False),
    "16 slots": dict(config=cell(16), length=5, batch=3),
    "32 slots": dict(config=cell(32, heads=1, key=64), length=3, batch=2, masked=False),
    "64 slots": dict(config=cell(64, heads=1, value=64), length=3, batch=5),
    "wide": dict(config=cell(16, heads=1, hidden=96), length=2, batch=2),
    "salience": dict(config=cell(policy=core.Salience()), length=6, batch=3),
    "key of all": dict(
        config=cell(key_from=("input", "previous", "current")), length=4, batch=3
    ),
}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        *(
            # Their parts are in others.
            pytest.param(n, 1, marks=[pytest.mark.long] * (n in ("wide", "32 slots")))
            for n in CASES
        ),
        ("lstm", 2),
        ("key of all", 2),
    ],
)
def test_equals_the_loop(name, rows, monkeypatch):
    """One or two rows of the batch in a program, of which the last may be too many."""
    if rows > 1:
        monkeypatch.setattr(fit, "PROCESSORS", 1)
    case = {"seed": 3 + rows, **CASES[name]}
    layout = fit.layout_of(case["config"], case["batch"], backward=True)
    assert layout.rows == rows
    assert_close(*(everything(backend=b, **case) for b in ("loop", "fused")))


@pytest.mark.parametrize("num_slots", [0, 16])
def test_equals_the_loop_in_bfloat16(num_slots):
    config = cell(num_slots, dtype="bfloat16", memory_dtype="bfloat16")
    case = dict(config=config, length=4, batch=2, seed=7)
    assert_close(*(everything(backend=b, **case) for b in ("loop", "fused")), ROUGH)


def test_the_pointer_sees_what_was_written():
    config = cell(16, heads=1, copy=True)
    rng = np.random.default_rng(0)
    params = random_params(config, 5, 0.4)
    xs = rng.normal(size=(6, 2, config.input_dim)).astype(np.float32)
    tags, targets = rng.integers(0, 3, (2, 6, 2))
    carry = used_carry(config, 2, 1)

    def run(params, backend):
        end, ys = core.unroll(
            params, config, carry, xs, tags=tags, targets=targets, backend=backend
        )
        return ys.copy.sum() + ys.hidden.sum(), (end, ys)

    wanted, found = (
        quick_jit(jax.grad(run, has_aux=True), static_argnums=1)(params, backend)
        for backend in ("rollback", "fused")
    )
    assert_close(wanted, found)


def lowered(config, platform, length=6, batch=16):
    """The gradient as text, for a machine that need not be there."""
    shapes = jax.eval_shape(
        lambda: (
            core.init_params(jax.random.key(0), config),
            core.init_carry(config, batch),
            jnp.zeros((length, batch, config.input_dim)),
            jnp.zeros((length, batch), bool),
        )
    )

    def loss(params, carry, xs, mask):
        carry, ys = core.unroll(
            params, config, carry, xs, valid=mask, reset=mask, backend="fused"
        )
        return (ys**2).sum() + (carry.hidden**2).sum()

    traced = jax.jit(jax.grad(loss, argnums=(0, 2))).trace(*shapes)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(
    "settings",
    [
        dict(num_slots=0),
        dict(num_slots=64),
        dict(num_slots=32, memory_dtype="bfloat16", policy=core.Salience()),
        pytest.param(
            dict(num_slots=16, heads=2, hidden=32, key=32, value=32),
            marks=pytest.mark.long,
        ),
        pytest.param(dict(num_slots=128, dtype="bfloat16"), marks=pytest.mark.long),
    ],
    ids=lambda settings: " ".join(map(str, settings.values())),
)
def test_lowers_for_a_gpu(settings):
    """At the sizes that are measured: twelve heads of 64."""
    config = cell(**dict(heads=12, hidden=64, key=64, value=64) | settings)
    text = lowered(config, "cuda")
    # One kernel each way, and no loop around it.
    assert len(re.findall(r"custom_call @mosaic_gpu_v2\(", text)) == 2
    assert "stablehlo.while" not in text
