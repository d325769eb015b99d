"""The exported step runs where there is JAX and nothing of ours."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from wmlstm_jax.inference import Greedy, generate
from wmlstm_jax.models import LanguageModel
from wmlstm_jax.training.portable import export_step
from wmlstm_jax.training.trained import language_model_of, load

PROGRAM = """
import sys
for name in ("wmlstm_jax", "flax", "optax", "orbax", "chex"):
    sys.modules[name] = None  # To import it is an error.
import numpy as np
from jax import export

step = export.deserialize(bytearray(open("step.bin", "rb").read()))
arrays = np.load("arrays.npz")
weights = [arrays[f"weight{i}"] for i in range(arrays["counts"][0])]
carry = [arrays[f"carry{i}"] for i in range(arrays["counts"][1])]
token, said = 65, []
for _ in range(12):
    carry, log_probs = step.call(weights, carry, np.full(2, token, np.int32))
    token = int(log_probs[0].argmax())
    said.append(token)
print(said, float(log_probs[1, 65]), step.platforms)
"""


def test_it_says_what_the_model_says(trained, tmp_path):
    model = load(trained)
    export_step(model, tmp_path / "new" / "step", batch_size=2)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path / "new" / "step",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    language_model = language_model_of(model)
    carries, log_probs = jax.jit(LanguageModel.prefill)(
        language_model, np.full((2, 1), 65, np.int32)
    )
    wanted = [
        int(tokens[0])
        for tokens in generate(
            jax.tree_util.Partial(LanguageModel.step, language_model),
            carries,
            log_probs,
            sampler=Greedy(),
            rng=jax.random.key(0),
            num_tokens=12,
        )
    ]
    assert done.stdout.startswith(str(wanted))
    assert "cpu" in done.stdout and "cuda" in done.stdout and "tpu" in done.stdout
    saved = json.loads((tmp_path / "new" / "step" / "tokenizer.json").read_text())
    assert saved == model.run.tokenizer.to_json()


def test_it_is_of_a_language_model_and_can_be_written(answering, trained, tmp_path):
    with pytest.raises(ValueError, match="and not to go on with"):
        export_step(load(answering), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"step cannot be written \("):
        export_step(load(trained), tmp_path / "file" / "step")
