"""How good is a classifier, and how sure is that? Intervals, calibration and thresholds, as lesson 07 derives them."""

from collections.abc import Callable, Sequence

import numpy as np


def bootstrap_interval(
    statistic: Callable[..., float],
    *columns: np.ndarray,
    groups: np.ndarray | None = None,
    repeats: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return between which values a score lies, from test sets drawn again out of the one there is.

    Parameters
    ----------
    statistic : callable
        Gets the drawn rows of each column and returns a number, such as ``sklearn.metrics.f1_score``.
    *columns : ndarray
        Each with first axis n, such as truth and answer. The same rows are drawn from all of them.
    groups : ndarray, optional
        (n,), what each row belongs to (module, patient, film). If given, whole groups are drawn: rows of one group
        resemble each other, and drawing them one by one would pretend that each is a new piece of evidence.
    repeats : int
        How many test sets are drawn.
    level : float
        Share of the drawn scores that lie between the two values, above 0 and below 1.
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    (float, float)
        The percentiles that cut off (1 − level) / 2 on each side. Draws in which the statistic is not a finite number
        are left out.

    Raises
    ------
    ValueError
        If there is no column, their lengths differ, `level` is out of range, or no draw gives a finite number.

    References
    ----------
    B. Efron: Bootstrap methods: another look at the jackknife. Annals of Statistics 7(1), 1979.

    Notes
    -----
    Lesson 07, section 7.6, draws by hand, first cells, then modules. With few groups (ten, say) the interval is rough,
    and rather too narrow.
    """
    columns = tuple(np.asarray(column) for column in columns)
    lengths = {len(column) for column in (*columns, *(() if groups is None else (groups,)))}
    if not columns or len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"bootstrap_interval got columns of the lengths {sorted(lengths)}: pass at least one, all equally long, "
            "with one row for each picture."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is a share above 0 and below 1, such as 0.95, but it is {level}.")
    random = np.random.default_rng(seed)
    if groups is None:
        members = np.arange(len(columns[0]))[:, None]
    else:
        names = np.asarray(groups)
        members = [np.flatnonzero(names == name) for name in np.unique(names)]
    values = []
    for _ in range(repeats):
        drawn = random.integers(0, len(members), len(members))
        rows = members[drawn, 0] if groups is None else np.concatenate([members[i] for i in drawn])
        values.append(float(statistic(*(column[rows] for column in columns))))
    finite = np.array(values)[np.isfinite(values)]
    if not finite.size:
        raise ValueError("In no draw was the statistic a finite number: look at what it gives for all rows.")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> tuple[np.ndarray, ...]:
    """Return for each bin of probabilities what was said and what came true.

    Parameters
    ----------
    probabilities : ndarray
        (n,), of class 1, in 0…1.
    labels : ndarray
        (n,), 0 or 1.
    bins : int
        Number of bins of equal width. A probability on a border counts for the upper bin, 1 for the last.

    Returns
    -------
    said, happened, counts : ndarray
        For each bin that holds a picture, from the lowest: mean probability, share of class 1 (both float64), number
        of pictures (int64).

    Raises
    ------
    ValueError
        If there is no probability, one leaves 0…1, a label is neither 0 nor 1, or the lengths differ.

    Notes
    -----
    Lesson 07, section 7.8.
    """
    probabilities, labels = _checked(probabilities, labels)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    used = counts > 0
    said, happened = (np.bincount(place, values, bins)[used] / counts[used] for values in (probabilities, labels))
    return said, happened, counts[used]


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Return how far probabilities are from the shares that come true, on average over the pictures.

    Parameters
    ----------
    probabilities, labels, bins
        As in `reliability`, which also raises.

    Returns
    -------
    float
        0…1. It is above 0 even for a calibrated model, the more so the fewer pictures there are: compare it with what
        labels drawn from the probabilities themselves give.

    References
    ----------
    M. P. Naeini, G. Cooper, M. Hauskrecht: Obtaining well calibrated probabilities using Bayesian binning. AAAI 2015.
    Here for the probability of class 1 instead of that of the answer.

    Notes
    -----
    Lesson 07, section 7.8.
    """
    said, happened, counts = reliability(probabilities, labels, bins)
    return float(np.sum(counts * np.abs(said - happened)) / np.sum(counts))


def _checked(probabilities: Sequence | np.ndarray, labels: Sequence | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays, or say what is wrong with them."""
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 1 or probabilities.shape != labels.shape or not probabilities.size:
        raise ValueError(
            f"Probabilities have the shape {probabilities.shape} and labels {labels.shape}: pass one of each for every "
            "picture, the probability being that of class 1."
        )
    if not (np.all(probabilities >= 0) and np.all(probabilities <= 1)):
        raise ValueError(
            "A probability lies outside of 0…1: logits go through a sigmoid first (`scipy.special.expit`)."
        )
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("A label is neither 0 nor 1: with more classes, ask for one class at a time.")
    return probabilities, labels
