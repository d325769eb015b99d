"""What settings are refused, in one sentence each: what, what it was, should be."""

from dataclasses import replace

import numpy as np
import pytest

from tests.core.small_cells import (
    B,
    Blend,
    D,
    H,
    N,
    R,
    assert_refuses,
    random_inputs,
    random_params,
    small_cell,
)
from wmlstm_jax import core


@pytest.mark.parametrize(
    ("field", "was", "should"),
    [
        ("input_dim", 0, "at least 1"),
        ("input_dim", None, "an integer"),
        ("hidden_dim", -4, "at least 1"),
        ("hidden_dim", "4", "an integer"),
        ("num_heads", 0, "at least 1"),
        ("num_heads", 2.0, "an integer"),
        ("key_dim", True, "an integer"),
        ("value_dim", 1.5, "an integer"),
        ("num_blocks", 0, "at least 1"),
        ("num_blocks", 3, f"a divisor of hidden_dim = {H}"),
        ("num_blocks", 2 * R, f"a divisor of hidden_dim = {H}"),
        ("read_modes", ["content"], "a tuple"),
        ("read_modes", (), "once"),
        ("read_modes", (0, 1), '"content" in it once'),
        ("read_modes", ("content", "content"), "once"),
        ("read_modes", ("content", 1.0), "integer offsets"),
        ("read_modes", ("content", True), "integer offsets"),
        ("read_modes", ("content", 1, 1), "distinct"),
        ("read_modes", ("content", "oldest", "oldest"), "distinct"),
        ("read_modes", ("content", "next"), "integer offsets"),
        ("key_from", (), "one or more"),
        ("key_from", ("future",), "previous"),
        ("key_from", "input", "one or more"),
        ("gradient_clip", 0, "positive"),
        ("gradient_clip", -1.0, "positive"),
        ("gradient_clip", float("nan"), "positive"),
        ("dtype", "int32", "bfloat16"),
        ("dtype", np.float32, "float32"),
        ("memory_dtype", "float8", "bfloat16"),
    ],
)
def test_cell_config_refuses(field, was, should):
    refused = {field: was}
    name = f"CellConfig.{field} is "
    assert_refuses(lambda: small_cell(**refused), name, repr(was), should)


def test_heads_are_divided_among_the_blocks():
    assert_refuses(
        lambda: small_cell(num_heads=3, num_blocks=2),
        "CellConfig.num_blocks is 2",
        "a divisor of num_heads = 3",
    )


@pytest.mark.parametrize("was", [3, None, core.Fifo(), core.SlotMemory])
def test_cell_config_refuses_what_is_no_memory(was):
    assert_refuses(
        lambda: core.CellConfig(D, H, memory=was), "memory", repr(was), "SlotMemory(64)"
    )


@pytest.mark.parametrize(
    ("policy", "num_slots"), [(core.Salience(), N), (core.Fifo(), 0), (Blend(), N)]
)
def test_offsets_need_slots_in_written_order(policy, num_slots):
    modes = ("content", 1)
    assert_refuses(
        lambda: small_cell(policy, num_slots, read_modes=modes),
        "CellConfig.read_modes is ",
        repr(modes),
        "written order",
    )


def test_what_is_not_read_is_pointed_at():
    assert_refuses(lambda: small_cell(read=False), "CellConfig.read is False", "copy")
    small_cell(num_slots=0, read=False)
    pointed = small_cell(copy=True, read=False)
    assert_refuses(lambda: replace(pointed, readout=True), "CellConfig.readout", "read")
    assert_refuses(lambda: replace(pointed, read_modes=("content", 1)), "read_modes")


@pytest.mark.parametrize("read", [True, False])
def test_a_carry_with_values_that_nothing_reads_or_without(read):
    config = small_cell(copy=True, read=read)
    carry = core.init_carry(replace(config, read=not read), B)
    params, xs = random_params(config), random_inputs(config)
    said = f"carry.memory has {'no ' * read}values and CellConfig.read is {read};"
    assert_refuses(lambda: core.unroll(params, config, carry, xs), said)


def test_a_pointer_needs_something_to_point_at():
    assert_refuses(
        lambda: small_cell(num_slots=0, copy=True), "CellConfig.copy is True", "False"
    )
    small_cell(num_slots=0, copy=True, source=True)
    config = small_cell()
    carry, params = core.init_carry(config, B), random_params(config)
    assert_refuses(
        lambda: core.pointer_distribution(params, config, carry, 9),
        "pointer_distribution: CellConfig.copy is False",
        "True",
    )


@pytest.mark.parametrize("was", [-1, 1.5, "3", None])
def test_slot_memory_refuses_a_capacity(was):
    said = "SlotMemory.num_slots is ", repr(was), "an integer of at least 0"
    assert_refuses(lambda: core.SlotMemory(was), *said)


@pytest.mark.parametrize("was", [None, "fifo", core.Fifo])
def test_slot_memory_refuses_what_is_no_policy(was):
    said = "SlotMemory.policy is ", repr(was), "Fifo()"
    assert_refuses(lambda: core.SlotMemory(3, policy=was), *said)


@pytest.mark.parametrize("was", [0, -2, 2.0, "2", None])
def test_init_carry_refuses(was):
    said = "init_carry: batch_size is ", repr(was), "an integer of at least 1"
    assert_refuses(lambda: core.init_carry(small_cell(), was), *said)
