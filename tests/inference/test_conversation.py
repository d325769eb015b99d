import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wmlstm_jax import core
from wmlstm_jax.inference import conversation
from wmlstm_jax.inference.conversation import Slot

CONFIG = core.CellConfig(
    3,
    4,
    num_heads=2,
    key_dim=3,
    value_dim=2,
    memory=core.SlotMemory(3, core.Salience()),
    read_modes=("content",),
    copy=True,
    memory_dtype="bfloat16",
)
FIFO = replace(CONFIG, memory=core.SlotMemory(3), memory_dtype="float32")
GROUPS = replace(FIFO, num_blocks=2)
PLAIN = replace(FIFO, memory=core.SlotMemory(0), copy=False)
ABOUT = {"model": {"num_slots": 3, "policy": "salience"}, "tokens": "abc"}


@functools.cache
def params(config):
    return core.init_params(jax.random.key(0), config)


def go_on(config, carry, tokens):
    """Two rows read the same tokens."""
    tags = jnp.repeat(jnp.asarray(tokens)[:, None], 2, 1)
    xs = jnp.sin(tags[..., None] * jnp.array([1.0, 2.0, 3.0]))
    return core.unroll(params(config), config, carry, xs, tags=tags, backend="scan")[0]


def begin(config=FIFO, tokens=(7, 8, 9, 10)):
    return (go_on(config, core.init_carry(config, 2), tokens),)


def positions(carries):
    return [slot.position for slot in conversation.remembered(carries)]


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_every_slot_knows_which_token_wrote_it_and_where():
    assert conversation.remembered(begin(), row=1) == [
        Slot(1, 8, False, None, None),
        Slot(2, 9, False, None, None),
        Slot(3, 10, False, None, None),
    ]
    assert positions(begin(GROUPS)) == [1, 2, 3]
    weighed = conversation.remembered(begin(CONFIG))
    assert all(slot.salience is not None for slot in weighed)
    assert [slot.token for slot in weighed] == [7 + s.position for s in weighed]


@pytest.mark.parametrize("config", [FIFO, CONFIG, GROUPS])
def test_what_is_pinned_stays(config):
    carries = begin(config)
    kept = positions(carries)[0]
    pinned = conversation.pin(carries, [kept])
    assert [s.position for s in conversation.remembered(pinned) if s.pinned] == [kept]
    later = (go_on(config, pinned[0], [11, 12, 13, 14]),)
    assert kept in positions(later)
    lifted = conversation.pin(later, [kept], pinned=False)
    assert not any(slot.pinned for slot in conversation.remembered(lifted))


def test_all_pinned_nothing_is_written():
    pinned = conversation.pin(begin(), [1, 2, 3])
    later = (go_on(FIFO, pinned[0], [11, 12]),)
    assert positions(later) == [1, 2, 3]


def test_what_is_forgotten_is_never_seen_again():
    """As if another token had been written there, it changes nothing."""
    ends = []
    for token in (8, 5):
        carries = begin(tokens=(7, token, 9))
        # The same but for the memory of it.
        forgotten = conversation.forget((carries[0],), [1])
        assert [s.token for s in conversation.remembered(forgotten)] == [7, 9]
        state = carries[0]._replace(
            hidden=jnp.ones((2, 4)),
            cell=jnp.ones((2, 4)),
            memory=core.memories.wipe(forgotten[0].memory),
        )
        # What the last token wrote depends on the state before it.
        memory = state.memory
        fixed = memory._replace(
            keys=jnp.where(memory.written[:, 0, None, :, None] == 2, 1, memory.keys),
            values=jnp.where(
                memory.written[:, 0, None, :, None] == 2, 1, memory.values
            ),
        )
        ends.append(go_on(FIFO, state._replace(memory=fixed), [3, 4]))
    same(*ends)


def test_a_reset_is_a_new_beginning():
    empty = (core.init_carry(FIFO, 2),)
    carries = conversation.pin(begin(), [1])
    fresh = conversation.reset(carries, empty)
    assert positions(fresh) == []
    same(go_on(FIFO, fresh[0], [7, 8, 9, 10]), begin()[0])


def test_a_branch_may_be_given_away():
    carries = begin()
    other = conversation.branch(carries)
    same(carries, other)
    take = jax.jit(
        lambda carry: jax.tree.map(lambda leaf: leaf + 1, carry.hidden),
        donate_argnums=0,
    )
    take(other[0])
    same(carries, begin())


@pytest.mark.parametrize("config", [CONFIG, FIFO, GROUPS, PLAIN])
def test_what_is_saved_comes_back(config, tmp_path):
    carries, path = begin(config), tmp_path / "memory.safetensors"
    notes = {"words": ["é", "b"]}
    conversation.save(path, carries, ABOUT, notes)
    found, noted = conversation.load(path, (core.init_carry(config, 2),), ABOUT)
    assert noted == notes
    same(found, carries)
    dtypes = [[leaf.dtype for leaf in jax.tree.leaves(c)] for c in (found, carries)]
    assert dtypes[0] == dtypes[1]
    same(go_on(config, found[0], [1, 2]), go_on(config, carries[0], [1, 2]))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "memory.safetensors"
    conversation.save(path, begin(), ABOUT)
    return path


EMPTY = (core.init_carry(FIFO, 2),)


def test_another_model_is_refused_and_the_difference_is_named(saved):
    other = {"model": {"num_slots": 5, "policy": "salience"}, "tokens": "abc"}
    with pytest.raises(ValueError, match=r"model.num_slots: 3, now 5\); load it besid"):
        conversation.load(saved, EMPTY, other)
    with pytest.raises(ValueError, match=r"\(tokens: 'abc', now None\)"):
        conversation.load(saved, EMPTY, {"model": ABOUT["model"]})
    with pytest.raises(ValueError, match="damaged: .* has .* bytes instead of"):
        conversation.load(saved, (core.init_carry(FIFO, 3),), ABOUT)
    with pytest.raises(ValueError, match="damaged: .*values has None bytes instead"):
        plain = replace(CONFIG, memory_dtype="float32", read=True)
        conversation.save(saved, begin(replace(FIFO, read=False)), ABOUT)
        conversation.load(saved, (core.init_carry(plain, 2),), ABOUT)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_found_or_changes_nothing(saved, data):
    content = bytearray(saved.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    other = saved.with_name("other")
    other.write_bytes(bytes(content[: data.draw(st.sampled_from([None, at]))]))
    with pytest.raises(ValueError):
        conversation.load(other, EMPTY, ABOUT)


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_else_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="file"):
        conversation.load(path, EMPTY, ABOUT)


def test_a_file_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="absent cannot be read"):
        conversation.load(tmp_path / "absent", EMPTY, ABOUT)
    with pytest.raises(ValueError, match="cannot be written"):
        conversation.save(tmp_path / "no" / "file", begin(), ABOUT)
    (tmp_path / "large").write_bytes(bytes(2**21))
    with pytest.raises(ValueError, match="no conversation with this model: too large"):
        conversation.load(tmp_path / "large", EMPTY, ABOUT)


def test_without_slots_there_is_nothing_to_do():
    with pytest.raises(ValueError, match="this memory has no slots; there is nothing"):
        conversation.remembered(begin(PLAIN))
    for change in (conversation.pin, conversation.forget):
        with pytest.raises(
            ValueError, match="no memory; there is nothing to pin or fo"
        ):
            change(begin(PLAIN), [0])
