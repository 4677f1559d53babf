"""The curves of lesson 05 show the fingerprints that its exercise `causes` speaks of."""

import numpy as np

from course_utils.datasets import digits
from course_utils.exercises import lesson_05


def test_curve_has_the_fingerprint_of_its_cause():
    curves = lesson_05.curves(digits().train, digits().validation)
    assert list(curves) == ["A", "B", "C", "D"]
    for losses in curves.values():
        assert losses.shape == (2, 26)
        assert np.abs(losses[:, 0] - np.log(10)).max() < 0.1  # all start at ln 10
        assert np.diff(losses[0]).max() < 0.05  # no training loss jumps about
    # A, small steps: both fall in every epoch and have not got far.
    assert np.diff(curves["A"]).max() < 0.01 and curves["A"][:, -1].min() > 1.8
    # B, shuffled labels: training falls, validation never gets below ln 10.
    assert curves["B"][0, -1] < 0.5 and curves["B"][1].min() > np.log(10) and curves["B"][1, -1] > 3.5
    # C, softmax twice: nothing below ln(e + 9) − 1, but close to it, after a steep fall.
    assert np.log(np.e + 9) - 1 < curves["C"].min() < 1.55 and np.diff(curves["C"][0]).min() < -0.15
    # D, few digits: validation falls far below ln 10 early, then turns for good.
    best = curves["D"][1].argmin()
    assert best < 10 and curves["D"][1, best] < 1 and curves["D"][1, -1] > 1.3 * curves["D"][1, best]
    assert curves["D"][0, -1] < 0.01
