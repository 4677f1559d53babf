"""Scenes of digits on textures: boxes around the ink, splits that share nothing, the same on every machine."""

import hashlib

import numpy as np
import pytest

from course_utils.datasets import digits, sample_photo
from course_utils.detection import iou
from course_utils.scenes import _TEXTURE_COLUMNS, digit_scenes

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def scenes():
    return {split: digit_scenes(split, 40) for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_have_shapes_and_ranges(scenes, split):
    images, boxes, labels, sources = scenes[split]
    assert images.shape == (40, 96, 96) and images.dtype == np.uint8
    assert len(boxes) == len(labels) == len(sources) == 40
    for box, label, source in zip(boxes, labels, sources, strict=True):
        assert box.shape == (len(label), 4) and box.dtype == np.float64
        assert label.dtype == source.dtype == np.int64 and len(label) == len(source)
        assert 1 <= len(label) <= 5
        assert (box >= 0).all() and (box <= 96).all() and (box[:, 2:] > box[:, :2]).all()
        assert (iou(box, box) - np.eye(len(box))).max() <= 0.1
    sides = np.concatenate([(box[:, 2:] - box[:, :2]).max(axis=1) for box in boxes])
    assert sides.min() >= 14 and sides.max() <= 46 and np.ptp(sides) > 15  # several sizes


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_labels_match_source_digits(scenes, split):
    labels = getattr(digits(), split).labels
    for label, source in zip(scenes[split].labels, scenes[split].sources, strict=True):
        assert np.array_equal(labels[source], label)


def test_scenes_show_digit_inside_its_box():
    # Without clutter and overlap, the piece inside a box correlates with the digit that was put there.
    alone = digit_scenes("test", 30, digits_per_image=(1, 1), clutter=0)
    test = digits().test
    from PIL import Image

    likeness = []
    for image, (box,), (source,) in zip(alone.images, alone.boxes, alone.sources, strict=True):
        x1, y1, x2, y2 = box.astype(int)
        digit = test.images[source]
        rows, columns = np.flatnonzero((digit >= 64).any(axis=1)), np.flatnonzero((digit >= 64).any(axis=0))
        ink = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        ink = np.asarray(Image.fromarray(ink).resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR))
        likeness.append(np.corrcoef(ink.ravel(), image[y1:y2, x1:x2].ravel())[0, 1])
    assert np.mean(likeness) > 0.7 and min(likeness) > 0.3


def test_scenes_digits_are_bright(scenes):
    image, boxes = scenes["train"].images[0], scenes["train"].boxes[0]
    x1, y1, x2, y2 = boxes[0].astype(int)
    assert np.percentile(image[y1:y2, x1:x2], 90) > np.median(image)


def test_scenes_share_no_texture_between_splits():
    # Bare scenes: every column of a texture that a split may show is its own.
    columns = [set(range(*_TEXTURE_COLUMNS[split])) for split in SPLITS]
    assert not columns[0] & columns[1] and not columns[1] & columns[2] and not columns[0] & columns[2]
    bare = digit_scenes("test", 12, digits_per_image=(0, 0), clutter=0)
    assert all(
        len(labels) == 0 and boxes.shape == (0, 4) for labels, boxes in zip(bare.labels, bare.boxes, strict=True)
    )
    texture = [sample_photo(name)[:, 400:].astype(float) for name in ("brick", "grass", "gravel")]
    for image in bare.images[:4]:
        assert max(best_fit(image.astype(float), t) for t in texture) > 0.999


def best_fit(piece, texture):
    """Return the highest correlation of a piece, as it is or mirrored, with any place of a texture."""
    import cv2

    results = [
        cv2.matchTemplate(texture.astype(np.float32), p.astype(np.float32), cv2.TM_CCOEFF_NORMED).max()
        for p in (piece, np.ascontiguousarray(piece[:, ::-1]))
    ]
    return max(results)


def test_scenes_depend_on_seed_only(scenes):
    again = digit_scenes("train", 40)
    assert np.array_equal(again.images, scenes["train"].images)
    assert all(map(np.array_equal, again.boxes, scenes["train"].boxes))
    assert not np.array_equal(digit_scenes("train", 3, seed=1).images, again.images[:3])
    # Written down once: labels and boxes of the first scenes (pixels may differ in the last bit).
    digest = hashlib.sha256(np.concatenate(again.boxes).tobytes() + np.concatenate(again.labels).tobytes())
    assert digest.hexdigest()[:12] == "fbfdd2f65ede"


def test_scenes_fewer_are_first_of_more(scenes):
    few = digit_scenes("validation", 5)
    assert np.array_equal(few.images, scenes["validation"].images[:5])


def test_scenes_crowded_and_large():
    crowd = digit_scenes("test", 10, size=160, digits_per_image=(10, 10), max_iou=0.6)
    assert crowd.images.shape == (10, 160, 160)
    largest = [(iou(box, box) - np.eye(len(box))).max() for box in crowd.boxes]
    assert max(largest) > 0.2 and max(largest) <= 0.6
    assert np.mean([len(box) for box in crowd.boxes]) > 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("exam", 1), "no split called 'exam'"),
        (("test", -1), "count -1"),
        (("test", 1, 40), "size 40"),
        (("test", 1, 96, 0, (3, 1)), r"digits_per_image \(3, 1\)"),
        (("test", 1, 96, 0, (1, 2), 0.1, -2), "clutter -2"),
    ],
)
def test_scenes_refuse_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        digit_scenes(*arguments)
