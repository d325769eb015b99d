"""What a page shows of a model and a text, small enough for a browser."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wmlstm_jax.analysis.occupants import find_occupants, why_refused
from wmlstm_jax.analysis.traces import MemoryTrace, trace_source, trace_text
from wmlstm_jax.core import CellConfig, SlotMemory
from wmlstm_jax.models import ModelConfig
from wmlstm_jax.training.speaking import vocabulary_of
from wmlstm_jax.training.trained import Trained, text_of

LONGEST = 2000
"""Tokens that a page may have: more, and the browser is slow."""
TOP = 8
"""Of what a head reads, so many slots are named; the others are a rest."""
LEAST = 5
"""Thousandths: a smaller weight is not named."""
WORDS = "words"
"""The tokeniser of whose tokens none has the space before it."""


class Exhibit(NamedTuple):
    """A text with what a memory did."""

    title: str
    facts: list[tuple[str, str]]  # what to know of the model, by name
    trace: MemoryTrace
    cell: CellConfig  # of the layer
    tokens: list[str]  # the text of each
    source: list[str]  # of each source token; none where there is no source bank
    spaced: bool
    said: Sequence[str] = ()  # the answer of each step, "" for none; empty for a text


def exhibit_text(trained: Trained, text: str, layer: int | None = None) -> Exhibit:
    """What a language model does with a text.

    Args:
      trained: the model.
      text: what it reads.
      layer: as in `trace_text`.

    Raises:
      ValueError: as in `trace_text`; or the text is too long.
    """
    text_of(trained)
    tokenizer = trained.run.tokenizer
    tokens = tokenizer.encode(text)
    check_length(len(tokens))
    trace = trace_text(trained, tokens, layer)
    names = [tokenizer.decode([int(token)]) for token in tokens]
    return _exhibit(trained, trace, names, [], layer, tokenizer.name == WORDS)


def exhibit_source(
    trained: Trained, texts: tuple[str, ...], layer: int | None = None
) -> Exhibit:
    """What a model does with a source while it says something to it.

    Args:
      trained: a model of sources and targets.
      texts: of which the source is made.
      layer: as in `trace_source`.

    Raises:
      ValueError: as in `trace_source`; or source and target are too long.
    """
    said, trace = trace_source(trained, texts, layer)
    check_length(len(trace.tokens) + len(said.encoded.source))
    vocabulary, words = vocabulary_of(trained), said.encoded.words
    tokens = [vocabulary.name(token, words) for token in trace.tokens]
    source = []
    if trained.run.config.encoder.num_layers:
        source = [vocabulary.name(token, words) for token in said.encoded.source]
    # A vocabulary names its tokens without the space before them.
    spaced = trained.run.tokenizer.name in (WORDS, "punctuated")
    return _exhibit(trained, trace, tokens, source, layer, spaced)


def _exhibit(trained, trace, tokens, source, layer, spaced):
    config = trained.run.config.model
    layer = config.num_layers - 1 if layer is None else layer
    facts = facts_of(config, layer, trained.step, trace)
    title = trained.checkpoint.parent.parent.name
    return Exhibit(title, facts, trace, config.cell(layer), tokens, source, spaced)


def facts_of(
    config: ModelConfig, layer: int, num_steps: int, trace: MemoryTrace
) -> list[tuple[str, str]]:
    """What to know of a model and of its trace, by name.

    Args:
      config: of the model.
      layer: that is looked at.
      num_steps: updates that it was trained for.
      trace: what it did.
    """
    cell = config.cell(layer)
    facts = [
        ("memory", f"{cell.memory.num_slots} slots, {config.policy}"),
        ("heads", str(cell.num_heads)),
        ("layer", f"{layer} of 0 to {config.num_layers - 1}"),
        ("trained for", f"{num_steps:,} updates"),
    ]
    units = {"eviction_age": " tokens", "read_bits": " bits"}
    for name, number in trace.counts.statistics().items():
        unit = units.get(name)
        shown = f"{number:.1f}{unit}" if unit else f"{100 * number:.1f} %"
        facts.append((name.replace("_", " "), shown))
    return facts


def mode_name(mode: str | int) -> str:
    """A read mode, for people; offsets go along the order of writing."""
    known = {"content": "by content", 0: "same slot", 1: "next slot", -1: "slot before"}
    if isinstance(mode, str):
        return known.get(mode, mode)
    return known.get(mode, f"{abs(mode)} slots {'on' if mode > 0 else 'back'}")


def check_length(length: int) -> None:
    """Refuses a text that makes a browser slow.

    Raises:
      ValueError: it is too long.
    """
    if length > LONGEST:
        raise ValueError(
            f"the text to look at has {length} tokens; a page shows {LONGEST} at most."
        )


def to_json(exhibit: Exhibit) -> dict[str, Any]:
    """What the page's script reads; weights in thousandths, texts as they are.

    Whatever is read or copied is a number: that of an occupant, or `-1 - s` of source
    token s.
    """
    trace, cell = exhibit.trace, exhibit.cell
    found: dict[str, Any] = {
        "title": exhibit.title,
        "facts": exhibit.facts,
        "tokens": exhibit.tokens,
        "source": exhibit.source,
        "spaced": exhibit.spaced,
        "said": exhibit.said,
        "groups": cell.num_blocks,
        "slots": cell.memory.num_slots,
        "gates": _thousandths(trace.gates.mean(-1)[:, [0, 1, 3]]),
        "given": _thousandths(trace.given),
        "modes": [mode_name(mode) for mode in cell.read_modes],
    }
    before = after = None
    if trace.writes is not None:
        assert isinstance(cell.memory, SlotMemory)
        policy = cell.memory.policy
        occupants, before, after = find_occupants(trace, policy)
        found["occupants"] = {
            "step": occupants.step.tolist(),
            "row": (occupants.group * cell.memory.num_slots + occupants.slot).tolist(),
            "end": occupants.end.tolist(),
            "read": _thousandths(occupants.read),
            "copied": _thousandths(occupants.copied),
            "why": occupants.why,
        }
        found["writes"] = _writes(trace.writes, before, after)
        found["refused"] = {
            str(t): why_refused(policy, trace.writes, t, g)
            for t, g in zip(*np.nonzero(~trace.writes.settled.any(-1)), strict=True)
        }
    if (reads := trace.reads) is not None:
        heads = reads.null.shape[1]
        found["reads"] = list(
            zip(
                *(
                    _top(
                        None if reads.slots is None else reads.slots[:, head],
                        _of_group(before, head * cell.num_blocks // heads),
                        None if reads.source is None else reads.source[:, head],
                    )
                    for head in range(heads)
                ),
                strict=True,
            )
        )
        found["nulls"] = _thousandths(reads.null)
        if reads.modes is not None:
            found["modeShares"] = _thousandths(reads.modes)
    if (copies := trace.copies) is not None:
        slots = where = None
        if copies.slots is not None and after is not None:
            slots = copies.slots.reshape(len(copies.slots), -1)
            where = after.reshape(len(after), -1)
        found["copies"] = _top(slots, where, copies.source)
        found["copyShare"] = _thousandths(copies.gate)
    return found


def _thousandths(weights) -> Any:
    return np.rint(1000 * np.asarray(weights)).astype(int).tolist()


def _of_group(where, group):
    return None if where is None else where[:, group]


def _top(slots, where, source) -> list[list[int]]:
    """The largest weights of each step, as occupant, weight, occupant, weight, ..."""
    weights, names = [], []
    if slots is not None:
        weights.append(slots)
        names.append(where)
    if source is not None:
        weights.append(source)
        names.append(np.broadcast_to(-1 - np.arange(source.shape[1]), source.shape))
    weights = np.rint(1000 * np.concatenate(weights, 1)).astype(int)
    names = np.concatenate(names, 1)
    order = np.argsort(-weights, axis=1, kind="stable")[:, :TOP]
    weights = np.take_along_axis(weights, order, 1)
    names = np.take_along_axis(names, order, 1)
    pairs = np.stack([names, weights], -1)
    return [row[row[:, 1] >= LEAST].ravel().tolist() for row in pairs]


def _writes(writes, before, after) -> list[list[list[int]]]:
    """Of each step and write: newcomer or -1, who was there or -1, row, weight."""
    slots_per_group = before.shape[2]
    shares = np.rint(1000 * writes.weights).astype(int)
    found = [[] for _ in shares]
    for t, g, k in zip(*np.nonzero(shares >= LEAST), strict=True):
        slot = writes.slots[t, g, k]
        newcomer = after[t, g, slot] if writes.settled[t, g, k] else -1
        row = g * slots_per_group + slot
        entry = newcomer, before[t, g, slot], row, shares[t, g, k]
        found[t].append([int(number) for number in entry])
    # Mixing writes touch every slot a little.
    return [sorted(step, key=lambda entry: -entry[3])[:TOP] for step in found]
