import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from wmlstm_jax.benchmarks import cost
from wmlstm_jax.core import (
    CellConfig,
    Fifo,
    Salience,
    SlotMemory,
    init_carry,
    init_params,
    unroll,
)

# No two dimensions are equal, so that no two letters can be exchanged unseen.
BATCH, D, H, R, K, W, N = 3, 5, 22, 2, 13, 17, 11
PIECE = 16
CONFIG = CellConfig(D, H, R, K, W, SlotMemory(N))
CONFIGS = {
    "fifo": CONFIG,
    "salience": replace(CONFIG, memory=SlotMemory(N, Salience())),
    "ordered": replace(CONFIG, read_modes=("content", 0, 1)),
    "blocks": replace(CONFIG, num_blocks=2),
    "all keys": replace(CONFIG, key_from=("input", "previous", "current")),
    "no slots": CellConfig(D, H),
    "no slots, blocks": CellConfig(D, H, R, num_blocks=2),
}


def arguments(config, length, batch=BATCH):
    """Shapes of parameters, inputs, and the cotangent of the outputs."""

    def make():
        params = init_params(jax.random.key(0), config)
        xs = jnp.zeros((length, batch, config.input_dim))
        return params, xs, jnp.zeros((length, batch, config.hidden_dim))

    return jax.eval_shape(make)


def forward(config):
    def run(params, xs):
        carry = init_carry(config, BATCH)
        return unroll(params, config, carry, xs, backend="rollback")[1]

    return run


def both(config):
    def run(params, xs, cotangent):
        ys, pull = jax.vjp(forward(config), params, xs)
        return ys, pull(cotangent)

    return run


def inner_jaxprs(eqn):
    for param in eqn.params.values():
        for value in param if isinstance(param, tuple | list) else [param]:
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield inner


def operations_of(jaxpr):
    """Multiplications and additions in the products that a program needs."""
    total, needed = 0, {id(v) for v in jaxpr.outvars}
    for eqn in reversed(jaxpr.eqns):
        if not needed & {id(v) for v in eqn.outvars}:
            continue
        needed |= {id(v) for v in eqn.invars}
        inside = sum(map(operations_of, inner_jaxprs(eqn)))
        total += inside * eqn.params.get("length", 1)
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            summed = math.prod(shape[axis] for axis in contracted)
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * summed
    return total


def counted(function, config, with_cotangent):
    """Operations of a step, by the programs for one and for two pieces."""
    found = []
    for length in (PIECE, 2 * PIECE):
        args = arguments(config, length)
        args = args if with_cotangent else args[:2]
        found.append(operations_of(jax.make_jaxpr(function)(*args).jaxpr))
    return (found[1] - found[0]) / PIECE


def total(products):
    """Operations of a step."""
    return sum(product.operations for product in products)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_product_is_counted(name):
    config = CONFIGS[name]
    cell = cost.step_cost(config, BATCH, PIECE)
    assert total(cell.forward) == counted(forward(config), config, False)
    assert total(cell.both) == counted(both(config), config, True)


def test_a_sequence_shorter_than_a_piece():
    length = 5
    args = arguments(CONFIG, length)
    found = operations_of(jax.make_jaxpr(both(CONFIG))(*args).jaxpr)
    assert found == length * total(cost.step_cost(CONFIG, BATCH, length).both)


def test_the_compiler_counts_little_more():
    """XLA also counts what is done element by element."""
    config = replace(CONFIG, input_dim=64, hidden_dim=128)
    length, batch = 4, 32

    @jax.jit
    def run(params, xs, carry):  # Unrolled, since of a loop XLA counts one turn.
        return unroll(params, config, carry, xs, unroll=length)[1]

    params, xs, _ = arguments(config, length, batch)
    carry = jax.eval_shape(lambda: init_carry(config, batch))
    found = run.lower(params, xs, carry).compile().cost_analysis()["flops"]
    wanted = length * total(cost.step_cost(config, batch, length).forward)
    assert wanted <= found <= 1.05 * wanted


def test_by_hand():
    """B 1, D 2, H 3, R 1, K 4, W 5, N 6, T 8: what the page of formulas says."""
    config = CellConfig(2, 3, 1, 4, 5, SlotMemory(6))
    cell = cost.step_cost(config, 1, 8)
    operations = {p.name: p.operations for p in cell.both}
    inputs, hidden = 2 * 2 * (12 + 4), 2 * 3 * (12 + 4 + 4 + 5)
    gates, output = 2 * 5 * 12, 2 * 5 * 3
    assert operations == {
        "input": inputs,
        "input, transposed": inputs,
        "input, weights": inputs,
        "hidden": hidden,
        "hidden, transposed": hidden,
        "hidden, weights": hidden,
        "read to gates": gates,
        "read to gates, transposed": gates,
        "read to gates, weights": gates,
        "read to output": output,
        "read to output, transposed": output,
        "read to output, weights": output,
        "keys": 2 * 4 * 6,
        "keys, transposed": 2 * 4 * (6 + 8),
        "keys, again": 2 * 4 * (6 + 8),
        "keys, outer": 2 * 4 * 6,
        "keys, items": 2 * 4 * 8,
        "values": 2 * 5 * 6,
        "values, transposed": 2 * 5 * (6 + 8),
        "values, outer": 2 * 5 * 6,
        "values, items": 2 * 5 * 8,
        "kept, written and read": 0,
    }
    moved = {p.name: p.bytes for p in cell.both}
    assert moved["input"] == 4 * (2 * 16 / 8 + 2 + 16)
    assert moved["hidden"] == moved["hidden, transposed"] == 4 * 3 * 25
    assert moved["hidden, weights"] == 4 * (3 * 25 / 8 + 3 + 25)
    assert moved["keys"] == moved["keys, transposed"] == 4 * 4 * 6
    assert moved["values"] == moved["values, transposed"] == 4 * 5 * 6
    assert moved["keys, again"] == 4 * 4 * 6 / 8
    assert moved["values, outer"] == 2 * 4 * 5 * 6 / 8
    assert moved["kept, written and read"] == 2 * 4 * (6 * 3 + 4 * (4 + 5))
    assert cost.working_set(config, 1) == 4 * (3 * 25 + 5 * 12 + 6 * (4 + 5))


def test_narrow_numbers_move_fewer_bytes():
    narrow = replace(CONFIG, dtype="bfloat16", memory_dtype="bfloat16")
    wide, half = (cost.step_cost(c, BATCH, 8).forward for c in (CONFIG, narrow))
    assert [p.bytes for p in half] == [p.bytes / 2 for p in wide]
    assert [p.operations for p in half] == [p.operations for p in wide]


def floats_of_a_step(config):
    """What JAX keeps for the backward pass and grows with the sequence."""

    def kept(length):
        params, xs, _ = arguments(config, length)
        pull = jax.eval_shape(lambda *a: jax.vjp(forward(config), *a)[1], params, xs)
        leaves = jax.tree.leaves(pull)
        return sum(leaf.size for leaf in leaves if leaf.dtype == jnp.float32)

    return (kept(2 * PIECE) - kept(PIECE)) / PIECE / BATCH


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_kept_is_not_less_than_needed(name):
    config = CONFIGS[name]
    needed, kept = cost.kept_width(config), floats_of_a_step(config)
    assert needed <= kept <= 2 * needed


def test_kept_width_does_not_depend_on_the_capacity():
    more = replace(CONFIG, memory=SlotMemory(10 * N, Fifo()))
    assert cost.kept_width(more) == cost.kept_width(CONFIG)


def test_a_floor_is_the_larger_in_a_product_and_the_sum_over_them():
    machine = cost.Machine(matrix_rate=10.0, bandwidth={2**20: 2.0, 2**21: 4.0})
    products = (cost.Product("a", 100, 1), cost.Product("b", 1, 100))
    assert cost.floor(products, machine, size=2**20) == 10 + 50
    assert cost.floor(products, machine, size=2**20 + 1) == 10 + 25


def test_the_floor_of_a_token():
    size = 4 * 1000 + 500
    machine = cost.Machine(matrix_rate=1e9, bandwidth={2**20: 10.0})
    assert cost.token_floor(1000, 500, 2, machine) == size / 10
    machine = cost.Machine(matrix_rate=1.0, bandwidth={2**20: 1e9})
    # Two operations for each parameter and row, and for each float of the state.
    assert cost.token_floor(1000, 500, 2, machine) == 4000 + 250


def test_a_source_is_refused():
    with pytest.raises(ValueError, match="source is True"):
        cost.step_cost(replace(CONFIG, source=True), BATCH, 8)


@pytest.mark.parametrize(
    ("num_bytes", "power"), [(0, 20), (1, 20), (2**20, 20), (2**20 + 1, 21)]
)
def test_size_class(num_bytes, power):
    assert cost.size_class(num_bytes) == 2**power


def test_rates_are_measured(monkeypatch):
    monkeypatch.setattr(cost, "MATRIX_SIZE", 128)
    machine = cost.measure([5, 2**20, 3 * 2**20])
    assert set(machine.bandwidth) == {2**20, 2**22}
    # From a slow core to many fast ones.
    assert 1e8 < machine.matrix_rate < 1e15
    assert all(1e8 < rate < 1e14 for rate in machine.bandwidth.values())


def test_the_best_of_two_measurements():
    one = cost.Machine(1.0, {1: 5.0, 2: 1.0})
    assert cost.faster(one, cost.Machine(2.0, {1: 4.0, 2: 3.0})) == (
        2.0,
        {1: 5.0, 2: 3.0},
    )
