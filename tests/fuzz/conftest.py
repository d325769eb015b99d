"""The tiny run of the tests of training."""

from tests.training.conftest import config, trained, workdir

__all__ = ["config", "trained", "workdir"]
