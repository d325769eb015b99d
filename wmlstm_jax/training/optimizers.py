"""The optimiser, from its settings."""

import jax
import jax.numpy as jnp
import optax

from wmlstm_jax.training.optimizer_config import OptimizerConfig

_NOT_DECAYED = ("bias", "scale", "memory")


def make_optimizer(
    config: OptimizerConfig, num_steps: int
) -> optax.GradientTransformation:
    """AdamW on the clipped gradient, at a rate that rises and falls.

    Args:
      config: the settings.
      num_steps: where the rate has fallen.

    Raises:
      ValueError: the warm-up is as long as the run.
    """
    if not 0 <= config.warmup_steps < num_steps:
        raise ValueError(
            f"optimizer.warmup_steps is {config.warmup_steps}; it must be at least 0"
            f" and less than config.num_steps = {num_steps}."
        )
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            make_schedule(config, num_steps),
            b1=config.beta1,
            b2=config.beta2,
            weight_decay=config.weight_decay,
            mask=decayed,
        ),
    )


def make_schedule(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """The learning rate by update: from 0 to the peak in a line, then as it is named.

    "cosine" and "linear" end at `final_fraction` of the peak; "constant" stays, and
    "inverse_sqrt" falls with the root of the updates (Vaswani et al. 2017, section
    5.3), but not below that fraction.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    rest, least = num_steps - warmup, peak * config.final_fraction

    def falls_with_root(count):
        since = jnp.maximum(warmup, 1)
        return jnp.maximum(peak * jnp.sqrt(since / (since + count)), least)

    fall = {
        "cosine": optax.cosine_decay_schedule(peak, rest, config.final_fraction),
        "linear": optax.linear_schedule(peak, least, rest),
        "constant": optax.constant_schedule(peak),
        "inverse_sqrt": falls_with_root,
    }[config.schedule]
    if not warmup:
        return fall
    rise = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([rise, fall], [warmup])


def decayed(params: dict) -> dict:
    """Which leaves are decayed: kernels, not what shifts or scales.

    By name, since the core keeps its biases in groups, `[G, out]`.
    """

    def is_kernel(path, _):
        names = [str(getattr(entry, "key", "")) for entry in path]
        return not any(part in name for name in names for part in _NOT_DECAYED)

    return jax.tree_util.tree_map_with_path(is_kernel, params)
