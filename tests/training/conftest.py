"""A tiny run, trained once for the tests of this folder that look at one."""

import shutil
from dataclasses import replace

import pytest

from configs import lm_embedded, question_answering
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


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Four steps of answering to 40 sources, many of whose words are not known."""
    folder = tmp_path_factory.mktemp("pairs")
    sources = [f"say {n}" + " again" * (3 * (n % 3 == 2)) for n in range(40)]
    targets = [f"said {n}" + " twice" * (n % 2) for n in range(40)]
    for name, lines in (("a", sources), ("b", targets)):
        (folder / name).write_text("\n".join(lines) + "\n")
    smoke = parse_config(question_answering.get_config("smoke"))
    data = replace(
        smoke.data,
        source="parallel",
        path=str(folder / "a"),
        target_path=str(folder / "b"),
        vocab_size=8,
        num_buckets=2,
    )
    one = MeshConfig(data=1)
    search = replace(smoke.search, max_length=5)
    return replace(smoke, num_steps=4, data=data, mesh=one, search=search)


@pytest.fixture(scope="session")
def answering(pairs, tmp_path_factory):
    """The workdir of the finished run; not to be written to."""
    workdir = tmp_path_factory.mktemp("answering") / "run"
    train(pairs, workdir)
    return workdir
