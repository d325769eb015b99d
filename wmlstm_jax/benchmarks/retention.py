"""How long is something kept? Answers by the distance of what they ask for.

A question names a token that was told before. Its distance is how many tokens ago that
was, and it was overwritten as often as the token was told again with something else.
"""

from typing import Any

import numpy as np

KINDS = ("distance", "retold")
Tally = dict[str, dict[int, list[int]]]
"""Right and all answers, by "distance" (rounded up to a power of two) or "retold"."""
FEWEST = 100
"""Answers that a share is drawn of; of fewer it would be noise."""


def tally(inputs: np.ndarray, scored: np.ndarray, right: np.ndarray) -> Tally:
    """Counts the answers of a batch.

    Args:
      inputs: `[B, T]` tokens.
      scored: `[B, T]` bool, the questions; each names a token that was told before.
      right: `[B, T]` bool.
    """
    counts: Tally = {"distance": {}, "retold": {}}
    for row, asked, found in zip(inputs, scored, right, strict=True):
        last, told = {}, {}
        for place, token in enumerate(row.tolist()):
            if asked[place]:
                distance = place - last[token]
                binned = 1 << (distance - 1).bit_length()
                for kind, number in (("distance", binned), ("retold", told[token])):
                    entry = counts[kind].setdefault(number, [0, 0])
                    entry[0] += int(found[place])
                    entry[1] += 1
            else:
                told[token] = told.get(token, -1) + 1
            last[token] = place
    return counts


def merge(tallies: list[Tally]) -> Tally:
    """The counts of all together; keys may have become text in JSON."""
    total: Tally = {"distance": {}, "retold": {}}
    for each in tallies:
        for kind, counts in each.items():
            for number, (right, count) in counts.items():
                entry = total[kind].setdefault(int(number), [0, 0])
                entry[0] += right
                entry[1] += count
    return total


def curve(counts: dict[int, list[int]]) -> tuple[list[int], list[float]]:
    """Numbers in order, of enough answers, and the share of right ones at each."""
    numbers = sorted(number for number in counts if counts[number][1] >= FEWEST)
    return numbers, [counts[n][0] / counts[n][1] for n in numbers]


def draw(
    axes: Any, kind: str, by_model: dict[str, Tally], styles: dict[str, dict[str, Any]]
) -> None:
    """One line for each model, in its style, into an axes of matplotlib."""
    for name, counts in by_model.items():
        axes.plot(*curve(counts[kind]), **styles[name])
    if kind == "distance":
        axes.set_xscale("log", base=2)
        axes.set_xlabel("tokens since it was told, up to")
    else:
        axes.set_xlabel("times it was told anew")
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.3)
