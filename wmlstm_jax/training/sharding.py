"""Where arrays live: rows over the devices, parameters on each of them."""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wmlstm_jax.data import pipeline
from wmlstm_jax.training.state import TrainState


def make_mesh(batch_size: int) -> Mesh:
    """All devices in one row, named `data`.

    Args:
      batch_size: B, over all devices.

    Raises:
      ValueError: the batch does not divide by the devices.
    """
    count = jax.device_count()
    if batch_size % count:
        raise ValueError(
            f"data.batch_size is {batch_size}; it must divide by the {count} devices."
        )
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,))


def over_data(mesh: Mesh) -> NamedSharding:
    """The first axis, rows, over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on each device."""
    return NamedSharding(mesh, PartitionSpec())


def shard_of(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each leaf of a state lives: the carry by rows, the rest on each device."""
    everywhere = jax.tree.map(lambda _: replicated(mesh), state)
    by_rows = jax.tree.map(lambda _: over_data(mesh), state.carry)
    return everywhere._replace(carry=by_rows)


def put_batch(batch: pipeline.Batch, mesh: Mesh) -> dict[str, Any]:
    """This host's rows, `[B / hosts, T]`, as part of the batch of all hosts."""
    return {
        name: jax.make_array_from_process_local_data(over_data(mesh), rows)
        for name, rows in batch.items()
    }
