"""A ready face detector, BlazeFace: its raw boxes, and the faces that are left of them. Lesson 09 opens it."""

import functools

import cv2
import numpy as np
from scipy.special import expit

from course_utils.detection import Detections, nms
from course_utils.images import silent_stderr
from course_utils.weights import blazeface_tflite

_SIDE = 128  # pixels of the network's input
_GRIDS = ((16, 2), (8, 6))  # cells along a side, boxes per cell


def find_faces(photo: np.ndarray, least: float = 0.5, overlap: float = 0.3) -> Detections:
    """Return the faces that BlazeFace finds in a uint8 photo, (H, W, 3) in RGB order or (H, W), best first.

    Boxes with a score of `least` or more, without those that overlap a better box by an IoU above `overlap`. The labels
    are 0. Raises ValueError as `raw_faces` does.
    """
    found = raw_faces(photo)
    found = found.select(found.scores >= least)
    return found.select(nms(found.boxes, found.scores, overlap))


def raw_faces(photo: np.ndarray) -> Detections:
    """Return all 896 boxes of BlazeFace, in pixels of the photo, with scores in 0…1: before threshold and suppression.

    The photo, (H, W, 3) or (H, W) in uint8, else ValueError, is padded to a black square and resized. A box is a square
    from the brows to the chin, as the network was trained; it may leave the photo.
    """
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] != 3):
        raise ValueError(f"BlazeFace takes a uint8 photo (H, W, 3) or (H, W), but got {photo.dtype} {photo.shape}.")
    if photo.ndim == 2:
        photo = cv2.cvtColor(photo, cv2.COLOR_GRAY2RGB)
    side = max(photo.shape[:2])
    top, left = ((side - length) // 2 for length in photo.shape[:2])
    square = np.zeros((side, side, 3), np.uint8)
    square[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
    small = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    network = _network()
    network.set_tensor(network.get_input_details()[0]["index"], small[None].astype(np.float32) / 127.5 - 1)
    network.invoke()
    outputs = [network.get_tensor(output["index"])[0] for output in network.get_output_details()]
    logits, numbers = sorted(outputs, key=np.size)  # (896, 1) and (896, 16)
    cells = [np.repeat((np.mgrid[:n, :n].reshape(2, -1).T[:, ::-1] + 0.5) / n, each, axis=0) for n, each in _GRIDS]
    middle, half = np.concatenate(cells) + numbers[:, :2] / _SIDE, numbers[:, 2:4] / _SIDE / 2
    boxes = np.hstack([middle - half, middle + half]) * side - [left, top, left, top]
    return Detections(boxes, expit(logits[:, 0].astype(np.float64)), np.zeros(len(boxes), np.int64))


@functools.cache
def _network():
    from ai_edge_litert.interpreter import Interpreter

    with silent_stderr():  # it announces itself from compiled code
        network = Interpreter(blazeface_tflite())
        network.allocate_tensors()
    return network
