from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from configs import default
from wmlstm_jax.models import LanguageModel, ModelConfig
from wmlstm_jax.models.language_model import Prediction
from wmlstm_jax.training import parse_config
from wmlstm_jax.training.losses import LanguageLoss, mean_nats
from wmlstm_jax.training.optimizers import decayed, make_optimizer, make_schedule

CONFIG = replace(
    parse_config(default.get_config()).optimizer,
    learning_rate=0.1,
    warmup_steps=2,
    final_fraction=0.5,
    weight_decay=0.0,
)


def step_sizes(config, num_steps, gradient=1.0):
    """How far each step moves a parameter under a constant gradient."""
    optimizer = make_optimizer(config, num_steps)
    params = {"kernel": jnp.zeros(1)}
    state, sizes = optimizer.init(params), []
    for _ in range(num_steps + 1):
        updates, state = optimizer.update(
            {"kernel": jnp.full(1, gradient)}, state, params
        )
        sizes.append(-updates["kernel"].item())
    return sizes


def test_it_warms_up_and_comes_down():
    # A constant gradient makes every step of Adam as long as the learning rate.
    wanted = [0, 0.05, 0.1, 0.075, 0.05]
    np.testing.assert_allclose(step_sizes(CONFIG, 4), wanted, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("cosine", [0.1, 0.0927, 0.075, 0.0573, 0.05]),
        ("linear", [0.1, 0.0875, 0.075, 0.0625, 0.05]),
        ("constant", [0.1] * 5),
        ("inverse_sqrt", [0.1, 0.0816, 0.0707, 0.0632, 0.0577]),
    ],
)
def test_the_rate_falls_as_it_is_named(name, wanted):
    config = replace(CONFIG, schedule=name)
    np.testing.assert_allclose(step_sizes(config, 6)[2:], wanted, rtol=1e-3)
    rate = make_schedule(config, 6)
    assert rate(0) == 0 and rate(1) == pytest.approx(0.05)
    if name == "inverse_sqrt":
        assert rate(100) == pytest.approx(0.05)


def test_a_schedule_that_is_none():
    with pytest.raises(ValueError, match="optimizer.schedule.*did you mean linear"):
        replace(CONFIG, schedule="linar")
    with pytest.raises(ValueError, match="optimizer.average is 1.0; it must be in"):
        replace(CONFIG, average=1.0)


def test_without_warm_up_it_starts_at_the_peak():
    config = replace(CONFIG, warmup_steps=0)
    assert step_sizes(config, 2)[0] == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("warmup", [-1, 4, 5])
def test_a_warm_up_as_long_as_the_run_is_refused(warmup):
    with pytest.raises(ValueError, match=f"optimizer.warmup_steps is {warmup}"):
        make_optimizer(replace(CONFIG, warmup_steps=warmup), 4)


def test_the_gradient_is_clipped():
    config = replace(CONFIG, warmup_steps=0, beta1=0.0, beta2=0.0, clip_norm=1e-8)
    # Adam divides by |g| + 1e-8: half a step where |g| was clipped to 1e-8.
    assert step_sizes(config, 2)[0] == pytest.approx(0.05, rel=1e-4)


def test_kernels_decay_and_nothing_else():
    model = LanguageModel(
        ModelConfig(8, 12, num_slots=4, copy=True), 11, rngs=nnx.Rngs(0)
    )
    mask = decayed(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    flat = jax.tree_util.tree_flatten_with_path(mask)[0]
    kept = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, is_decayed in flat
        if not is_decayed
    }
    cell = "blocks/0/recurrence/params"
    assert kept == {
        "norm/scale",
        "output_bias",
        "copy_gate/bias",
        "blocks/0/norm/scale",
        *(f"{cell}/bias/{to}" for to in ("copy", "gates", "key", "query")),
        *(
            f"{cell}/memory/{name}"
            for name in ("copy_sharpness", "null_logit", "read_scale", "sharpness")
        ),
    }


def test_the_loss_is_the_mean_over_what_is_valid():
    log_probs = jnp.array([[-1.0, -3.0, jnp.nan]])
    valid = jnp.array([[True, True, False]])
    assert mean_nats(log_probs, valid, valid.sum()) == 2.0
    # Of a batch that has more in its other parts.
    assert mean_nats(log_probs, valid, jnp.int32(8)) == 0.5
    assert mean_nats(log_probs, jnp.zeros((1, 3), bool), jnp.int32(0)) == 0.0


def test_the_vocabulary_has_its_share_of_the_loss():
    valid = jnp.array([[True, True, False]])
    alone = -4 * jnp.ones((1, 3))
    said = Prediction(jnp.array([[-1.0, -3.0, jnp.nan]]), alone, None, alone)
    count = valid.sum()
    losses = [
        float(LanguageLoss(share)(said, valid, count)) for share in (0.0, 0.25, 1.0)
    ]
    assert losses == [2.0, 2.5, 4.0]


def test_what_is_pointed_at_again_is_added():
    valid = jnp.array([[True, True, False]])
    repeated = jnp.array([[0.0, 1.0, jnp.nan]])
    alone = -4 * jnp.ones((1, 3))
    said = Prediction(-2 * jnp.ones((1, 3)), alone, None, alone, repeated)
    count = valid.sum()
    losses = [
        float(LanguageLoss(0.0, weight)(said, valid, count)) for weight in (0.0, 2.0)
    ]
    assert losses == [2.0, 3.0]


def test_smoothed_labels_are_the_cross_entropy_with_them():
    """Where nothing is copied; what is copied is not smoothed."""
    logits = np.random.default_rng(0).normal(size=(1, 3, 5)).astype(np.float32)
    every = np.array(jax.nn.log_softmax(logits))
    targets, valid = np.array([[4, 0, 2]]), np.array([[True, True, False]])
    chosen = np.take_along_axis(every, targets[..., None], axis=2)[..., 0]
    chosen[~valid] = np.nan
    said = Prediction(chosen, chosen, None, every.mean(-1))
    wanted = optax.softmax_cross_entropy(
        logits, optax.smooth_labels(np.eye(5)[targets], 0.1)
    )
    got = LanguageLoss(label_smoothing=0.1)(said, valid, valid.sum())
    np.testing.assert_allclose(got, wanted[valid].mean(), rtol=1e-6)
    copied = said._replace(log_probs=chosen / 2)
    same = LanguageLoss(label_smoothing=0.1)(copied, valid, valid.sum())
    less = np.float64(chosen[valid]).mean() / 2
    np.testing.assert_allclose(same, got + less, rtol=1e-6)
