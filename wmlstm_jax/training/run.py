"""A run, built from its settings: everything that training and evaluation share."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from wmlstm_jax.data import (
    Corpus,
    StreamWindows,
    Tokenizer,
    batches,
    load_corpus,
    train_tokenizer,
)
from wmlstm_jax.metrics import Likelihood
from wmlstm_jax.models.language_model import Carries
from wmlstm_jax.training.config import DataConfig, MeshConfig, TrainConfig
from wmlstm_jax.training.optimizers import make_optimizer
from wmlstm_jax.training.sharding import make_mesh, over_data, put_batch, shard_of
from wmlstm_jax.training.state import TrainState, init_state, model_graph
from wmlstm_jax.training.steps import Batch, make_eval_step


class Run(NamedTuple):
    """What a config stands for."""

    config: TrainConfig
    corpus: Callable[[], Corpus]  # reads the text when it is first wanted
    tokenizer: Tokenizer
    mesh: Mesh
    graph: nnx.GraphDef
    optimizer: optax.GradientTransformation
    template: TrainState  # shapes, dtypes and shardings of the state

    def first_state(self) -> TrainState:
        """The state before the first step, a function of the seed."""
        init = init_state(
            self.config.model,
            self.tokenizer.vocab_size,
            self.optimizer,
            self.config.data.batch_size,
        )
        # Made on one device and then spread: on CPU, a QR of more than 64 rows waits
        # for threads that its fellows on the other devices hold.
        state = jax.jit(init)(jax.random.key(self.config.seed))
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.template)
        return jax.device_put(state, shardings)

    def empty_carry(self) -> Carries:
        """The state of the streams before the first token, over the devices."""
        model = nnx.merge(self.graph, self.template.params)
        init = jax.jit(
            lambda: model.initialize_carry(self.config.data.batch_size),
            out_shardings=over_data(self.mesh),
        )
        return init()

    def windows(self, split: str) -> StreamWindows:
        """This host's windows of "train", "validation" or "test"."""
        tokens = self.tokenizer.encode(getattr(self.corpus(), split))
        return StreamWindows(
            tokens,
            self.config.data.batch_size,
            self.config.data.window,
            shard=jax.process_index(),
            num_shards=jax.process_count(),
            name=f"{split} text",
        )

    def batches(
        self, split: str, start: int, stop: int | None = None
    ) -> Iterator[Batch]:
        """Batches of a split on the devices; by default to the end of one pass."""
        windows = self.windows(split)
        stop = len(windows) if stop is None else stop
        for batch in batches(windows, start, stop):
            yield put_batch(batch, self.mesh)


def build(
    config: TrainConfig,
    tokenizer: Tokenizer | None = None,
    mesh: MeshConfig | None = None,
) -> Run:
    """Prepares text and model; nothing is computed yet.

    Args:
      config: the settings.
      tokenizer: of the run, if it has been trained; else it is trained on the text.
      mesh: other devices than those of the config.

    Raises:
      ValueError: a setting cannot be met; the message names it.
    """
    devices = make_mesh(mesh or config.mesh, config.data.batch_size)
    corpus = functools.cache(functools.partial(_read_corpus, config.data))
    if tokenizer is None:
        data = config.data
        tokenizer = train_tokenizer(data.tokenizer, corpus().train, data.vocab_size)
    optimizer = make_optimizer(config.optimizer, config.num_steps)
    init = init_state(
        config.model, tokenizer.vocab_size, optimizer, config.data.batch_size
    )
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
        corpus=corpus,
        tokenizer=tokenizer,
        mesh=devices,
        graph=model_graph(config.model, tokenizer.vocab_size),
        optimizer=optimizer,
        template=template,
    )


def _read_corpus(data: DataConfig) -> Corpus:
    return load_corpus(
        data.source,
        path=data.path,
        validation_path=data.validation_path,
        test_path=data.test_path,
        text_field=data.text_field,
        data_dir=data.data_dir,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
    )


class Evaluator:
    """Scores parameters on a split, the carry kept from window to window.

    Args:
      run: what is evaluated.
      split: "validation" or "test".
    """

    def __init__(self, run: Run, split: str):
        self._run, self._split = run, split
        byte_counts = jnp.asarray(run.tokenizer.byte_counts())
        self._step = make_eval_step(run.graph, byte_counts)

    def __call__(self, params: dict) -> Likelihood:
        """The counts of the whole split."""
        carry, total = self._run.empty_carry(), Likelihood(0.0, 0, 0)
        counted = []
        for batch in self._run.batches(self._split, 0):
            carry, counts = self._step(params, carry, batch)
            counted.append(counts)
        for counts in jax.device_get(counted):
            total = total.plus(counts)
        return total
