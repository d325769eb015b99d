import json

import numpy as np

from wmlstm_jax.benchmarks.retention import curve, merge, tally


def test_answers_are_counted_by_distance_and_by_how_often_it_was_told():
    #                   k1 v  k2 v  k1 w  ?k2 .  ?k1 .
    inputs = np.array([[1, 8, 2, 9, 1, 7, 2, 0, 1, 0]])
    scored, right = np.zeros((1, 10), bool), np.zeros((1, 10), bool)
    scored[0, [6, 8]] = True
    right[0, 8] = True
    counts = tally(inputs, scored, right)
    assert counts == {
        "distance": {4: [1, 2]},
        "retold": {0: [0, 1], 1: [1, 1]},
    }
    # JSON makes text of the numbers.
    twice = merge([counts, json.loads(json.dumps(counts))])
    assert twice["distance"] == {4: [2, 4]}
    often = {n: [50 * part for part in count] for n, count in twice["retold"].items()}
    assert curve(often) == ([0, 1], [0.0, 1.0])
    assert curve(twice["retold"]) == ([], [])


def test_distances_are_rounded_up_to_powers_of_two():
    for distance, binned in ((1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (9, 16)):
        inputs = np.zeros((1, 12), int)
        inputs[0, [0, distance]] = 5
        scored = np.zeros((1, 12), bool)
        scored[0, distance] = True
        assert list(tally(inputs, scored, scored)["distance"]) == [binned]
