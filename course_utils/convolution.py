"""Convolution by hand and its figures, as lesson 03 derives them."""

import io
import itertools
from collections.abc import Mapping, Sequence

import cv2
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.patches import Rectangle
from numpy.lib.stride_tricks import sliding_window_view

from course_utils.plots import Explorer, image_grid

_INK = "#0072B2"
_MARK = "#D55E00"

KERNELS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "box blur": [[1 / 9] * 3] * 3,
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "left to right": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "top to bottom": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "all around": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
}


def correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Multiply each window of an image with a kernel and add up, without padding: float64 (H − h + 1, W − w + 1).

    An image (H, W, channels) takes a kernel (h, w, channels). The kernel is not flipped, as in OpenCV and Keras. Raises
    ValueError if their axes or channels do not fit together, or the kernel is larger than the image.
    """
    image, kernel = np.asarray(image, float), np.asarray(kernel, float)
    if image.ndim not in (2, 3) or kernel.ndim != image.ndim or kernel.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"correlate got an image of shape {image.shape} and a kernel of shape {kernel.shape}: "
            "pass (H, W) and (h, w), or (H, W, channels) and (h, w, channels) with equally many channels."
        )
    if kernel.shape[0] > image.shape[0] or kernel.shape[1] > image.shape[1]:
        raise ValueError(
            f"The kernel {kernel.shape} does not fit into the image {image.shape}: "
            "take a smaller kernel or pad the image."
        )
    windows = sliding_window_view(image, kernel.shape[:2], axis=(0, 1))  # the window's two axes come last
    return np.einsum("ijkl,kl->ij" if image.ndim == 2 else "ijckl,klc->ij", windows, kernel)


def show_window(image: np.ndarray, row: int, column: int, kernel: np.ndarray) -> None:
    """Show window × kernel = one number, beside the image (H, W), 0…255, that the window was cut from.

    `row` and `column` are the window's upper left pixel. Raises ValueError if the window leaves the image.
    """
    kernel = np.asarray(kernel)
    height, width = kernel.shape
    if row < 0 or column < 0 or row + height > image.shape[0] or column + width > image.shape[1]:
        raise ValueError(
            f"The {height}×{width} window at row {row}, column {column} leaves the image of shape {image.shape}: "
            "move it inside."
        )
    window = image[row : row + height, column : column + width].astype(float)
    products = window * kernel
    _, axes = plt.subplots(1, 7, figsize=(13, 3.6), width_ratios=[1.5, 1, 0.16, 1, 0.16, 1, 0.75])
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=255)
    # Drawn larger than it is: a 3×3 box would be too small to see.
    axes[0].add_patch(Rectangle((column - 4, row - 4), width + 7, height + 7, fill=False, ec=_MARK, lw=2.5))
    axes[0].set(title="image", xlabel="column", ylabel="row")
    _draw_numbers(axes[1], window, "window", colormaps["gray"], 0, 255)
    _draw_numbers(axes[3], kernel, "kernel", colormaps["RdBu"], -(span := abs(kernel).max() * 1.6), span)
    _draw_numbers(axes[5], products, "products", colormaps["RdBu"], -(span := abs(products).max() * 1.6 or 1), span)
    for axis, text in ((axes[2], "×"), (axes[4], "="), (axes[6], f"sum\n{products.sum():g}".replace("-", "−"))):
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=20, transform=axis.transAxes)
        axis.set_axis_off()


def _draw_numbers(axis, values: np.ndarray, title: str, colours, low: float, high: float) -> None:
    """Draw a small array as coloured squares with its numbers written in them; NaN stays an empty square."""
    axis.imshow(values, cmap=colours, vmin=low, vmax=high)
    axis.set_title(title)
    axis.set_axis_off()
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fc="white", ec="#BBBBBB"))
            continue
        ink = "white" if sum(colours((value - low) / (high - low))[:3]) < 1.5 else "black"
        axis.text(column, row, f"{value:g}".replace("-", "−"), ha="center", va="center", color=ink)


def show_walk(image: np.ndarray, kernel: np.ndarray, stops: Sequence[int]) -> None:
    """Show a kernel at some of its stops, counted row by row, on a small image (H, W), and the feature map so far."""
    (height, width), outputs = np.shape(kernel), correlate(image, kernel)
    _, axes = plt.subplots(2, len(stops), figsize=(3.9 * len(stops), 7), squeeze=False)
    span = np.abs(outputs).max() * 1.6 or 1
    for (upper, lower), stop in zip(axes.T, stops, strict=True):
        row, column = divmod(stop, outputs.shape[1])
        _draw_numbers(upper, np.asarray(image, float), f"stop {stop}", colormaps["gray"], 0, 255)
        upper.add_patch(Rectangle((column - 0.5, row - 0.5), width, height, fill=False, ec=_MARK, lw=4))
        so_far = np.where(np.arange(outputs.size).reshape(outputs.shape) <= stop, outputs, np.nan)
        _draw_numbers(lower, so_far, f"sum {outputs[row, column]:g}".replace("-", "−"), colormaps["RdBu"], -span, span)
        lower.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec=_MARK, lw=4))


def show_steps(settings: Sequence[tuple[int, int, int, int]]) -> None:
    """Show for each (size, kernel, stride, padding) the padded grid and the stops of the kernel (its upper left)."""
    _, axes = plt.subplots(1, len(settings), figsize=(4.2 * len(settings), 4.6), squeeze=False)
    for axis, (size, kernel, stride, padding) in zip(axes.flat, settings, strict=True):
        total = size + 2 * padding
        for row, column in np.ndindex(total, total):
            inside = padding <= row < padding + size and padding <= column < padding + size
            face, line = ("#CFE3F0", "-") if inside else ("white", ":")
            axis.add_patch(Rectangle((column, row), 1, 1, fc=face, ec="#888888", ls=line))
        stops = range(0, total - kernel + 1, stride)
        for row, column in itertools.product(stops, stops):
            axis.plot(column + 0.5, row + 0.5, "o", color=_INK)
        axis.add_patch(Rectangle((0, 0), kernel, kernel, fill=False, ec=_MARK, lw=3.5))
        last = stops[-1]
        axis.add_patch(Rectangle((last, last), kernel, kernel, fill=False, ec=_MARK, lw=3.5, ls="--"))
        axis.set(xlim=(-0.2, total + 0.2), ylim=(total + 0.2, -0.2), aspect="equal")
        axis.set_title(
            f"kernel {kernel}, stride {stride}, padding {padding}\n{size}×{size} → {len(stops)}×{len(stops)}"
        )
        axis.set_axis_off()


def show_feature_maps(
    maps: Sequence[np.ndarray], titles: Sequence[str], columns: int = 4, height: float = 2.6, limit: float | None = None
) -> None:
    """Show arrays (H, W) on one common scale, with its colour bar: red below zero, white at zero, blue above.

    `limit` is the value of the full colour; by default the absolute value that one in a hundred exceeds. `height` is
    that of a row in inches.
    """
    maps = [np.asarray(values) for values in maps]
    aspect = max(values.shape[1] / values.shape[0] for values in maps)
    axes = image_grid(len(maps), titles, columns, height, aspect)
    span = limit or _limit(np.concatenate([values.ravel() for values in maps]))
    cmap, lowest = ("RdBu", -span) if min(values.min() for values in maps) < 0 else ("Blues", 0)
    for axis, values in zip(axes, maps, strict=True):
        drawn = axis.imshow(values, cmap=cmap, vmin=lowest, vmax=span)
    axes[0].figure.colorbar(drawn, ax=list(axes), shrink=0.8, pad=0.02)


def _limit(values: np.ndarray) -> float:
    """Return the size that one value in a hundred exceeds: a single bright spot must not hide the rest."""
    return float(np.percentile(np.abs(values), 99)) or 1.0


def show_receptive_fields(image: np.ndarray, fields: Mapping[str, int], centre: tuple[int, int]) -> None:
    """Show the receptive fields (name of a layer → side in pixels) around one position, (row, column), of an image."""
    _, axis = plt.subplots(figsize=(7.6, 5.2))
    axis.imshow(image, vmin=0, vmax=255)
    row, column = centre
    for number, (name, side) in enumerate(fields.items()):
        corner = (column - side / 2, row - side / 2)
        axis.add_patch(Rectangle(corner, side, side, fill=False, ec="white", lw=5))
        axis.add_patch(Rectangle(corner, side, side, fill=False, ec=f"C{number}", lw=3, label=f"{name}: {side} px"))
    axis.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), title="one value sees")
    axis.set(xlabel="column (pixels)", ylabel="row (pixels)")


def walk_explorer(image: np.ndarray, kernel: np.ndarray) -> ipywidgets.Widget:
    """Return a slider with a play button that moves a kernel over a small image (H, W), as `show_walk` draws it."""
    stop = ipywidgets.IntSlider(max=correlate(image, kernel).size - 1, description="stop")
    play = ipywidgets.Play(max=stop.max, interval=900)
    ipywidgets.jslink((play, "value"), (stop, "value"))
    frame = ipywidgets.Image(format="png")

    def update(_change: object = None) -> None:
        show_walk(image, kernel, [stop.value])
        plt.gcf().savefig(buffer := io.BytesIO(), format="png")
        plt.close()
        frame.value = buffer.getvalue()

    stop.observe(update, "value")
    update()
    return Explorer("Walk of the kernel", [ipywidgets.VBox([play, stop]), frame])


def kernel_explorer(image: np.ndarray) -> ipywidgets.Widget:
    """Return nine boxes to type a 3 × 3 kernel into, with a grey uint8 image and its feature map beside them."""
    preset = ipywidgets.Dropdown(options=list(KERNELS), value="left to right", description="start from")
    boxes = [ipywidgets.FloatText(value=value, layout={"width": "64px"}) for value in np.ravel(KERNELS[preset.value])]
    response = ipywidgets.Image(format="png", width=image.shape[1])

    def update(_change: object = None) -> None:
        values = correlate(image, np.reshape([box.value for box in boxes], (3, 3)))
        colours = colormaps["RdBu"](np.clip((values / _limit(values) + 1) / 2, 0, 1), bytes=True)
        response.value = cv2.imencode(".png", cv2.cvtColor(colours, cv2.COLOR_RGBA2BGR))[1].tobytes()

    def fill(change: dict) -> None:
        for box, value in zip(boxes, np.ravel(KERNELS[change["new"]]), strict=True):
            box.value = value

    for box in boxes:
        box.observe(update, "value")
    preset.observe(fill, "value")
    update()
    grid = ipywidgets.GridBox(boxes, layout={"grid_template_columns": "repeat(3, 72px)"})
    original = ipywidgets.Image(value=cv2.imencode(".png", image)[1].tobytes(), format="png", width=image.shape[1])
    return Explorer("Kernel explorer", [ipywidgets.VBox([preset, grid]), original, response])
