"""Where arrays live: rows over the devices, parameters on each of them."""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wmlstm_jax.data import pipeline
from wmlstm_jax.training.config import MeshConfig
from wmlstm_jax.training.state import TrainState


def make_mesh(config: MeshConfig, batch_size: int) -> Mesh:
    """Devices in one row, named `data`.

    Args:
      config: how many.
      batch_size: B, over all devices.

    Raises:
      ValueError: there are not as many devices, or the batch does not divide by them.
    """
    devices = jax.devices()
    count = config.data or len(devices)
    if count > len(devices):
        raise ValueError(
            f"mesh.data is {count}, and there are {len(devices)} devices; give at most"
            " as many, or 0 for all."
        )
    if batch_size % count:
        raise ValueError(
            f"data.batch_size is {batch_size}; it must divide by the {count} devices."
        )
    return jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=devices[:count])


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
