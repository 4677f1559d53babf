import cv2
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.signal
from matplotlib.patches import Rectangle

from course_utils import convolution
from course_utils.convolution import correlate


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_correlate_by_hand_without_flipping():
    image = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    # Upper left window: 1·1 + 2·10 + 4·100 + 5·1000; flipped it would be 1·1000 + 2·100 + 4·10 + 5.
    outputs = correlate(image, np.array([[1, 10], [100, 1000]]))
    assert outputs.tolist() == [[5421, 6532], [8754, 9865]]
    assert outputs.dtype == np.float64


def test_correlate_does_not_wrap_uint8():
    assert correlate(np.array([[200, 100]], np.uint8), np.array([[-1, 1]])).tolist() == [[-100]]
    assert correlate(np.array([[200, 200]], np.uint8), np.array([[1, 1]], np.uint8)).tolist() == [[400]]


def test_correlate_sums_over_channels():
    image = np.arange(24).reshape(2, 4, 3)
    kernel = np.array([[[1, 10, 100]], [[0, 0, 1000]]])
    # Left: 0·1 + 1·10 + 2·100 above, and 14·1000 below; one step to the right adds 3 to each pixel.
    assert correlate(image, kernel).tolist() == [[14210, 17543, 20876, 24209]]
    assert np.array_equal(correlate(image[..., :1], kernel[..., :1]), correlate(image[..., 0], kernel[..., 0]))


def test_correlate_agrees_with_scipy_in_colour():
    rng = np.random.default_rng(3)
    image, kernel = rng.integers(0, 256, (20, 31, 3)).astype(np.uint8), rng.normal(size=(4, 5, 3))
    assert np.allclose(correlate(image, kernel), scipy.signal.correlate(image.astype(float), kernel, "valid")[..., 0])


@pytest.mark.parametrize(
    ("image", "kernel", "words"),
    [
        ((4, 4, 3), (3, 3), "equally many channels"),
        ((4, 4, 3), (3, 3, 1), "equally many channels"),
        ((4, 4), (3, 3, 3), "equally many channels"),
        ((4,), (3,), r"pass \(H, W\)"),
        ((1, 4, 4, 3), (3, 3, 4, 3), r"pass \(H, W\)"),
        ((4, 4), (3,), r"pass \(H, W\)"),
        ((2, 5), (3, 3), "smaller kernel"),
        ((5, 2, 3), (3, 3, 3), "smaller kernel"),
    ],
)
def test_correlate_refuses_shapes_that_do_not_fit(image, kernel, words):
    with pytest.raises(ValueError, match=words):
        correlate(np.zeros(image), np.zeros(kernel))


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_show_window_writes_the_numbers():
    image = np.arange(25).reshape(5, 5)
    convolution.show_window(image, 1, 2, np.array([[1, -1], [0, 2]]))
    _, window, times, kernel, equals, products, total = plt.gcf().axes
    assert texts(window) == ["7", "8", "12", "13"]
    assert texts(kernel) == ["1", "−1", "0", "2"]
    assert texts(products) == ["7", "−8", "0", "26"]
    assert texts(times) + texts(equals) + texts(total) == ["×", "=", "sum\n25"]


def test_show_window_of_black_pixels():
    convolution.show_window(np.zeros((4, 4), np.uint8), 0, 0, np.ones((3, 3)))
    assert texts(plt.gcf().axes[-1]) == ["sum\n0"]


@pytest.mark.parametrize(("row", "column"), [(-1, 0), (0, 3), (3, 0), (0, -1)])
def test_show_window_refuses_places_outside(row, column):
    with pytest.raises(ValueError, match="move it inside"):
        convolution.show_window(np.zeros((5, 5)), row, column, np.ones((3, 3)))


def test_show_walk_fills_the_map_stop_by_stop():
    image = np.arange(12).reshape(3, 4)
    convolution.show_walk(image, np.array([[-1, 1], [0, 2]]), [0, 4])
    first, second = plt.gcf().axes[:2], plt.gcf().axes[2:]
    assert len(texts(first[0])) == 12 and first[0].get_title() == "stop 0"
    lower = [axis for axis in (*first, *second) if axis.get_title().startswith("sum")]
    assert [axis.get_title() for axis in lower] == ["sum 11", "sum 21"]  # 1 − 0 + 2·5, and 6 − 5 + 2·10
    assert texts(lower[0]) == ["11"] and texts(lower[1]) == ["11", "13", "15", "19", "21"]


def test_walk_explorer_moves_and_leaves_no_figure():
    explorer = convolution.walk_explorer(np.arange(16).reshape(4, 4), np.ones((3, 3)))
    (_, slider), frame = explorer.children[0].children, explorer.children[1]
    before = frame.value
    slider.value = 3
    assert slider.max == 3 and frame.value != before and not plt.get_fignums()
    assert explorer._repr_mimebundle_()["text/plain"] == "Walk of the kernel: run this cell to use it."


def test_show_steps_marks_each_stop():
    convolution.show_steps([(6, 3, 1, 0), (6, 3, 2, 1)])
    first, second = plt.gcf().axes
    assert len(first.lines) == 16 and len(second.lines) == 9  # 4×4 and 3×3 windows
    assert "6×6 → 4×4" in first.get_title() and "6×6 → 3×3" in second.get_title()
    stops = {(line.get_xdata()[0], line.get_ydata()[0]) for line in second.lines}
    assert stops == {(x, y) for x in (0.5, 2.5, 4.5) for y in (0.5, 2.5, 4.5)}


def test_show_maps_puts_zero_in_the_middle_of_one_scale():
    convolution.show_feature_maps([np.array([[-3.0, 1.0]]), np.zeros((2, 2))], ["a", "b"], columns=2)
    left, right, bar = plt.gcf().axes
    assert left.images[0].get_clim() == right.images[0].get_clim() == pytest.approx((-2.9, 2.9))  # nearly 3, of six
    assert [left.get_title(), right.get_title()] == ["a", "b"]
    assert bar.get_ylim() == pytest.approx((-2.9, 2.9))


def test_show_maps_of_zeros_are_white():
    convolution.show_feature_maps([np.zeros((2, 2))], ["a"])
    assert plt.gcf().axes[0].images[0].get_clim() == (0, 1)


def test_show_maps_with_one_limit_for_all():
    convolution.show_feature_maps([-np.ones((2, 2)), np.zeros((2, 2))], ["a", "b"], limit=7)
    assert {axis.images[0].get_clim() for axis in plt.gcf().axes[:2]} == {(-7, 7)}


def test_show_receptive_fields_centres_each_square():
    convolution.show_receptive_fields(np.zeros((50, 60, 3), np.uint8), {"one": 3, "two": 20}, centre=(25, 30))
    axis = plt.gcf().axes[0]
    labelled = {p.get_label(): p for p in axis.patches if isinstance(p, Rectangle) and ":" in p.get_label()}
    assert list(labelled) == ["one: 3 px", "two: 20 px"]
    square = labelled["two: 20 px"]
    assert (square.get_x(), square.get_y(), square.get_width(), square.get_height()) == (20, 15, 20, 20)


def parts(explorer):
    controls, original, response = explorer.children
    preset, grid = controls.children
    return preset, grid.children, original, response


def pixels(image):
    return cv2.imdecode(np.frombuffer(image.value, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)


def test_kernel_explorer_agrees_with_correlate():
    image = np.zeros((6, 8), np.uint8)
    image[:, 4:] = 100  # brighter to the right
    preset, boxes, original, response = parts(convolution.kernel_explorer(image))
    assert np.array_equal(pixels(original)[..., 0], image)
    assert pixels(response).shape == (4, 6, 3)
    red, _, blue = pixels(response)[0, 2]
    assert blue > red + 50  # an output above zero
    for box in boxes:
        box.value = -box.value
    red, _, blue = pixels(response)[0, 2]
    assert red > blue + 50  # below zero
    preset.value = "top to bottom"
    assert [box.value for box in boxes] == [-1, -2, -1, 0, 0, 0, 1, 2, 1]
    assert pixels(response).min() > 240  # nothing changes downwards


def test_kernel_explorer_reads_as_a_sentence_without_a_kernel():
    explorer = convolution.kernel_explorer(np.zeros((5, 5), np.uint8))
    assert isinstance(explorer, ipywidgets.Widget)
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == "Kernel explorer: run this cell to use it."
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_kernels_add_up_to_zero_or_one():
    assert {name: round(float(np.sum(kernel)), 9) for name, kernel in convolution.KERNELS.items()} == {
        "identity": 1,
        "box blur": 1,
        "sharpen": 1,
        "left to right": 0,
        "top to bottom": 0,
        "all around": 0,
    }
