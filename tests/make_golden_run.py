"""Writes `tests/golden/run_VERSION/`: a workdir as this version leaves it.

    python -m tests.make_golden_run

A tiny language model, trained for four steps on a text made here, of which the
checkpoint of step 2 is kept, as if the run had been killed then. `expected.npz` has
what it computed: log probabilities of a text at steps 2 and 4, and all losses. Later
versions have to load it, and to go on from it. A version that is released adds its own;
none is ever made again.
"""

import contextlib
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from configs import lm_embedded
from tests.make_golden import FOLDER
from wmlstm_jax.models import LanguageModel
from wmlstm_jax.training import parse_config, train
from wmlstm_jax.training.manifest import write_manifest
from wmlstm_jax.training.trained import Trained, language_model_of, load

KEPT, LAST, READ = 2, 4, 48
TEXT = "".join(f"{n} and {n + 2} make {2 * n + 2}.\n" for n in range(60))


def make_config():
    """As small as a model with a memory can be."""
    config = lm_embedded.get_config("smoke")
    config.num_steps, config.eval_every, config.log_every = LAST, KEPT, 1
    config.data.source, config.data.path = "file", "text.txt"
    config.data.tokenizer, config.data.batch_size = "characters", 2
    config.model.embed_dim = config.model.hidden_dim = 8
    config.model.num_slots, config.model.num_heads = 4, 2
    config.model.key_dim = config.model.value_dim = 4
    config.mesh.data = 1
    return parse_config(config)


def log_probs_of(trained: Trained) -> np.ndarray:
    """Of what may follow each of the first characters of the text, `[48, V]`."""
    tokens = trained.run.tokenizer.encode(Path("text.txt").read_text()[:READ])
    model, rows = language_model_of(trained), []
    carries, log_probs = jax.jit(LanguageModel.prefill)(model, tokens[None, :1])
    step = jax.jit(LanguageModel.step)
    for token in tokens[1:]:
        rows.append(log_probs[0])
        carries, log_probs = step(model, carries, token[None])
    return np.stack([*rows, log_probs[0]])


def losses() -> list[float]:
    """Of all steps, as the journal has them."""
    rows = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def forget_place(checkpoint: Path):
    """Takes out of the marks of Orbax where on this machine they were written."""
    for mark in checkpoint.rglob("commit_success.txt"):
        mark.write_text(mark.read_text().replace(f"{Path.cwd()}/", ""))


def main():
    """Trains in the folder itself: the config has the text as it is named there."""
    folder = FOLDER / f"run_{version('wmlstm_jax')}"
    folder.mkdir()
    with contextlib.chdir(folder):
        Path("text.txt").write_text(TEXT)
        train(make_config(), "run")
        last = log_probs_of(load("run", "latest"))
        shutil.rmtree(f"run/checkpoints/{LAST}")
        os.unlink(f"run/manifests/{LAST}.json")
        kept = log_probs_of(load("run"))
        np.savez_compressed("expected.npz", kept=kept, last=last, losses=losses())
        forget_place(Path(f"run/checkpoints/{KEPT}"))
        write_manifest(
            Path(f"run/manifests/{KEPT}.json"), Path(f"run/checkpoints/{KEPT}")
        )
        shutil.rmtree("run/tensorboard")
        os.unlink("run/lock")


if __name__ == "__main__":
    main()
