"""Trains a model; run again, it resumes.

    python train.py --config=configs/lm_embedded.py --workdir=runs/lm \
        --config.model.num_slots=64

The story is in `wmlstm_jax.training`.
"""

import jax
from absl import flags

from wmlstm_jax.analysis import compare
from wmlstm_jax.training.command_line import (
    define_config,
    define_hosts,
    given_config,
    run_script,
)
from wmlstm_jax.training.loop import train

_CONFIG = define_config(required=True)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where checkpoints and metrics go.", required=True
)
_START = define_hosts()


def main() -> None:
    """Flags to training."""
    _START()
    config = given_config(_CONFIG)
    if config.compare:
        print(compare(config, _WORKDIR.value))
    else:
        summary = train(config, _WORKDIR.value)
        if jax.process_index() == 0:
            print(f"Checkpoints: {summary.checkpoints}")


if __name__ == "__main__":
    stopped = "stopped; the same command resumes from the last checkpoint."
    run_script(main, stopped, keep=True)
