import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wmlstm_jax import CellConfig, SlotMemory, init_carry, init_params, unroll
from wmlstm_jax.data import bucket_length, pad_to_bucket


@given(st.integers(1, 10_000), st.integers(1, 100))
def test_a_bucket_holds_its_length_and_half_of_it_does_not(length, smallest):
    bucket = bucket_length(length, smallest)
    assert bucket >= length
    assert bucket == smallest or bucket // 2 < length
    assert (bucket // smallest).bit_count() == 1 and bucket % smallest == 0


def test_all_lengths_in_a_few_programs():
    config = CellConfig(4, 6, num_heads=2, key_dim=3, memory=SlotMemory(5))
    params, traces = init_params(jax.random.key(0), config), []

    @jax.jit
    def run(params, xs, valid):
        traces.append(xs.shape)
        carry, ys = unroll(params, config, init_carry(config, 2), xs, valid=valid)
        return carry, ys

    xs = np.random.default_rng(0).normal(size=(40, 2, 4)).astype(np.float32)
    _, whole = run(params, xs, np.ones((40, 2), bool))
    traces.clear()
    for length in range(1, 41):
        padded, valid = pad_to_bucket({"xs": xs[:length]}, smallest=8)
        carry, ys = run(params, padded["xs"], valid)
        np.testing.assert_allclose(ys[:length], whole[:length], atol=1e-5)
        np.testing.assert_array_equal(ys[length:], 0)
        np.testing.assert_array_equal(carry.memory.clock, [length] * 2)
    assert traces == [(8, 2, 4), (16, 2, 4), (32, 2, 4), (64, 2, 4)]


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4, 2\).*must all be the same"):
        pad_to_bucket([np.zeros((3, 2)), np.zeros((4, 2))])
    with pytest.raises(ValueError, match="length is 0; it must be at least 1"):
        pad_to_bucket(np.zeros((0, 2)))
