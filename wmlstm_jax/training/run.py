"""A run, built from its settings: everything that training and evaluation share."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from wmlstm_jax.data import Tokenizer, batches
from wmlstm_jax.metrics import Likelihood
from wmlstm_jax.training.config import (
    LANGUAGE_MODELING,
    MeshConfig,
    TrainConfig,
    config_differences,
    parse_config,
)
from wmlstm_jax.training.datasets import Dataset, ExampleData, TextData
from wmlstm_jax.training.losses import LanguageLoss
from wmlstm_jax.training.objectives import (
    Batch,
    Objective,
    make_objective,
    model_graph,
)
from wmlstm_jax.training.optimizers import make_optimizer
from wmlstm_jax.training.sharding import (
    check_model_axis,
    make_mesh,
    put_batch,
    rows_of_host,
    shard_of,
    shard_of_carry,
    spread,
)
from wmlstm_jax.training.state import TrainState, init_state
from wmlstm_jax.training.steps import (
    StepMetrics,
    make_eval_step,
    make_train_step,
)


class Run(NamedTuple):
    """What a config stands for."""

    config: TrainConfig
    data: Dataset
    objective: Objective
    mesh: Mesh
    graph: nnx.GraphDef
    optimizer: optax.GradientTransformation
    template: TrainState  # shapes, dtypes and shardings of the state

    @property
    def tokenizer(self) -> Tokenizer:
        """Of the data."""
        return self.data.tokenizer

    def check_text(self, was: dict[str, str]) -> None:
        """Refuses data that are not those of a checkpoint, by their sha256.

        Raises:
          ValueError: they are others, or they cannot be had.
        """
        now = self.data.origin
        if was["sha256"] != now["sha256"]:
            raise ValueError(
                f"the text is not the one that this run was trained on ({was}, now"
                f" {now}); bring that one back, or name another --workdir."
            )

    def check_config(self, was: dict[str, Any]) -> None:
        """Refuses a checkpoint of another run that was put among those of this one.

        Raises:
          ValueError: its settings are others; the message has the differences.
        """
        if differences := config_differences(parse_config(was), self.config):
            raise ValueError(
                "the checkpoint is of a run with another config"
                f" ({'; '.join(differences)}); take it out, or name its own --workdir."
            )

    def first_state(self) -> TrainState:
        """The state before the first step, a function of the seed."""
        init = _init(self.config, self.objective, self.optimizer)
        # Made on one device and then spread: on CPU, a QR of more than 64 rows waits
        # for threads that its fellows on the other devices hold.
        state = jax.jit(init)(jax.random.key(self.config.seed))
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.template)
        return jax.tree.map(spread, state, shardings)

    def train_step(
        self,
    ) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
        """Compiles one update; see `make_train_step`."""
        config = self.config
        return make_train_step(
            self.objective,
            self.graph,
            self.optimizer,
            self.mesh,
            self.template,
            LanguageLoss(
                config.vocab_share, config.encoder.coverage, config.label_smoothing
            ),
            config.optimizer,
        )

    def carry_init(self) -> Callable[[], Any]:
        """Compiles what makes the carry before the first batch, over the devices."""
        model = nnx.merge(self.graph, self.template.params)
        rows = self.config.data.batch_size

        def init():
            return self.objective.initialize_carry(model, rows)

        places = shard_of_carry(jax.eval_shape(init), self.mesh)
        return jax.jit(init, out_shardings=places)

    def batches(
        self, split: str, start: int, stop: int | None = None
    ) -> Iterator[Batch]:
        """Batches of a split on the devices; by default to the end of one pass."""
        rows = self.config.data.batch_size
        shard, num_shards = rows_of_host(self.mesh, rows)
        found = self.data.batches(split, shard=shard, num_shards=num_shards)
        stop = len(found) if stop is None else stop
        for batch in batches(found, start, stop):
            yield put_batch(batch, self.mesh, rows)


def build(
    config: TrainConfig,
    tokenizer: Tokenizer | None = None,
    mesh: MeshConfig | None = None,
) -> Run:
    """Prepares data and model; nothing is computed yet.

    Args:
      config: the settings.
      tokenizer: of the run, if it has been trained; else it is trained on the data.
      mesh: other devices than those of the config.

    Raises:
      ValueError: a setting cannot be met; the message names it.
    """
    mesh = mesh or config.mesh
    check_model_axis(config.model, mesh)
    devices = make_mesh(mesh, config.data.batch_size)
    _check_parts(config, devices)
    data, objective = _choose(config, tokenizer)
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    init = _init(config, objective, optimizer)
    shapes = jax.eval_shape(init, jax.random.key(0))
    template = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=place
        ),
        shapes,
        shard_of(shapes, devices),
    )
    return Run(
        config=config,
        data=data,
        objective=objective,
        mesh=devices,
        graph=model_graph(objective),
        optimizer=optimizer,
        template=template,
    )


def _init(config, objective, optimizer):
    rows, averaged = config.data.batch_size, config.optimizer.average > 0
    return init_state(objective, optimizer, rows, averaged=averaged)


def _check_parts(config: TrainConfig, mesh: Mesh) -> None:
    """Refuses to compute a batch in parts that do not fit the devices."""
    parts, rows = config.optimizer.accumulate, config.data.batch_size
    devices = mesh.shape["data"] * mesh.shape["fsdp"]
    if rows % (parts * devices):
        raise ValueError(
            f"data.batch_size is {rows}; it must divide by optimizer.accumulate ="
            f" {parts} times the {devices} devices that share its rows."
        )


def _choose(
    config: TrainConfig, tokenizer: Tokenizer | None
) -> tuple[Dataset, Objective]:
    """The kind of data and of model that a task has."""
    if config.task == LANGUAGE_MODELING:
        text = TextData(config.data, tokenizer)
        return text, make_objective(config, text.vocab_size)
    encoder = config.encoder
    data = ExampleData(
        config.data,
        config.seed,
        tokenizer,
        streams=not encoder.num_layers and not encoder.readout,
        hear=config.hear_targets,
        one_word=encoder.readout,
    )
    words = data.vocabulary
    return data, make_objective(
        config, words.size, unknown=words.unknown, start=words.start, end=words.end
    )


class Evaluator:
    """Scores parameters on a split, the carry kept from batch to batch.

    Args:
      run: what is evaluated.
      split: "validation" or "test".
    """

    def __init__(self, run: Run, split: str):
        self._run, self._split = run, split
        self._empty = run.carry_init()
        byte_counts = jnp.asarray(run.data.byte_counts())
        self._step = make_eval_step(run.objective, run.graph, byte_counts, run.mesh)

    def __call__(self, params: dict) -> Likelihood:
        """The counts of the whole split."""
        carry, total = self._empty(), Likelihood(0.0, 0, 0)
        counted = []
        for batch in self._run.batches(self._split, 0):
            carry, counts = self._step(params, carry, batch)
            counted.append(counts)
        for counts in jax.device_get(counted):
            total = total.plus(counts)
        return total
