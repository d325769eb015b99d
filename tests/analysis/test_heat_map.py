import numpy as np
import pytest

from wmlstm_jax.analysis import draw, draw_text, trace_text
from wmlstm_jax.analysis.traces import by_token
from wmlstm_jax.training.trained import load


def test_weights_go_to_whoever_wrote():
    owners = np.array([[[-1, 0]], [[1, 0]], [[1, 2]]])
    weights = np.arange(12.0).reshape(3, 2, 2)  # Two heads of one group.
    wanted = np.zeros((3, 3))
    wanted[0, 0] = 1 + 3
    wanted[1, 1], wanted[1, 0] = 4 + 6, 5 + 7
    wanted[2, 1], wanted[2, 2] = 8 + 10, 9 + 11
    np.testing.assert_array_equal(by_token(weights, owners), wanted)


def test_a_picture_of_the_validation_text_or_another(workdir):
    model, path = load(workdir), workdir / "pictures" / "memory.png"
    draw_text(model, path)
    whole = path.read_bytes()
    assert whole.startswith(b"\x89PNG")
    draw_text(model, path, "1 beside $2\n")
    assert path.read_bytes() != whole
    (workdir / "file").touch()
    with pytest.raises(ValueError, match=r"memory.png cannot be written \("):
        draw_text(model, workdir / "file" / "memory.png")
    with pytest.raises(ValueError, match="has 401 tokens; 400 at most"):
        draw_text(model, path, "x" * 401)
    with pytest.raises(ValueError, match=r"memory.txt ends in '.txt'; .*\.png"):
        draw(trace_text(model, np.arange(3)), chr, workdir / "memory.txt")
