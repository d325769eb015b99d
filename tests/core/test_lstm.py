"""Without slots the cell is exactly an LSTM: that of Flax, and that of PyTorch."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.make_golden import FOLDER, loss, unflatten, weighting
from wmlstm_jax import core

# Both sides are float64 and their sums short; what differs is the order of adding.
EXACT = dict(rtol=1e-10, atol=1e-12)
STEPS, BATCH, INPUT, HIDDEN = 5, 3, 4, 6
CONFIG = core.CellConfig(INPUT, HIDDEN, dtype="float64")

per_backend = pytest.mark.parametrize("backend", ["loop", "scan", "remat", "rollback"])


def run(params, point, backend="scan"):
    """Outputs and final state of the cell, under the names of the golden file."""
    start = core.Carry(point["hidden"], point["cell"], None)
    carry, ys = core.unroll(params, CONFIG, start, point["xs"], backend=backend)
    assert carry.memory is None
    return {"outputs": ys, "final": {"hidden": carry.hidden, "cell": carry.cell}}


def results_and_gradient(run, point):
    """What `run(point)` gives, and the gradient of the golden files' loss."""

    def scalar(point):
        results = run(point)
        return loss({"outputs": results["outputs"]}, results["final"]), results

    gradient, results = jax.jit(jax.grad(scalar, has_aux=True))(point)
    return results, gradient


def assert_same(got, wanted):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, **EXACT), got, wanted)


def assert_equal(got, wanted):
    jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.fixture
def golden():
    with np.load(FOLDER / "torch_lstm.npz") as file:
        return unflatten({name: file[name] for name in file.files})


@pytest.fixture
def point(x64):
    """A sequence and a state to start from."""
    keys = iter(jax.random.split(jax.random.key(0), 3))
    shapes = {
        "xs": (STEPS, BATCH, INPUT),
        "hidden": (BATCH, HIDDEN),
        "cell": (BATCH, HIDDEN),
    }
    return {name: jax.random.normal(next(keys), at) for name, at in shapes.items()}


def from_flax(weights):
    """The parameters of the cell from those of `flax.nnx.LSTMCell`."""

    def gates(origin, leaf):
        letters = ("i", "f", "g", "o")
        names = [origin + letter for letter in letters]
        # The name "if" is taken.
        leaves = [weights["if_" if name == "if" else name][leaf] for name in names]
        return jnp.concatenate(leaves, -1)

    parts = jax.eval_shape(lambda: core.init_params(jax.random.key(0), CONFIG))
    return {part: {} for part in parts} | {
        "input": {"gates": gates("i", "kernel")[:, None]},
        "hidden": {"gates": gates("h", "kernel")[None]},
        "bias": {"gates": gates("h", "bias")[None]},
    }


@per_backend
def test_it_is_the_lstm_of_flax(backend, point):
    cell = nnx.LSTMCell(
        INPUT, HIDDEN, param_dtype=jnp.float64, dtype=jnp.float64, rngs=nnx.Rngs(0)
    )
    graph, weights = nnx.split(cell)
    # The biases start at zero, where nobody would see them exchanged.
    weights = jax.tree.map(lambda leaf: leaf + weighting(leaf.shape), weights)
    point |= {"weights": weights}

    def run_flax(point):
        cell = nnx.merge(graph, point["weights"])
        rnn = nnx.RNN(cell, time_major=True, return_carry=True, rngs=False)
        start = (point["cell"], point["hidden"])
        (cell, hidden), ys = rnn(point["xs"], initial_carry=start)
        return {"outputs": ys, "final": {"hidden": hidden, "cell": cell}}

    def run_ours(point):
        params = from_flax(nnx.to_pure_dict(point["weights"]))
        return run(params, point, backend)

    wanted = results_and_gradient(run_flax, point)
    assert_same(results_and_gradient(run_ours, point), wanted)


@per_backend
def test_it_is_the_lstm_of_the_golden_file(backend, golden, x64):
    wanted = {name: golden.pop(name) for name in ("outputs", "final")}
    gradient = golden.pop("gradient")
    results = results_and_gradient(
        lambda point: run(core.from_torch(point["params"]), point, backend),
        jax.tree.map(jnp.asarray, golden),
    )
    assert_same(results, (wanted, gradient))


def test_it_is_the_lstm_of_torch(point):
    reason = "PyTorch is not installed; the golden file speaks for it"
    torch = pytest.importorskip("torch", reason=reason)
    layer = torch.nn.LSTM(INPUT, HIDDEN, dtype=torch.float64)
    params = core.init_params(jax.random.key(1), CONFIG)
    weights = core.to_torch(params)
    layer.load_state_dict({name: torch.from_dlpack(w) for name, w in weights.items()})

    tensors = {name: torch.from_numpy(np.array(leaf)) for name, leaf in point.items()}
    for tensor in tensors.values():
        tensor.requires_grad_()
    start = tensors["hidden"][None], tensors["cell"][None]
    outputs, (hidden, cell) = layer(tensors["xs"], start)
    wanted = {"outputs": outputs, "final": {"hidden": hidden[0], "cell": cell[0]}}
    total = sum(
        (leaf * torch.from_numpy(weighting(tuple(leaf.shape)))).sum()
        for leaf in (outputs, hidden[0], cell[0])
    )
    total.backward()
    parameters = dict(layer.named_parameters())
    gradient = {name: tensor.grad for name, tensor in tensors.items()}
    gradient["params"] = {name: leaf.grad for name, leaf in parameters.items()}

    got = results_and_gradient(
        lambda point: run(core.from_torch(point["params"]), point),
        point | {"params": weights},
    )
    values = jax.tree.map(lambda leaf: leaf.detach().numpy(), (wanted, gradient))
    assert_same(got, values)
    for tensors in (parameters, layer.state_dict()):
        assert_equal(core.from_torch(tensors), params)
    half = core.from_torch(layer.to(torch.bfloat16).state_dict())
    assert half["hidden"]["gates"].dtype == jnp.float32


def test_there_is_no_memory_and_nothing_of_one():
    config = core.CellConfig(INPUT, HIDDEN, memory=core.SlotMemory(0, core.Salience()))
    params = core.init_params(jax.random.key(0), config)
    gates = {part: set(leaves) for part, leaves in params.items() if leaves}
    assert gates == {part: {"gates"} for part in ("input", "hidden", "bias")}
    assert core.init_carry(config, BATCH).memory is None


def test_weights_go_to_torch_and_back(golden):
    weights = golden["params"]
    params = core.from_torch(weights)
    fresh = core.init_params(jax.random.key(0), core.CellConfig(INPUT, HIDDEN))
    as_they_should = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), fresh)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params) == as_they_should
    back = core.to_torch(params)
    assert list(back) == list(weights)
    both = weights["bias_ih_l0"] + weights["bias_hh_l0"]
    np.testing.assert_allclose(back["bias_ih_l0"], both, rtol=1e-6)
    np.testing.assert_array_equal(back["bias_hh_l0"], 0)
    assert_equal(core.from_torch(back), params)


class Tensor:
    """As much of a tensor that requires a gradient as `from_torch` may touch."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return self.array.view(Detached)


class Detached(np.ndarray):
    def cpu(self):
        return self

    contiguous = cpu


def test_tensors_are_detached(golden):
    tensors = {name: Tensor(array) for name, array in golden["params"].items()}
    assert_equal(core.from_torch(tensors), core.from_torch(golden["params"]))


@pytest.mark.parametrize("name", ["weight_ih_l1", "bias_hh_l0_reverse", "weight_hr_l0"])
def test_more_than_one_plain_layer_is_refused(name, golden):
    weights = golden["params"] | {name: np.zeros(1)}
    with pytest.raises(ValueError, match=f"from_torch: '{name}' is no weight of a"):
        core.from_torch(weights)


def test_a_missing_weight_is_refused(golden):
    del golden["params"]["bias_hh_l0"]
    with pytest.raises(ValueError, match="from_torch: 'bias_hh_l0' is missing"):
        core.from_torch(golden["params"])


@pytest.mark.parametrize(
    ("name", "shape", "should"),
    [
        ("weight_ih_l0", (18, 4), r"\[4H, D\], here \(24, 4\)"),  # as of a GRU
        ("weight_ih_l0", (24,), r"\[4H, D\], here \(24, 0\)"),
        ("weight_hh_l0", (24, 6, 1), r"\[4H, H\], here \(24, 6\)"),
        ("bias_ih_l0", (24, 1), r"\[4H\], here \(24,\)"),
        ("bias_hh_l0", (), r"\[4H\], here \(24,\)"),
    ],
)
def test_a_weight_of_another_shape_is_refused(name, shape, should, golden):
    weights = golden["params"] | {name: np.zeros(shape)}
    was = re.escape(str(shape))
    with pytest.raises(
        ValueError, match=f"{name} has shape {was}; it must be {should}"
    ):
        core.from_torch(weights)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"memory": core.SlotMemory(2)}, r"params\['bias'\]\['key'\] has no place"),
        ({"source": True}, r"params\['bias'\]\['query'\] has no place"),
        ({"num_blocks": 2, "num_heads": 2}, "num_blocks = 2; it must be 1"),
    ],
)
def test_what_torch_does_not_have_is_refused(settings, what):
    config = core.CellConfig(INPUT, HIDDEN, **settings)
    with pytest.raises(ValueError, match=f"to_torch: .*{what}"):
        core.to_torch(core.init_params(jax.random.key(0), config))


@pytest.mark.parametrize(
    ("part", "gates", "what"),
    [
        ("hidden", None, r"params\['hidden'\]\['gates'\] is missing"),
        ("input", np.zeros((4, 24)), r"shape \(4, 24\); it must be \[D, 1, 4H\]"),
        ("hidden", np.zeros((6, 24)), r"\['input'\]\['gates'\] has shape"),
        ("hidden", np.zeros((1, 6, 6)), r"shape \(1, 6, 6\); it must be \[1, H, 4H\]"),
        ("bias", np.zeros(24), r"shape \(24,\); it must be \[1, 4H\]"),
    ],
)
def test_parameters_of_another_form_are_refused(part, gates, what, golden):
    params = core.from_torch(golden["params"])
    params[part] = {} if gates is None else {"gates": gates}
    with pytest.raises(ValueError, match=f"to_torch: .*{what}"):
        core.to_torch(params)
