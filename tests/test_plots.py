import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils.plots import (
    STEPS,
    plot_bars,
    plot_curves,
    plot_runs,
    show_images,
    show_pipeline,
    show_pixel_values,
    show_predictions,
)


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def drawn():
    """Return the axes of the last figure that hold a image."""
    return [axis for axis in plt.gcf().axes if axis.images]


def test_grid_has_a_place_for_each_image_and_its_title():
    show_images([np.zeros((4, 6), "uint8")] * 5, titles=list("abcde"), columns=3)
    assert len(plt.gcf().axes) == 6  # two rows of three
    assert [axis.get_title() for axis in drawn()] == list("abcde")


@pytest.mark.parametrize(
    ("image", "top"), [(np.full((2, 2), 9, "uint8"), 255), (np.full((2, 2, 1), 0.1), 1), (np.eye(2, dtype=bool), 1)]
)
def test_grey_images_keep_their_brightness(image, top):
    show_images([image])
    (axis,) = drawn()
    assert axis.images[0].get_clim() == (0, top)
    assert axis.images[0].get_cmap().name == "gray"


def test_row_is_as_high_as_asked():
    show_images([np.zeros((10, 20, 3), "uint8")] * 2, columns=2, height=3)
    assert tuple(plt.gcf().get_size_inches()) == (12, 3)  # two images, each twice as wide as high


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        ([], None, "no image"),
        ([np.zeros((2, 2))], ["a", "b"], "1 images but 2 titles"),
        ([np.zeros((2, 2)), np.full((2, 2), 200.0)], None, "Image 1 holds floats from 200 to 200"),
        ([np.full((2, 2), -0.5)], None, "divide by 255"),
    ],
)
def test_grid_refuses_what_it_cannot_draw(images, titles, message):
    with pytest.raises(ValueError, match=message):
        show_images(images, titles)


def test_pipeline_marks_this_lesson():
    show_pipeline("acquire preprocess")
    texts = {text.get_text(): text.get_weight() for text in plt.gcf().axes[0].texts if text.get_text()}
    assert tuple(texts) == STEPS
    assert [step for step in STEPS if texts[step] == "bold"] == ["acquire", "preprocess"]


def test_pipeline_refuses_unknown_step():
    with pytest.raises(ValueError, match="no step called 'train'"):
        show_pipeline("train")


def test_style_is_colour_blind_safe_and_loads():
    with plt.style.context("course_utils.course"):
        first = plt.rcParams["axes.prop_cycle"].by_key()["color"][:2]
    assert first == ["#0072B2", "#D55E00"] or first == ["0072B2", "D55E00"]  # Okabe and Ito's blue and vermilion


def test_show_numbers_writes_each_value_at_its_row_and_column():
    show_pixel_values([np.array([[0, 255, 7], [128, 127, 9]], np.uint8)], ["two rows"])
    axis = plt.gcf().axes[0]
    assert axis.get_title() == "two rows"
    written = {(text.get_position(), text.get_text()) for text in axis.texts}
    assert written == {
        ((0, 0), "0"),
        ((1, 0), "255"),
        ((2, 0), "7"),
        ((0, 1), "128"),
        ((1, 1), "127"),
        ((2, 1), "9"),
    }


def test_show_numbers_is_readable_on_dark_and_on_light_pixels():
    show_pixel_values([np.array([[0, 127, 128, 255]], np.uint8)], ["grey"])
    assert [text.get_color() for text in plt.gcf().axes[0].texts] == ["white", "white", "black", "black"]


def test_show_numbers_shrinks_its_digits_with_the_pixels():
    show_pixel_values([np.zeros((10, 20), np.uint8), np.zeros((2, 2), np.uint8)], ["many", "few"], size=5)
    many, few = ({text.get_fontsize() for text in axis.texts} for axis in plt.gcf().axes)
    # 20 pixels on 5 inches are 18 points each: three digits of 5.25 points, each about 0.64 as wide as high, take 10.
    assert (many, few) == ({5.25}, {11.0})


def test_show_numbers_keeps_the_true_brightness():
    show_pixel_values([np.full((2, 2), 10, np.uint8), np.full((3, 2), 20, np.uint8)], ["a", "b"])
    left, right = plt.gcf().axes
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0, 255)
    assert right.images[0].get_array().shape == (3, 2)


@pytest.mark.parametrize(
    ("patches", "titles", "message"),
    [
        ([], [], "0 patches"),
        ([np.zeros((2, 2), np.uint8)], ["a", "b"], "1 patches and 2 titles"),
        ([np.zeros((2, 2, 3), np.uint8)], ["a"], r"shape \(2, 2, 3\)"),
        ([np.zeros((2, 2), np.uint8), np.zeros((2, 21), np.uint8)], ["a", "b"], "Patch 1"),
    ],
)
def test_show_numbers_refuses_wrong_arrays(patches, titles, message):
    with pytest.raises(ValueError, match=message):
        show_pixel_values(patches, titles)
    assert not plt.get_fignums()


def test_show_bars_draws_in_the_given_order_from_top_to_bottom():
    plot_bars({"slow": 2.0, "fast": 1234.4}, "images per second", marked=["fast"])
    axis = plt.gcf().axes[0]
    assert [bar.get_width() for bar in axis.patches] == [2.0, 1234.4]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["slow", "fast"]
    assert axis.yaxis_inverted()
    assert axis.get_xlabel() == "images per second"
    assert [text.get_text() for text in axis.texts] == ["2", "1,234"]
    slow, fast = axis.patches
    assert slow.get_facecolor() != fast.get_facecolor()


@pytest.mark.parametrize(
    ("values", "marked", "message"), [({}, [], "got no value"), ({"a": 1.0}, ["b"], "no bar called 'b'")]
)
def test_show_bars_refuses_wrong_values(values, marked, message):
    with pytest.raises(ValueError, match=message):
        plot_bars(values, "unit", marked)
    assert not plt.get_fignums()


def test_predictions_stand_beside_their_images():
    images = [np.zeros((4, 4, 3), "uint8"), np.zeros((4, 4), "uint8"), np.zeros((4, 4, 3), "uint8")]
    rows = [[(285, "Egyptian cat", 0.75), (281, "tabby", 0.2)], [("dog", 1.0)], [(None, "n", "cup", 0.254)]]
    show_predictions(images, rows, columns=2)
    axes = plt.gcf().axes
    assert len(axes) == 8 and [bool(axis.images) for axis in axes] == [True, False] * 3 + [False] * 2
    assert [[text.get_text() for text in axis.texts] for axis in axes[1::2]] == [
        ["Egyptian cat 75 %", "tabby 20 %"],
        ["dog 100 %"],
        ["cup 25 %"],
        [],
    ]
    assert [bar.get_width() for bar in axes[1].patches] == [0.75, 0.2]


def test_runs_are_dots_with_mean_and_standard_deviation():
    plot_runs({"a": [1.0, 3.0], "b": [5.0, 5.0, 5.0]}, "percent", limits=(0, 6))
    axis = plt.gcf().axes[0]
    dots = [line.get_xdata().tolist() for line in axis.lines if line.get_marker() == "o"]
    assert dots == [[1, 3], [5, 5, 5]]
    assert [text.get_text() for text in axis.texts] == ["2 ± 1", "5 ± 0"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize("values", [{}, {"a": []}])
def test_runs_refuse_nothing(values):
    with pytest.raises(ValueError, match="got no value"):
        plot_runs(values, "percent", (0, 1))


def test_curves_show_mean_and_deviation_on_a_logarithmic_axis():
    plot_curves({"SGD": {0.01: [80.0, 90.0], 0.1: [60.0]}, "AdamW": {0.001: [70.0, 70.0]}}, "rate", "accuracy (%)")
    axis = plt.gcf().axes[0]
    assert axis.containers[0].lines[0].get_ydata().tolist() == [85, 60]
    assert axis.get_xscale() == "log" and list(axis.get_xticks()) == [0.001, 0.01, 0.1]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["SGD", "AdamW"]
    plt.close("all")


@pytest.mark.parametrize("curves", [{}, {"SGD": {}}])
def test_curves_without_values_are_refused(curves):
    with pytest.raises(ValueError, match="got no value"):
        plot_curves(curves, "rate", "accuracy (%)")
