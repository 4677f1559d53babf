"""Features without any learning, for many images at once: HOG, LBP and grey values. Lesson 04 derives each."""

from collections.abc import Callable

import numpy as np
from skimage.feature import hog, local_binary_pattern

from course_utils.live import LiveLine

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)  # of the grey values, as in `intensity_statistics`
_SHOWS_PROGRESS = 500  # images: fewer are described within a second


def hog_features(images: np.ndarray, cell: int = 7, block: int = 2, orientations: int = 9) -> np.ndarray:
    """Describe each grey image (n, H, W), uint8 or float, by its histograms of oriented gradients (HOG).

    Return float64 (n, blocks down · blocks across · block² · orientations) in 0…1. Raises ValueError if no block fits.
    After N. Dalal, B. Triggs: Histograms of oriented gradients for human detection, CVPR 2005.

    Parameters
    ----------
    cell : int
        Side of a cell in pixels. Pixels that fill no whole cell, at the right and the bottom, are left out.
    block : int
        Side of a block in cells. A block stands at every cell and is normalised by its own length.
    orientations : int
        Bins of a histogram, over 180°.
    """
    images = _grey(images, "hog_features")
    if min(cell, block, orientations) < 1 or min(images.shape[1:]) < cell * block:
        height, width = images.shape[1:]
        raise ValueError(
            f"A block of {block} × {block} cells of {cell} pixels does not fit into images of {height} × {width}: "
            "take smaller cells or blocks, at least 1."
        )
    sizes = {"pixels_per_cell": (cell, cell), "cells_per_block": (block, block)}
    return _described(images, "HOG", lambda image: hog(image, orientations, **sizes))


def lbp_histograms(images: np.ndarray, radius: int = 1) -> np.ndarray:
    """Describe each grey uint8 image (n, H, W) by how often each local binary pattern (LBP) occurs: float64 (n, 10).

    The fractions of the pixels with 0 to 8 ones in a row on their circle of 8 points, and with any other pattern.
    `radius`, that of the circle, is in pixels. Raises ValueError if it is below 1 or the images are others. After T.
    Ojala, M. Pietikäinen, T. Mäenpää: Multiresolution gray-scale and rotation invariant texture classification with
    local binary patterns, IEEE TPAMI 24(7), 2002.
    """
    images = _grey(images, "lbp_histograms")
    if images.dtype != np.uint8:
        raise ValueError(f"lbp_histograms got {images.dtype} images: pass uint8, where equal grey values are equal.")
    if radius < 1:
        raise ValueError(f"A circle of radius {radius} holds no neighbours: pass a radius of at least 1 pixel.")

    def fractions(image: np.ndarray) -> np.ndarray:
        patterns = local_binary_pattern(image, 8, radius, method="uniform").astype(np.int64)
        return np.bincount(patterns.ravel(), minlength=10) / patterns.size

    return _described(images, "LBP", fractions)


def intensity_statistics(images: np.ndarray) -> np.ndarray:
    """Describe each grey image (n, H, W) by mean, standard deviation and `PERCENTILES`, in its unit: float64 (n, 9)."""
    images = _grey(images, "intensity_statistics")
    values = images.reshape(len(images), -1)
    places = [round(share / 100 * (values.shape[1] - 1)) for share in PERCENTILES]
    percentiles = np.partition(values, places, axis=1)[:, places]
    return np.column_stack([values.mean(axis=1), values.std(axis=1), percentiles.astype(np.float64)])


def _grey(images: np.ndarray, name: str) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 3 or 0 in images.shape:
        raise ValueError(
            f"{name} got an array of shape {images.shape}: pass grey images as (number, height, width), at least "
            "one; a single image as image[np.newaxis]."
        )
    return images


def _described(images: np.ndarray, name: str, describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what `describe` says of each image, one row each, and show the progress if there are many."""
    if len(images) < _SHOWS_PROGRESS:
        return np.array([describe(image) for image in images], np.float64)
    rows = []
    with LiveLine(f"{name}: {len(images):,} images") as line:
        for number, image in enumerate(images):
            if number % 100 == 0:
                line.update(f"{number / len(images):.0%}")
            rows.append(describe(image))
    return np.array(rows, np.float64)
