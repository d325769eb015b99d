"""Does a mesh compute what one device computes, what does it send, and how fast?

    python -m wmlstm_jax.benchmarks.distributed --config=configs/lm_large.py:smoke \
        --config.model.num_blocks=8 --config.model.num_heads=8 \
        --config.model.dtype=float32 --config.model.embed_dim=64 \
        --config.model.hidden_dim=64 --config.num_steps=200 --config.eval_every=200 \
        --config.log_every=50 --out=runs/distributed

Two updates on each mesh of eight virtual devices stand beside two on one device, and
what the compiled update sends is counted. Then 1, 2 and 4 processes on loopback train
the same; they share the cores of this machine, so that their times say what it costs to
be several, and nothing of how a cluster scales.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from wmlstm_jax.benchmarks import results_dir
from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.training.collectives import Collective, find_collectives
from wmlstm_jax.training.command_line import (
    define_config,
    define_hosts,
    given_config,
    run_script,
)
from wmlstm_jax.training.config import MeshConfig, TrainConfig
from wmlstm_jax.training.loop import train
from wmlstm_jax.training.manifest import write_whole
from wmlstm_jax.training.provenance import provenance
from wmlstm_jax.training.run import build
from wmlstm_jax.training.sharding import put_batch

DEVICES = 8
MESHES = {
    "data 8": MeshConfig(8),
    "fsdp 8": MeshConfig(1, 8),
    "model 8": MeshConfig(1, 1, 8),
    "data 2 x fsdp 2 x model 2": MeshConfig(2, 2, 2),
}
UPDATES = 2
COUNTS = 1, 2, 4
"""Of processes."""


class Updated(NamedTuple):
    """A run after some updates, on the host."""

    params: Any
    carry: Any
    loss: float  # nats, of the last update
    grad_norm: float
    collectives: list[Collective]


class Meshed(NamedTuple):
    """A mesh beside one device: relative differences, and what an update sends."""

    mesh: str
    loss: float
    grad_norm: float
    params: float  # the norm of the difference over the norm, of all numbers together
    carry: float
    sent: dict[str, tuple[int, int]]  # by kind: how many, and bytes of a device
    in_loops: int  # how many of these are inside of a loop


class Timed(NamedTuple):
    """Processes that train together."""

    processes: int
    loss: float  # nats, the mean over the last updates
    tokens_per_second: float


def update(config: TrainConfig, mesh: MeshConfig) -> Updated:
    """The first updates of a run on a mesh."""
    run = build(config, mesh=mesh)
    step, data = run.train_step(), run.data.batches("train")
    state = run.first_state()
    for number in range(UPDATES):
        batch = put_batch(data[number], run.mesh, config.data.batch_size)
        state, metrics = step(state, batch)
    program = step.lower(run.template, batch).compile().as_text()
    return Updated(
        *jax.device_get((state.params, state.carry)),
        float(metrics.loss),
        float(metrics.grad_norm),
        find_collectives(program),
    )


def compare(mesh: str, one: Updated, other: Updated) -> Meshed:
    """What a mesh found beside what one device did."""
    sent: dict[str, tuple[int, int]] = {}
    for each in other.collectives:
        number, total = sent.get(each.kind, (0, 0))
        sent[each.kind] = number + 1, total + each.bytes
    return Meshed(
        mesh,
        abs(other.loss / one.loss - 1),
        abs(other.grad_norm / one.grad_norm - 1),
        relative_difference(one.params, other.params),
        relative_difference(one.carry, other.carry),
        sent,
        sum(each.in_loop for each in other.collectives),
    )


def relative_difference(one: Any, other: Any) -> float:
    """`|a - b| / |a|`, over all leaves of floats."""
    difference = size = 0.0
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if np.issubdtype(a.dtype, np.floating):
            a, b = (np.asarray(leaf, np.float64) for leaf in (a, b))
            difference += np.square(a - b).sum()
            size += np.square(a).sum()
    return float(np.sqrt(difference / size))


def time_processes(count: int, workdir: Path) -> Timed:
    """So many processes of one device, started with the flags of this one.

    Raises:
      RuntimeError: one of them failed; it has said why.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "wmlstm_jax.benchmarks.distributed"]
    command += [*_config_flags(), f"--workdir={workdir}"]
    joined = ["--distributed", f"--coordinator=127.0.0.1:{port}"]
    given = os.environ.get("XLA_FLAGS", "").split()
    flags = " ".join(flag for flag in given if "device_count" not in flag)
    processes = [
        subprocess.Popen(
            [
                *command,
                *joined,
                f"--num_processes={count}",
                f"--process_id={number}",
            ],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
        )
        for number in range(count)
    ]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"of {count} processes some ended with {codes}.")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "tokens_per_second" in row]
    return Timed(count, rows[-1]["loss"], rows[-1]["tokens_per_second"])


def _config_flags() -> list[str]:
    return [each for each in sys.argv[1:] if each.startswith("--config")]


def show(meshes: list[Meshed], times: list[Timed], tokens: int) -> str:
    """Tables for people."""
    equal = [
        (
            each.mesh,
            *(f"{x:.1e}" for x in (each.loss, each.grad_norm, each.params, each.carry)),
        )
        for each in meshes
    ]
    sent = [
        (each.mesh, kind, f"{number}", f"{size:,}", f"{each.in_loops}")
        for each in meshes
        for kind, (number, size) in sorted(each.sent.items())
    ]
    timed = [
        (
            str(each.processes),
            f"{each.loss:.6f}",
            f"{1000 * tokens / each.tokens_per_second:.1f} ms",
        )
        for each in times
    ]
    header = "mesh", "loss", "gradient norm", "parameters", "carry"
    sends = "mesh", "kind", "how many", "bytes of a device", "in a loop, of any kind"
    return "\n\n".join(
        [
            markdown_table(header, equal),
            markdown_table(sends, sent),
            markdown_table(("processes", "loss", "an update"), timed),
        ]
    )


def main(config: TrainConfig, out: str | Path, counts: tuple[int, ...] = COUNTS):
    """Measures all, and leaves `distributed.json` in `out`.

    Raises:
      ValueError: the config does not fit the meshes, or `out` cannot be written.
    """
    out = results_dir(out)
    one = update(config, MeshConfig(1))
    meshes = []
    for name, mesh in MESHES.items():
        meshes.append(compare(name, one, update(config, mesh)))
        print(f"{name}: loss within {meshes[-1].loss:.1e}", flush=True)
    times = []
    for count in counts:
        times.append(time_processes(count, out / f"by_{count}"))
        print(f"{count} processes: {times[-1].tokens_per_second:,.0f} tokens/s")
    saved = {
        **provenance(),
        "meshes": [each._asdict() for each in meshes],
        "processes": [each._asdict() for each in times],
    }
    write_whole(out / "distributed.json", json.dumps(saved) + "\n")
    tokens = config.data.batch_size * config.data.window
    print(f"\n{show(meshes, times, tokens)}\n\nResults: {out}/distributed.json")


if __name__ == "__main__":
    _CONFIG = define_config(required=True)
    _START = define_hosts()
    _OUT = flags.DEFINE_string("out", "runs/distributed", "Where results go.")
    _WORKDIR = flags.DEFINE_string("workdir", None, "Of one of several processes.")

    def run() -> None:
        """As the flags say."""
        if _WORKDIR.value:
            _START()
            config = given_config(_CONFIG)
            train(replace(config, mesh=MeshConfig(0)), _WORKDIR.value)
            return
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", DEVICES)
        main(given_config(_CONFIG), _OUT.value)

    run_script(run)
