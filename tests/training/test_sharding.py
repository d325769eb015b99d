"""One model on any mesh: the same numbers, and nothing sent inside a loop."""

from dataclasses import replace

import chex
import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from wmlstm_jax.benchmarks.distributed import relative_difference
from wmlstm_jax.models.config import DROPOUTS
from wmlstm_jax.training.collectives import Collective, find_collectives
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.run import build
from wmlstm_jax.training.sharding import (
    bytes_per_device,
    make_mesh,
    put_batch,
    rows_of,
    rows_of_host,
    spec_of,
)

MESHES = {
    "data": MeshConfig(8),
    "fsdp": MeshConfig(1, 8),
    "model": MeshConfig(1, 1, 4),
    "all": MeshConfig(2, 2, 2),
}
# Sums in another order: float32 rounding, which Adam's first step magnifies.
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(scope="module")
def blocks(config):
    """Two layers of four blocks, of which heads and units can be spread."""
    model = replace(config.model, num_blocks=4, num_layers=2, mlp_dim=8)
    model = replace(model, **dict.fromkeys(DROPOUTS, 0.0))
    return replace(config, model=model)


def two_steps(config, mesh):
    """States after two updates and what they report, on the host; and the program."""
    run = build(config, mesh=mesh)
    state, rows = run.first_state(), config.data.batch_size
    step, found = run.train_step(), []
    data = run.data.batches("train")
    for number in range(2):
        batch = put_batch(data[number], run.mesh, rows)
        state, metrics = step(state, batch)
        found.append(jax.device_get((state._replace(rng=None), metrics)))
    program = step.lower(run.template, batch).compile().as_text()
    return run, found, program


@pytest.fixture(scope="module")
def on_one(blocks):
    return two_steps(blocks, MeshConfig(1))


@pytest.mark.parametrize(
    "name",
    [
        # It has the axes of the others.
        pytest.param(n, marks=[pytest.mark.long] * (n != "all"))
        for n in MESHES
    ],
)
def test_every_mesh_computes_what_one_device_computes(name, blocks, on_one):
    run, found, program = two_steps(blocks, MESHES[name])
    chex.assert_trees_all_close(found, on_one[1], **CLOSE)
    for (state, metrics), (wanted, told) in zip(found, on_one[1], strict=True):
        assert relative_difference(wanted.params, state.params) < 1e-5
        assert relative_difference(wanted.carry, state.carry) < 1e-5
        assert relative_difference(told, metrics) < 1e-5
    sent = find_collectives(program)
    assert sent and not [each for each in sent if each.in_loop]
    kinds = {each.kind for each in sent}
    if name in ("fsdp", "all"):
        assert "all-gather" in kinds
    # Of 8 devices in a row each has an eighth of what the axes divide.
    one, here = on_one[0].template, run.template
    if name == "fsdp":
        assert bytes_per_device(here.params) < 0.34 * bytes_per_device(one.params)
        assert bytes_per_device(here.opt_state) < 0.34 * bytes_per_device(one.opt_state)
    if name == "model":
        assert bytes_per_device(here.carry) < 0.3 * bytes_per_device(one.carry)


def test_parts_of_a_batch_are_the_batch(blocks, on_one):
    optimizer = replace(blocks.optimizer, accumulate=2)
    config = replace(blocks, optimizer=optimizer)
    for mesh in (MeshConfig(1), MeshConfig(4)):
        _, found, _ = two_steps(config, mesh)
        chex.assert_trees_all_close(found, on_one[1], **CLOSE)
    with pytest.raises(ValueError, match="it must divide by optimizer.accumulate = 2"):
        build(config, mesh=MeshConfig(8))


def test_the_average_follows_the_parameters(blocks, on_one):
    config = replace(blocks, optimizer=replace(blocks.optimizer, average=0.75))
    run, found, _ = two_steps(config, MeshConfig(1))
    start = jax.device_get(run.first_state().params)
    first, second = (state.params for state, _ in found)
    wanted = jax.tree.map(
        lambda a, b, c: 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c, start, first, second
    )
    chex.assert_trees_all_close(found[1][0].average, wanted, rtol=1e-5, atol=1e-7)
    assert found[1][0].chosen is found[1][0].average
    chex.assert_trees_all_close(second, on_one[1][1][0].params, rtol=0, atol=0)


@pytest.mark.long
def test_computing_again_gives_the_same(blocks, on_one):
    config = replace(blocks, model=replace(blocks.model, remat=True))
    _, found, program = two_steps(config, MeshConfig(1))
    chex.assert_trees_all_close(found, on_one[1], **CLOSE)
    assert program != on_one[2]


@pytest.mark.long
def test_bfloat16_is_near(blocks, on_one):
    model = replace(blocks.model, dtype="bfloat16", memory_dtype="bfloat16")
    _, found, _ = two_steps(replace(blocks, model=model), MeshConfig(2))
    (state, metrics), (_, wanted) = found[0], on_one[1][0]
    np.testing.assert_allclose(metrics.loss, wanted.loss, rtol=5e-3)
    np.testing.assert_allclose(metrics.grad_norm, wanted.grad_norm, rtol=5e-2)
    assert metrics.loss != wanted.loss
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("f4")}


def test_a_dense_recurrence_is_not_spread(config):
    wanted = "mesh.model is 2 and model.num_blocks is 1: .* to a multiple of 2, or mesh"
    with pytest.raises(ValueError, match=wanted):
        build(config, mesh=MeshConfig(1, 1, 2))


@pytest.mark.parametrize(
    ("mesh", "rows", "message"),
    [
        (MeshConfig(0), 12, "data.batch_size is 12; it must divide by the 8 devices"),
        (MeshConfig(2, 2), 6, "data.batch_size is 6; it must divide by the 4 devices"),
        (MeshConfig(9), 18, "which is 9 devices, and there are 8"),
        (MeshConfig(2, 3, 2), 12, "which is 12 devices, and there are 8"),
    ],
)
def test_what_does_not_fit_the_devices(mesh, rows, message):
    with pytest.raises(ValueError, match=message):
        make_mesh(mesh, rows)


def test_what_is_left_of_the_devices_shares_the_rows():
    assert dict(make_mesh(MeshConfig(0, 2, 2), 8).shape) == {
        "data": 2,
        "fsdp": 2,
        "model": 2,
    }
    assert make_mesh(MeshConfig(1, 2), 8).size == 2
    assert rows_of_host(make_mesh(MeshConfig(0), 16), 16) == (0, 1)


@pytest.mark.parametrize(
    ("path", "shape", "spec"),
    [
        ("blocks/0/recurrence/params/input/gates", (6, 4, 16), P("fsdp", "model")),
        ("blocks/0/recurrence/params/hidden/key", (4, 6, 16), P("model", "fsdp")),
        ("encoder/recurrences/1/params/read/gates", (4, 3, 16), P("model", None)),
        (".mu/blocks/0/recurrence/params/bias/gates", (4, 16), P("model")),
        ("blocks/0/recurrence/params/memory/sharpness", (8,), P("model")),
        ("blocks/3/project/kernel", (16, 6), P("model", "fsdp")),
        ("blocks/3/mlp/enter/kernel", (16, 8), P("fsdp")),
        ("embedding/embedding", (7, 16), P(None)),
        ("embedding/embedding", (8, 16), P("fsdp")),
        ("norm/scale", (16,), P()),
        ("count", (), P()),
    ],
)
def test_rules(path, shape, spec):
    assert spec_of(path, shape, make_mesh(MeshConfig(2, 2, 2), 8)) == spec


HLO = """
HloModule a
%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}
%inner (p: (f32[4])) -> (f32[4]) {
  %far = f32[4]{0} all-reduce(f32[4]{0} %x), to_apply=%add
}
%called (p: f32[4]) -> f32[4] {
  ROOT %moved = bf16[2,3]{1,0} collective-permute(bf16[2,3] %p)
}
%turn (p: (f32[4])) -> (f32[4]) {
  %w = (f32[4]) while((f32[4]) %p), condition=%more, body=%inner
  %c = bf16[2,3] fusion(bf16[2,3] %p), kind=kLoop, calls=%called
}
%more (p: (f32[4])) -> pred[] {
  ROOT %less = pred[] compare(%p, %p)
}
ENTRY %main (p: f32[4]) -> f32[4] {
  %big = (f32[8,2]{1,0}, s32[3]{0}) all-gather-start(f32[4,2] %p, s32[3] %q)
  %done = f32[8,2] all-gather-done(%big)
  %w = (f32[4]) while((f32[4]) %p), condition=%more, body=%turn
  ROOT %out = pred[5]{0} all-to-all(pred[5] %z)
}
"""


def test_what_is_sent_is_read_from_a_program():
    assert sorted(find_collectives(HLO)) == [
        Collective("all-gather", 76, False),
        Collective("all-reduce", 16, True),
        Collective("all-to-all", 5, False),
        Collective("collective-permute", 12, True),
    ]


def test_tokens_are_spread_over_all_devices_that_their_rows_divide_by():
    mesh = make_mesh(MeshConfig(2, 1, 4), 8)
    rows = rows_of(mesh, 8)
    assert rows is not None
    assert rows.given.shard_shape((8, 3, 16)) == (4, 3, 16)
    assert rows.made.shard_shape((8, 3, 16)) == (4, 3, 4)
    assert rows.elsewhere.shard_shape((8, 3, 16)) == (1, 3, 16)
    fewer = rows_of(mesh, 4)
    assert fewer is not None
    assert fewer.elsewhere.shard_shape((4, 3, 16)) == (2, 3, 16)
    assert rows_of(make_mesh(MeshConfig(2, 4), 8), 8) is None
