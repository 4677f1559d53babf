"""HOG, LBP and grey values, checked against numbers worked by hand and against loops written here."""

import numpy as np
import pytest
from skimage.feature import hog

from course_utils import descriptors
from course_utils.descriptors import hog_features, intensity_statistics, lbp_histograms


def ramp(height=14, width=14):
    """Brightness that grows by 3 per column: every gradient points to the right."""
    return np.tile(3 * np.arange(width, dtype=np.uint8), (height, 1))


def test_hog_of_a_ramp_points_in_one_direction():
    features = hog_features(ramp()[np.newaxis], cell=7, block=1)
    assert features.shape == (1, 2 * 2 * 9)
    # One direction only: after division by its length, each histogram is a one and eight zeros.
    assert np.allclose(features.reshape(4, 9), np.eye(9)[[0] * 4], atol=1e-4)
    turned = hog_features(ramp().T[np.newaxis], cell=7, block=1)
    assert np.allclose(turned.reshape(4, 9), np.eye(9)[[4] * 4], atol=1e-4)  # 90° lies in the bin from 80° to 100°


def test_hog_has_its_documented_length_and_the_order_of_the_images():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    features = hog_features(images)
    assert features.shape == (3, 324) and features.dtype == np.float64
    assert features.min() >= 0 and features.max() <= 1
    for image, row in zip(images, features, strict=True):
        assert np.array_equal(row, hog(image, 9, (7, 7), (2, 2)))
    assert hog_features(images, cell=4, block=3, orientations=6).shape == (3, 5 * 5 * 9 * 6)


def test_hog_ignores_brightness_and_contrast():
    image = np.random.default_rng(1).random((1, 28, 28))
    assert np.allclose(hog_features(image), hog_features(0.3 * image + 0.5), atol=1e-6)


def lbp_by_hand(image):
    """Ten shares by a loop over the inner pixels, with bilinear interpolation on the circle of radius 1."""
    image = image.astype(float)
    counts = np.zeros(10)
    angles = 2 * np.pi * np.arange(8) / 8
    for row in range(1, image.shape[0] - 1):
        for column in range(1, image.shape[1] - 1):
            bits = []
            for angle in angles:
                y, x = round(row - np.sin(angle), 5), round(column + np.cos(angle), 5)
                top, left = int(np.floor(y)), int(np.floor(x))
                bottom, right = int(np.ceil(y)), int(np.ceil(x))
                down, across = y - top, x - left
                upper = (1 - across) * image[top, left] + across * image[top, right]
                lower = (1 - across) * image[bottom, left] + across * image[bottom, right]
                bits.append((1 - down) * upper + down * lower >= image[row, column])
            changes = sum(bits[i] != bits[i - 1] for i in range(8))
            counts[sum(bits) if changes <= 2 else 9] += 1
    return counts


def test_lbp_counts_the_patterns_of_a_loop():
    # A border of one value: what scikit-image does beyond the image concerns the outermost ring only.
    image = np.random.default_rng(2).integers(0, 256, (20, 24), dtype=np.uint8)
    shares = lbp_histograms(image[np.newaxis])
    assert shares.shape == (1, 10) and np.isclose(shares.sum(), 1)
    inside = lbp_by_hand(image)
    assert np.all(shares[0] * image.size >= inside - 1e-9)  # the ring can only add
    assert np.isclose((shares[0] * image.size - inside).sum(), 2 * 20 + 2 * 24 - 4)


def test_lbp_of_one_grey_is_all_ones_and_a_bright_dot_is_all_zeros():
    flat = np.full((10, 10), 7, np.uint8)
    assert lbp_histograms(flat[np.newaxis])[0, 8] > 0.5  # all eight neighbours are at least as bright
    dots = flat.copy()
    dots[2:8:3, 2:8:3] = 200
    assert np.isclose(lbp_histograms(dots[np.newaxis])[0, 0] * 100, 4)


def test_lbp_ignores_brightness_and_takes_the_radius():
    image = np.random.default_rng(3).integers(0, 100, (1, 30, 30), dtype=np.uint8)
    assert np.array_equal(lbp_histograms(image), lbp_histograms(2 * image))
    # Beyond the border scikit-image takes 0, so with 5 added some pixels of the outermost ring change.
    assert np.allclose(lbp_histograms(image), lbp_histograms(2 * image + 5), atol=0.01)
    assert not np.array_equal(lbp_histograms(image), lbp_histograms(image, radius=3))


def test_intensity_statistics_of_a_hundred_and_one_grey_values():
    image = np.random.default_rng(4).permutation(np.arange(101, dtype=np.uint8)).reshape(1, 1, 101)
    mean, spread, *percentiles = intensity_statistics(image)[0]
    assert mean == 50 and np.isclose(spread, np.arange(101).std())
    assert percentiles == [1, 5, 25, 50, 75, 95, 99] == list(descriptors.PERCENTILES)


def test_intensity_statistics_ignore_positions_and_keep_floats():
    images = np.random.default_rng(5).random((2, 12, 12))
    shuffled = np.random.default_rng(6).permutation(images.reshape(2, -1), axis=1).reshape(2, 12, 12)
    assert intensity_statistics(images).shape == (2, 9)
    assert np.allclose(intensity_statistics(images), intensity_statistics(shuffled))
    assert np.allclose(10 * intensity_statistics(images), intensity_statistics(10 * images))


@pytest.mark.parametrize("function", [hog_features, lbp_histograms, intensity_statistics])
@pytest.mark.parametrize("shape", [(28, 28), (2, 28, 28, 3), (0, 28, 28)])
def test_descriptors_refuse_other_shapes_in_one_sentence(function, shape):
    with pytest.raises(ValueError, match=rf"{function.__name__} got an array of shape .*: pass grey images"):
        function(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("sizes", [{"cell": 20}, {"block": 5}, {"cell": 0}, {"orientations": 0}])
def test_hog_refuses_blocks_that_do_not_fit(sizes):
    with pytest.raises(ValueError, match="does not fit into images of 28 × 28"):
        hog_features(np.zeros((1, 28, 28)), **sizes)


def test_lbp_refuses_floats_and_a_circle_without_neighbours():
    with pytest.raises(ValueError, match="got float64 images: pass uint8"):
        lbp_histograms(np.zeros((1, 28, 28)))
    with pytest.raises(ValueError, match="radius of at least 1"):
        lbp_histograms(np.zeros((1, 28, 28), np.uint8), radius=0)


def test_progress_of_many_images_leaves_one_line(monkeypatch):
    said = []

    class Line(descriptors.LiveLine):
        def __init__(self, resting):
            said.append(resting)

        def update(self, text):
            said.append(text)

        def rest(self):
            said.append("rest")

    monkeypatch.setattr(descriptors, "LiveLine", Line)
    images = np.zeros((500, 8, 8), np.uint8)
    assert hog_features(images[:499], cell=4).shape == (499, 36) and not said
    assert lbp_histograms(images).shape == (500, 10)
    assert said == ["LBP: 500 images", "0%", "20%", "40%", "60%", "80%", "rest"]
