"""The slot memory by itself: what is written is read, and no more than that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.core.small_cells import POLICIES, B, K, N, R, W, small_cell
from wmlstm_jax import core
from wmlstm_jax.core.memories import empty_rows, wipe

# Sums of at most four terms of size 1 in float32, whose spacing is 1.2e-7.
CLOSE = dict(rtol=1e-6, atol=1e-6)
# It makes a head all but certain: another slot or null gets exp(-60) or less.
SHARP = 40.0
SINGLE = np.float32

per_policy = pytest.mark.parametrize("policy", POLICIES)
per_blocks = pytest.mark.parametrize("num_blocks", [1, 2])


def cell(policy, num_blocks=1) -> core.CellConfig:
    """A cell whose memory keeps every kind of bookkeeping that its policy allows."""
    modes = ("content", 1) if policy.ordered else ("content",)
    return small_cell(policy, read_modes=modes, num_blocks=num_blocks)


write = jax.jit(lambda config, *args: config.memory.write(*args), static_argnums=0)
select = jax.jit(lambda c, *args: c.memory.policy.select(*args), static_argnums=0)


def ask(rng, config, **fixed) -> core.Request:
    """A random request, but for the fields that are given."""
    groups = config.num_blocks
    fields = {
        "key": rng.normal(size=(B, R, K)).astype(SINGLE),
        "value": rng.normal(size=(B, R, W)).astype(SINGLE),
        "tag": rng.integers(0, 9, size=B).astype(np.int32),
        "valid": np.ones(B, bool),
        "salience": rng.normal(size=(B, groups)).astype(SINGLE),
        "decay": np.full(groups, 0.25, SINGLE),
    }
    return core.Request(**fields | fixed)


def read(config, memory, vector):
    """Reads by content with a null logit of 0."""
    vector = jnp.asarray(np.broadcast_to(vector, (B, R, K)), jnp.float32)
    decay = jnp.full(config.num_blocks, 0.25)
    return _read(config, memory, core.Query(vector, jnp.zeros(R), decay=decay))


def _without_modes(config, memory, query):
    query = query._replace(decay=None) if memory.salience is None else query
    return config.memory.read(memory, query)[1]


_read = jax.jit(_without_modes, static_argnums=0)


def filled(rng, config, writes=N, **fixed) -> core.Memory:
    memory = config.memory.init(config, B)
    for _ in range(writes):
        memory, _ = write(config, memory, ask(rng, config, **fixed))
    return memory


def as_numpy(memory: core.Memory) -> dict:
    leaves = memory._asdict().items()
    return {field: np.array(leaf) for field, leaf in leaves if leaf is not None}


def assert_identical(got: core.Memory, wanted: dict):
    """Bit for bit, so that -0 is not 0."""
    for field, leaf in as_numpy(got).items():
        assert leaf.dtype == wanted[field].dtype, field
        assert leaf.tobytes() == wanted[field].tobytes(), field


def heads_of(config, g):
    per_group = R // config.num_blocks
    return slice(g * per_group, (g + 1) * per_group)


@per_policy
@per_blocks
def test_what_is_written_is_read_by_its_key(policy, num_blocks):
    config, rng = cell(policy, num_blocks), np.random.default_rng(0)
    memory, values = config.memory.init(config, B), []
    keys = np.sqrt(K) * np.eye(K, dtype=SINGLE)
    for key in keys:
        request = ask(rng, config, key=np.broadcast_to(key, (B, R, K)))
        values.append(request.value)
        memory, _ = write(config, memory, request)
    # What salience and age add is below 10; a match adds 120.
    for key, value in zip(keys, values, strict=True):
        got = read(config, memory, SHARP * key)
        np.testing.assert_allclose(got.value, value, **CLOSE)


@per_policy
@per_blocks
def test_a_write_fills_the_slot_that_the_policy_names_and_changes_no_other(
    policy, num_blocks
):
    config, rng = cell(policy, num_blocks), np.random.default_rng(1)
    memory = filled(rng, config)
    memory = memory._replace(epoch=memory.epoch + 2, slot_epoch=memory.slot_epoch + 2)
    if memory.weights is not None:
        memory = memory._replace(weights=jnp.ones_like(memory.weights))
    written = 0
    for turn in range(2 * N):
        valid = np.array([True, turn != 2])
        request = ask(rng, config, valid=valid)
        slots, weights = select(config, memory, request)
        wanted = as_numpy(memory)
        for b, g in np.argwhere(weights[..., 0] * valid[:, None] > 0):
            n, heads = slots[b, g, 0], heads_of(config, g)
            wanted["keys"][b, heads, n] = request.key[b, heads]
            wanted["values"][b, heads, n] = request.value[b, heads]
            wanted["slot_epoch"][b, g, n] = memory.epoch[b]
            wanted["written"][b, g, n] = memory.clock[b]
            wanted["tags"][b, g, n] = request.tag[b]
            wanted["head"][b, g] = (n + 1) % N
            if memory.salience is not None:
                wanted["salience"][b, g, n] = request.salience[b, g]
            if memory.usage is not None:
                wanted["usage"][b, g, n] = policy == core.LeastUsed()
            if memory.weights is not None:
                wanted["weights"][b, heads, n] = 0
            written += 1
        wanted["clock"] += valid
        memory, evicted = write(config, memory, request)
        assert_identical(memory, wanted)
        np.testing.assert_array_equal(evicted.slots, slots)
    assert written > N


@per_policy
def test_an_overwritten_slot_never_matches_again(policy):
    config, rng = cell(policy), np.random.default_rng(2)
    lost = SINGLE([2, 0, 0])
    memory = config.memory.init(config, B)
    huge = np.full((B, R, W), 1e30, SINGLE)
    first = ask(rng, config, key=np.broadcast_to(lost, (B, R, K)), value=huge)
    memory, _ = write(config, memory, first._replace(salience=np.zeros((B, 1), SINGLE)))
    assert np.min(read(config, memory, SHARP * lost).value) > 9e29
    for salience in range(1, N + 1):
        later = np.full((B, 1), salience, SINGLE)
        memory, evicted = write(config, memory, ask(rng, config, salience=later))
    np.testing.assert_array_equal(evicted.values[:, :, 0], huge)
    assert np.max(np.abs(read(config, memory, SHARP * lost).value)) < 9


@per_policy
def test_a_dead_slot_never_matches(policy):
    config, rng = cell(policy), np.random.default_rng(3)
    full = filled(rng, config)
    row = jnp.array([False, True])
    emptied = empty_rows(full, row)
    assert not emptied.live[1].any() and emptied.live[0].all()
    for memory in (emptied, wipe(emptied)):
        got = read(config, memory, SHARP * memory.keys[:, :, 0])
        np.testing.assert_array_equal(got.weights[1], 0)
        np.testing.assert_array_equal(got.value[1], 0)
        np.testing.assert_array_equal(got.null[1], 1)
        np.testing.assert_allclose(
            got.value[0], read(config, full, SHARP * full.keys[:, :, 0]).value[0]
        )


@per_policy
def test_an_empty_memory_reads_exactly_zero(policy):
    config = cell(policy)
    got = read(config, config.memory.init(config, B), np.ones(K))
    np.testing.assert_array_equal(got.value, np.zeros((B, R, W)))
    np.testing.assert_array_equal(got.weights, 0)
    np.testing.assert_array_equal(got.null, 1)


@per_policy
@pytest.mark.parametrize("writes", range(N + 2))
def test_weights_of_live_slots_and_null_sum_to_one(policy, writes):
    config, rng = cell(policy), np.random.default_rng(4)
    memory = filled(rng, config, writes)
    got = read(config, memory, rng.normal(size=(B, R, K)))
    np.testing.assert_allclose(got.weights.sum(-1) + got.null, 1, **CLOSE)
    live = np.broadcast_to(memory.live, got.weights.shape)
    assert live.sum() == B * R * min(writes, N)
    np.testing.assert_array_equal(np.asarray(got.weights) > 0, live)
    assert (np.asarray(got.null) > 0).all()


@per_policy
def test_a_row_that_is_not_valid_changes_nothing(policy):
    config, rng = cell(policy), np.random.default_rng(5)
    for memory in (config.memory.init(config, B), filled(rng, config, N + 1)):
        request = ask(rng, config, valid=np.zeros(B, bool))
        after, _ = write(config, memory, request)
        assert_identical(after, as_numpy(memory))


def assert_nothing_written(config, memory, request):
    after, evicted = write(config, memory, request)
    np.testing.assert_array_equal(evicted.weights, 0)
    np.testing.assert_array_equal(after.clock, memory.clock + 1)
    assert_identical(after, as_numpy(memory) | {"clock": np.asarray(after.clock)})


@per_policy
def test_where_all_is_pinned_nothing_changes_but_the_clock(policy):
    config, rng = cell(policy), np.random.default_rng(6)
    for writes in (0, N + 1):
        memory = filled(rng, config, writes)
        memory = memory._replace(pinned=jnp.ones_like(memory.pinned))
        assert_nothing_written(config, memory, ask(rng, config))


def test_a_refused_newcomer_changes_nothing_but_the_clock():
    config, rng = cell(core.Salience()), np.random.default_rng(6)
    memory = filled(rng, config, N + 1)
    low = np.full((B, 1), -9, SINGLE)
    assert_nothing_written(config, memory, ask(rng, config, salience=low))


@per_policy
def test_a_pinned_slot_stays_and_the_others_go(policy):
    config, rng = cell(policy), np.random.default_rng(7)
    memory = filled(rng, config)
    memory = memory._replace(pinned=memory.pinned.at[:, :, 1].set(True))
    kept = memory.keys[:, :, 1]
    for turn in range(2 * N):
        high = np.full((B, 1), 9 + turn, SINGLE)
        memory, evicted = write(config, memory, ask(rng, config, salience=high))
        assert np.all(np.isin(evicted.slots, [0, 2]))
        np.testing.assert_array_equal(evicted.weights, 1)
    np.testing.assert_array_equal(memory.keys[:, :, 1], kept)
    np.testing.assert_array_equal(memory.written[..., 1], 1)
    assert np.min(memory.written[..., [0, 2]]) >= N


@per_policy
def test_groups_choose_for_themselves(policy):
    config, rng = cell(policy, num_blocks=2), np.random.default_rng(8)
    memory = filled(rng, config)
    if policy.ordered:
        memory = memory._replace(pinned=memory.pinned.at[:, 1, 0].set(True))
    else:
        worst_first = np.array([[0, 1, 2], [2, 0, 1]], SINGLE)
        worth = jnp.broadcast_to(worst_first, memory.written.shape)
        if policy == core.LeastRecentlyRead():
            worth = 3 - worth  # tokens since a read
        field = "usage" if policy.ranks_by_reads else "salience"
        memory = memory._replace(**{field: worth})
    high = np.full((B, 2), 9, SINGLE)
    request = ask(rng, config, salience=high)
    after, evicted = write(config, memory, request)
    np.testing.assert_array_equal(evicted.slots[..., 0], [[0, 1]] * B)
    for g, slot in ((0, 0), (1, 1)):
        heads, others = heads_of(config, g), [n for n in range(N) if n != slot]
        np.testing.assert_array_equal(after.keys[:, heads, slot], request.key[:, heads])
        np.testing.assert_array_equal(
            after.keys[:, heads][:, :, others], memory.keys[:, heads][:, :, others]
        )
    # One group may refuse what the other keeps.
    if isinstance(policy, core.Salience | core.SelectiveFifo):
        _, evicted = write(config, memory, request._replace(salience=high * [-1, 1]))
        np.testing.assert_array_equal(evicted.weights[..., 0], [[0, 1]] * B)


@per_policy
def test_age_counts_the_requests_since_the_write(policy):
    config, rng = cell(policy), np.random.default_rng(9)
    memory = filled(rng, config, 2)
    np.testing.assert_array_equal(memory.age[:, 0, :2], [[2, 1]] * B)
    # A request that is not valid is none; one that is refused is one.
    some = ask(rng, config, valid=np.array([True, False]))
    memory, _ = write(config, memory, some)
    np.testing.assert_array_equal(memory.age[:, 0, :2], [[3, 2], [2, 1]])
    pinned = memory._replace(pinned=jnp.ones_like(memory.pinned))
    refused, _ = write(config, pinned, ask(rng, config))
    np.testing.assert_array_equal(refused.age[:, 0, :2], [[4, 3], [3, 2]])
    emptied = empty_rows(refused, jnp.array([True, False]))
    np.testing.assert_array_equal(emptied.clock, [0, refused.clock[1]])
    assert not emptied.pinned[0].any() and emptied.pinned[1].all()


@per_policy
def test_tags_are_recorded(policy):
    config, rng = cell(policy), np.random.default_rng(10)
    memory = config.memory.init(config, B)
    np.testing.assert_array_equal(memory.tags, -1)
    for tag in ([5, 7], [-1, 0]):
        memory, _ = write(config, memory, ask(rng, config, tag=np.int32(tag)))
    np.testing.assert_array_equal(memory.tags[:, 0], [[5, -1, -1], [7, 0, -1]])
