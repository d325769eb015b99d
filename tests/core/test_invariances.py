"""What changes nothing: padding, packing, pieces, neighbours, what comes later."""

import functools
import sys
from dataclasses import replace

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis.extra.numpy import arrays

from tests.core.invariance_runs import (
    BACKENDS,
    BATCH,
    CASES,
    CONFIGS,
    LENGTH,
    REFUSING,
    ROWS,
    STEPS,
    TIME,
    backends_of,
    execute,
    first_of,
    in_pieces,
    make,
    only,
    packed_and_apart,
    padded,
    reference,
    rows,
    timed,
)
from tests.core.small_cells import quick_jit
from wmlstm_jax import core
from wmlstm_jax.core.trees import combine, partition

# float64 sums in another order, and those of float32; slots are the same in both.
EXACT, SINGLE = dict(rtol=1e-12, atol=1e-12), dict(rtol=1e-5, atol=1e-5)
per_config = pytest.mark.parametrize("name", CONFIGS)
step = jax.jit(core.step, static_argnums=1)


@pytest.fixture(scope="module", autouse=True)
def _for_short_sequences():
    """The loop is one over compiled steps, and what is undone at once is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[core.unroll.__module__], "step", step)
        patch.setattr("wmlstm_jax.core.rollback.PIECE", 4)
        patch.setattr("wmlstm_jax.core.pointing.PIECE", 5)
        yield


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A configuration and a backend; the tests of one case run one after another."""
    return request.param


@pytest.fixture
def run(case, x64):
    name, backend = case
    return functools.partial(execute, CONFIGS[name], backend)


def assert_same(got, wanted, tolerance=EXACT):
    got, wanted = (jax.tree.flatten_with_path(tree)[0] for tree in (got, wanted))
    for (path, leaf), (same_path, other) in zip(got, wanted, strict=True):
        assert path == same_path
        assert np.isfinite(leaf).all(), path
        np.testing.assert_allclose(leaf, other, err_msg=str(path), **tolerance)


def test_padding_changes_nothing(case, run):
    for turn in range(3):
        assert_same(padded(run, *make(case[0]), turn), reference(case[0], STEPS))


def test_packed_documents_are_documents_apart(case, run):
    assert_same(*packed_and_apart(run, CONFIGS[case[0]], *make(case[0])))


def test_pieces_are_the_whole(case, run):
    assert_same(in_pieces(run, *make(case[0])), reference(case[0]))


def test_order_of_rows_does_not_matter(case, run):
    order = [2, 0, 1]
    given, weights = (rows(tree, order) for tree in make(case[0]))
    assert_same(run(given, weights), rows(reference(case[0]), order))


def test_a_row_that_is_not_finite_leaves_the_others_alone(case, run):
    given, weights = make(case[0])
    xs = given["xs"].copy()
    xs[2, 0] = np.nan
    results = run(given | {"xs": xs}, weights)
    assert np.isnan(results["hidden"][2:, 0]).all()

    def others(results):
        # The gradient of the parameters is of all rows together.
        gradient = {n: g for n, g in results["gradient"].items() if n != "params"}
        return rows(results | {"gradient": gradient}, [1, 2])

    assert_same(others(results), others(reference(case[0])))


@pytest.mark.parametrize("time", [0, 4])
def test_output_is_blind_to_what_comes_later(time, case, run):
    given, weights = make(case[0])
    weights = jax.tree.map(np.zeros_like, weights)
    for name in timed(weights):
        weights[name][time] = 1
    seen = run(given, weights)["gradient"]["xs"].any(-1)
    np.testing.assert_array_equal(seen, np.broadcast_to(TIME <= time, seen.shape))


def test_gradient_of_each_leaf_of_the_final_carry(case, run):
    given, weights = make(case[0])
    nothing = jax.tree.map(np.zeros_like, weights)
    leaves, structure = jax.tree.flatten(weights["carry"])
    for chosen in range(len(leaves)):
        one = [leaf * (i == chosen) for i, leaf in enumerate(leaves)]
        one = nothing | {"carry": structure.unflatten(one)}
        wanted = execute(CONFIGS[case[0]], "scan", given, one)
        assert_same(run(given, one), wanted)


@pytest.mark.parametrize(
    ("name", "backend"), [("ordered", "rollback"), ("blocks", "remat")]
)
def test_unrolled_and_without_masks(name, backend, x64):
    given, weights = (first_of(tree, STEPS) for tree in make(name))
    del given["valid"], given["reset"]
    results = execute(CONFIGS[name], backend, given, weights, unroll=3)
    assert_same(results, reference(name, STEPS))


@per_config
def test_a_row_alone_and_token_by_token(name, x64):
    config, (given, _), whole = CONFIGS[name], make(name), reference(name)
    step_alone = quick_jit(core.step, static_argnums=1)
    point = jax.jit(core.pointer_distribution, static_argnums=(1, 3))
    overwritten = refused = 0
    for row in ROWS:
        alone = rows(given, [row])
        beside = {n: alone[n] for n in ("read_mask", "source") if n in alone}
        carry = alone["carry"]
        for time in range(LENGTH):
            before, x, tag = carry.memory, alone["xs"][time], alone["tags"][time]
            carry, y = step_alone(given["params"], config, carry, x, tag, **beside)
            np.testing.assert_allclose(y[0], whole["hidden"][time, row], **EXACT)
            if config.copy:
                bank = {"source": beside.get("source")}
                carry, said, live = point(given["params"], config, carry, 3, **bank)
                copied = said[0, given["targets"][time, row]]
                np.testing.assert_allclose(copied, whole["copy"][time, row], **EXACT)
                assert live[0] == whole["live"][time, row]
            if before is not None:
                full = before.live.all(-1)
                written = (carry.memory.written != before.written).any(-1)
                overwritten += (full & written).sum()
                refused += (full & ~written).sum()
        assert_same(carry, rows(whole, [row])["carry"])
    assert (overwritten > 0) == (name != "lstm")
    assert (refused > 0) == (name in REFUSING)


@per_config
def test_a_step_that_is_not_valid_changes_nothing(name, x64):
    given, weights = make(name)
    # Of a full memory: the content of dead slots has no gradient.
    start, others = partition(reference(name)["carry"])
    no_row = np.zeros(BATCH, bool)
    beside = {n: given.get(n) for n in ("read_mask", "source")}
    beside |= {"valid": no_row, "reset": no_row}

    def run(params, start, x):
        carry, tag = combine(start, others), given["tags"][0]
        carry, y = step(params, CONFIGS[name], carry, x, tag, **beside)
        return partition(carry)[0], y

    padding = np.full((BATCH, 2), np.nan)
    (after, y), pull_back = jax.vjp(run, given["params"], start, padding)
    assert_same(after, start)
    assert not y.any()
    by_params, by_start, by_x = pull_back((weights["carry"], weights["hidden"][0]))
    assert_same(by_start, weights["carry"])
    for leaf in jax.tree.leaves((by_params, by_x)):
        assert (leaf == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_reading_is_with_reads_masked(backend, x64):
    config = CONFIGS["pointed"]
    reading = replace(config, read=True)
    given, weights = make("pointed")
    got = execute(config, backend, given, weights)
    params = core.init_params(jax.random.key(0), reading)
    params = {part: params[part] | given["params"][part] for part in params}
    memory = given["carry"].memory._replace(
        values=core.init_carry(reading, BATCH).memory.values
    )
    masked = given | {
        "params": params,
        "carry": given["carry"]._replace(memory=memory),
        "read_mask": np.zeros((BATCH, config.num_heads * config.value_dim)),
    }
    nothing = weights["carry"].memory._replace(values=np.zeros_like(memory.values))
    weights = weights | {"carry": weights["carry"]._replace(memory=nothing)}
    wanted = execute(reading, backend, masked, weights)

    def shared(results):
        params = results["gradient"]["params"]
        results = {name: results[name] for name in ("carry", "hidden", "copy", "live")}
        carry = results["carry"]
        carry = carry._replace(memory=carry.memory._replace(values=None))
        shared = {
            part: {to: params[part][to] for to in leaves}
            for part, leaves in given["params"].items()
        }
        return results | {"carry": carry, "params": shared}

    assert_same(shared(got), shared(wanted))


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_reading_and_without_targets(backend, x64):
    given, weights = make("pointed")
    wanted = execute(CONFIGS["pointed"], "loop", given, weights)
    weights = {name: weights[name] for name in ("carry", "hidden")}
    given = {name: leaf for name, leaf in given.items() if name != "targets"}
    got = execute(CONFIGS["pointed"], backend, given, weights)
    for name in weights:
        assert_same(got[name], wanted[name])


@hypothesis.given(
    valid=arrays(bool, (LENGTH, BATCH)), reset=arrays(bool, (LENGTH, BATCH))
)
@hypothesis.settings(
    max_examples=5,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@per_config
def test_any_masks(name, x64, valid, reset):
    given, weights = make(name)
    given = only(given, valid) | {"reset": reset}
    wanted = execute(CONFIGS[name], "loop", given, weights)
    for backend in set(backends_of(name)) - {"loop"}:
        assert_same(execute(CONFIGS[name], backend, given, weights), wanted)


@pytest.mark.parametrize("name", ["copy", "ordered", "blocks", "source"])
def test_single_precision(name, x64):
    config = replace(CONFIGS[name], dtype="float32", memory_dtype="float32")
    run = functools.partial(execute, config, None)
    floats, others = partition(make(name))
    floats = jax.tree.map(lambda leaf: leaf.astype(np.float32), floats)
    given, weights = combine(floats, others)
    one, *others = (padded(run, given, weights, turn) for turn in range(3))
    for other in others:
        assert_same(other, one, SINGLE)
    assert_same(in_pieces(run, given, weights), run(given, weights), SINGLE)
    assert_same(*packed_and_apart(run, config, given, weights), SINGLE)


@per_config
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_carry_keeps_its_types(name, dtype, x64):
    """Or the next call compiles again, and `jax.lax.scan` over steps refuses it."""
    config = replace(CONFIGS[name], dtype=dtype, memory_dtype=dtype)
    given = make(name)[0]
    shape = (LENGTH, BATCH, config.input_dim)
    beside = {n: given[n] for n in ("read_mask", "source") if n in given}
    start = jax.eval_shape(
        lambda: {
            "params": core.init_params(jax.random.key(0), config),
            "carry": core.init_carry(config, BATCH, source_length=2),
            "xs": jnp.zeros(shape, dtype),
        }
    )

    def run(backend, params, carry, xs):
        if backend == "step":
            return core.step(params, config, carry, xs[0], **beside)[0]
        return core.unroll(params, config, carry, xs, backend=backend, **beside)[0]

    def types(tree):
        return [
            (leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)
        ]

    for backend in {"step", *backends_of(name)} - {"loop"}:
        carry = jax.eval_shape(functools.partial(run, backend), **start)
        assert types(carry) == types(start["carry"]), backend
