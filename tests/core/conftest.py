import sys

import jax
import pytest

from wmlstm_jax import core


@pytest.fixture(scope="module")
def compiled_step():
    """The loop is one over compiled steps: op by op it takes long."""
    step = jax.jit(core.step, static_argnums=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[core.unroll.__module__], "step", step)
        yield step
