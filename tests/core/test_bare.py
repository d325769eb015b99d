"""Scanning over leaves without axes of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax.core import bare

SHAPES = {"one": (5, 1, 3), "ones": (5, 1, 1, 2, 1), "single": (5, 1), "none": (5, 2)}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("unroll", [1, 2])
def test_it_is_lax_scan(reverse, unroll):
    rng = np.random.default_rng(0)
    xs = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    xs["whole"] = np.arange(5)

    def turn(carry, x):
        assert {name: x[name].shape for name in SHAPES} == {
            name: shape[1:] for name, shape in SHAPES.items()
        }
        carry = carry + x["one"] * x["single"] - x["whole"]
        return carry, (carry[None], {"x": x, "nothing": None}, x["ones"].sum())

    start = jnp.zeros((1, 3))
    settings = {"reverse": reverse, "unroll": unroll}
    got = bare.scan(turn, start, xs, **settings)
    wanted = jax.lax.scan(turn, start, xs, **settings)
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert jax.tree.structure(got) == jax.tree.structure(wanted)


def test_no_axis_of_one_enters_or_leaves_the_loop():
    xs = {name: jnp.zeros(shape) for name, shape in SHAPES.items()}
    jaxpr = jax.make_jaxpr(lambda: bare.scan(lambda c, x: (c, x), 0.0, xs))()
    (loop,) = [e for e in jaxpr.eqns if e.primitive.name == "scan"]
    shapes = [v.aval.shape for v in (*loop.invars, *loop.outvars)]
    assert sorted(set(shapes)) == [(), (5,), (5, 2), (5, 3)]
