import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax.analysis.neural_cache import SHARES, SHARPNESS, empty_cache, mix_cache

STEPS, WIDTH, SLOTS, VOCABULARY = 23, 3, 5, 4


@pytest.fixture
def stream():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(STEPS, WIDTH)).astype(np.float32)
    targets = rng.integers(0, VOCABULARY, STEPS).astype(np.int32)
    log_probs = np.log(rng.uniform(0.1, 0.9, STEPS)).astype(np.float32)
    return features, targets, log_probs


def by_hand(features, targets, log_probs, scale):
    """Step by step, in float64."""
    features, probs = features.astype(np.float64), np.exp(log_probs.astype(np.float64))
    mixed = np.zeros((len(SHARPNESS), len(SHARES), STEPS))
    for t in range(STEPS):
        past = range(max(0, t - SLOTS), t)
        for i, sharpness in enumerate(SHARPNESS):
            weights = {
                k: np.exp(sharpness * features[t] @ features[k] / scale) for k in past
            }
            hits = [weights[k] for k in past if targets[k] == targets[t]]
            for j, share in enumerate(SHARES):
                mixed[i, j, t] = probs[t]
                if past:
                    cached = sum(hits) / sum(weights.values())
                    mixed[i, j, t] = (1 - share) * probs[t] + share * cached
    return np.log(mixed)


@pytest.mark.parametrize("window", [STEPS, 4, 1])
def test_any_window_is_the_definition(window, stream):
    cache, parts = empty_cache(SLOTS, WIDTH), []
    for start in range(0, STEPS, window):
        part = [jnp.asarray(leaf[start : start + window]) for leaf in stream]
        cache, mixed = jax.jit(mix_cache)(cache, *part, 2.0)
        parts.append(mixed)
    got = np.concatenate(parts, -1)
    np.testing.assert_allclose(got, by_hand(*stream, 2.0), rtol=1e-5, atol=1e-5)


def test_what_ends_the_stream_is_not_remembered(stream):
    features, targets, log_probs = map(jnp.asarray, stream)
    targets = targets.at[-1].set(-1)
    cache, _ = mix_cache(empty_cache(SLOTS, WIDTH), features, targets, log_probs, 1.0)
    assert cache.tokens[-1] == -1
    _, mixed = mix_cache(cache, features[:1], targets[:1], log_probs[:1], 1.0)
    shorter = cache._replace(
        features=cache.features.at[-1].set(9.0), tokens=cache.tokens
    )
    _, same = mix_cache(shorter, features[:1], targets[:1], log_probs[:1], 1.0)
    np.testing.assert_array_equal(mixed, same)
