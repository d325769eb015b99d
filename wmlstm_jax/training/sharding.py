"""Where arrays live on a mesh of devices: rules by name, and nothing else.

A mesh has three axes. Rows of a batch and of the carry are spread over `data` and
`fsdp`; parameters and what the optimiser keeps of them over `fsdp`; heads with their
block of the recurrence over `model`. `jax.jit` with these shardings is what pjit was.
"""

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from wmlstm_jax.data import pipeline
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.models.placement import Rows
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.state import TrainState

AXES = ("data", "fsdp", "model")
ROWS = ("data", "fsdp")
"""The axes that share the rows of a batch."""
RULES: tuple[tuple[str, P], ...] = (
    # Of a cell: [D, G, out], [G, H/G, out], [G, out], [R] or [G].
    (r"recurrences?/.*params/input/", P("fsdp", "model")),
    (r"recurrences?/.*params/(hidden|current|read|final)/", P("model", "fsdp")),
    (r"recurrences?/.*params/(bias|memory)/", P("model")),
    # [H, D]: what comes out of the groups.
    (r"blocks/.*project/kernel", P("model", "fsdp")),
    (r"kernel$|embedding$", P("fsdp")),
)
"""By a pattern in the path of a parameter; the first that is found counts."""


def make_mesh(config: MeshConfig, batch_size: int) -> Mesh:
    """The devices, on axes `data`, `fsdp` and `model`.

    Args:
      config: how many on each.
      batch_size: B, over all devices.

    Raises:
      ValueError: there are not as many devices, or the batch does not divide by those
        that share its rows.
    """
    devices = jax.devices()
    others = config.fsdp * config.model
    data = config.data or max(len(devices) // others, 1)
    count = data * others
    if count > len(devices):
        raise ValueError(
            f"mesh.data is {config.data}, mesh.fsdp {config.fsdp} and mesh.model"
            f" {config.model}, which is {count} devices, and there are {len(devices)};"
            " give at most as many, or mesh.data=0 for all."
        )
    if batch_size % (data * config.fsdp):
        raise ValueError(
            f"data.batch_size is {batch_size}; it must divide by the"
            f" {data * config.fsdp} devices that share its rows."
        )
    shape = (data, config.fsdp, config.model)
    return jax.make_mesh(
        shape, AXES, (AxisType.Auto,) * len(AXES), devices=devices[:count]
    )


def check_model_axis(config: ModelConfig, mesh: MeshConfig) -> None:
    """Refuses a recurrence that the `model` axis cannot be spread over.

    Raises:
      ValueError: the blocks do not divide by the axis; a dense recurrence has one.
    """
    if config.num_blocks % mesh.model:
        raise ValueError(
            f"mesh.model is {mesh.model} and model.num_blocks is {config.num_blocks}:"
            " inside a block every unit needs all others at every step; set"
            f" model.num_blocks to a multiple of {mesh.model}, or mesh.model to 1."
        )


def spec_of(path: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """Where a parameter lives, by `RULES`; an axis that does not divide is left whole.

    Args:
      path: its names, joined by slashes.
      shape: its own.
      mesh: from `make_mesh`.
    """
    found = next((spec for pattern, spec in RULES if re.search(pattern, path)), P())
    fits = [
        axis if axis is not None and not size % mesh.shape[axis] else None
        for size, axis in zip(shape, found, strict=False)
    ]
    return P(*fits)


def shard_of_params(params: Any, mesh: Mesh, *, gathered: bool = False) -> Any:
    """The sharding of each leaf of parameters, or of a tree that has them inside.

    Args:
      params: arrays or shapes.
      mesh: from `make_mesh`.
      gathered: as the model computes with them: whole over `fsdp`.
    """

    def place(path, leaf):
        names = "/".join(str(getattr(part, "key", part)) for part in path)
        spec = spec_of(names, leaf.shape, mesh)
        if gathered:
            spec = P(*(None if axis == "fsdp" else axis for axis in spec))
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, params)


def gather(params: Any, mesh: Mesh) -> Any:
    """Parameters as the model computes with them, gathered once and outside of loops.

    The gradient comes back scattered over `fsdp`.
    """
    wanted = shard_of_params(params, mesh, gathered=True)
    return jax.lax.with_sharding_constraint(params, wanted)


def shard_of_carry(carry: Any, mesh: Mesh) -> Any:
    """Rows over `data` and `fsdp`, what follows (units, heads, groups) over `model`.

    Slots are never spread.
    """

    def place(leaf):
        axes = (ROWS, "model")[: leaf.ndim]
        return NamedSharding(mesh, P(*axes))

    return jax.tree.map(place, carry)


def rows_of(mesh: Mesh, batch_size: int) -> Rows | None:
    """Where a model computes with its rows; None where the `model` axis is 1.

    Outside of the recurrence they are spread over all devices, if they divide by them.
    """
    if mesh.shape["model"] == 1:
        return None
    axes = ROWS if batch_size % mesh.size else AXES
    made = NamedSharding(mesh, P(ROWS, None, "model"))
    return Rows(over_rows(mesh), made, NamedSharding(mesh, P(axes)))


def over_rows(mesh: Mesh) -> NamedSharding:
    """The first axis, rows, over the devices that share a batch."""
    return NamedSharding(mesh, P(ROWS))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on each device."""
    return NamedSharding(mesh, P())


def shard_of(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each leaf of a state lives."""
    everywhere = jax.tree.map(lambda _: replicated(mesh), state)
    return everywhere._replace(
        params=shard_of_params(state.params, mesh),
        opt_state=shard_of_params(state.opt_state, mesh),
        average=shard_of_params(state.average, mesh),
        carry=shard_of_carry(state.carry, mesh),
    )


def rows_of_host(mesh: Mesh, batch_size: int) -> tuple[int, int]:
    """Which part of a batch this host's devices need, and of how many such parts.

    Hosts whose devices differ only on the `model` axis need the same.

    Raises:
      ValueError: the rows of this host do not follow each other.
    """
    places = over_rows(mesh).addressable_devices_indices_map((batch_size,))
    assert places is not None
    rows = {
        row
        for index in places.values()
        if index is not None
        for row in range(*index[0].indices(batch_size))
    }
    first, count = min(rows), len(rows)
    if max(rows) - first + 1 != count or first % count:
        raise ValueError(
            f"the rows of this host are {sorted(rows)}, which are not one part of"
            f" {batch_size}; choose mesh.data times mesh.fsdp to divide by the hosts."
        )
    return first // count, batch_size // count


def put_batch(batch: pipeline.Batch, mesh: Mesh, batch_size: int) -> dict[str, Any]:
    """This host's rows as part of the batch of all hosts.

    Args:
      batch: `[B / parts, ...]` each, as `rows_of_host` says.
      mesh: from `make_mesh`.
      batch_size: B.
    """
    sharding = over_rows(mesh)
    return {
        name: jax.make_array_from_process_local_data(
            sharding, rows, (batch_size, *rows.shape[1:])
        )
        for name, rows in batch.items()
    }


def spread(leaf: jax.Array, sharding: NamedSharding) -> jax.Array:
    """An array that each host has whole, over the devices of all hosts."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(spread(jax.random.key_data(leaf), sharding))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)


def bytes_per_device(tree: Any) -> int:
    """What shapes with shardings take on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        shape = leaf.sharding.shard_shape(leaf.shape)
        total += math.prod(shape) * leaf.dtype.itemsize
    return total
