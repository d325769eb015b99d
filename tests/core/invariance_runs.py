"""Small recurrences over memories that overflow, and what `test_invariances` asks them.

There is one function for each configuration and backend, compiled for one length; the
tests differ in what they give it. All of them look at values *and* gradients.
"""

import functools
from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest

from tests.core.small_cells import quick_jit
from tests.make_golden import weighting
from wmlstm_jax import core
from wmlstm_jax.core.trees import combine, partition

# Pieces of the backends that have them must be several, the last filled up.
STEPS, LENGTH, BATCH, SLOTS = 7, 10, 3, 3
ROWS, TIME = np.arange(BATCH), np.arange(LENGTH)[:, None]

LSTM = core.CellConfig(
    input_dim=2,
    hidden_dim=4,
    num_heads=2,
    key_dim=3,
    value_dim=2,
    dtype="float64",
    memory_dtype="float64",
)
FIFO = replace(LSTM, memory=core.SlotMemory(SLOTS))
SALIENCE = replace(LSTM, memory=core.SlotMemory(SLOTS, core.Salience()))
CONFIGS = {
    "lstm": LSTM,
    "fifo": FIFO,
    "copy": replace(FIFO, copy=True),
    "ordered": replace(FIFO, read_modes=("content", 0, 1, -1, 2)),
    "salience": SALIENCE,
    "blocks": replace(SALIENCE, num_blocks=2),
    "source": replace(FIFO, source=True),
    "covered": replace(FIFO, num_blocks=2, source=True, copy=True, coverage=True),
    "pointed": replace(SALIENCE, copy=True, read=False, key_from=("input", "current")),
    "selective": replace(
        LSTM,
        memory=core.SlotMemory(SLOTS, core.SelectiveFifo(threshold=0.0)),
        read_modes=("content", 0, 1, -1),
    ),
    "read least": replace(LSTM, memory=core.SlotMemory(SLOTS, core.LeastUsed())),
    "top_k": replace(LSTM, memory=core.SlotMemory(SLOTS, core.TopK()), num_blocks=2),
    "gated": replace(LSTM, memory=core.SlotMemory(SLOTS, core.Gated()), copy=True),
    "matrix": replace(LSTM, memory=core.MatrixMemory()),
}
# With these the memories overflow, and refuse where they can.
SEEDS = {
    "lstm": 4, "fifo": 2, "copy": 1, "ordered": 6, "salience": 6, "blocks": 0,
    "source": 11, "covered": 13, "pointed": 7, "selective": 10, "read least": 8,
    "top_k": 12, "gated": 3, "matrix": 5,
}  # fmt: skip
REFUSING = ("salience", "blocks", "pointed", "selective", "top_k", "gated")
BACKENDS = ("loop", "scan", "rollback", "remat")


def backends_of(name):
    """Each of the first; of the others, which take long, the one of a training run."""
    last = dict.fromkeys(("selective", "read least", "top_k"), ["rollback"])
    last |= {"gated": ["remat"], "matrix": ["remat"], "covered": ["rollback"]}
    return last.get(name, BACKENDS)


# Two ways through for each of these; all of them are in the long tests, and "fifo" and
# "blocks" go all ways here too.
BRIEFLY = {
    "lstm": ("scan", "rollback"),
    "copy": ("loop", "rollback"),
    "ordered": ("scan", "rollback"),
    "salience": ("rollback", "remat"),
    "source": ("rollback", "remat"),
    "pointed": ("scan", "rollback"),
}
CASES = [
    pytest.param(
        (name, backend),
        id=f"{name}-{backend}",
        marks=[pytest.mark.long] * (backend not in BRIEFLY.get(name, BACKENDS)),
    )
    for name in CONFIGS
    for backend in backends_of(name)
]

# What leads with time, and what stands there in padding.
PADDING = {
    "xs": np.nan,
    "valid": False,
    "reset": False,
    "tags": 1,
    "targets": 1,
    "hidden": 3.0,
    "copy": 3.0,
    "live": True,
    "repeated": 3.0,
}
# Where the steps of a row may stand when there are more places than steps.
PLACES = (
    np.arange(STEPS),
    np.array([0, 1, 3, 4, 5, 8, 9]),
    np.arange(LENGTH - STEPS, LENGTH),
)


@functools.cache
def compiled(config, backend, unroll):
    """A function of arguments of `unroll` and of weights of its results.

    It gives the results, and the gradient of their weighted sum in every argument.
    """

    def run(given, weights):
        floats, fixed = partition(given)

        def forward(floats):
            carry, ys = core.unroll(
                config=config, backend=backend, unroll=unroll, **combine(floats, fixed)
            )
            results = {"carry": carry, "hidden": ys}
            if isinstance(ys, core.Outputs):
                results |= {"hidden": ys.hidden, "copy": ys.copy, "live": ys.copy_live}
                if config.coverage:
                    results["repeated"] = ys.repeated
            return partition(results)

        results, pull_back, others = jax.vjp(forward, floats, has_aux=True)
        return combine(results, others) | {"gradient": pull_back(weights)[0]}

    # The loop is a loop over compiled steps: as a whole it takes long to compile.
    return run if backend == "loop" else quick_jit(run)


def execute(config, backend, given, weights, unroll=1):
    results = compiled(config, backend, unroll)(given, weights)
    return jax.tree.map(np.asarray, results)


@functools.cache
def make(name):
    """Arguments and weights; each row starts with a memory filled to another level."""
    config = CONFIGS[name]
    rng = np.random.default_rng(SEEDS[name])
    shapes = jax.eval_shape(lambda: core.init_params(jax.random.key(0), config))
    tags = rng.integers(0, 3, size=(LENGTH, BATCH)).astype(np.int32)
    given = {
        "params": jax.tree.map(lambda at: 0.6 * rng.normal(size=at.shape), shapes),
        "carry": core.init_carry(config, BATCH, source_length=2),
        "xs": rng.normal(size=(LENGTH, BATCH, config.input_dim)),
        "valid": TIME < np.array([1, 2, SLOTS + 1]),
        "reset": np.zeros((LENGTH, BATCH), bool),
        "tags": tags,
    }
    floats = partition(given["carry"])[0]
    weights = {
        "carry": jax.tree.map(lambda leaf: weighting(leaf.shape), floats),
        "hidden": weighting((LENGTH, BATCH, config.hidden_dim)),
    }
    memory = weights["carry"].memory
    if memory is not None and memory.usage is not None:
        # It only ranks slots, and has no gradient.
        memory = memory._replace(usage=np.zeros_like(memory.usage))
        weights["carry"] = weights["carry"]._replace(memory=memory)
    if config.reads:
        seen = config.num_heads * config.value_dim
        given["read_mask"] = rng.normal(size=(BATCH, seen))
    if config.source:
        bank = (2, BATCH, config.num_heads)
        keys, values = rng.normal(size=(*bank, 3)), rng.normal(size=(*bank, 2))
        valid = np.array([[True, True, False], [True, False, True]])
        given["source"] = core.fill(keys, values, tags=tags[:2], valid=valid)
    if config.copy:
        given["targets"] = np.roll(tags, 1)
        weights |= {"copy": weighting((LENGTH, BATCH)), "live": None}
    if config.coverage:
        weights["repeated"] = weighting((LENGTH, BATCH))
    start = execute(config, "scan", given, weights)["carry"]
    given |= {"carry": start, "valid": np.ones((LENGTH, BATCH), bool)}
    return given, weights


@functools.cache
def reference(name, steps=LENGTH):
    """What the readable loop gives for the first steps, without padding."""
    given, weights = (first_of(tree, steps) for tree in make(name))
    del given["valid"]
    return execute(CONFIGS[name], "loop", given, weights)


def timed(tree):
    return [name for name in PADDING if tree.get(name) is not None]


def first_of(tree, steps):
    return tree | {name: tree[name][:steps] for name in timed(tree)}


def place(tree, where):
    """The tree with its steps at `where [T, B]`, and padding elsewhere."""
    placed = dict(tree)
    for name in timed(tree):
        leaf = np.full((LENGTH, *tree[name].shape[1:]), PADDING[name], tree[name].dtype)
        leaf[where, ROWS] = tree[name]
        placed[name] = leaf
    return placed


def pick(results, where):
    """What `place` has placed; the results must be zero elsewhere."""
    picked = dict(results)
    for name in timed(results):
        picked[name] = results[name][where, ROWS]
        rest = results[name].copy()
        rest[where, ROWS] = 0
        assert not rest.any(), name
    if "gradient" in results:
        picked["gradient"] = pick(results["gradient"], where)
    return picked


def padded(run, given, weights, turn):
    """The results of STEPS steps; a row has its padding where `turn` says."""
    where = np.stack([PLACES[(row + turn) % 3] for row in ROWS], 1)
    given, weights = (first_of(tree, STEPS) for tree in (given, weights))
    return pick(run(place(given, where), place(weights, where)), where)


def only(given, mask):
    """The same arguments where the mask is True, and padding elsewhere."""
    xs = np.where(mask[..., None], given["xs"], np.nan).astype(given["xs"].dtype)
    return given | {"xs": xs, "valid": mask}


def added(parts):
    """The results of parts of one sequence, in which each part has its own steps.

    The final carry is of the last, and the gradient in the initial one of the first.
    """
    total = jax.tree.map(lambda *leaves: functools.reduce(np.add, leaves), *parts)
    gradient = total["gradient"] | {"carry": parts[0]["gradient"]["carry"]}
    return total | {"carry": parts[-1]["carry"], "gradient": gradient}


def in_pieces(run, given, weights):
    """The results of three calls, each given the carry of the one before."""
    ends = np.array([[0, 0, 0], [2, 3, 5], [3, 5, 9], [LENGTH] * BATCH])
    pieces = [only(given, (a <= TIME) & (TIME < b)) for a, b in pairwise(ends)]
    for piece, following in pairwise(pieces):
        following["carry"] = run(piece, weights)["carry"]
    parts = []
    for piece in reversed(pieces):
        parts.insert(0, run(piece, weights))
        weights = weights | {"carry": parts[0]["gradient"]["carry"]}
    return added(parts)


def packed_and_apart(run, config, given, weights):
    """The results of two documents in one sequence, and of each by itself."""
    cut = np.array([5, 6, 4])
    packed = run(given | {"reset": cut == TIME}, weights)
    nothing = jax.tree.map(np.zeros_like, weights["carry"])
    first = run(only(given, TIME < cut), weights | {"carry": nothing})
    fresh = {"carry": core.init_carry(config, BATCH, source_length=2)}
    second = run(only(given, cut <= TIME) | fresh, weights)
    return packed, added([first, second])


def rows(tree, order):
    """The tree with its rows in another order."""

    def reorder(name, part):
        if name in ("params", "gradient"):
            return part if name == "params" else rows(part, order)
        axis = 1 if name in PADDING else 0
        return jax.tree.map(lambda leaf: np.take(leaf, order, axis), part)

    return {name: reorder(name, part) for name, part in tree.items()}
