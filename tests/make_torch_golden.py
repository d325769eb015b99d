"""Writes `tests/golden/torch_lstm.npz`: what `torch.nn.LSTM` gives, and its gradients.

    python -m tests.make_torch_golden

It needs PyTorch and is run by hand; the tests need only the file. All of it is float64;
the loss is that of `tests.make_golden`, of the outputs, final hidden and final cell.
"""

import numpy as np
import torch

from tests.make_golden import FOLDER, weighting

STEPS, BATCH, INPUT, HIDDEN = 5, 3, 4, 6


def main():
    """Runs the layer once and writes the file."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(INPUT, HIDDEN, dtype=torch.float64)
    leaves = {f"params/{name}": leaf for name, leaf in layer.named_parameters()}
    for name, shape in {
        "xs": (STEPS, BATCH, INPUT),
        "hidden": (BATCH, HIDDEN),
        "cell": (BATCH, HIDDEN),
    }.items():
        leaves[name] = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    start = leaves["hidden"][None], leaves["cell"][None]
    outputs, (hidden, cell) = layer(leaves["xs"], start)
    results = {"outputs": outputs, "final/hidden": hidden[0], "final/cell": cell[0]}
    total = sum(
        (leaf * torch.from_numpy(weighting(tuple(leaf.shape)))).sum()
        for leaf in results.values()
    )
    total.backward()
    arrays = {
        name: leaf.detach().numpy() for name, leaf in {**leaves, **results}.items()
    }
    arrays |= {f"gradient/{name}": leaf.grad.numpy() for name, leaf in leaves.items()}
    np.savez_compressed(FOLDER / "torch_lstm.npz", **arrays)


if __name__ == "__main__":
    main()
