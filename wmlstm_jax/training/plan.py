"""What would a mesh need that one does not have? Memory, traffic, and how it scales.

    python -m wmlstm_jax.training.plan --config=configs/lm_large.py:1b3 \
        --mesh=data=32,fsdp=8

Nothing is trained and no data is read. The update is compiled for as many virtual
devices as the mesh has, from shapes alone; what each part takes is counted from the
shapes beside it. The scaling is an estimate for a device and a network that flags
describe.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import flags

from wmlstm_jax.metrics import markdown_table
from wmlstm_jax.training.collectives import Collective, find_collectives
from wmlstm_jax.training.command_line import define_config, given_config, run_script
from wmlstm_jax.training.config import (
    LANGUAGE_MODELING,
    MeshConfig,
    TrainConfig,
)
from wmlstm_jax.training.losses import LanguageLoss
from wmlstm_jax.training.objectives import LanguageModeling, model_graph, num_params
from wmlstm_jax.training.optimizers import make_optimizer
from wmlstm_jax.training.sharding import (
    bytes_per_device,
    check_model_axis,
    make_mesh,
    over_rows,
    shard_of,
)
from wmlstm_jax.training.state import init_state
from wmlstm_jax.training.steps import make_train_step


class Machine(NamedTuple):
    """What the scaling is estimated for."""

    flops: float  # of one device, per second, that a training reaches
    bandwidth: float  # bytes per second that one device sends


class Plan(NamedTuple):
    """What one update needs, by device."""

    mesh: dict[str, int]
    num_params: int
    held: dict[str, int]  # bytes of the state, by its parts, counted from shapes
    arguments: int  # bytes that the compiled program is given
    temporary: int  # bytes that it needs beside them
    flops: float  # of an update, on one device
    collectives: list[Collective]
    tokens: int  # of all devices

    @property
    def sent(self) -> int:
        """Bytes outside of loops."""
        return sum(each.bytes for each in self.collectives if not each.in_loop)

    def efficiency(self, machine: Machine) -> float:
        """The share of an update that computes, if nothing is sent meanwhile."""
        computing = self.flops / machine.flops
        return computing / (computing + self.sent / machine.bandwidth)


def make_plan(config: TrainConfig, vocab_size: int) -> Plan:
    """Compiles an update for a mesh of the devices that JAX has.

    Args:
      config: the settings, of a language model; its mesh is the mesh.
      vocab_size: V.

    Raises:
      ValueError: the task is another, or the mesh does not fit the config.
    """
    if config.task != LANGUAGE_MODELING:
        raise ValueError(
            f"config.task is {config.task!r}; a plan is made for {LANGUAGE_MODELING}."
        )
    check_model_axis(config.model, config.mesh)
    rows, window = config.data.batch_size, config.data.window
    mesh = make_mesh(config.mesh, rows)
    objective = LanguageModeling(config.model, vocab_size)
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    averaged = config.optimizer.average > 0
    init = init_state(objective, optimizer, rows, averaged=averaged)
    shapes = jax.eval_shape(init, jax.random.key(0))

    def placed(leaf, place):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)

    state = jax.tree.map(placed, shapes, shard_of(shapes, mesh))
    kinds = {"inputs": jnp.int32, "targets": jnp.int32, "valid": bool, "reset": bool}
    batch = {
        name: jax.ShapeDtypeStruct((rows, window), kind, sharding=over_rows(mesh))
        for name, kind in kinds.items()
    }
    step = make_train_step(
        objective,
        model_graph(objective),
        optimizer,
        mesh,
        state,
        LanguageLoss(config.vocab_share, label_smoothing=config.label_smoothing),
        config.optimizer,
    )
    compiled = step.lower(state, batch).compile()
    memory: Any = compiled.memory_analysis()
    devices = mesh.size
    return Plan(
        mesh=dict(mesh.shape),
        num_params=num_params(objective),
        held={
            "parameters": bytes_per_device(state.params),
            "optimiser": bytes_per_device(state.opt_state),
            "average": bytes_per_device(state.average),
            "carry": bytes_per_device(_without_memory(state.carry)),
            "memory slots": bytes_per_device([each.memory for each in state.carry]),
            "batch": bytes_per_device(batch),
        },
        arguments=memory.argument_size_in_bytes,
        temporary=memory.temp_size_in_bytes,
        flops=count_flops(config, num_params(objective), rows * window) / devices,
        collectives=find_collectives(compiled.as_text()),
        tokens=rows * window,
    )


def count_flops(config: TrainConfig, num_params: int, tokens: int) -> float:
    """Operations of an update: 6 for each parameter and token, 8 with `model.remat`.

    And for each slot what a read and its gradient take. XLA's own count takes a loop
    for one of its turns.
    """
    model = config.model
    widths = model.key_dim + model.value_dim * model.read
    slots = 2 * model.num_layers * model.num_heads * model.num_slots * widths
    passes = 4 if model.remat else 3
    return passes * (2.0 * num_params + slots) * tokens


def _without_memory(carries):
    return [carry._replace(memory=None) for carry in carries]


def show(plan: Plan, machine: Machine) -> str:
    """Tables for people."""
    count = 1
    for size in plan.mesh.values():
        count *= size
    named = " x ".join(f"{name} {size}" for name, size in plan.mesh.items())
    held = sum(plan.held.values())
    rows = [(name, _size(size)) for name, size in plan.held.items() if size]
    rows += [
        ("together, from shapes", _size(held)),
        ("arguments of the compiled update", _size(plan.arguments)),
        ("activations and gradients (compiled)", _size(plan.temporary)),
    ]
    sends = {}
    for each in plan.collectives:
        place = "in a loop" if each.in_loop else "once"
        number, total = sends.get((each.kind, place), (0, 0))
        sends[each.kind, place] = number + 1, total + each.bytes
    sent = [
        (kind, place, str(number), _size(total))
        for (kind, place), (number, total) in sorted(sends.items())
    ]
    header = ("sent by a device in an update", "", "how often", "bytes")
    computing = plan.flops / machine.flops
    sending = plan.sent / machine.bandwidth
    return "\n".join(
        [
            f"{plan.num_params:,} parameters on {count} devices ({named}),"
            f" {plan.tokens:,} tokens an update",
            "",
            markdown_table(("on one device", "bytes"), rows),
            "",
            markdown_table(header, sent),
            "",
            f"{plan.flops:.3g} operations at {machine.flops:.3g} a second take"
            f" {1000 * computing:.1f} ms; {_size(plan.sent)} at"
            f" {machine.bandwidth:.3g} bytes a second take {1000 * sending:.1f} ms."
            f" One after the other, {100 * plan.efficiency(machine):.0f} % of the time"
            " computes.",
        ]
    )


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.1f} {unit}" if unit != "B" else f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.2f} GiB"


def parse_mesh(text: str) -> MeshConfig:
    """A mesh from `data=32,fsdp=8`; what is not named is 1.

    Raises:
      ValueError: it is something else.
    """
    sizes = {"data": 1, "fsdp": 1, "model": 1}
    for part in filter(None, text.split(",")):
        name, _, size = part.partition("=")
        if name not in sizes or not size.isdigit() or int(size) < 1:
            raise ValueError(
                f"--mesh={text} has {part!r}; it must be of the form"
                " data=32,fsdp=8,model=2."
            )
        sizes[name] = int(size)
    return MeshConfig(**sizes)


def main(config: TrainConfig, mesh: str, vocab_size: int, machine: Machine) -> None:
    """Compiles for virtual devices and prints the plan."""
    wanted = parse_mesh(mesh) if mesh else config.mesh
    count = max(wanted.data, 1) * wanted.fsdp * wanted.model
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)
    config = replace(config, mesh=wanted)
    print(show(make_plan(config, vocab_size or config.data.vocab_size), machine))


if __name__ == "__main__":
    _CONFIG = define_config(required=True)
    _MESH = flags.DEFINE_string("mesh", "", "data=32,fsdp=8; by default the config's.")
    _VOCAB = flags.DEFINE_integer("vocab_size", 0, "V; by default the config's.")
    _FLOPS = flags.DEFINE_float("flops", 2e14, "Per second and device, as reached.")
    _BANDWIDTH = flags.DEFINE_float(
        "bandwidth", 5e10, "Bytes per second that a device sends."
    )

    def planned() -> None:
        """As the flags say."""
        machine = Machine(_FLOPS.value, _BANDWIDTH.value)
        main(given_config(_CONFIG), _MESH.value, _VOCAB.value, machine)

    run_script(planned)
