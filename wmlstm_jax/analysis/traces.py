"""What a memory did with a text, step by step, as arrays.

At step t the token `tokens[t]` comes in: the heads read what slots hold from before,
the gates turn, the token is written, and the copy head, which says what comes next,
looks at the memory with the token in it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmlstm_jax.core import SlotMemory, Trace
from wmlstm_jax.metrics import MemoryCounts, count_memory
from wmlstm_jax.models import LanguageModel, ModelConfig, Seq2Seq
from wmlstm_jax.models.language_model import Carries, Sources
from wmlstm_jax.training.speaking import Said, ask, say, vocabulary_of
from wmlstm_jax.training.trained import Trained, language_model_of

Array = jax.Array


class Reads(NamedTuple):
    """What the heads read; weights of slots, source and null sum to at most 1."""

    slots: np.ndarray | None  # [T, R, N]: of what slots held before the step
    source: np.ndarray | None  # [T, R, S]
    null: np.ndarray  # [T, R]
    modes: np.ndarray | None  # [T, R, M]: the probabilities of the read modes


class Writes(NamedTuple):
    """Where each token went, and what had been there."""

    slots: np.ndarray  # [T, G, k] int32
    weights: np.ndarray  # [T, G, k]: 1 replaces, 0 writes nothing, between them mixes
    settled: np.ndarray  # [T, G, k] bool: the slot is the newcomer's now
    owners: np.ndarray  # [T, G, k] int32: the step that wrote what was there, or -1
    worth: np.ndarray | None  # [T, G, k]: what the policy ranked that by, lowest first
    newcomer: np.ndarray | None  # [T, G]: the newcomer's salience


class Copies(NamedTuple):
    """What the copy head would say next; with the vocabulary's share it sums to 1."""

    slots: np.ndarray | None  # [T, G, N]: probability of copying what the slot holds
    source: np.ndarray | None  # [T, S]: likewise of a source token
    gate: np.ndarray  # [T]: the share of the copy head


class MemoryTrace(NamedTuple):
    """What the memory of one layer did, from an empty state on, for one text."""

    tokens: np.ndarray  # [T] int32; the steps themselves where vectors came in
    owners: np.ndarray | None  # [T, G, N] int32: the step that wrote what a slot holds
    # after the step, -1 for nothing; None without slots
    reads: Reads | None  # None where nothing is read
    writes: Writes | None  # None without slots
    copies: Copies | None  # None without a copy head
    gates: np.ndarray  # [T, 4, H]: input, forget, candidate, output
    given: np.ndarray  # [T]: the probability that it gave to the next token, or to the
    # right answer; 0 where nothing comes next or is asked
    counts: MemoryCounts  # of all steps


def trace_text(
    trained: Trained, tokens: np.ndarray, layer: int | None = None
) -> MemoryTrace:
    """Runs a language model over a text.

    Args:
      trained: the model.
      tokens: `[T]` integer, at least one.
      layer: of the stack, from 0; by default the last.

    Raises:
      ValueError: the model has no memory or another task, there is no such layer, or
        the text is empty.
    """
    model = language_model_of(trained)
    if not len(tokens):
        raise ValueError("the text to look at is empty; give at least one token.")
    return _trace(model, model.initialize_carry(1), None, tokens, layer)


def trace_source(
    trained: Trained, texts: tuple[str, ...], layer: int | None = None
) -> tuple[Said, MemoryTrace]:
    """Lets a model say something to a source, and looks at what its memory did.

    The trace is of the decoder, from the token that starts the target on; where one
    stream takes in source and target, it is of that stream.

    Args:
      trained: a model of sources and targets.
      texts: of which the source is made.
      layer: of the stack, from 0; by default the last.

    Raises:
      ValueError: the model has another task or nothing to look at, there is no such
        layer, or a text is empty.
    """
    ((_, said),) = say(trained, [ask(trained, texts)])
    start, source = vocabulary_of(trained).start, said.encoded.source
    tokens = np.concatenate([[start], said.tokens[:-1]])
    model = nnx.merge(trained.run.graph, trained.params)
    if not isinstance(model, Seq2Seq):
        decoder = model.decoder
        tokens = np.concatenate([source, tokens])
        return said, _trace(decoder, decoder.initialize_carry(1), None, tokens, layer)
    encode = jax.jit(type(model).encode)
    encoded = encode(model, source[None], np.ones((1, len(source)), bool))
    carries, sources = encoded
    return said, _trace(model.decoder, carries, sources, tokens, layer)


def _trace(model, carries, sources, tokens, layer) -> MemoryTrace:
    """Checks that there is something to look at, and runs."""
    layer = layer_to_show(model.config, layer)
    tokens = np.asarray(tokens, np.int32)
    run = jax.jit(_run, static_argnums=4)
    results = jax.device_get(run(model, carries, sources, tokens, layer))
    found, copies, given, counts = results
    slots = model.config.cell(layer).memory.num_slots
    if copies is not None:
        shares, gate = copies
        on_slots = shares[:, :, :slots] if slots else None
        on_source = None if sources is None else shares[:, :, slots:].sum(1)
        copies = Copies(on_slots, on_source, gate)
    return arrange(found, tokens, slots, copies, given, counts)


def layer_to_show(config: ModelConfig, layer: int | None) -> int:
    """Which layer to look at: by default the last.

    Raises:
      ValueError: there is no such layer, or it has no slots.
    """
    last = config.num_layers - 1
    layer = last if layer is None else layer
    if not 0 <= layer <= last:
        raise ValueError(f"the layer is {layer}; the model has the layers 0 to {last}.")
    cell = config.cell(layer)
    if not cell.holds or not isinstance(cell.memory, SlotMemory):
        raise ValueError(
            f"layer {layer} of the model has no slots to look at"
            f" (model.num_slots is {config.num_slots}); train one with slots, or name"
            " another layer."
        )
    return layer


def arrange(
    found: Any,
    tokens: np.ndarray,
    num_slots: int,
    copies: Copies | None,
    given: np.ndarray,
    counts: MemoryCounts,
) -> MemoryTrace:
    """What the core traced of one row, as `MemoryTrace` has it.

    Args:
      found: a `Trace` on the host; its leaves lead with T, without the batch.
      tokens: `[T]` int32.
      num_slots: N.
      copies: as in `MemoryTrace`.
      given: `[T]`, likewise.
      counts: likewise.
    """
    reads = owners = writes = None
    if found.eviction is not None:
        owners, writes = _replay(found.eviction, num_slots)
    if found.read is not None:
        read = found.read
        reads = Reads(read.weights, read.source_weights, read.null, found.modes)
    return MemoryTrace(
        tokens, owners, reads, writes, copies, found.gates, given, counts
    )


def _run(
    model: LanguageModel,
    carries: Carries,
    sources: Sources | None,
    tokens: Array,
    layer: int,
) -> tuple[Trace, tuple[Array, Array] | None, Array, MemoryCounts]:
    """The trace of the row, what is copied `[T, G, n]` and its sum, what the next token
    was given `[T]`, and counts."""
    targets = jnp.roll(tokens, -1)[None]
    _, said = model.predict(
        tokens[None], targets, carries, sources=sources, trace=layer
    )
    assert said.trace is not None
    valid, slots = jnp.ones((len(tokens), 1), bool), model.config.cell(layer).memory
    share = None if said.trace.pointer is None else said.copy_share
    counts = count_memory(
        said.trace, valid, slots.num_slots, None if share is None else share.T
    )
    trace = jax.tree.map(lambda leaf: leaf[:, 0], said.trace)
    given = jnp.exp(said.log_probs[0]).at[-1].set(0)  # It has no next.
    if share is None:
        return trace, None, given, counts
    weights, gate = trace.pointer.sum(2), share[0]  # Over the heads of a group.
    live = jnp.maximum((weights.sum(-1) > 0).sum(1), 1)
    return trace, ((gate / live)[:, None, None] * weights, gate), given, counts


def _replay(eviction, num_slots) -> tuple[np.ndarray, Writes]:
    """Who holds which slot after each step, `[T, G, N]`, and the writes."""
    steps, groups, _ = eviction.slots.shape
    owners = np.full((steps, groups, num_slots), -1, np.int32)
    held, rows = owners[0].copy(), np.arange(groups)[:, None]
    for t in range(steps):
        slots, settled = eviction.slots[t], eviction.settled[t]
        held[rows, slots] = np.where(settled, t, held[rows, slots])
        owners[t] = held
    before = np.where(eviction.live, eviction.written, -1)
    return owners, Writes(
        eviction.slots,
        eviction.weights,
        eviction.settled,
        before,
        eviction.worth,
        eviction.newcomer,
    )


def held_before(trace: MemoryTrace) -> np.ndarray:
    """Who held which slot when the step read, `[T, G, N]`: `owners`, a step earlier."""
    assert trace.owners is not None
    return np.concatenate([np.full_like(trace.owners[:1], -1), trace.owners[:-1]])


def by_token(weights: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """What goes to slots, by the step that wrote what they hold.

    Args:
      weights: `[T, heads, N]` in any grouping of heads.
      owners: `[T, G, N]`, at the same time.

    Returns:
      `[T, T]`: rows are steps, columns the steps that wrote.
    """
    steps, groups, slots = owners.shape
    by_group = weights.reshape(steps, groups, -1, slots).sum(2)
    total = np.zeros((steps, steps), by_group.dtype)
    at = np.nonzero(owners >= 0)
    np.add.at(total, (at[0], owners[at]), by_group[at])
    return total
