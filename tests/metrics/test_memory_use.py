import jax
import numpy as np
import pytest

from wmlstm_jax.core import Read, Trace
from wmlstm_jax.core.types import Eviction
from wmlstm_jax.metrics import MemoryCounts, count_memory

T, B, G, R, N, S = 5, 2, 2, 4, 3, 2
RNG = np.random.default_rng(0)


def softmax(logits):
    """Weights, of which the first slot gets next to none."""
    weights = np.exp(logits - 9 * (np.arange(logits.shape[-1]) == 0))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def make(reading=True, pointing=True, slots=True, source=True):
    """A trace of random numbers."""
    weights = softmax(3 * RNG.normal(size=(T, B, R, N + S + 1)))
    read = Read(
        value=np.zeros((T, B, R, 1), np.float32),
        weights=weights[..., :N] if slots else None,
        source_weights=weights[..., N : N + S] if source else None,
        null=weights[..., -1],
    )
    eviction = Eviction(
        slots=RNG.integers(0, N, (T, B, G, 1)),
        weights=np.ones((T, B, G, 1), np.float32),
        settled=RNG.random((T, B, G, 1)) < 0.7,
        live=RNG.random((T, B, G, 1)) < 0.7,
        written=RNG.integers(0, 5, (T, B, G, 1)),
        tags=np.zeros((T, B, G, 1), np.int32),
        worth=None,
        newcomer=None,
        clock=RNG.integers(5, 9, (T, B)),
    )
    pointer = softmax(4 * RNG.normal(size=(T, B, G, R // G, N + S)))
    return Trace(
        read=read if reading else None,
        eviction=eviction if slots else None,
        gates=np.zeros((T, B, 4, 1), np.float32),
        modes=None,
        pointer=pointer if pointing else None,
    )


VALID = np.ones((T, B), bool)
VALID[2, 0] = VALID[4:, 1] = False
SHARE = RNG.random((T, B)).astype(np.float32)


def by_hand(trace, share):
    """A number at a time."""
    found = dict.fromkeys(MemoryCounts._fields, 0.0)
    looked = np.zeros((B, G, N), bool)
    for t, b in zip(*np.nonzero(VALID), strict=True):
        if share is not None:
            found["tokens"] += 1
            found["copies"] += share[t, b]
        for r in range(R):
            if trace.read is not None:
                blocks = trace.read.weights, trace.read.source_weights
                given = [
                    w for block in blocks if block is not None for w in block[t, b, r]
                ]
                given.append(trace.read.null[t, b, r])
                found["looks"] += 1
                found["null"] += given[-1]
                found["read_bits"] -= sum(w * np.log2(w) for w in given)
                if trace.read.weights is not None:
                    looked[b, r * G // R] |= trace.read.weights[t, b, r] > 1 / N
        for g in range(G):
            if trace.pointer is not None:
                looked[b, g] |= trace.pointer[t, b, g, :, :N].sum(0) > 1 / N
            if trace.eviction is not None:
                at = t, b, g, 0
                found["requests"] += 1
                found["writes"] += trace.eviction.settled[at]
                if trace.eviction.settled[at] and trace.eviction.live[at]:
                    found["evictions"] += 1
                    age = trace.eviction.clock[t, b] - trace.eviction.written[at]
                    found["age"] += age
    if trace.eviction is not None:
        found["slots"], found["dead"] = looked.size, (~looked).sum()
    return found


@pytest.mark.parametrize(
    "without",
    [{}, {"reading": False}, {"pointing": False}, {"source": False}],
    ids=["all", "no reads", "no pointer", "no source"],
)
def test_it_counts_valid_tokens(without):
    trace, share = make(**without), SHARE
    if "pointing" in without:
        share = None
    counted = jax.jit(count_memory, static_argnums=2)(trace, VALID, N, share)
    wanted = by_hand(trace, share)
    assert 0 < wanted["dead"] < wanted["slots"]
    for name, number in counted._asdict().items():
        np.testing.assert_allclose(number, wanted[name], rtol=1e-5, err_msg=name)
    assert wanted.keys() == counted._asdict().keys()


def test_a_source_alone():
    trace = make(slots=False, pointing=False)
    counted = count_memory(trace, VALID, 0)
    assert counted.statistics().keys() == {"read_bits", "null_share"}
    np.testing.assert_allclose(
        counted.read_bits, by_hand(trace, None)["read_bits"], rtol=1e-5
    )


def test_statistics_are_of_both_batches():
    whole = count_memory(make(), VALID, N, SHARE)
    part = MemoryCounts(4, 2, 1, 9, 8, 4, 2, 4, 1, 6, 3)
    both = part.plus(part._replace(requests=12, dead=0.0)).statistics()
    assert both == {
        "write_rate": 4 / 16,
        "eviction_age": 9.0,
        "read_bits": 0.5,
        "null_share": 0.25,
        "copy_share": 0.25,
        "dead_slots": 0.25,
    }
    assert whole.statistics().keys() == both.keys()


@pytest.mark.parametrize(
    ("null", "copies", "unused"),
    [(99.5, 0.1, True), (98, 0.1, False), (99.5, 5, False), (None, 0.1, True),
     (None, 5, False), (99.5, None, True), (50, None, False), (None, None, False)],
)  # fmt: skip
def test_it_is_unused_where_nobody_looks(null, copies, unused):
    counts = MemoryCounts(*[0.0] * 11)
    if null is not None:
        counts = counts._replace(looks=100, null=null)
    if copies is not None:
        counts = counts._replace(tokens=100, copies=copies)
    assert counts.unused == unused
