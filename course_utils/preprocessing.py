"""Figures of lesson 02 (preprocessing): pixels with their numbers, and measured quantities as bars.

Like ``course_utils.plots``, nothing here returns its figure.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np


def show_numbers(patches: Sequence[np.ndarray], titles: Sequence[str], size: float = 5.0) -> None:
    """Draw small grey pictures side by side and write into each pixel the number that it holds.

    Lesson 02 reads the cat's eye with it.

    Parameters
    ----------
    patches : sequence of ndarray
        Each of shape (H, W) with integers in 0…255 and at most 20 pixels a side.
    titles : sequence of str
        One line above each patch.
    size : float
        Width of one patch in inches.

    Raises
    ------
    ValueError
        If there is no patch, the number of titles differs, or a patch is not a small grey picture.
    """
    if not patches or len(patches) != len(titles):
        raise ValueError(
            f"show_numbers got {len(patches)} patches and {len(titles)} titles: pass one title for each patch."
        )
    for number, patch in enumerate(patches):
        if np.ndim(patch) != 2 or max(np.shape(patch)) > 20:
            raise ValueError(
                f"Patch {number} has the shape {np.shape(patch)}: show_numbers expects grey patches (H, W) "
                "of at most 20 × 20 pixels, so cut a smaller piece out of one channel."
            )
    _, axes = plt.subplots(1, len(patches), figsize=(size * len(patches), size), squeeze=False)
    for axis, patch, title in zip(axes.flat, patches, titles, strict=True):
        font = min(11.0, 21 * size / max(patch.shape))  # three digits fit into one pixel
        axis.imshow(patch, cmap="gray", vmin=0, vmax=255)
        axis.set(title=title, xlabel="column", ylabel="row")
        axis.set_xticks(range(patch.shape[1]))
        axis.set_yticks(range(patch.shape[0]))
        for (row, column), value in np.ndenumerate(patch):
            # Dark numbers on light pixels and the other way round: readable at every grey level.
            colour = "white" if value < 128 else "black"
            text = axis.text(column, row, value, ha="center", va="center", size=font, color=colour)
            text.set_in_layout(False)  # inside its pixel anyway, and measuring hundreds of texts takes a second


def show_bars(values: Mapping[str, float], label: str, marked: Sequence[str] = ()) -> None:
    """Draw one horizontal bar for each name, in the order given, from top to bottom.

    Parameters
    ----------
    values : mapping of str to float
        What was measured, at least one value of 0 or more.
    label : str
        What the bars measure, with its unit.
    marked : sequence of str
        Names whose bars are drawn in the second colour.

    Raises
    ------
    ValueError
        If there is nothing to draw or a marked name is not in `values`.
    """
    if not values:
        raise ValueError("show_bars got no value: pass a dictionary with at least one name and its number.")
    if unknown := [name for name in marked if name not in values]:
        raise ValueError(f"show_bars has no bar called {unknown[0]!r}: mark one of {', '.join(values)}.")
    _, axis = plt.subplots(figsize=(9, 0.9 + 0.45 * len(values)))
    bars = axis.barh(list(values), list(values.values()), color=["C1" if name in marked else "C0" for name in values])
    axis.bar_label(bars, fmt="{:,.0f}", padding=4)
    axis.invert_yaxis()
    axis.set(xlabel=label, xlim=(0, 1.12 * max(values.values())))
