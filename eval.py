"""Scores a trained model, or lets it continue a text.

    python eval.py --workdir=runs/lm [--checkpoint=latest]
    python eval.py --workdir=runs/lm --generate="The for statement"

The settings are those of the run; a `--config` is only checked against them.
"""

from pathlib import Path

from absl import flags

from wmlstm_jax.training.checkpoints import WHICH, claim_workdir
from wmlstm_jax.training.command_line import define_config, given_config, run_script
from wmlstm_jax.training.report import continue_text, load, score_table

_CONFIG = define_config(required=False)
_WORKDIR = flags.DEFINE_string("workdir", None, "Of the trained model.", required=True)
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "best", WHICH, "Best on the validation text, or latest."
)
_GENERATE = flags.DEFINE_string("generate", None, "A prompt to continue.")


def main() -> None:
    """Flags to a table or a text."""
    trained = load(_WORKDIR.value, _CHECKPOINT.value)
    if _CONFIG.value is not None:
        claim_workdir(Path(_WORKDIR.value), given_config(_CONFIG))
    if _GENERATE.value is None:
        print(f"{trained.checkpoint}\n\n{score_table(trained)}")
        return
    print(_GENERATE.value, end="", flush=True)
    sample = trained.run.config.sample
    for piece in continue_text(trained, _GENERATE.value, sample):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    run_script(main)
