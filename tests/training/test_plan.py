"""The planner counts what the compiler needs."""

from dataclasses import replace

import jax
import pytest

from tests.processes import run_python
from wmlstm_jax.training.collectives import Collective
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.plan import (
    Machine,
    Plan,
    count_flops,
    make_plan,
    parse_mesh,
    show,
)

MESHES = {
    "one": MeshConfig(1),
    "data": MeshConfig(4),
    "fsdp": MeshConfig(1, 4),
    "all": MeshConfig(2, 2, 2),
}


@pytest.fixture(scope="module")
def planned(config):
    model = replace(config.model, num_blocks=4, embed_dim=64, hidden_dim=64)
    optimizer = replace(config.optimizer, average=0.9)
    return replace(config, model=model, optimizer=optimizer)


@pytest.fixture(scope="module")
def plans(planned):
    return {n: make_plan(replace(planned, mesh=m), 256) for n, m in MESHES.items()}


@pytest.mark.parametrize("name", MESHES)
def test_what_is_counted_from_shapes_is_what_is_given(name, plans):
    plan = plans[name]
    held = sum(plan.held.values())
    # The key of the dropout and the number of the step are given too.
    assert held <= plan.arguments < 1.1 * held
    assert plan.temporary > 0 and not [c for c in plan.collectives if c.in_loop]
    assert bool(plan.sent) == (name != "one")
    assert plan.tokens == 8 * 96


def test_more_devices_hold_less_each(plans):
    one = plans["one"].held
    assert plans["data"].held["parameters"] == one["parameters"]
    assert plans["data"].held["memory slots"] * 4 == one["memory slots"]
    for part in ("parameters", "optimiser", "average"):
        assert plans["fsdp"].held[part] < 0.3 * one[part]
    # But for what a row has once, such as its clock.
    assert plans["all"].held["memory slots"] < 0.13 * one["memory slots"]
    assert plans["fsdp"].flops * 4 == plans["one"].flops


def sent(planned, mesh, window):
    data = replace(planned.data, window=window, batch_size=8)
    return make_plan(replace(planned, mesh=mesh, data=data), 256).sent


def test_no_activation_is_sent_between_rows(planned):
    mesh = MeshConfig(2, 2)
    assert sent(planned, mesh, 8) == sent(planned, mesh, 24)


def test_heads_send_what_goes_into_a_layer_and_out(planned):
    model = replace(planned.model, num_layers=2, mlp_dim=128)
    planned = replace(planned, model=model)
    mesh = MeshConfig(1, 1, 4)
    more = sent(planned, mesh, 24) - sent(planned, mesh, 8)
    assert more < 4 * model.num_layers * (8 * 16 * model.embed_dim * 4)


def test_operations(config):
    model = replace(
        config.model, num_layers=3, num_heads=4, num_slots=5, key_dim=6, value_dim=7
    )
    slots = 2 * 3 * 4 * 5
    for changes, wanted in (
        ({}, 3 * (2 * 100 + slots * 13)),
        ({"read": False}, 3 * (2 * 100 + slots * 6)),
        ({"remat": True}, 4 * (2 * 100 + slots * 13)),
    ):
        changed = replace(config, model=replace(model, **changes))
        assert count_flops(changed, 100, 10) == 10 * wanted


def test_the_table_says_what_is_assumed():
    sent = [Collective("all-reduce", 2**20, False)] * 3
    sent += [Collective("all-gather", 10, True)]
    plan = Plan(
        {"data": 2, "fsdp": 3}, 1234, {"parameters": 2048}, 2048, 99, 3e9, sent, 7
    )
    assert plan.sent == 3 * 2**20
    assert plan.efficiency(Machine(1e9, 2**20)) == pytest.approx(0.5)
    text = " ".join(show(plan, Machine(1e9, 2**20)).split())
    assert "1,234 parameters on 6 devices (data 2 x fsdp 3), 7 tokens an update" in text
    assert "| all-reduce | once | 3 | 3.0 MiB |" in text
    assert "| all-gather | in a loop | 1 | 10 B |" in text
    assert "50 % of the time computes" in text


@pytest.mark.parametrize(
    "text", ["data", "data=x", "rows=3", "data=0", "data=2;fsdp=3"]
)
def test_a_mesh_that_is_none(text):
    with pytest.raises(ValueError, match="it must be of the form data=32,fsdp=8"):
        parse_mesh(text)


def test_a_mesh_by_name():
    assert parse_mesh("fsdp=3") == MeshConfig(1, 3, 1)
    assert parse_mesh("model=2,data=5") == MeshConfig(5, 1, 2)


def test_it_plans_for_devices_that_are_not_there():
    done = run_python(
        "-m",
        "wmlstm_jax.training.plan",
        "--config=configs/lm_large.py:smoke",
        "--mesh=data=8,model=4",
        "--config.data.batch_size=16",
    )
    assert done.returncode == 0, done.stderr
    assert "on 32 devices (data 8 x fsdp 1 x model 4)" in done.stdout
    assert jax.device_count() == 8


def test_another_task_has_no_plan(pairs):
    with pytest.raises(ValueError, match="'question_answering'; a plan is made for"):
        make_plan(pairs, 10)
