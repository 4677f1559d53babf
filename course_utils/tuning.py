"""Figures of tuning: scores over seeds, tables of scores, smoothed losses. Lesson 08 shows each."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np


def moving_average(losses: Sequence[float], width: int = 5) -> np.ndarray:
    """Return the mean of each loss and the `width` − 1 before it, of fewer at the beginning: float64 (n,)."""
    return np.array([np.mean(losses[max(0, end - width) : end]) for end in range(1, len(losses) + 1)])


def plot_scores(scores: Mapping[str, Sequence[float]], xlabel: str) -> None:
    """Plot one row of dots per setting, one dot per seed, with the mean and two standard errors to both sides.

    `scores` are fractions in 0…1, drawn in %.
    """
    if not scores:
        raise ValueError("plot_scores got no setting: pass at least one name with its scores.")
    _, axis = plt.subplots(figsize=(9, 1.2 + 0.5 * len(scores)))
    for row, values in enumerate(scores.values()):
        values = 100 * np.asarray(values, float)
        axis.plot(values, np.full(len(values), row), "o", color="C0", alpha=0.45, markeredgewidth=0)
        error = 2 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        axis.errorbar(values.mean(), row + 0.28, xerr=error, fmt="D", color="C1", markersize=5, capsize=4)
    axis.set(yticks=range(len(scores)), yticklabels=list(scores), ylim=(len(scores) - 0.4, -0.5), xlabel=xlabel)


def plot_score_table(scores: np.ndarray, rows: Sequence, columns: Sequence, ylabel: str, xlabel: str) -> None:
    """Plot scores (rows, columns) in 0…1 as a table of colours and numbers in %, the best of each row framed.

    Raises ValueError if the table does not have as many rows and columns as there are names.
    """
    scores = 100 * np.asarray(scores, float)
    if scores.shape != (len(rows), len(columns)):
        raise ValueError(f"The table has the shape {scores.shape}, but there are {len(rows)} × {len(columns)} names.")
    figure, axis = plt.subplots(figsize=(9, 1.4 + 0.55 * len(rows)))
    shown = axis.imshow(scores, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for row, column in np.ndindex(scores.shape):
        best, score = column == scores[row].argmax(), scores[row, column]
        look = {"color": "black" if score > 55 else "white", "weight": "bold" if best else "normal"}
        axis.text(column, row, f"{score:.0f}", ha="center", va="center", **look)
        if best:
            axis.add_patch(plt.Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, color="C1", linewidth=3))
    axis.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    figure.colorbar(shown, label="accuracy in %")
