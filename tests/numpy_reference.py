"""The cell and its loop in NumPy float64, to be read beside the equations.

It is written from the equations, not from the JAX code, one row and one group of heads
at a time, with plain loops. It is slow, and it shares nothing with what it checks.

Sizes are those of the package, `B, T, D, H, R, K, W, N, G, M`. A group owns `H / G`
hidden units and `R / G` heads. A state is a dict of arrays with B first.
"""

from types import SimpleNamespace

import numpy as np

from tests.numpy_parts import (
    SCORED,
    Settings,
    affine,
    decay_of,
    empty_state,
    finite_difference,
    heads_of,
    rms,
    sigmoid,
    softmax,
    units_of,
)
from tests.numpy_writes import note_read, write

__all__ = ["Settings", "empty_state", "finite_difference", "step", "unroll"]


def bias(params, s, row, g, n):
    """What is added to the logit of a slot: its worth, where slots have one."""
    if s.policy not in SCORED:
        return 0.0
    age = row.clock - row.written[g, n]
    return row.salience[g, n] - decay_of(params, g) * age


def content_weights(params, s, row, g, r, query):
    """Attention of head `r` over its live slots; what is missing to 1 is the null's."""
    sharpness = 8 * sigmoid(params["memory"]["sharpness"][r])
    vector = rms(query) * sharpness / np.sqrt(s.key_dim)
    live = [n for n in range(s.num_slots) if row.live[g, n]]
    logits = [params["memory"]["null_logit"][r]]
    logits += [vector @ row.keys[r, n] + bias(params, s, row, g, n) for n in live]
    weights = np.zeros(s.num_slots)
    weights[live] = softmax(np.array(logits))[1:]
    return weights


def shifted_weights(s, row, g, last, offset):
    """The last read, moved `offset` places along the order of writing."""
    moved = np.zeros(s.num_slots)
    for n in range(s.num_slots):
        place = (n - row.head[g]) % s.num_slots + offset
        if 0 <= place < s.num_slots:
            target = (row.head[g] + place) % s.num_slots
            if row.live[g, target]:
                moved[target] = last[n]
    return moved


def end_weights(s, row, g, end):
    """All weight on the live slot that was written last, or longest ago."""
    weights = np.zeros(s.num_slots)
    live = [n for n in range(s.num_slots) if row.live[g, n]]
    if live:
        by_age = sorted(live, key=lambda n: row.written[g, n])
        weights[by_age[-1] if end == "newest" else by_age[0]] = 1
    return weights


def read(params, s, row, g, x, h, mask):
    """What group `g` reads, `[Rg * W]`; the row notes the weights."""
    heads = heads_of(s, g)
    queries = affine(params, "query", g, input=x, hidden=h).reshape(len(heads), -1)
    if len(s.read_modes) > 1:
        modes = affine(params, "modes", g, input=x, hidden=h).reshape(len(heads), -1)
    reads = []
    for i, r in enumerate(heads):
        if s.policy == "matrix":
            sharpness = 8 * sigmoid(params["memory"]["sharpness"][r])
            vector = rms(queries[i]) * sharpness / np.sqrt(s.key_dim)
            found = vector @ row.values[r] * params["memory"]["read_scale"][r]
            reads.append(found * mask.reshape(s.num_heads, -1)[r])
            continue
        weights = content_weights(params, s, row, g, r, queries[i])
        if len(s.read_modes) > 1:
            content, last = weights, row.weights[r].copy()
            weights = np.zeros(s.num_slots)
            for p, mode in zip(softmax(modes[i]), s.read_modes, strict=True):
                if mode == "content":
                    weights += p * content
                elif mode in ("newest", "oldest"):
                    weights += p * end_weights(s, row, g, mode)
                else:
                    weights += p * shifted_weights(s, row, g, last, mode)
        row.weights[r] = weights
        value = weights @ row.values[r] * params["memory"]["read_scale"][r]
        reads.append(value * mask.reshape(s.num_heads, -1)[r])
    note_read(s, row, g)
    return np.concatenate(reads)


def point(params, s, row, g, h, target):
    """Probability that group `g` points at `target`; None without tagged slots."""
    heads = heads_of(s, g)
    queries = affine(params, "copy", g, current=h).reshape(len(heads), -1)
    slots = [n for n in range(s.num_slots) if row.live[g, n] and row.tags[g, n] >= 0]
    if not slots:
        return None
    logits, hits = [], []
    for i, r in enumerate(heads):
        sharpness = 8 * sigmoid(params["memory"]["copy_sharpness"][r])
        vector = rms(queries[i]) * sharpness / np.sqrt(s.key_dim)
        logits += [vector @ row.keys[r, n] + bias(params, s, row, g, n) for n in slots]
        hits += [row.tags[g, n] == target for n in slots]
    return softmax(np.array(logits)) @ np.array(hits, float)


def step(params, s: Settings, row, x, tag, target, mask):
    """One valid token of one row: read, gates, write, and then the copy pointer.

    Returns:
      `y [H]`, the copy probability, and whether there was anything to copy.
    """
    outputs, pointed = [], []
    for g in range(s.num_blocks):
        units = units_of(s, g)
        h_before, c = row.hidden[units].copy(), row.cell[units].copy()
        parts = {"input": x, "hidden": h_before}
        if s.num_slots:
            parts["read"] = read(params, s, row, g, x, h_before, mask)
        i, f, candidate, o = np.split(affine(params, "gates", g, **parts), 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        row.hidden[units], row.cell[units] = h, c
        outputs.append(h)
        if s.num_slots:
            outputs[-1] = h + affine(params, "output", g, read=parts["read"])
            write(params, s, row, g, x, h_before, h, tag)
        if s.copy:
            pointed.append(point(params, s, row, g, h, target))
    row.clock[...] += 1
    found = [p for p in pointed if p is not None]
    return np.concatenate(outputs), np.mean(found) if found else 0.0, bool(found)


def unroll(
    params, s: Settings, state, xs, *, valid, reset, tags, targets, read_mask=None
):
    """All tokens of all rows.

    Args:
      params: the parameters, as a nested dict.
      s: the settings.
      state: the state before the first token; it is not changed.
      xs: `[T, B, D]`.
      valid: `[T, B]` bool.
      reset: `[T, B]` bool.
      tags: `[T, B]` int.
      targets: `[T, B]` int.
      read_mask: `[B, R * W]`, or None for ones.

    Returns:
      The state after the last token, and the outputs `hidden [T, B, H]`,
      `copy [T, B]` and `copy_live [T, B]`.
    """
    num_steps, batch = valid.shape
    if read_mask is None:
        read_mask = np.ones((batch, s.num_heads * s.value_dim))
    state = {name: leaf.copy() for name, leaf in state.items()}
    fresh = {name: leaf[0] for name, leaf in empty_state(s, 1).items()}
    hidden = np.zeros((num_steps, batch, s.hidden_dim))
    copy, copy_live = np.zeros((num_steps, batch)), np.zeros((num_steps, batch), bool)
    for b in range(batch):
        # Views: the row writes through to the state.
        row = SimpleNamespace(**{name: leaf[b, ...] for name, leaf in state.items()})
        for t in range(num_steps):
            if reset[t, b]:
                for name, leaf in fresh.items():
                    getattr(row, name)[...] = leaf
            if valid[t, b]:
                hidden[t, b], copy[t, b], copy_live[t, b] = step(
                    params, s, row, xs[t, b], tags[t, b], targets[t, b], read_mask[b]
                )
    return state, {"hidden": hidden, "copy": copy, "copy_live": copy_live}
