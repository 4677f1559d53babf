"""How good is a classifier, and how sure is that? Intervals and calibration, as lesson 07 derives them."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, stdtrit


def bootstrap_interval(
    statistic: Callable[..., float],
    *columns: np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the bootstrap interval of a score; with few groups (ten, say) it is rough: lesson 07 measures how rough.

    After B. Efron: Bootstrap methods: another look at the jackknife, Annals of Statistics 7(1), 1979; widened for few
    units after T. Hesterberg: What teachers should know about the bootstrap, American Statistician 69(4), 2015.

    Parameters
    ----------
    statistic : callable
        Gets the resampled rows of each column and returns a number, such as ``sklearn.metrics.f1_score``. Resamples for
        which it is not finite are left out.
    *columns : ndarray
        Each with first axis n, such as true labels and predictions; resampled together.
    groups : ndarray, shape (n,), optional
        The module, patient or film of each row, resampled as a whole: rows of one group resemble each other.
    level : float
        Fraction of the resampled scores inside the interval, between 0 and 1.

    Raises
    ------
    ValueError
        If there is no column, lengths differ, a group is NaN, `level` is out of range, or no resample gives a number.
    """
    columns = tuple(np.asarray(column) for column in columns)
    lengths = {len(column) for column in (*columns, *(() if groups is None else (groups,)))}
    if not columns or len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"bootstrap_interval got columns of the lengths {sorted(lengths)}: pass at least one, all equally long, "
            "with one row for each image."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is a fraction above 0 and below 1, such as 0.95, but it is {level}.")
    random = np.random.default_rng(seed)
    names = np.arange(len(columns[0])) if groups is None else np.asarray(groups)
    if (names != names).any():
        raise ValueError("A group is NaN: give each row the module, patient or film it belongs to.")
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    values = []
    for _ in range(repeats):
        rows = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        values.append(float(statistic(*(column[rows] for column in columns))))
    finite = np.array(values)[np.isfinite(values)]
    if not finite.size:
        raise ValueError("In no resample was the statistic a finite number: look at what it gives for all rows.")
    units = max(len(members), 2)
    tail = ndtr(stdtrit(units - 1, (1 - level) / 2) * np.sqrt(units / (units - 1)))
    return tuple(np.quantile(finite, [tail, 1 - tail]).tolist())


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> tuple[np.ndarray, ...]:
    """Return for each bin that is not empty its mean prediction, its fraction of class 1 and its number of images.

    `probabilities` (n,) in 0…1 are those of class 1, `labels` (n,) are 0 or 1, else ValueError. The bins have equal
    width; a probability on a border counts for the upper one, 1 for the last.
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 1 or probabilities.shape != labels.shape or not probabilities.size:
        raise ValueError(
            f"Probabilities have the shape {probabilities.shape} and labels {labels.shape}: pass one of each for every "
            "image, the probability being that of class 1."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("A probability is NaN or outside of 0…1: logits go through `scipy.special.expit` first.")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("A label is neither 0 nor 1: with more classes, ask for one class at a time.")
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    said, happened = (np.bincount(place, values, bins)[used] / counts[used] for values in (probabilities, labels))
    return said, happened, counts[used]


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Return how far probabilities are from the observed frequencies, on average over the images: 0…1.

    Arguments and errors as in `reliability`. Above 0 even for a calibrated model, the more so the fewer images there
    are. After M. P. Naeini, G. Cooper, M. Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning,
    AAAI 2015, here for the probability of class 1.
    """
    said, happened, counts = reliability(probabilities, labels, bins)
    return float(np.sum(counts * np.abs(said - happened)) / np.sum(counts))
