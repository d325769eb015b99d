"""What the compiler made of the recurrence: copies, memory, and how often it ran."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from wmlstm_jax import (
    CellConfig,
    Fifo,
    LeastUsed,
    Salience,
    SlotMemory,
    TopK,
    init_carry,
    init_params,
)
from wmlstm_jax import unroll as unroll_loop

POLICIES = {
    "fifo": Fifo(),
    "salience": Salience(),
    "least_used": LeastUsed(),
    "top_k": TopK(),
}
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"(?:ROOT )?%?([\w.\-]+) = \w+\[([\d,]*)\]\S* ([\w\-]+)\(")


def arguments(length, batch, config):
    """The shapes of parameters, carry and inputs."""
    return jax.eval_shape(
        lambda: (
            init_params(jax.random.key(0), config),
            init_carry(config, batch),
            jnp.zeros((length, batch, config.input_dim)),
        )
    )


def compiled_gradient(length, batch, config, *, tagged=False, backend="rollback"):
    """The compiled gradient in parameters and inputs, from shapes alone."""
    shapes = arguments(length, batch, config)
    tokens = jnp.zeros((length, batch), jnp.int32) if tagged else None

    def loss(params, carry, xs):
        given = {"tags": tokens, "targets": tokens} if tagged else {}
        carry, ys = unroll_loop(params, config, carry, xs, backend=backend, **given)
        if tagged:
            ys = ys.hidden + ys.copy[..., None]
        return (ys**2).sum() + (carry.hidden**2).sum()

    return jax.jit(jax.grad(loss, argnums=(0, 2))).lower(*shapes).compile()


def compiled_forward(length, batch, config):
    """The compiled outputs, from shapes alone."""

    def run(params, carry, xs):
        return unroll_loop(params, config, carry, xs)

    return jax.jit(run).lower(*arguments(length, batch, config)).compile()


def loop_bodies(hlo, *, beside_loops=False):
    """The instructions of every loop body: name, number of elements, operation.

    With `beside_loops` those of the whole program too.
    """
    computations, lines = {}, []
    for line in hlo.splitlines():
        if header := _COMPUTATION.match(line):
            lines = computations.setdefault(header[1], [])
        elif found := _INSTRUCTION.match(line.strip()):
            size = 1
            for dim in filter(None, found[2].split(",")):
                size *= int(dim)
            lines.append((found[1], size, found[3]))
    bodies = set(re.findall(r"body=%?([\w.\-]+)", hlo))
    if beside_loops:
        bodies |= set(re.findall(r"^ENTRY %?([\w.\-]+)", hlo, re.MULTILINE))
    return {name: computations[name] for name in bodies}


def copies_of_size(hlo, size, **where):
    """Copies of as many elements, in any loop body.

    XLA names a fusion after what it fused: one with a copy inside has it in its name.
    """
    return [
        (body, name)
        for body, instructions in loop_bodies(hlo, **where).items()
        for name, elements, operation in instructions
        if elements == size
        and (operation == "copy" or (operation == "fusion" and "copy" in name))
    ]


# No other array of the loop has as many elements as the keys, or the values.
PRIMES = dict(input_dim=7, hidden_dim=22, num_heads=2, key_dim=13, value_dim=13)
BATCH, SLOTS, LENGTH = 3, 53, 48


@pytest.mark.parametrize(
    ("policy", "modes"),
    [(name, ("content",)) for name in POLICIES] + [("fifo", ("content", 0, 1))],
)
def test_no_loop_body_copies_the_memory(policy, modes):
    memory = SlotMemory(SLOTS, POLICIES[policy])
    # What is mixed is not undone where it is pointed at.
    tagged = policy != "top_k"
    config = CellConfig(**PRIMES, memory=memory, read_modes=modes, copy=tagged)
    hlo = compiled_gradient(LENGTH, BATCH, config, tagged=tagged).as_text()
    size = BATCH * PRIMES["num_heads"] * PRIMES["key_dim"] * SLOTS
    assert loop_bodies(hlo)
    assert not copies_of_size(hlo, size)


def test_a_copy_is_seen():
    """Plain differentiation keeps every memory, and copies it into its stack."""
    config = CellConfig(**PRIMES, memory=SlotMemory(SLOTS))
    hlo = compiled_gradient(LENGTH, BATCH, config, backend="scan").as_text()
    assert copies_of_size(hlo, BATCH * 2 * 13 * SLOTS)


@pytest.mark.parametrize("num_slots", [0, 5])
def test_nothing_copies_the_projections(num_slots):
    config = CellConfig(**PRIMES, memory=SlotMemory(num_slots))
    hlo = compiled_gradient(LENGTH, BATCH, config).as_text()
    size = LENGTH * BATCH * 4 * PRIMES["hidden_dim"]
    assert sum(n == size for b in loop_bodies(hlo).values() for _, n, _ in b)
    assert not copies_of_size(hlo, size, beside_loops=True)
    forward = compiled_forward(LENGTH, BATCH, config).as_text()
    assert not copies_of_size(forward, size, beside_loops=True)


def test_the_large_kernels_are_on_the_left():
    """What is on the right of a product is packed, at every step."""
    config = CellConfig(**PRIMES, memory=SlotMemory(5))
    hlo = compiled_gradient(LENGTH, BATCH, config).as_text()
    hidden, seen = PRIMES["hidden_dim"], 2 * PRIMES["value_dim"]
    projected = 4 * hidden + 3 * seen  # gates, query, key, value
    for width in (projected, 4 * hidden, hidden, seen):
        assert re.search(rf" = f32\[{width},{BATCH}\]\S* dot\(", hlo), width


def num_equations(length):
    """Of the whole gradient; the bodies of its loops count once."""
    config = CellConfig(**PRIMES, memory=SlotMemory(5))
    shapes = jax.eval_shape(lambda: init_params(jax.random.key(0), config))
    carry, xs = init_carry(config, 2), jnp.zeros((length, 2, 7))

    def loss(params):
        return unroll_loop(params, config, carry, xs)[1].sum()

    return str(jax.make_jaxpr(jax.grad(loss))(shapes)).count(" = ")


def test_what_is_compiled_does_not_grow_with_the_length():
    assert num_equations(512) == num_equations(64) > 100


def temporary_bytes(num_slots, policy):
    config = CellConfig(
        256,
        256,
        num_heads=4,
        key_dim=64,
        value_dim=64,
        memory=SlotMemory(num_slots, policy),
    )
    analysis = compiled_gradient(256, 16, config).memory_analysis()
    return analysis.temp_size_in_bytes


@pytest.mark.parametrize("policy", POLICIES)
def test_training_memory_does_not_grow_with_the_capacity(policy):
    few, many = (temporary_bytes(n, POLICIES[policy]) for n in (8, 512))
    keys_and_values = 2 * 16 * 4 * 64 * 512 * 4
    assert many - 6 * keys_and_values <= 1.5 * few


def test_equal_settings_trace_once():
    traces = []

    @functools.partial(jax.jit, static_argnums=1)
    def run(params, config, carry, xs):
        traces.append(config)
        return unroll_loop(params, config, carry, xs)[1]

    for policy in (Fifo, Fifo, Salience, Salience):
        config = CellConfig(**PRIMES, memory=SlotMemory(5, policy()))
        params = init_params(jax.random.key(0), config)
        run(params, config, init_carry(config, 2), jnp.zeros((3, 2, 7)))
    assert len(traces) == 2
