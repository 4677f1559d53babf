"""The ready face detector: its faces in the sample photos, its raw boxes, and what it refuses."""

import numpy as np
import pytest

from course_utils.datasets import sample_photo
from course_utils.detection import iou
from course_utils.faces import find_faces, raw_faces

# A box around each face, marked by hand: (x1, y1, x2, y2).
FACES = {"astronaut": [170, 66, 280, 174], "hopper": [178, 140, 354, 350], "camera": [180, 115, 250, 210]}


@pytest.mark.parametrize("name", FACES)
def test_one_face_per_portrait(name):
    found = find_faces(sample_photo(name), least=0.7)
    assert len(found.boxes) == 1
    assert iou(found.boxes, [FACES[name]])[0, 0] > 0.5


def test_no_face_in_other_photos():
    assert not any(len(find_faces(sample_photo(name), 0.7).boxes) for name in ("cat", "coffee", "coins", "text"))


def test_raw_boxes_follow_the_photo():
    photo = sample_photo("astronaut")
    raw = raw_faces(photo)
    assert raw.boxes.shape == (896, 4) and raw.labels.shape == (896,)
    assert raw.scores.min() >= 0 and raw.scores.max() <= 1
    wide = np.zeros((512, 812, 3), np.uint8)
    wide[:, 300:] = photo
    assert iou(find_faces(wide).boxes, np.add(find_faces(photo).boxes, [300, 0, 300, 0]))[0, 0] > 0.6


@pytest.mark.parametrize("photo", [np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3)), np.zeros(9, np.uint8)])
def test_other_arrays_are_refused(photo):
    with pytest.raises(ValueError, match="BlazeFace takes a uint8 photo"):
        raw_faces(photo)
