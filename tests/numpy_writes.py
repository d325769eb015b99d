"""The writes of the NumPy reference: what every policy keeps, one group at a time."""

import numpy as np

from tests.numpy_parts import (
    SCORED,
    affine,
    decay_of,
    heads_of,
    rms,
    sigmoid,
    softmax,
)


def note_read(s, row, g):
    """Keeps how long ago, or how much, each slot was read."""
    weights = row.weights[heads_of(s, g)]
    if s.policy == "least_recently_read":
        share = 1 / max(row.live[g].sum(), 1)
        row.usage[g] = np.where((weights > share).any(0), 0, row.usage[g] + 1)
    if s.policy == "least_used":
        row.usage[g] = 0.99 * row.usage[g] + weights.sum(0)


def victim(params, s, row, g, salience):
    """The slot that a write to group `g` replaces; None when nothing is written."""
    free = [n for n in range(s.num_slots) if not row.pinned[g, n]]
    if s.policy == "selective" and salience < -2:
        return None
    if s.policy in ("fifo", "selective"):
        ring = [(row.head[g] + place) % s.num_slots for place in range(s.num_slots)]
        return next((n for n in ring if n in free), None)
    for n in free:
        if not row.live[g, n]:
            return n
    if not free:
        return None
    worth = row.usage[g] if s.policy == "least_used" else -row.usage[g]
    if s.policy == "salience":
        age = row.clock - row.written[g]
        worth = row.salience[g] - decay_of(params, g) * age
    lowest = min(free, key=lambda n: (worth[n], row.written[g, n]))
    refused = s.policy == "salience" and salience < worth[lowest]
    return None if refused else lowest


def write(params, s, row, g, x, h_before, h_after, tag):
    """Asks for a slot, and fills it if there is one."""
    heads = heads_of(s, g)
    sources = {"input": x, "previous": h_before, "current": h_after}
    part_of = {"input": "input", "previous": "hidden", "current": "current"}
    parts = {part_of[name]: sources[name] for name in s.key_from}
    keys = affine(params, "key", g, **parts).reshape(len(heads), -1)
    values = affine(params, "value", g, current=h_after).reshape(len(heads), -1)
    if s.policy == "matrix":
        gate = affine(params, "gate", g, input=x, hidden=h_before)[0]
        gate = sigmoid(8 * np.tanh(gate / 8))
        for i, r in enumerate(heads):
            key = rms(keys[i]) / np.sqrt(s.key_dim)
            error = values[i] - key @ row.values[r]
            row.values[r] += gate * np.outer(key, error)
        row.live[g], row.written[g] = True, row.clock
        return
    if s.policy in ("top_k", "gated"):
        scores = [
            8 * np.tanh(affine(params, name, g, input=x, hidden=h_before)[0] / 8)
            for name in ("gate", "novelty")
        ]
        mix(params, s, row, g, [rms(key) for key in keys], values, *scores, tag)
        return
    salience = 0.0
    if s.policy in SCORED:
        salience = affine(params, "salience", g, input=x, hidden=h_before)[0]
        salience = 8 * np.tanh(salience / 8)
    slot = victim(params, s, row, g, salience)
    if slot is None:
        return
    for i, r in enumerate(heads):
        row.keys[r, slot] = rms(keys[i])
        row.values[r, slot] = values[i]
        row.weights[r, slot] = 0
    row.live[g, slot] = True
    row.tags[g, slot] = tag
    row.salience[g, slot] = salience
    row.usage[g, slot] = s.policy == "least_used"
    row.written[g, slot] = row.clock
    row.head[g] = (slot + 1) % s.num_slots


def mix(params, s, row, g, keys, values, gate, novelty, tag):
    """Writes into a fresh slot, and into those with a key like this."""
    free = [n for n in range(s.num_slots) if not row.pinned[g, n]]
    if not free:
        return
    heads, live = heads_of(s, g), row.live[g].copy()
    fresh = min(free, key=lambda n: (live[n], live[n] * row.written[g, n]))
    routing = 8 * sigmoid(params["memory"]["routing"][g]) / np.sqrt(s.key_dim)
    logits = {fresh: novelty}
    for n in free:
        if live[n] and n != fresh:
            alike = [keys[i] @ row.keys[r, n] for i, r in enumerate(heads)]
            logits[n] = np.mean(alike) * routing
    if s.policy == "top_k":  # one beside the fresh slot
        others = sorted((n for n in logits if n != fresh), key=lambda n: -logits[n])
        logits = {n: logits[n] for n in (fresh, *others[:1])}
    weights = sigmoid(gate) * softmax(np.array([*logits.values()]))
    for n, w in zip(logits, weights, strict=True):
        for i, r in enumerate(heads):
            for held, new in ((row.keys, keys), (row.values, values)):
                held[r, n] = (1 - w) * live[n] * held[r, n] + w * new[i]
        if w >= 0.5 or not live[n]:
            row.tags[g, n] = tag
            row.written[g, n] = row.clock
        row.live[g, n] = True
