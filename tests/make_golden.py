"""Writes `tests/golden/cell_*.npz`: what the NumPy reference gives for small cells.

    python -m tests.make_golden

Each file holds settings (JSON), parameters, the initial state, inputs, outputs, the
final state, and the gradient of `loss` by finite differences. It needs NumPy alone.
"""

import json
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests import numpy_reference as reference
from tests.numpy_parts import SCORED
from tests.numpy_reference import Settings

FOLDER = Path(__file__).parent / "golden"
BATCH, STEPS, PREFIX = 2, 8, 3

SMALL = dict(
    input_dim=2, hidden_dim=4, num_heads=2, key_dim=3, value_dim=2, num_slots=3
)
# A fourth slot stays dead long enough for mass to be moved there, and then back.
ROOMY = SMALL | {"num_slots": 4}
CASES = {
    "lstm": Settings(input_dim=3, hidden_dim=4),
    "lstm_blocks": Settings(input_dim=3, hidden_dim=4, num_heads=2, num_blocks=2),
    "fifo": Settings(**SMALL),
    "fifo_blocks": Settings(
        **SMALL, num_blocks=2, key_from=("input", "previous", "current")
    ),
    "fifo_copy_pinned": Settings(**SMALL, copy=True, key_from=("current",)),
    "ordered": Settings(**ROOMY, read_modes=("content", 0, 1, -1)),
    "ordered_blocks": Settings(**ROOMY, num_blocks=2, read_modes=(2, "content", -1)),
    "ordered_ends": Settings(
        **SMALL, num_blocks=2, read_modes=("oldest", "content", 1, "newest")
    ),
    "salience": Settings(**SMALL, policy="salience", key_from=("input",)),
    "salience_blocks_copy": Settings(
        **SMALL, policy="salience", num_blocks=2, copy=True
    ),
    "selective_ordered": Settings(
        **ROOMY, policy="selective", read_modes=("content", 0, 1, -1), copy=True
    ),
    "least_recently_read": Settings(
        **SMALL, policy="least_recently_read", num_blocks=2, copy=True
    ),
    "least_used": Settings(**SMALL, policy="least_used", num_blocks=2),
    "top_k": Settings(**SMALL, policy="top_k", num_blocks=2),
    "gated_copy": Settings(**SMALL, policy="gated", copy=True),
    "matrix": Settings(**SMALL, policy="matrix", num_blocks=2),
}


def make_params(rng, s: Settings) -> dict:
    """Random parameters, each leaf where and as large as the cell has it."""
    G, D, H = s.num_blocks, s.input_dim, s.hidden_dim // s.num_blocks
    R = s.num_heads // G
    K, W, M = R * s.key_dim, R * s.value_dim, R * len(s.read_modes)
    params = {"input": {}, "hidden": {}, "bias": {}}

    def add(name, width, parts):
        rows = {"input": D, "hidden": H, "current": H, "read": W}
        for part in parts:
            fan_in = rows[part]
            shape = (D, G, width) if part == "input" else (G, fan_in, width)
            leaf = rng.normal(size=shape) / np.sqrt(fan_in)
            params.setdefault(part, {})[name] = leaf
        if name not in ("value", "output"):
            params["bias"][name] = 0.3 * rng.normal(size=(G, width))

    if not s.num_slots:
        add("gates", 4 * H, ("input", "hidden"))
        return params
    add("gates", 4 * H, ("input", "hidden", "read"))
    add("output", H, ("read",))
    add("query", K, ("input", "hidden"))
    part_of = {"input": "input", "previous": "hidden", "current": "current"}
    add("key", K, [part_of[source] for source in s.key_from])
    add("value", W, ("current",))
    memory = {
        "sharpness": rng.normal(size=s.num_heads) - 1,
        "read_scale": rng.normal(size=s.num_heads) + 1,
    }
    if len(s.read_modes) > 1:
        add("modes", M, ("input", "hidden"))
    if s.policy in SCORED:
        add("salience", 1, ("input", "hidden"))
        # Slow decay: newcomers are refused too, and not only slots overwritten.
        memory["decay"] = rng.normal(size=G) - 4
    if s.policy == "selective":
        # Around the threshold, so that some are refused and some are not.
        params["bias"]["salience"] -= 2
    if s.policy != "matrix":
        memory["null_logit"] = rng.normal(size=s.num_heads)
    if s.policy in ("top_k", "gated", "matrix"):
        add("gate", 1, ("input", "hidden"))
    if s.policy in ("top_k", "gated"):
        add("novelty", 1, ("input", "hidden"))
        memory["routing"] = rng.normal(size=G)
    if s.copy:
        add("copy", K, ("current",))
        memory["copy_sharpness"] = rng.normal(size=s.num_heads) - 1
    return params | {"memory": memory}


def make_inputs(rng, s: Settings, steps: int) -> dict:
    """Random inputs: row 0 ends early, row 1 has padding inside and starts anew."""
    valid = np.ones((steps, BATCH), bool)
    reset = np.zeros((steps, BATCH), bool)
    valid[-1, 0] = valid[1, 1] = False
    if steps == STEPS:
        # One reset falls into the padding, one comes after slots were overwritten.
        reset[1, 1] = reset[6, 1] = True
    tags = rng.integers(-1, 3, size=(steps, BATCH)).astype(np.int32)
    # With no tag in an empty memory there is nothing to copy.
    tags[reset] = -1
    width = s.num_heads * s.value_dim
    return {
        "xs": rng.normal(size=(steps, BATCH, s.input_dim)),
        "valid": valid,
        "reset": reset,
        "tags": tags,
        "targets": rng.integers(0, 3, size=(steps, BATCH)).astype(np.int32),
        "read_mask": rng.integers(0, 2, size=(BATCH, width)) * 2.0,
    }


def differentiable(s: Settings) -> tuple[str, ...]:
    """The leaves of the state that a gradient reaches."""
    names = ("hidden", "cell")
    if s.num_slots:
        names += ("values",) if s.policy == "matrix" else ("keys", "values")
    if s.policy in SCORED:
        names += ("salience",)
    if len(s.read_modes) > 1:
        names += ("weights",)
    return names


def weighting(shape) -> np.ndarray:
    """What `loss` weighs the elements of a leaf with: no two errors cancel."""
    return np.cos(1.0 + np.arange(np.prod(shape, dtype=int))).reshape(shape)


def loss(outputs: dict, final: dict):
    """A fixed scalar of all outputs and of the final state's float leaves.

    It takes NumPy and JAX arrays alike.
    """
    leaves = [*outputs.values(), *final.values()]
    return sum((leaf * weighting(leaf.shape)).sum() for leaf in leaves)


def live_only(state: dict, names) -> dict:
    """The named leaves, with zero in dead slots; of NumPy or of JAX."""
    chosen = {}
    for name in names:
        chosen[name] = state[name]
        if name in ("keys", "values", "salience", "usage", "weights"):
            live = state["live"]
            if name not in ("salience", "usage"):
                per_group = state[name].shape[1] // live.shape[1]
                live = live.repeat(per_group, axis=1)
            if name in ("keys", "values"):
                live = live[..., None]
            chosen[name] = state[name] * live
    return chosen


def flatten(tree: dict, path: str = "") -> dict:
    """A nested dict as a flat one: `{"a": {"b": leaf}}` to `{"a/b": leaf}`."""
    flat = {}
    for name, leaf in tree.items():
        nested = isinstance(leaf, dict)
        flat |= flatten(leaf, f"{path}{name}/") if nested else {f"{path}{name}": leaf}
    return flat


def unflatten(flat: dict) -> dict:
    """The inverse of `flatten`."""
    tree = {}
    for path, leaf in flat.items():
        *folders, name = path.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[name] = leaf
    return tree


def gradient(s: Settings, params, state, inputs) -> dict:
    """The gradient of `loss` in params, state and xs, flat, by finite differences."""
    point = flatten({"params": params, "xs": inputs["xs"]})
    point |= {f"state/{name}": state[name] for name in differentiable(s)}
    splits = np.cumsum([leaf.size for leaf in point.values()])[:-1]

    def at(vector):
        pieces = zip(point.items(), np.split(vector, splits), strict=True)
        moved = unflatten({name: v.reshape(leaf.shape) for (name, leaf), v in pieces})
        moved["state"]["live"] = state["live"]
        start = {**state, **live_only(moved["state"], differentiable(s))}
        final, outputs = reference.unroll(
            moved["params"], s, start, **inputs | {"xs": moved["xs"]}
        )
        outputs = {"hidden": outputs["hidden"], "copy": outputs["copy"]}
        return loss(outputs, live_only(final, differentiable(s)))

    flat = np.concatenate([leaf.ravel() for leaf in point.values()])
    pieces = np.split(reference.finite_difference(at, flat), splits)
    return {
        name: piece.reshape(leaf.shape)
        for (name, leaf), piece in zip(point.items(), pieces, strict=True)
    }


def make_case(name: str) -> dict:
    """Everything of one file, as a nested dict."""
    s = CASES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    params = make_params(rng, s)
    before = reference.empty_state(s, BATCH)
    prefix = make_inputs(rng, s, PREFIX)
    state, _ = reference.unroll(params, s, before, **prefix)
    if name.endswith("pinned"):
        state["pinned"][:, :, 0] = state["live"][:, :, 0]
    inputs = make_inputs(rng, s, STEPS)
    final, outputs = reference.unroll(params, s, state, **inputs)
    return {
        "params": params,
        "state": state,
        "inputs": inputs,
        "outputs": outputs,
        "final": final,
        "gradient": gradient(s, params, state, inputs),
    }


def save(path: Path, settings: dict, tree: dict):
    """Writes one file, the same bytes for the same arrays."""
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, settings=json.dumps(settings), **flatten(tree))


def load(name: str) -> tuple[Settings, dict]:
    """The settings and the arrays of one case, as `make_case` gives them."""
    with np.load(FOLDER / f"cell_{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    settings = json.loads(str(arrays.pop("settings")))
    settings = {k: tuple(v) if type(v) is list else v for k, v in settings.items()}
    gradients = {k: v for k, v in arrays.items() if k.startswith("gradient/")}
    tree = unflatten({k: v for k, v in arrays.items() if k not in gradients})
    tree["gradient"] = {k.removeprefix("gradient/"): v for k, v in gradients.items()}
    return Settings(**settings), tree


if __name__ == "__main__":
    for name, settings in CASES.items():
        save(FOLDER / f"cell_{name}.npz", asdict(settings), make_case(name))
        print(name, (FOLDER / f"cell_{name}.npz").stat().st_size, "bytes")
