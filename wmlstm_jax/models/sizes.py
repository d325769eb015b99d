"""Models of equal size: the width at which there are so many parameters."""

import functools
import math
from collections.abc import Callable


def nearest_width(count: Callable[[int], int], wanted: int) -> int:
    """The width, at least 1, whose count is nearest; of two as near, the smaller.

    Args:
      count: how many parameters a width gives; it never falls as the width grows. It
        is asked least often where it grows like a square.
      wanted: how many there should be.
    """
    count = functools.cache(count)
    low, high = 1, 16
    while count(high) < wanted:
        low, high = high, 4 * high
    while high - low > 1 and count(low) < wanted:
        # Between two squares the roots lie on a line; one step is the least.
        bottom, top = math.sqrt(count(low)), math.sqrt(count(high))
        part = (math.sqrt(wanted) - bottom) / (top - bottom)
        middle = low + min(max(round(part * (high - low)), 1), high - low - 1)
        low, high = (middle, high) if count(middle) < wanted else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - wanted))
