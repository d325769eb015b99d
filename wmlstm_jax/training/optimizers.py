"""The optimiser, from its settings."""

import jax
import optax

from wmlstm_jax.training.config import OptimizerConfig

_NOT_DECAYED = ("bias", "scale", "memory")


def make_optimizer(
    config: OptimizerConfig, num_steps: int
) -> optax.GradientTransformation:
    """AdamW on the clipped gradient, warmed up and cosine-decayed to the last step.

    Args:
      config: the settings.
      num_steps: where the cosine ends.

    Raises:
      ValueError: the warm-up is as long as the run.
    """
    if not 0 <= config.warmup_steps < num_steps:
        raise ValueError(
            f"optimizer.warmup_steps is {config.warmup_steps}; it must be at least 0"
            f" and less than config.num_steps = {num_steps}."
        )
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if config.warmup_steps else config.learning_rate,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=num_steps,
        end_value=config.learning_rate * config.final_fraction,
    )
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            schedule,
            b1=config.beta1,
            b2=config.beta2,
            weight_decay=config.weight_decay,
            mask=decayed,
        ),
    )


def decayed(params: dict) -> dict:
    """Which leaves are decayed: kernels, not what shifts or scales.

    By name, since the core keeps its biases in groups, `[G, out]`.
    """

    def is_kernel(path, _):
        names = [str(getattr(entry, "key", "")) for entry in path]
        return not any(part in name for name in names for part in _NOT_DECAYED)

    return jax.tree_util.tree_map_with_path(is_kernel, params)
