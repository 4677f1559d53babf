import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_utils.plots import STEPS, show_images, show_pipeline


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def drawn():
    """Return the axes of the last figure that hold a picture."""
    return [axis for axis in plt.gcf().axes if axis.images]


def test_grid_has_a_place_for_each_picture_and_its_title():
    show_images([np.zeros((4, 6), "uint8")] * 5, titles=list("abcde"), columns=3)
    assert len(plt.gcf().axes) == 6  # two rows of three
    assert [axis.get_title() for axis in drawn()] == list("abcde")


@pytest.mark.parametrize(
    ("image", "top"), [(np.full((2, 2), 9, "uint8"), 255), (np.full((2, 2, 1), 0.1), 1), (np.eye(2, dtype=bool), 1)]
)
def test_grey_pictures_keep_their_brightness(image, top):
    show_images([image])
    (axis,) = drawn()
    assert axis.images[0].get_clim() == (0, top)
    assert axis.images[0].get_cmap().name == "gray"


def test_a_row_is_as_high_as_asked():
    show_images([np.zeros((10, 20, 3), "uint8")] * 2, columns=2, height=3)
    assert tuple(plt.gcf().get_size_inches()) == (12, 3)  # two pictures, each twice as wide as high


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        ([], None, "no picture"),
        ([np.zeros((2, 2))], ["a", "b"], "1 pictures but 2 titles"),
        ([np.zeros((2, 2)), np.full((2, 2), 200.0)], None, "Picture 1 holds floats from 200 to 200"),
        ([np.full((2, 2), -0.5)], None, "divide by 255"),
    ],
)
def test_what_cannot_be_drawn_truly_is_refused(images, titles, message):
    with pytest.raises(ValueError, match=message):
        show_images(images, titles)


def test_pipeline_marks_this_lesson():
    show_pipeline("acquire preprocess")
    texts = {text.get_text(): text.get_weight() for text in plt.gcf().axes[0].texts if text.get_text()}
    assert tuple(texts) == STEPS
    assert [step for step in STEPS if texts[step] == "bold"] == ["acquire", "preprocess"]


def test_pipeline_refuses_an_unknown_step():
    with pytest.raises(ValueError, match="no step called 'train'"):
        show_pipeline("train")


def test_the_style_is_colour_blind_safe_and_loads():
    with plt.style.context("course_utils.course"):
        first = plt.rcParams["axes.prop_cycle"].by_key()["color"][:2]
    assert first == ["#0072B2", "#D55E00"] or first == ["0072B2", "D55E00"]  # Okabe and Ito's blue and vermilion
