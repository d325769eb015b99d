"""The tiny runs of the tests of training."""

from tests.training.conftest import answering, config, pairs, trained

__all__ = ["answering", "config", "pairs", "trained"]
