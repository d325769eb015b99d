"""The generation step as a file that runs with JAX alone, without this package.

`step.bin` is the program, for CPUs, NVIDIA GPUs and TPUs, as `jax.export` serialises
it: a function of `(weights, carry, tokens)`, lists of arrays and `[B]` int32, that
returns the next carry and `[B, V]` log probabilities. `arrays.npz` has the weights and
the first carry, and `tokenizer.json` what tokens stand for:

    import numpy as np
    from jax import export
    step = export.deserialize(bytearray(open("step.bin", "rb").read()))
    arrays = np.load("arrays.npz")
    weights = [arrays[f"weight{i}"] for i in range(arrays["counts"][0])]
    carry = [arrays[f"carry{i}"] for i in range(arrays["counts"][1])]
    carry, log_probs = step.call(weights, carry, np.array([token], np.int32))
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from wmlstm_jax.training.manifest import writing
from wmlstm_jax.training.trained import Trained, language_model_of

PLATFORMS = ("cpu", "cuda", "tpu")


def export_step(trained: Trained, directory: str | Path, batch_size: int = 1) -> None:
    """Writes `step.bin`, `arrays.npz` and `tokenizer.json`.

    Args:
      trained: a language model.
      directory: where they go; made if it is not there.
      batch_size: B, texts side by side.

    Raises:
      ValueError: the model has another task, or the directory cannot be written.
    """
    directory, model = Path(directory), language_model_of(trained)
    graph = trained.run.graph
    weights, of_weights = jax.tree.flatten(trained.params)
    carry, of_carry = jax.tree.flatten(model.initialize_carry(batch_size))

    def step(weights, carry, tokens):
        model = nnx.merge(graph, jax.tree.unflatten(of_weights, weights))
        carry = jax.tree.unflatten(of_carry, carry)
        carry, log_probs = model.step(carry, tokens)
        return jax.tree.leaves(carry), log_probs

    tokens = jnp.zeros(batch_size, jnp.int32)
    program = export.export(jax.jit(step), platforms=PLATFORMS)(weights, carry, tokens)
    arrays = {"counts": np.array([len(weights), len(carry)])}
    arrays |= {f"weight{i}": np.asarray(leaf) for i, leaf in enumerate(weights)}
    arrays |= {f"carry{i}": np.asarray(leaf) for i, leaf in enumerate(carry)}
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "step.bin").write_bytes(program.serialize())
        np.savez(directory / "arrays.npz", allow_pickle=False, **arrays)
        saved = json.dumps(trained.run.tokenizer.to_json())
        (directory / "tokenizer.json").write_text(saved + "\n")
