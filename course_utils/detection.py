"""Boxes: overlaps, windows over a pyramid, matching and average precision. Lesson 09 derives each.

All functions take corners in pixels, (x1, y1, x2, y2), x to the right and y down from the outer edge of the first
pixel: a box that covers the whole image is (0, 0, width, height), and x2 − x1 is its width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.lib.stride_tricks import sliding_window_view

from course_utils.plots import show_images


class Detections(NamedTuple):
    """What a detector finds in one image: a row, a score and a class for each box."""

    boxes: np.ndarray  # float (n, 4), corners in pixels
    scores: np.ndarray  # float (n,), larger is surer
    labels: np.ndarray  # int (n,)

    def select(self, rows: np.ndarray) -> "Detections":
        """Return the detections that `rows` (indices or a mask) picks, in its order."""
        return Detections(*(column[rows] for column in self))


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each box (n, 4) with each of the others (m, 4): float64 (n, m) in 0…1.

    Boxes without an area overlap nothing. Raises ValueError if a box is no four corners or ends before it begins. After
    P. Jaccard, Bull. Soc. Vaudoise Sci. Nat. 37, 1901.
    """
    boxes, others = _corners(boxes), _corners(others)
    start = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (end - start).clip(0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float = 0.5, labels: np.ndarray | None = None) -> np.ndarray:
    """Return which boxes (n, 4) survive non-maximum suppression: int64 rows, best first.

    The box with the highest score stays (of equal ones the earlier), all that overlap it by an IoU above `threshold`
    go; then the next of the rest. Boxes with different `labels` leave each other alone. Raises ValueError if the
    lengths differ.
    """
    boxes, scores = _corners(boxes), np.asarray(scores, np.float64)
    labels = np.zeros(len(boxes), np.int64) if labels is None else np.asarray(labels)
    if not len(boxes) == len(scores) == len(labels):
        raise ValueError(
            f"nms got {len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels: pass one of each for a box."
        )
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        rivals = (iou(boxes[[best]], boxes[rest])[0] > threshold) & (labels[rest] == labels[best])
        order = rest[~rivals]
    return np.array(kept, np.int64)


def match(boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return which boxes (n, 4) of one class find an object of one image (m, 4): bool (n,).

    From the highest score down, each box takes the object it overlaps most among those that are free, if their IoU is
    at least `threshold`. A second box on an object is a false alarm.
    """
    overlap = iou(boxes, truth)
    hits = np.zeros(len(overlap), bool)
    for row in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
        best = overlap[row].argmax() if overlap.shape[1] else None
        if best is not None and overlap[row, best] >= threshold:
            hits[row] = True
            overlap[:, best] = -1  # taken
    return hits


def average_precision(hits: np.ndarray, scores: np.ndarray, count: int, interpolated: bool = False) -> float:
    """Return the area under the precision-recall curve of one class, in 0…1.

    `hits` (n,) says which detections, of all images together, found one of `count` objects (`match`); those with equal
    `scores` (n,) share one point of the curve. Each hit counts with its precision, as in scikit-learn, or if
    `interpolated` with the highest precision from there on, as in PASCAL VOC since 2010 (M. Everingham et al., IJCV
    88(2)). ValueError if there are no objects, or fewer than hits.
    """
    hits, scores = np.asarray(hits, bool), np.asarray(scores, np.float64)
    if len(hits) != len(scores) or count < max(1, hits.sum()):
        raise ValueError(
            f"average_precision got {len(hits)} hits or misses, {len(scores)} scores and {count} objects: pass one "
            "score for each detection, and no fewer objects than were found (at least one)."
        )
    order = np.argsort(-scores, kind="stable")
    hits, scores = hits[order], scores[order]
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # the last detection of each score
    found = np.cumsum(hits)[last]
    precision = found / (last + 1)
    if interpolated:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(found, prepend=0) * precision) / count)


def average_precisions(
    found: Sequence[Detections],
    boxes: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    threshold: float = 0.5,
    interpolated: bool = False,
) -> dict[int, float]:
    """Return the average precision of each class that has an object; their mean is the mAP.

    `found`, `boxes` (k, 4) and `labels` (k,) hold one entry for each image: its detections, its objects and their
    classes; ValueError if their lengths differ or there is no object. `threshold` is as in `match`, `interpolated` as
    in `average_precision`.
    """
    counts = len(found), len(boxes), len(labels)
    if len(set(counts)) > 1 or not sum(map(len, labels)):
        raise ValueError(
            f"average_precisions got {counts[0]} images with detections, {counts[1]} with boxes and {counts[2]} with "
            "labels: pass one of each for an image, and at least one object."
        )
    result = {}
    for label in np.unique(np.concatenate([np.asarray(of_one, np.int64) for of_one in labels])):
        hits, scores, count = [], [], 0
        for said, objects, names in zip(found, boxes, labels, strict=True):
            mine, wanted = said.select(said.labels == label), np.asarray(objects)[np.asarray(names) == label]
            hits.append(match(mine.boxes, mine.scores, wanted, threshold))
            scores.append(mine.scores)
            count += len(wanted)
        result[int(label)] = average_precision(np.concatenate(hits), np.concatenate(scores), count, interpolated)
    return result


def sliding_windows(
    image: np.ndarray, window: int, stride: int, first_scale: float = 1.0, factor: float = 1.25
) -> tuple[np.ndarray, np.ndarray]:
    """Cut windows of one size out of ever smaller copies of a grey uint8 image (H, W).

    Return them as uint8 (n, window, window), and their corners in the image itself as float64 (n, 4). The largest copy
    has the size `first_scale`, each other is smaller by `factor`; `window` and `stride` count pixels of the copy.
    Raises ValueError if a window does not fit even once or an argument is out of range.
    """
    image = np.asarray(image)
    if image.ndim != 2 or image.dtype != np.uint8:
        raise ValueError(f"sliding_windows takes a grey uint8 image (H, W), but got {image.dtype} {image.shape}.")
    if min(window, stride) < 1 or first_scale <= 0 or factor <= 1:
        raise ValueError(
            "sliding_windows needs a window and a stride of at least 1, a scale above 0, a factor above 1."
        )
    patches, boxes = [], []
    scale = first_scale
    while min(size := [round(scale * side) for side in image.shape]) >= window:
        copy = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        cut = sliding_window_view(copy, (window, window))[::stride, ::stride]
        rows, columns = np.mgrid[: cut.shape[0], : cut.shape[1]] * stride
        corners = np.column_stack([columns.ravel(), rows.ravel()])
        patches.append(cut.reshape(-1, window, window))
        # A copy is rounded to whole pixels, so that its two directions may be shrunk a little differently.
        shrunk = np.tile([image.shape[1] / size[1], image.shape[0] / size[0]], 2)
        boxes.append(np.hstack([corners, corners + window]) * shrunk)
        scale /= factor
    if not patches:
        raise ValueError(
            f"A window of {window} pixels does not fit into an image of {image.shape[0]} × {image.shape[1]} at the "
            f"scale {first_scale}: raise first_scale."
        )
    return np.concatenate(patches), np.concatenate(boxes)


def square_around(boxes: np.ndarray, margin: float = 1.0) -> np.ndarray:
    """Return the smallest squares around boxes, enlarged by `margin` about their centres: float64 (n, 4).

    They may leave the image.
    """
    boxes = _corners(boxes)
    half = margin * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.hstack([middle - half, middle + half])


def crop_boxes(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Crop boxes (n, 4) out of a grey uint8 image (H, W) and resize each crop: uint8 (n, size, size).

    What lies outside the image repeats its border.
    """
    pieces = np.empty((len(boxes), size, size), np.uint8)
    for piece, (x1, y1, x2, y2) in zip(pieces, _corners(boxes), strict=True):
        across, down = (x2 - x1) / size, (y2 - y1) / size
        # The map from a pixel of the piece to the image; both count pixels from their centres.
        place = np.array([[across, 0, x1 + (across - 1) / 2], [0, down, y1 + (down - 1) / 2]])
        options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
        piece[...] = cv2.warpAffine(image, place, (size, size), **options)
    return pieces


def show_boxes(
    axis: Axes,
    boxes: np.ndarray,
    texts: Sequence[str] | None = None,
    color: str = "#D55E00",
    linestyle: str = "-",
    label: str | None = None,
) -> None:
    """Draw boxes (n, 4), with a text at each, over an image that `axis` shows already; `label` goes into the legend."""
    for number, (x1, y1, x2, y2) in enumerate(_corners(boxes)):
        # imshow puts the centre of the first pixel at 0, its outer edge at −0.5.
        corner, width, height = (x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1
        if linestyle == "-":  # a dark rim, so that the frame shows on any image
            axis.add_patch(Rectangle(corner, width, height, fill=False, ec="black", lw=3.6, alpha=0.5))
        name = label if number == 0 else None
        axis.add_patch(Rectangle(corner, width, height, fill=False, ec=color, lw=2, ls=linestyle, label=name))
        if texts is not None:
            options = {"color": "white", "fontsize": 9, "clip_on": True}
            options["bbox"] = {"facecolor": color, "edgecolor": "none", "pad": 1.2}
            above = y1 > min(axis.get_ylim()) + 0.06 * abs(np.diff(axis.get_ylim())[0])
            axis.text(*corner, texts[number], va="bottom" if above else "top", **options)


def show_detections(
    images: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray | Detections],
    texts: Sequence[Sequence[str]] | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    height: float = 3.2,
    color: str = "#D55E00",
) -> None:
    """Show images as `show_images` does, and on each its boxes: (n, 4), or detections with their scores.

    `texts` holds the texts at the boxes of each image, instead of the scores.
    """
    show_images(images, titles, columns, height)
    for number, (axis, of_one) in enumerate(zip(plt.gcf().axes, boxes, strict=False)):
        found = isinstance(of_one, Detections)
        scores = [f"{score:.2f}" for score in of_one.scores] if found else None
        show_boxes(axis, of_one.boxes if found else of_one, texts[number] if texts else scores, color)


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Return boxes as float64 (n, 4), n = 0 included, or say what is wrong with them."""
    boxes = np.asarray(boxes, np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"Boxes are an array of shape (n, 4), but this one is {boxes.shape}: one box is box[None].")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        worst = boxes[(boxes[:, 2:] < boxes[:, :2]).any(axis=1)][0].tolist()
        raise ValueError(
            f"The box {worst} ends before it begins: corners (x1, y1, x2, y2) are expected. Is it (x, y, width, "
            "height)? keras.utils.bounding_boxes.convert_format helps."
        )
    return boxes
