"""The tiny run of the tests of training."""

from tests.training.conftest import answering, config, pairs, trained, workdir

__all__ = ["answering", "config", "pairs", "trained", "workdir"]
