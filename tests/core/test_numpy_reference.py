"""Every backend gives what the NumPy float64 reference gives, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import numpy_reference as reference
from tests.core.small_cells import quick_jit
from tests.make_golden import (
    CASES,
    FOLDER,
    differentiable,
    flatten,
    live_only,
    load,
    loss,
    unflatten,
)
from tests.numpy_parts import SCORED
from wmlstm_jax import core
from wmlstm_jax.models import POLICIES

# The sums of both are float64 and short; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)
# The finite differences of the golden files are good to about 1e-10 of the loss.
DIFFERENCED = dict(rtol=1e-7, atol=1e-8)

BACKENDS = ("loop", "scan", "remat", "rollback")

per_case = pytest.mark.parametrize("name", CASES)
per_run = pytest.mark.parametrize(
    ("name", "backend"),
    [
        (name, backend)
        for name, s in CASES.items()
        for backend in BACKENDS
        if backend != "rollback" or s.policy not in ("gated", "matrix")
    ],
)


pytestmark = pytest.mark.usefixtures("compiled_step")


def config_of(s: reference.Settings) -> core.CellConfig:
    same = (
        "input_dim hidden_dim num_heads key_dim value_dim read_modes num_blocks"
        " key_from copy"
    )
    return core.CellConfig(
        **{field: getattr(s, field) for field in same.split()},
        memory=core.MatrixMemory()
        if s.policy == "matrix"
        else core.SlotMemory(s.num_slots, POLICIES[s.policy]()),
        dtype="float64",
        memory_dtype="float64",
    )


def carry_of(config, state: dict) -> core.Carry:
    """The carry that says what a state of the reference says."""
    carry = core.init_carry(config, state["hidden"].shape[0])
    memory = carry.memory
    if memory is not None:
        same = "keys values written tags pinned salience usage clock head weights"
        fields = {
            field: jnp.asarray(state[field])
            for field in same.split()
            if getattr(memory, field) is not None
            and getattr(memory, field).shape == state[field].shape
        }
        epoch = memory.epoch[:, None, None]
        slot_epoch = jnp.where(state["live"], epoch, epoch - 1)
        memory = memory._replace(**fields, slot_epoch=slot_epoch)
    return core.Carry(jnp.asarray(state["hidden"]), jnp.asarray(state["cell"]), memory)


def state_of(carry: core.Carry) -> dict:
    """What a carry says, under the names of the reference."""
    state = {"hidden": carry.hidden, "cell": carry.cell}
    if carry.memory is not None:
        state |= carry.memory._asdict()
        state["live"] = carry.memory.live
    return {field: leaf for field, leaf in state.items() if leaf is not None}


def run(name, backend, moved=None, unroll=1):
    """Outputs and final state of a golden case, with some of its leaves replaced."""
    s, golden = load(name)
    config = config_of(s)
    moved = unflatten(moved) if moved else {"params": golden["params"]}
    # Parts without a leaf are lost in a flat file.
    parts = ("input", "hidden", "current", "read", "bias", "memory")
    params = {part: {} for part in parts} | moved["params"]
    start = golden["state"] | moved.get("state", {})
    start |= live_only(start, differentiable(s))
    inputs = {field: jnp.asarray(leaf) for field, leaf in golden["inputs"].items()}
    xs = moved.get("xs", inputs.pop("xs"))
    if not config.reads:
        del inputs["read_mask"]
    if not s.copy:
        del inputs["targets"]
    carry, ys = core.unroll(
        jax.tree.map(jnp.asarray, params),
        config,
        carry_of(config, start),
        xs,
        **inputs,
        backend=backend,
        unroll=unroll,
    )
    outputs = {"hidden": ys}
    if s.copy:
        outputs = {"hidden": ys.hidden, "copy": ys.copy, "copy_live": ys.copy_live}
    return outputs, state_of(carry)


def compiled(backend, function):
    """Jitted, but for the Python loop, of which the steps are."""
    return function if backend == "loop" else quick_jit(function)


def assert_same(got: dict, wanted: dict, **tolerance):
    for field, leaf in got.items():
        np.testing.assert_allclose(leaf, wanted[field], err_msg=field, **tolerance)


@per_case
def test_reference_gives_what_the_golden_file_holds(name):
    s, golden = load(name)
    assert s == CASES[name]
    final, outputs = reference.unroll(
        golden["params"], s, golden["state"], **golden["inputs"]
    )
    assert_same(outputs, golden["outputs"], **EXACT)
    assert_same(final, golden["final"], **EXACT)


@per_case
def test_params_have_the_shapes_of_the_reference(name, x64):
    s, golden = load(name)
    params = core.init_params(jax.random.key(0), config_of(s))
    shapes = {path: leaf.shape for path, leaf in flatten(params).items()}
    assert shapes == {k: v.shape for k, v in flatten(golden["params"]).items()}


@per_run
def test_outputs_and_final_carry(name, backend, x64):
    s, golden = load(name)
    outputs, final = compiled(backend, lambda: run(name, backend))()
    assert_same(outputs, golden["outputs"], **EXACT)
    wanted = golden["final"]
    exact = [f for f in final if f in ("hidden", "cell", "live", "weights")]
    assert_same({field: final[field] for field in exact}, wanted, **EXACT)
    if s.num_slots:
        floats = [
            f for f in differentiable(s) if f not in ("hidden", "cell", "weights")
        ]
        floats += ["usage"] if "usage" in final else []
        assert_same(live_only(final, floats), live_only(wanted, floats), **EXACT)
        np.testing.assert_array_equal(final["clock"], wanted["clock"])
        for field in ("written", "tags", "pinned"):
            np.testing.assert_array_equal(
                np.where(wanted["live"], final[field], -1),
                np.where(wanted["live"], wanted[field], -1),
                err_msg=field,
            )
        if s.policy in ("fifo", "selective"):
            np.testing.assert_array_equal(final["head"], wanted["head"])


@per_run
def test_gradients_in_parameters_inputs_and_initial_carry(name, backend, x64):
    s, golden = load(name)
    point = flatten({"params": golden["params"], "xs": golden["inputs"]["xs"]})
    point |= {f"state/{f}": golden["state"][f] for f in differentiable(s)}

    def scalar(point):
        outputs, final = run(name, backend, point)
        outputs.pop("copy_live", None)
        return loss(outputs, live_only(final, differentiable(s)))

    arrays = {field: jnp.asarray(leaf) for field, leaf in point.items()}
    gradient = compiled(backend, jax.grad(scalar))(arrays)
    assert_same(gradient, golden["gradient"], **DIFFERENCED)
    assert gradient.keys() == golden["gradient"].keys()


@pytest.mark.parametrize("name", ["fifo_blocks", "ordered", "salience_blocks_copy"])
def test_unrolled_loop_changes_nothing(name, x64):
    _, golden = load(name)
    outputs, _ = quick_jit(lambda: run(name, "scan", unroll=3))()
    assert_same(outputs, golden["outputs"], **EXACT)


def test_reference_without_slots_is_the_lstm_of_torch():
    with np.load(FOLDER / "torch_lstm.npz") as file:
        torch = {key: file[key] for key in file.files}
    steps, batch, width = torch["xs"].shape
    units = torch["hidden"].shape[1]
    s = reference.Settings(input_dim=width, hidden_dim=units)
    params = {
        "input": {"gates": torch["params/weight_ih_l0"].T[:, None]},
        "hidden": {"gates": torch["params/weight_hh_l0"].T[None]},
        "bias": {
            "gates": (torch["params/bias_ih_l0"] + torch["params/bias_hh_l0"])[None]
        },
    }
    state = reference.empty_state(s, batch)
    state |= {"hidden": torch["hidden"], "cell": torch["cell"]}
    final, outputs = reference.unroll(
        params,
        s,
        state,
        torch["xs"],
        valid=np.ones((steps, batch), bool),
        reset=np.zeros((steps, batch), bool),
        tags=np.full((steps, batch), -1),
        targets=np.full((steps, batch), -1),
    )
    np.testing.assert_allclose(outputs["hidden"], torch["outputs"], **EXACT)
    np.testing.assert_allclose(final["hidden"], torch["final/hidden"], **EXACT)
    np.testing.assert_allclose(final["cell"], torch["final/cell"], **EXACT)


def test_finite_difference_of_a_known_function():
    point = np.linspace(-1, 2, 5)
    gradient = reference.finite_difference(lambda v: np.sin(v).prod(), point)
    sines = np.sin(point)
    wanted = [np.cos(x) * np.delete(sines, i).prod() for i, x in enumerate(point)]
    np.testing.assert_allclose(gradient, wanted, rtol=1e-9)


@per_case
def test_a_case_exercises_what_it_is_there_for(name):
    s, golden = load(name)
    inputs = golden["inputs"]
    assert inputs["reset"].any() and not inputs["valid"].all()
    read_mask = inputs.pop("read_mask")
    overwritten = refused = 0
    before = golden["state"]
    for t in range(len(inputs["xs"])):
        token = {field: leaf[t : t + 1] for field, leaf in inputs.items()}
        after, _ = reference.unroll(
            golden["params"], s, before, **token, read_mask=read_mask
        )
        plain = (token["valid"][0] & ~token["reset"][0])[:, None]
        written = (after["written"] != before["written"]).any(-1)
        overwritten += (plain & before["live"].all(-1) & written).sum()
        # The first of a row cannot be told from an empty slot.
        refused += (plain & before["live"].any(-1) & ~written).sum()
        before = after
    if s.num_slots:
        live = golden["state"]["live"]
        # A matrix is written as a whole.
        assert live.any() and (s.policy == "matrix" or not live.all())
        assert overwritten, "no slot was overwritten"
    if s.policy in SCORED:
        assert refused, "no newcomer was refused"
    if s.copy:
        assert (golden["outputs"]["copy"] > 0).any()
        assert not golden["outputs"]["copy_live"][inputs["valid"]].all()
