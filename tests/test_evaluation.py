"""Intervals and calibration, against values by hand and other libraries."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import f1_score

from course_utils import evaluation


def test_interval_of_a_proportion_agrees_with_the_formula():
    right = np.arange(1000) < 800
    low, high = evaluation.bootstrap_interval(np.mean, right, repeats=4000)
    width = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert abs(low - (0.8 - width)) < 0.003 and abs(high - (0.8 + width)) < 0.003


def test_interval_resamples_whole_rows_and_repeats_with_its_seed():
    truth = np.random.default_rng(1).integers(0, 2, 200)
    assert evaluation.bootstrap_interval(f1_score, truth, truth.copy(), repeats=20) == (1.0, 1.0)
    noisy = np.where(np.arange(200) % 5, truth, 1 - truth)
    first, again = (evaluation.bootstrap_interval(f1_score, truth, noisy, repeats=50) for _ in range(2))
    assert first == again
    assert first != evaluation.bootstrap_interval(f1_score, truth, noisy, repeats=50, seed=1)


def test_groups_of_equal_rows_resample_like_single_values():
    values = np.repeat(np.random.default_rng(2).random(25), 40)
    groups = np.repeat(np.arange(25), 40)
    by_group = np.diff(evaluation.bootstrap_interval(np.mean, values, groups=groups))
    alone = np.diff(evaluation.bootstrap_interval(np.mean, values[::40]))
    by_row = np.diff(evaluation.bootstrap_interval(np.mean, values))
    assert np.isclose(by_group, alone, rtol=0.1)
    assert by_group > 5 * by_row  # √40 = 6.3


def test_groups_keep_their_rows_together():
    groups = np.array(["b", "a", "b", "c"])

    def whole(names):
        assert np.sum(names == "b") % 2 == 0
        return 0.5

    assert evaluation.bootstrap_interval(whole, groups, groups=groups, repeats=30) == (0.5, 0.5)


def test_level_sets_the_width():
    values = np.random.default_rng(3).random(300)
    narrow, wide = (np.diff(evaluation.bootstrap_interval(np.mean, values, level=level)) for level in (0.5, 0.99))
    assert wide > 3 * narrow


def test_resamples_without_a_number_are_left_out():
    one = np.zeros(3)
    one[0] = 1
    low, high = evaluation.bootstrap_interval(lambda x: x.mean() if x.any() else np.nan, one, repeats=200)
    assert 1 / 3 <= low <= high <= 1


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ((), {}, "lengths"),
        (([1, 2], [1]), {}, r"lengths \[1, 2\]"),
        (([],), {}, "lengths"),
        (([1, 2],), {"groups": [1]}, "lengths"),
        (([1, 2],), {"groups": [1, np.nan]}, "NaN"),
        (([1, 2],), {"level": 95}, "level is a fraction"),
        (([1, 2],), {"level": 0}, "level is a fraction"),
    ],
)
def test_interval_refuses_wrong_columns_and_levels(columns, options, message):
    with pytest.raises(ValueError, match=message):
        evaluation.bootstrap_interval(lambda *x: 1.0, *columns, **options)


def test_interval_refuses_nothing_but_nan():
    with pytest.raises(ValueError, match="finite number"):
        evaluation.bootstrap_interval(lambda x: np.nan, [1, 2, 3], repeats=5)


def test_reliability_agrees_with_scikit_learn():
    random = np.random.default_rng(4)
    probabilities = random.random(500)
    labels = (random.random(500) < probabilities**2).astype(int)
    said, happened, counts = evaluation.reliability(probabilities, labels, 7)
    theirs, mean = calibration_curve(labels, probabilities, n_bins=7)
    assert np.allclose(said, mean) and np.allclose(happened, theirs)
    assert counts.sum() == 500


def test_reliability_borders_and_empty_bins():
    said, happened, counts = evaluation.reliability([0.5, 1.0, 0.25], [1, 0, 1], bins=2)
    assert said.tolist() == [0.25, 0.75] and happened.tolist() == [1.0, 0.5] and counts.tolist() == [1, 2]
    assert len(evaluation.reliability([0.95, 1.0], [1, 1])[0]) == 1


def test_calibration_error_by_hand():
    # Lower bin: 0.1 and 0.3, predicted 0.2, observed 0.5; upper bin: 0.9, 0.9, predicted 0.9, observed 1.
    assert np.isclose(evaluation.expected_calibration_error([0.1, 0.3, 0.9, 0.9], [0, 1, 1, 1], 2), (0.3 + 0.1) / 2)
    assert evaluation.expected_calibration_error([0.0, 1.0], [0, 1]) == 0
    assert evaluation.expected_calibration_error([0.0, 1.0], [1, 0]) == 1


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([], [], "shape"),
        ([0.5, 0.5], [1], "shape"),
        ([[0.5]], [[1]], "shape"),
        ([1.5], [1], "outside of 0…1"),
        ([np.nan], [1], "NaN or outside"),
        ([0.5], [2], "neither 0 nor 1"),
    ],
)
def test_probabilities_and_labels_are_checked(probabilities, labels, message):
    for ask in (evaluation.reliability, evaluation.expected_calibration_error):
        with pytest.raises(ValueError, match=message):
            ask(probabilities, labels)


def test_interval_of_few_units_covers_about_what_it_promises():
    random = np.random.default_rng(6)
    hits = []
    for _ in range(200):
        low, high = evaluation.bootstrap_interval(np.mean, random.normal(size=6), repeats=400)
        hits.append(low <= 0 <= high)
    assert 0.9 < np.mean(hits) < 0.99  # plain percentiles: 0.84
