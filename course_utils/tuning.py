"""Tune on purpose: is a difference real, which learning rate, and what did a search do? Lesson 08 derives each."""

from collections.abc import Mapping, Sequence

import keras
import matplotlib.pyplot as plt
import numpy as np


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return how much better the second of two settings is, and how uncertain that is.

    Parameters
    ----------
    first, second : sequence of float
        Scores of each setting, one a seed; at least two each. The two may differ in number.

    Returns
    -------
    (float, float)
        The difference of the means, second minus first, and its standard error √(s₁²/n₁ + s₂²/n₂), both in the unit
        of the scores. Lesson 08 takes a difference below two standard errors for none.

    Raises
    ------
    ValueError
        If there are fewer than two scores of one setting.

    Notes
    -----
    Lesson 08, section 8.2. The standard error of a difference of two independent means, as in
    B. L. Welch: The generalization of “Student's” problem. Biometrika 34, 1947, 28-35.
    """
    scores = [np.asarray(part, float) for part in (first, second)]
    if min(part.size for part in scores) < 2:
        raise ValueError("A spread needs at least two scores of each setting: train each with two seeds or more.")
    error = np.sqrt(sum(part.var(ddof=1) / part.size for part in scores))
    return float(scores[1].mean() - scores[0].mean()), float(error)


def range_test(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    lowest: float = 1e-4,
    highest: float = 1.0,
    batch_size: int = 50,
    steps: int = 100,
) -> tuple[np.ndarray, np.ndarray]:
    """Train with a learning rate that grows from batch to batch, and return rates and losses.

    The model is trained in the course of it, and in the end ruined: build it anew afterwards.

    Parameters
    ----------
    model : keras.Model
        Compiled, with an optimiser whose learning rate is a number and no schedule.
    images, labels : ndarray
        As for ``model.fit``; they are repeated until there are enough batches.
    lowest, highest : float
        The first and the last learning rate; between them it grows by the same factor at each step.
    batch_size, steps : int
        Size and number of batches.

    Returns
    -------
    (ndarray, ndarray)
        float (steps,) each: learning rates, and the loss on each batch before its step. A loss that is no number
        becomes infinite.

    Raises
    ------
    ValueError
        If the rates are not 0 < lowest < highest, or there are fewer than two steps.

    Notes
    -----
    Lesson 08, section 8.3. The idea is from L. N. Smith: Cyclical learning rates for training neural networks.
    WACV 2017.
    """
    if not 0 < lowest < highest or steps < 2:
        raise ValueError(
            f"A range test from {lowest:g} to {highest:g} in {steps} steps is none: pass 0 < lowest < highest, and at "
            "least two steps."
        )
    rates, sums = np.geomspace(lowest, highest, steps), [0.0]

    def set_rate(batch: int, logs: Mapping[str, float] | None = None) -> None:
        model.optimizer.learning_rate = rates[batch]

    def keep_loss(batch: int, logs: Mapping[str, float]) -> None:
        sums.append(logs["loss"] * (batch + 1))  # Keras tells the mean of all batches so far

    rows = np.resize(np.arange(len(labels)), steps * batch_size)
    watch = keras.callbacks.LambdaCallback(on_train_batch_begin=set_rate, on_train_batch_end=keep_loss)
    model.fit(images[rows], labels[rows], batch_size=batch_size, shuffle=False, callbacks=[watch], verbose=0)
    with np.errstate(invalid="ignore"):
        losses = np.diff(sums)
    return rates, np.where(np.isfinite(losses), losses, np.inf)


def smoothed(losses: np.ndarray, width: int = 5) -> np.ndarray:
    """Return the mean of each loss and the `width` − 1 before it (fewer at the beginning); lesson 08, section 8.3."""
    sums = np.cumsum(losses, dtype=float)
    ends = np.concatenate([np.zeros(width), sums])[: len(sums)]
    return (sums - ends) / np.minimum(np.arange(1, len(sums) + 1), width)


def plot_dots(scores: Mapping[str, Sequence[float]], xlabel: str, height: float = 0.5) -> None:
    """Draw one row of dots a setting, one dot a seed, with the mean and two standard errors to both sides.

    Parameters
    ----------
    scores : mapping of str to sequence of float
        For each setting its scores in 0…1, one a seed; drawn in %.
    xlabel : str
        What the scores are, with its unit.
    height : float
        Inches a row.

    Raises
    ------
    ValueError
        If there is no setting.
    """
    if not scores:
        raise ValueError("plot_dots got no setting: pass at least one name with its scores.")
    _, axis = plt.subplots(figsize=(9, 1.2 + height * len(scores)))
    for row, values in enumerate(scores.values()):
        values = 100 * np.asarray(values, float)
        axis.plot(values, np.full(len(values), row), "o", color="C0", alpha=0.45, markeredgewidth=0)
        error = 2 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        axis.errorbar(values.mean(), row + 0.28, xerr=error, fmt="D", color="C1", markersize=5, capsize=4)
    axis.set(yticks=range(len(scores)), yticklabels=list(scores), ylim=(len(scores) - 0.4, -0.5), xlabel=xlabel)


def plot_heat_map(
    scores: np.ndarray, rows: Sequence, columns: Sequence, ylabel: str, xlabel: str, label: str = "accuracy in %"
) -> None:
    """Draw a table of scores as a heat map with the numbers in it, and frame the best of each row.

    Parameters
    ----------
    scores : ndarray
        float (rows, columns) in 0…1; drawn in %.
    rows, columns : sequence
        What each row and each column stands for.
    ylabel, xlabel, label : str
        Of the rows, the columns and the colours.

    Raises
    ------
    ValueError
        If the table does not have as many rows and columns as there are names.
    """
    scores = 100 * np.asarray(scores, float)
    if scores.shape != (len(rows), len(columns)):
        raise ValueError(f"The table has the shape {scores.shape}, but there are {len(rows)} × {len(columns)} names.")
    figure, axis = plt.subplots(figsize=(9, 1.4 + 0.55 * len(rows)))
    shown = axis.imshow(scores, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(scores.shape):
        best = column == scores[row].argmax()
        color = "black" if scores[row, column] > 55 else "white"
        axis.text(
            column,
            row,
            f"{scores[row, column]:.0f}",
            ha="center",
            va="center",
            color=color,
            weight="bold" if best else "normal",
        )
        if best:
            axis.add_patch(plt.Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, color="C1", linewidth=3))
    axis.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(shown, label=label)
