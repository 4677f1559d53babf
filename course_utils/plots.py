"""Figures that lessons use more than once. The shared look is the style ``course_utils.course``.

`show_` shows images, `plot_` draws charts. None returns its figure, which a notebook would draw a second time;
``plt.gcf()`` has it.
"""

from collections.abc import Mapping, Sequence

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np

STEPS = ("acquire", "preprocess", "features", "classify", "predict", "evaluate")


def show_images(
    images: Sequence[np.ndarray], titles: Sequence[str] | None = None, columns: int = 4, height: float = 2.6
) -> None:
    """Show images in a grid, each with its true brightness.

    Each is (H, W), (H, W, 1) or (H, W, 3), uint8 in 0…255 or float in 0…1; `height` is that of a row in inches. Raises
    ValueError if there is no image, the number of titles differs, or an image of floats leaves 0…1.
    """
    images = [np.asarray(image) for image in images]
    if not images:
        raise ValueError("show_images got no image: pass a list with at least one array.")
    if titles is not None and len(titles) != len(images):
        raise ValueError(f"show_images got {len(images)} images but {len(titles)} titles: pass one title for each.")
    for number, image in enumerate(images):
        if image.dtype.kind == "f" and image.size and (image.min() < -1e-6 or image.max() > 1 + 1e-6):
            raise ValueError(
                f"Image {number} holds floats from {image.min():.3g} to {image.max():.3g}: "
                "show_images expects floats in 0…1, so divide by 255 or cast to uint8 first."
            )
    aspect = max(image.shape[1] / image.shape[0] for image in images)
    for axis, image in zip(image_grid(len(images), titles, columns, height, aspect), images, strict=True):
        axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1.0 if image.dtype.kind in "fb" else 255)


def image_grid(
    count: int, titles: Sequence[str] | None, columns: int, height: float, aspect: float = 1.0
) -> np.ndarray:
    """Return axes without ticks for `count` images in rows of `height` inches, at most `columns` side by side."""
    columns = min(columns, count)
    rows = -(-count // columns)
    caption = 0.0 if titles is None else 0.35
    _, axes = plt.subplots(rows, columns, figsize=(columns * height * aspect, rows * (height + caption)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, title in zip(axes.flat, () if titles is None else titles, strict=False):
        axis.set_title(title)
    return axes.flat[:count]


def show_predictions(
    images: Sequence[np.ndarray], predictions: Sequence, columns: int = 2, height: float = 2.2
) -> None:
    """Show images, each beside a bar per class that was predicted, with its percentage.

    `predictions` has a list per image: tuples that end in a name and a probability, as `decode_predictions` gives them.
    """
    rows = -(-len(images) // columns)
    size = (columns * 2.5 * height, rows * height)
    _, axes = plt.subplots(rows, 2 * columns, figsize=size, squeeze=False, width_ratios=[1, 1.3] * columns)
    for axis in axes.flat:
        axis.set_axis_off()
    for (left, right), image, classes in zip(axes.reshape(-1, 2), images, predictions, strict=False):
        left.imshow(image, cmap="gray", vmin=0, vmax=255)
        right.barh(range(len(classes)), [entry[-1] for entry in classes], height=0.3)
        for row, (*_, name, probability) in enumerate(classes):
            right.text(0, row - 0.22, f"{name} {probability:.0%}".replace("%", " %"), va="bottom")
        right.set(xlim=(0, 1), ylim=(len(classes) - 0.6, -0.8))


def show_pipeline(here: str) -> None:
    """Draw the six steps of image recognition and mark the one(s) this lesson is about.

    `here` names one or several of `STEPS`, separated by spaces, such as ``"acquire preprocess"``, else ValueError.
    """
    marked = here.split()
    if unknown := [word for word in marked if word not in STEPS]:
        raise ValueError(f"The pipeline has no step called {unknown[0]!r}: use some of {', '.join(STEPS)}.")
    _, axis = plt.subplots(figsize=(10, 1.2))
    for position, step in enumerate(STEPS):
        weight, ink, paper = ("bold", "white", "#0072B2") if step in marked else ("normal", "#555555", "#EEEEEE")
        box = {"boxstyle": "round,pad=0.6", "facecolor": paper, "edgecolor": "none"}
        axis.text(position, 0, step, ha="center", va="center", weight=weight, color=ink, bbox=box)
        if position:
            arrow = {"arrowstyle": "->", "color": "#555555"}
            axis.annotate("", (position - 0.42, 0), (position - 0.58, 0), arrowprops=arrow)
    axis.set(xlim=(-0.5, len(STEPS) - 0.5), ylim=(-1, 1))
    axis.set_axis_off()


def show_pixel_values(patches: Sequence[np.ndarray], titles: Sequence[str], size: float = 5.0) -> None:
    """Show small grey images side by side, each pixel with its number written into it.

    Each patch is (H, W) in 0…255 with at most 20 pixels a side, and `size` inches wide. Raises ValueError if one is
    not, or there is not one title for each.
    """
    if not patches or len(patches) != len(titles):
        raise ValueError(
            f"show_pixel_values got {len(patches)} patches and {len(titles)} titles: pass one title for each patch."
        )
    for number, patch in enumerate(patches):
        if np.ndim(patch) != 2 or max(np.shape(patch)) > 20:
            raise ValueError(
                f"Patch {number} has the shape {np.shape(patch)}: show_pixel_values expects grey patches (H, W) "
                "of at most 20 × 20 pixels, so cut a smaller piece out of one channel."
            )
    _, axes = plt.subplots(1, len(patches), figsize=(size * len(patches), size), squeeze=False)
    for axis, patch, title in zip(axes.flat, patches, titles, strict=True):
        font = min(11.0, 21 * size / max(patch.shape))  # three digits fit into one pixel
        axis.imshow(patch, cmap="gray", vmin=0, vmax=255)
        rows, columns = map(range, patch.shape)
        axis.set(title=title, xlabel="column", ylabel="row", xticks=columns, yticks=rows)
        for (row, column), value in np.ndenumerate(patch):
            # Dark numbers on light pixels and the other way round: readable at every grey level.
            colour = "white" if value < 128 else "black"
            text = axis.text(column, row, value, ha="center", va="center", size=font, color=colour)
            text.set_in_layout(False)  # inside its pixel anyway, and measuring hundreds of texts takes a second


def plot_bars(values: Mapping[str, float], label: str, marked: Sequence[str] = ()) -> None:
    """Plot one horizontal bar per name, in the order given; those of `marked` names in the second colour."""
    if not values:
        raise ValueError("plot_bars got no value: pass a dictionary with at least one name and its number.")
    if unknown := [name for name in marked if name not in values]:
        raise ValueError(f"plot_bars has no bar called {unknown[0]!r}: mark one of {', '.join(values)}.")
    _, axis = plt.subplots(figsize=(9, 0.9 + 0.45 * len(values)))
    bars = axis.barh(list(values), list(values.values()), color=["C1" if name in marked else "C0" for name in values])
    axis.bar_label(bars, fmt="{:,.0f}", padding=4)
    axis.invert_yaxis()
    axis.set(xlabel=label, xlim=(0, 1.12 * max(values.values())))


def plot_runs(values: Mapping[str, Sequence[float]], label: str, limits: tuple[float, float]) -> None:
    """Plot one row per name: a dot per run, and above the dots their mean with the standard deviation as error bar."""
    if not values or not all(len(runs) for runs in values.values()):
        raise ValueError("plot_runs got no value: pass a dictionary with a name and the numbers of its runs.")
    jitter = np.random.default_rng(0)
    _, axis = plt.subplots(figsize=(9, 1.2 + 0.65 * len(values)))
    for row, runs in enumerate(values.values()):
        axis.plot(runs, row + jitter.uniform(0, 0.25, len(runs)), "o", color="C0", alpha=0.5)
        mean, deviation = np.mean(runs), np.std(runs, ddof=1) if len(runs) > 1 else 0.0
        axis.errorbar(mean, row - 0.18, xerr=deviation, fmt="D", color="C1", capsize=5)
        axis.annotate(
            f"{mean:.0f} ± {deviation:.0f}", (mean, row - 0.18), (0, 7), textcoords="offset points", ha="center"
        )
    axis.set(yticks=range(len(values)), yticklabels=values, ylim=(len(values) - 0.5, -0.75), xlabel=label, xlim=limits)


def plot_curves(curves: Mapping[str, Mapping[float, Sequence[float]]], xlabel: str, ylabel: str) -> None:
    """Plot one line per name: the mean of the runs at each x, with their standard deviation; x is logarithmic."""
    if not curves or not all(curves.values()):
        raise ValueError("plot_curves got no value: pass a dictionary with a name and the runs at each x.")
    _, axis = plt.subplots(figsize=(9, 4.6))
    for (name, curve), marker in zip(curves.items(), "osD^v<>" * len(curves), strict=False):
        deviations = [np.std(runs, ddof=1) if len(runs) > 1 else 0.0 for runs in curve.values()]
        means = [np.mean(runs) for runs in curve.values()]
        axis.errorbar(list(curve), means, deviations, fmt=f"{marker}-", capsize=5, alpha=0.85, label=name)
    ticks = sorted({x for curve in curves.values() for x in curve})
    axis.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=max(0, axis.get_ylim()[0]))
    axis.legend()


class Explorer(ipywidgets.HBox):
    """A row of widgets that a page without a kernel shows as one sentence, not as its Python representation."""

    def __init__(self, name: str, children: Sequence[ipywidgets.Widget]) -> None:
        super().__init__(children)
        self._name = name

    def __repr__(self) -> str:
        return f"{self._name}: run this cell to use it."
