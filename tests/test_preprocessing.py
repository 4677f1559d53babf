"""The figures of lesson 02 show the numbers that they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils.preprocessing import show_bars, show_numbers


@pytest.fixture(autouse=True)
def closed_figures():
    plt.close("all")
    yield
    plt.close("all")


def test_show_numbers_writes_each_value_at_its_row_and_column():
    show_numbers([np.array([[0, 255, 7], [128, 127, 9]], np.uint8)], ["two rows"])
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
    show_numbers([np.array([[0, 127, 128, 255]], np.uint8)], ["grey"])
    assert [text.get_color() for text in plt.gcf().axes[0].texts] == ["white", "white", "black", "black"]


def test_show_numbers_shrinks_its_digits_with_the_pixels():
    show_numbers([np.zeros((10, 20), np.uint8), np.zeros((2, 2), np.uint8)], ["many", "few"], size=5)
    many, few = ({text.get_fontsize() for text in axis.texts} for axis in plt.gcf().axes)
    # 20 pixels on 5 inches are 18 points each: three digits of 5.25 points, each about 0.64 as wide as high, take 10.
    assert (many, few) == ({5.25}, {11.0})


def test_show_numbers_keeps_the_true_brightness():
    show_numbers([np.full((2, 2), 10, np.uint8), np.full((3, 2), 20, np.uint8)], ["a", "b"])
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
def test_show_numbers_says_what_is_wrong(patches, titles, message):
    with pytest.raises(ValueError, match=message):
        show_numbers(patches, titles)
    assert not plt.get_fignums()


def test_show_bars_draws_in_the_given_order_from_top_to_bottom():
    show_bars({"slow": 2.0, "fast": 1234.4}, "pictures per second", marked=["fast"])
    axis = plt.gcf().axes[0]
    assert [bar.get_width() for bar in axis.patches] == [2.0, 1234.4]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["slow", "fast"]
    assert axis.yaxis_inverted()
    assert axis.get_xlabel() == "pictures per second"
    assert [text.get_text() for text in axis.texts] == ["2", "1,234"]
    slow, fast = axis.patches
    assert slow.get_facecolor() != fast.get_facecolor()


@pytest.mark.parametrize(
    ("values", "marked", "message"), [({}, [], "got no value"), ({"a": 1.0}, ["b"], "no bar called 'b'")]
)
def test_show_bars_says_what_is_wrong(values, marked, message):
    with pytest.raises(ValueError, match=message):
        show_bars(values, "unit", marked)
    assert not plt.get_fignums()
