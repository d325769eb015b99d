"""A tiny run, trained once for the tests of this folder that look at one."""

import shutil
from dataclasses import replace

import pytest

from configs import lm_embedded
from wmlstm_jax.training import parse_config, train
from wmlstm_jax.training.config import MeshConfig

TEXT = "".join(f"{n} beside {n + 1} is {2 * n + 1}.\n" for n in range(120))


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """Four steps over three passes of a small text, validated after 2 and 4.

    On two of the eight devices: a program of eight takes long to compile.
    """
    path = tmp_path_factory.mktemp("data") / "text.txt"
    path.write_text(TEXT)
    smoke = parse_config(lm_embedded.get_config("smoke"))
    data = replace(smoke.data, source="file", path=str(path), window=96)
    two = MeshConfig(data=2)
    return replace(smoke, num_steps=4, log_every=1, data=data, mesh=two)


@pytest.fixture(scope="session")
def trained(config, tmp_path_factory):
    """The workdir of the finished run; not to be written to."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    train(config, workdir)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    """A copy of the finished run, to do with as one likes."""
    return shutil.copytree(trained, tmp_path / "run")
