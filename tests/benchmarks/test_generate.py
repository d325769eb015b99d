import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.benchmarks import cost, generate, gpt
from wmlstm_jax.models import LanguageModel, ModelConfig

CONFIG = gpt.GPTConfig(
    embed_dim=12, num_heads=3, num_layers=2, mlp_dim=20, vocab_size=7
)
SETTINGS = replace(
    generate.QUICK,
    model=ModelConfig(8, 8, num_heads=2, key_dim=4, value_dim=4, num_slots=3),
    vocab_size=11,
    contexts=(4, 8),
    num_tokens=3,
    piece=4,
)


def empty_cache(batch, size):
    return gpt.fill_cache(jax.random.key(9), CONFIG, batch, size, 0)


def whole_text(params, tokens):
    """The GPT without a cache: all places of `tokens [B, T]` at once."""
    batch, length = tokens.shape
    width, heads = CONFIG.embed_dim, CONFIG.num_heads
    half = width // heads // 2
    angle = np.arange(length)[:, None] * 10000.0 ** (-np.arange(half) / half)

    def norm(x, scale):
        return scale * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)

    def split(x):
        return x.reshape(batch, length, heads, -1).transpose(0, 2, 1, 3)

    def rotate(x):
        turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
        return np.concatenate([turned.real, turned.imag], -1)

    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    xs = params["embedding"][tokens]
    later = np.triu(np.ones((length, length), bool), 1)
    for block in params["blocks"]:
        q, k, v = np.split(norm(xs, block["norm"]) @ block["qkv"], 3, -1)
        q, k, v = rotate(split(q)), rotate(split(k)), split(v)
        logits = q @ k.swapaxes(-1, -2) / math.sqrt(width // heads)
        weights = np.exp(np.where(later, -np.inf, logits))
        read = weights / weights.sum(-1, keepdims=True) @ v
        read = read.transpose(0, 2, 1, 3).reshape(batch, length, width)
        xs = xs + read @ block["out"]
        inner = norm(xs, block["mlp_norm"]) @ block["up"]
        xs = xs + np.asarray(jax.nn.gelu(inner)) @ block["down"]
    logits = norm(xs, params["norm"]) @ params["embedding"].T + params["output_bias"]
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("size", [6, 16])
def test_the_cache_gives_what_the_whole_text_gives(size):
    """The cache starts full of noise, which is never seen."""
    params = gpt.init_gpt(jax.random.key(0), CONFIG)
    params["embedding"] *= 50  # Else every logit is about zero.
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (2, 6))
    step, cache = jax.jit(gpt.gpt_step, static_argnums=0), empty_cache(2, size)
    found = []
    for t in range(tokens.shape[1]):
        cache, log_probs = step(CONFIG, params, cache, jnp.asarray(tokens[:, t]))
        found.append(log_probs)
    wanted = whole_text(params, tokens)
    # Sums in float32, of logits that reach 50.
    np.testing.assert_allclose(np.stack(found, 1), wanted, atol=1e-4)
    assert int(cache.position) == 6


def test_both_models_have_as_many_parameters():
    for settings in (generate.Settings(), generate.QUICK):
        model = nnx.eval_shape(
            lambda settings=settings: LanguageModel(
                settings.model, settings.vocab_size, rngs=nnx.Rngs(0)
            )
        )
        ours = generate.count(nnx.state(model, nnx.Param))
        config = generate.gpt_like(ours, settings)
        init = jax.eval_shape(lambda c=config: gpt.init_gpt(jax.random.key(0), c))
        # What one unit more of the multilayer perceptrons would add, at most.
        unit = 2 * config.embed_dim * config.num_layers
        assert abs(generate.count(init) - ours) <= unit
        assert config.embed_dim == settings.model.embed_dim
        # Of the usual form: the perceptrons are about four times as wide.
        assert 3 <= config.mlp_dim / config.embed_dim <= 5


def test_the_cache_is_changed_in_place():
    """With a copy in every turn, the time would be that of copying."""
    batch, size = 1, 37
    params = gpt.init_gpt(jax.random.key(0), CONFIG)
    step = jax.tree_util.Partial(gpt.gpt_step, CONFIG)
    bound = jax.tree_util.Partial(lambda p, *a: step(p, *a), params)
    log_probs = jnp.zeros((batch, CONFIG.vocab_size))
    lowered = generate.write.lower(bound, empty_cache(batch, size), log_probs, 3)
    lines = lowered.compile().as_text().splitlines()
    shape = f"f32[{batch * CONFIG.num_heads},4,{size}]"
    assert any(shape in line for line in lines)
    assert not [line for line in lines if shape in line and " copy(" in line]


def test_ours_has_read_the_context():
    writer = generate.ours(SETTINGS, jax.random.key(0))
    for context in (4, 8):
        (carry,) = writer.start(context)
        np.testing.assert_array_equal(carry.memory.clock, context)
        assert carry.memory.live.all()
        slots = carry.memory.keys.nbytes + carry.memory.values.nbytes
        assert writer.state_bytes(context) == slots


def test_the_gpt_has_a_context():
    writer = generate.gpt(SETTINGS, jax.random.key(0), 1000)
    cache = writer.start(8)
    assert int(cache.position) == 8
    assert cache.keys[0].shape == (2, 4, 8 + 3)
    used = sum(leaf[..., :8].nbytes for leaf in (*cache.keys, *cache.values))
    assert writer.state_bytes(8) == used
    moved = cache._replace(position=cache.position + 3)
    assert int(writer.again(moved, 8).position) == 8


def test_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost, "MATRIX_SIZE", 64)
    generate.main(SETTINGS, tmp_path)
    shown = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in shown.splitlines() if "%" in line]
    assert [(row[0].strip(), row[2].strip()) for row in rows] == [
        ("WM-LSTM", "4"),
        ("GPT", "4"),
        ("WM-LSTM", "8"),
        ("GPT", "8"),
    ]
    assert [row[5].strip() for row in rows[1::2]] == ["1.00", "1.00"]
    assert "2/2 runs | context 8 |" in shown
    result = json.loads((tmp_path / "generate.json").read_text())
    assert result["commit"] and result["settings"]["model"]["num_slots"] == 3
    assert result["machine"]["matrix_rate"] > 0
    for point, context in zip(result["points"], (4, 4, 8, 8), strict=True):
        assert point["context"] == context and len(point["seconds"]) == 2
        assert 0 < point["floor"] < min(point["seconds"])
    image = (tmp_path / "generate.png").read_bytes()
    assert image.startswith(b"\x89PNG") and len(image) > 10_000


def test_ratios_are_of_pairs():
    machine = cost.Machine(1e9, {2**20: 1e9})
    points = [
        generate.Point(generate.OURS, 4, 200_000, 0, [0.1, 0.2, 0.4]),
        generate.Point(generate.GPT, 4, 200_000, 10**5, [0.3, 0.2, 0.8]),
    ]
    row = generate.table(points, machine, batch=2).splitlines()[2]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    # Ratios 3, 1, 2. Two rows are written at once.
    assert cells == [
        *("WM-LSTM", "200,000", "4", "10 (5 to 20)"),
        *("0%", "2.00", "0.0 MB"),
    ]
    assert points[0].floor(2, machine) == pytest.approx(0.8e-3)
