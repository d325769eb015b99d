"""The settings of a run's optimiser."""

from dataclasses import dataclass

from wmlstm_jax.data.refusals import no_such
from wmlstm_jax.training.schema import require, require_positive

SCHEDULES = ("cosine", "linear", "constant", "inverse_sqrt")
"""How a learning rate falls."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW under a warm-up and a cosine, with the gradient clipped.

    Args:
      learning_rate: the peak.
      warmup_steps: linear from 0 to the peak.
      final_fraction: of the peak, where the cosine ends at the last step.
      weight_decay: of the kernels; biases, norms and scales have none.
      beta1: decay of the mean gradient.
      beta2: decay of the mean square gradient.
      clip_norm: of the whole gradient.
      schedule: a name in `SCHEDULES`: how the rate falls behind the warm-up.
      accumulate: in how many parts a batch is computed, one after another.
      average: the decay per update of a moving average of the parameters, which is then
        what is validated and used; 0 has none.
    """

    learning_rate: float
    warmup_steps: int
    final_fraction: float
    weight_decay: float
    beta1: float
    beta2: float
    clip_norm: float
    schedule: str
    accumulate: int
    average: float

    def __post_init__(self):
        positive = ("learning_rate", "clip_norm", "accumulate")
        require_positive("optimizer", self, positive)
        require("optimizer", self, ("weight_decay", "final_fraction"), 0)
        if self.schedule not in SCHEDULES:
            raise no_such("optimizer.schedule", self.schedule, SCHEDULES)
        for name in ("beta1", "beta2", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"optimizer.{name} is {getattr(self, name)}; it must be in [0, 1)."
                )
