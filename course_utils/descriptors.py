"""Numbers that describe a picture without any learning: HOG, LBP and the spread of its grey values.

Lesson 04 builds one histogram of HOG and one code of LBP by hand (sections 4.5 and 4.10); here they are applied to many
pictures at once.
"""

from collections.abc import Callable

import numpy as np
from skimage.feature import hog, local_binary_pattern

from course_utils.live import LiveLine

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)  # of the grey values, as in `intensity_statistics`
_SHOWS_PROGRESS = 500  # pictures: fewer are described within a second


def hog_features(images: np.ndarray, cell: int = 7, block: int = 2, orientations: int = 9) -> np.ndarray:
    """Describe each picture by its histograms of oriented gradients (HOG). Lesson 04, section 4.5, derives it.

    Each cell of `cell` × `cell` pixels gets a histogram of the directions in which brightness changes; each block of
    `block` × `block` cells, one at every cell, is divided by its own length. Pixels that fill no whole cell are left
    out, at the right and at the bottom.

    Parameters
    ----------
    images : ndarray, shape (n, H, W)
        Grey; uint8 in 0…255 or float of any range.
    cell : int
        Side of a cell in pixels.
    block : int
        Side of a block in cells.
    orientations : int
        Bins of a histogram, which share 180°.

    Returns
    -------
    ndarray, shape (n, blocks down · blocks across · block² · orientations), float64
        All values in 0…1. For pictures of 28 × 28 pixels and the defaults 3 · 3 · 4 · 9 = 324 numbers.

    Raises
    ------
    ValueError
        If the pictures are not grey ones of shape (n, H, W), or no block fits into them.

    References
    ----------
    N. Dalal, B. Triggs: Histograms of oriented gradients for human detection. CVPR 2005, 886-893. The computation is
    scikit-image's, with its norm L2-Hys.
    """
    images = _grey(images, "hog_features")
    if min(cell, block, orientations) < 1 or min(images.shape[1:]) < cell * block:
        height, width = images.shape[1:]
        raise ValueError(
            f"A block of {block} × {block} cells of {cell} pixels does not fit into pictures of {height} × {width}: "
            "take smaller cells or blocks, at least 1."
        )
    sizes = {"pixels_per_cell": (cell, cell), "cells_per_block": (block, block)}
    return _described(images, "HOG", lambda image: hog(image, orientations, **sizes))


def lbp_histograms(images: np.ndarray, radius: int = 1) -> np.ndarray:
    """Describe each picture by how often each of ten local patterns occurs (LBP). Lesson 04, section 4.10, derives it.

    Each pixel is compared with 8 points on a circle around it: a point at least as bright counts 1, a darker one 0. If
    walking round the circle meets at most two changes between 0 and 1, the pattern is the number of ones, 0 to 8;
    all other pixels share the pattern 9.

    Parameters
    ----------
    images : ndarray, shape (n, H, W), uint8
        Grey, 0…255. (In floats, rounding decides whether two equal grey values count as equal.)
    radius : int
        Of the circle, in pixels.

    Returns
    -------
    ndarray, shape (n, 10), float64
        The share of the pixels with each pattern; a row adds up to 1.

    Raises
    ------
    ValueError
        If the pictures are not uint8 of shape (n, H, W), or the radius is not at least 1.

    References
    ----------
    T. Ojala, M. Pietikäinen, T. Mäenpää: Multiresolution gray-scale and rotation invariant texture classification with
    local binary patterns. IEEE TPAMI 24(7), 2002, 971-987. The computation is scikit-image's.
    """
    images = _grey(images, "lbp_histograms")
    if images.dtype != np.uint8:
        raise ValueError(f"lbp_histograms got {images.dtype} pictures: pass uint8, where equal grey values are equal.")
    if radius < 1:
        raise ValueError(f"A circle of radius {radius} holds no neighbours: pass a radius of at least 1 pixel.")

    def shares(image: np.ndarray) -> np.ndarray:
        patterns = local_binary_pattern(image, 8, radius, method="uniform").astype(np.int64)
        return np.bincount(patterns.ravel(), minlength=10) / patterns.size

    return _described(images, "LBP", shares)


def intensity_statistics(images: np.ndarray) -> np.ndarray:
    """Describe each picture by its grey values alone, wherever they lie: mean, spread and seven percentiles.

    Lesson 04, section 4.11, uses them beside LBP, which knows no brightness.

    Parameters
    ----------
    images : ndarray, shape (n, H, W)
        Grey; uint8 in 0…255 or float of any range.

    Returns
    -------
    ndarray, shape (n, 9), float64
        In the units of the pictures: mean, standard deviation, and the percentiles `PERCENTILES`.

    Raises
    ------
    ValueError
        If the pictures are not grey ones of shape (n, H, W).
    """
    images = _grey(images, "intensity_statistics")
    values = images.reshape(len(images), -1)
    places = [round(share / 100 * (values.shape[1] - 1)) for share in PERCENTILES]
    percentiles = np.partition(values, places, axis=1)[:, places]
    return np.column_stack([values.mean(axis=1), values.std(axis=1), percentiles.astype(np.float64)])


def _grey(images: np.ndarray, name: str) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 3 or 0 in images.shape:
        raise ValueError(
            f"{name} got an array of shape {images.shape}: pass grey pictures as (number, height, width), at least "
            "one; a single picture as image[np.newaxis]."
        )
    return images


def _described(images: np.ndarray, name: str, describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return what `describe` says of each picture, one row each, and show how far it is if there are many."""
    line = LiveLine(f"{name}: {len(images):,} pictures") if len(images) >= _SHOWS_PROGRESS else None
    rows = []
    for number, image in enumerate(images):
        if line is not None and number % 100 == 0:
            line.update(f"{number / len(images):.0%}")
        rows.append(describe(image))
    if line is not None:
        line.rest()
    return np.array(rows, np.float64)
