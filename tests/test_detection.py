"""Boxes: overlap, suppression, average precision, windows, drawing; against worked tables and scikit-learn."""

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from course_utils import detection
from course_utils.detection import Detections

# The four boxes of lesson 09, section 9.6, and a duplicate, worked out there by hand.
TRUTH = np.array([[10, 10, 50, 50], [60, 20, 100, 60], [20, 70, 60, 100]])
BOXES = np.array([[10, 10, 50, 60], [10, 20, 50, 60], [110, 70, 140, 100], [60, 30, 100, 70], [30, 70, 60, 100]])
SCORES = np.array([0.95, 0.90, 0.80, 0.70, 0.40])


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def random_boxes(count, seed=0, size=60):
    random = np.random.default_rng(seed)
    corner = random.integers(0, size, (count, 2))
    return np.hstack([corner, corner + random.integers(1, size, (count, 2))]).astype(float)


def painted(boxes, side=130):
    """Return a mask of the pixels that each box with whole numbers covers."""
    masks = np.zeros((len(boxes), side, side), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


# --- overlap and suppression ---


def test_iou_by_hand():
    expected = np.zeros((5, 3))
    expected[[0, 1, 3, 4], [0, 0, 1, 2]] = 0.8, 0.6, 0.6, 0.75
    expected[3, 2] = 0  # they share a corner only
    assert np.allclose(detection.iou(BOXES, TRUTH), expected)


def test_iou_counts_pixels():
    boxes, others = random_boxes(12, 1), random_boxes(9, 2)
    one, two = painted(boxes)[:, None], painted(others)[None]
    counted = (one & two).sum(axis=(2, 3)) / (one | two).sum(axis=(2, 3))
    result = detection.iou(boxes, others)
    assert result.shape == (12, 9) and np.allclose(result, counted)
    assert np.allclose(detection.iou(boxes, boxes).diagonal(), 1)


def test_iou_of_no_boxes():
    assert detection.iou([], TRUTH).shape == (0, 3)
    assert detection.iou(TRUTH, np.empty((0, 4))).shape == (3, 0)
    point = [[5, 5, 5, 5]]
    assert detection.iou(point, point) == 0


def test_iou_refuses_malformed_boxes():
    with pytest.raises(ValueError, match=r"shape \(n, 4\), but this one is \(4,\)"):
        detection.iou([1, 2, 3, 4], TRUTH)
    with pytest.raises(ValueError, match=r"\[170.0, 66.0, 110.0, 108.0\] ends before it begins"):
        detection.iou(TRUTH, [[170, 66, 110, 108]])


def test_nms_by_hand():
    assert detection.nms(BOXES, SCORES).tolist() == [0, 2, 3, 4]
    assert detection.nms(BOXES, SCORES, 0.8).tolist() == [0, 1, 2, 3, 4]  # 0.8 is not above 0.8
    assert detection.nms(BOXES, SCORES[::-1]).tolist() == [4, 3, 2, 1]
    assert detection.nms(BOXES, SCORES, labels=np.array([7, 3, 7, 7, 7])).tolist() == [0, 1, 2, 3, 4]
    assert detection.nms([], []).tolist() == []
    assert detection.nms(BOXES[[0, 0, 0]], [0.5, 0.5, 0.5]).tolist() == [0]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.7])
def test_nms_agrees_with_opencv(threshold):
    boxes = random_boxes(80, 3)
    scores = (np.random.default_rng(4).permutation(80) + 1) / 81
    with_sizes = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    expected = cv2.dnn.NMSBoxes(with_sizes.tolist(), scores.tolist(), 0.0, threshold)
    assert detection.nms(boxes, scores, threshold).tolist() == np.asarray(expected).ravel().tolist()


def test_nms_needs_a_score_for_each_box():
    with pytest.raises(ValueError, match="5 boxes, 4 scores"):
        detection.nms(BOXES, SCORES[:4])


# --- average precision ---


def test_match_by_hand():
    assert detection.match(BOXES, SCORES, TRUTH).tolist() == [True, False, False, True, True]
    assert detection.match(BOXES, SCORES, TRUTH, 0.7).tolist() == [True, False, False, False, True]
    assert detection.match(BOXES, SCORES[::-1], TRUTH).tolist() == [False, True, False, True, True]
    assert detection.match(BOXES, SCORES, []).tolist() == [False] * 5
    assert detection.match([], [], TRUTH).tolist() == []


def test_match_takes_the_next_object_if_the_best_is_taken():
    truth = [[0, 0, 10, 10], [2, 0, 12, 10]]
    boxes = [[0, 0, 10, 10], [0.5, 0, 10.5, 10]]  # both overlap the first object most
    assert detection.match(boxes, [0.9, 0.8], truth).tolist() == [True, True]


def test_average_precision_by_hand():
    hits, scores = np.array([True, False, True, True]), np.array([0.95, 0.8, 0.7, 0.4])
    assert np.isclose(detection.average_precision(hits, scores, 3), 29 / 36)
    assert np.isclose(detection.average_precision(hits, scores, 3, interpolated=True), 5 / 6)
    assert np.isclose(detection.average_precision(hits, scores, 5), 29 / 60)  # two objects were missed
    order = [2, 0, 3, 1]
    assert np.isclose(detection.average_precision(hits[order], scores[order], 3), 29 / 36)
    assert detection.average_precision([], [], 4) == 0
    assert detection.average_precision([False, False], [0.3, 0.2], 1) == 0


@pytest.mark.parametrize("levels", [1000, 7])
def test_average_precision_agrees_with_scikit_learn(levels):
    random = np.random.default_rng(levels)
    hits = random.random(200) < 0.4
    scores = random.integers(0, levels, 200) / levels  # with 7 levels many are equal
    expected = average_precision_score(hits, scores)
    assert np.isclose(detection.average_precision(hits, scores, int(hits.sum())), expected)
    # An object that nobody reports lowers the true value and leaves scikit-learn's alone.
    half = detection.average_precision(hits, scores, 2 * int(hits.sum()))
    assert np.isclose(half, expected / 2)


def test_average_precision_refuses_impossible_counts():
    with pytest.raises(ValueError, match="2 hits or misses, 2 scores and 1 objects"):
        detection.average_precision([True, True], [0.5, 0.4], 1)
    with pytest.raises(ValueError, match="0 objects"):
        detection.average_precision([], [], 0)
    with pytest.raises(ValueError, match="1 hits or misses, 2 scores"):
        detection.average_precision([True], [0.5, 0.4], 1)


def test_average_precisions_per_class_over_two_images():
    found = [
        Detections(TRUTH[[0, 1]].astype(float), np.array([0.9, 0.8]), np.array([3, 5])),
        Detections(TRUTH[[2, 0]].astype(float), np.array([0.95, 0.1]), np.array([3, 3])),
    ]
    boxes = [TRUTH, TRUTH[:1]]
    labels = [np.array([3, 5, 5]), np.array([3])]
    # 3: false alarm (0.95), hit (0.9), hit (0.1) of two objects; 5: one of two objects, at once.
    expected = {3: (1 / 2 + 2 / 3) / 2, 5: 1 / 2}
    result = detection.average_precisions(found, boxes, labels)
    assert result.keys() == expected.keys() and np.allclose(list(result.values()), list(expected.values()))
    smooth = detection.average_precisions(found, boxes, labels, interpolated=True)
    assert np.allclose(list(smooth.values()), [2 / 3, 1 / 2])
    assert detection.average_precisions(found, boxes, labels, threshold=1.0) == result  # all boxes are exact


def test_average_precisions_need_images_and_objects():
    none = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, int))
    assert detection.average_precisions([none], [TRUTH[:1]], [np.array([4])]) == {4: 0.0}
    with pytest.raises(ValueError, match="1 images with detections, 2 with boxes"):
        detection.average_precisions([none], [TRUTH, TRUTH], [np.zeros(3)])
    with pytest.raises(ValueError, match="at least one object"):
        detection.average_precisions([none], [[]], [[]])


# --- windows and pieces ---


@pytest.fixture
def noise():
    return np.random.default_rng(5).integers(0, 256, (40, 60), dtype=np.uint8)


def test_windows_of_the_image_itself(noise):
    patches, boxes = detection.sliding_windows(noise, 16, 4, factor=10)  # the first copy only
    assert len(patches) == len(boxes) == 7 * 12 and patches.dtype == np.uint8
    for patch, (x1, y1, x2, y2) in zip(patches, boxes.astype(int), strict=True):
        assert np.array_equal(patch, noise[y1:y2, x1:x2])


def test_windows_of_the_pyramid_counted_by_hand(noise):
    _, boxes = detection.sliding_windows(noise, 10, 5, factor=2)
    # 40 × 60: 7 · 11, 20 × 30: 3 · 5, 10 × 15: 1 · 2
    assert len(boxes) == 77 + 15 + 2
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(int)
    assert np.unique(sides, axis=0).tolist() == [[10, 10], [20, 20], [40, 40]]
    assert boxes.min() == 0 and (boxes[:, [0, 2]].max(), boxes[:, [1, 3]].max()) == (60, 40)


def test_windows_of_an_enlarged_copy_are_smaller(noise):
    _, boxes = detection.sliding_windows(noise, 20, 20, first_scale=2, factor=100)
    assert np.allclose(boxes[:, 2] - boxes[:, 0], 10) and len(boxes) == 4 * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((40, 40, 3), np.uint8)}, "grey uint8"),
        ({"image": np.zeros((40, 40))}, "float64"),
        ({"stride": 0}, "at least 1"),
        ({"factor": 1.0}, "factor above 1"),
        ({"window": 41}, "does not fit into an image of 40 × 40"),
    ],
)
def test_windows_refuse_impossible_settings(change, message):
    arguments = {"image": np.zeros((40, 40), np.uint8), "window": 8, "stride": 2} | change
    with pytest.raises(ValueError, match=message):
        detection.sliding_windows(**arguments)


def test_square_around_boxes():
    squares = detection.square_around([[10, 10, 20, 40], [0, 0, 8, 8]], margin=2)
    assert squares.tolist() == [[-15, -5, 45, 55], [-4, -4, 12, 12]]
    assert detection.square_around([[10, 10, 20, 40]]).tolist() == [[0, 10, 30, 40]]


def test_crops_of_their_own_size_are_the_pixels(noise):
    pieces = detection.crop_boxes(noise, [[0, 0, 12, 12], [20, 25, 32, 37]], 12)
    assert np.array_equal(pieces, [noise[:12, :12], noise[25:37, 20:32]])


def test_crops_are_resized_to_one_size():
    steps = np.tile(np.arange(40, dtype=np.uint8) * 4, (20, 1))  # grows to the right
    piece = detection.crop_boxes(steps, [[10, 0, 30, 20]], 10)[0].astype(float)
    # Pixel k of the piece covers the pixels 10 + 2k and 11 + 2k, whose mean is 4 · (10.5 + 2k).
    assert np.allclose(piece, 4 * (10.5 + 2 * np.arange(10)), atol=0.6)
    outside = detection.crop_boxes(steps, [[-20, -20, 0, 0]], 5)
    assert outside.shape == (1, 5, 5) and (outside == 0).all()
    assert detection.crop_boxes(steps, [], 5).shape == (0, 5, 5)


# --- drawings ---


def test_show_boxes_frames_whole_pixels():
    _, axis = plt.subplots()
    axis.imshow(np.zeros((110, 150)))
    detection.show_boxes(axis, TRUTH, list("ABC"), label="object")
    frames = [patch for patch in axis.patches if patch.get_alpha() is None]
    assert [(f.get_x(), f.get_y(), f.get_width(), f.get_height()) for f in frames] == [
        (9.5, 9.5, 40, 40),
        (59.5, 19.5, 40, 40),
        (19.5, 69.5, 40, 30),
    ]
    assert [text.get_text() for text in axis.texts] == ["A", "B", "C"]
    assert axis.get_legend_handles_labels()[1] == ["object"]  # once, not for every box


def test_show_boxes_keeps_text_inside_the_image():
    _, axis = plt.subplots()
    axis.imshow(np.zeros((100, 100)))
    detection.show_boxes(axis, [[5, 1, 30, 30], [5, 50, 30, 80]], ["top", "middle"], linestyle="--")
    assert [text.get_va() for text in axis.texts] == ["top", "bottom"]
    assert len(axis.patches) == 2  # dashed frames have no rim


def test_show_detections_draws_boxes_and_scores():
    images = [np.zeros((110, 150), np.uint8), np.zeros((60, 60, 3), np.uint8), np.zeros((60, 60), np.uint8)]
    detection.show_detections(images, [Detections(BOXES, SCORES, np.zeros(5, int)), TRUTH[:1], []], titles=list("abc"))
    axes = plt.gcf().axes
    assert [axis.get_title() for axis in axes] == list("abc")
    assert [[text.get_text() for text in axis.texts] for axis in axes] == [
        ["0.95", "0.90", "0.80", "0.70", "0.40"],
        [],
        [],
    ]
    assert [len(axis.patches) for axis in axes] == [10, 2, 0]  # each frame has a rim
    detection.show_detections(images[:1], [TRUTH], [list("ABC")])
    assert [text.get_text() for text in plt.gca().texts] == list("ABC")
