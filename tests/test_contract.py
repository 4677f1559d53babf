"""Right and wrong predictors under the contract of lesson 11; the model is a formula, so every answer is known."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from course_utils.contract import broken_promises, contract_cases
from course_utils.images import read_image
from course_utils.predict import fitted

SIZE = 30


def reference(photo):
    """Say something that depends on brightness, direction and place: 0…1."""
    shares = np.asarray(photo, np.float64) / 255
    rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    score = 6 * (shares * rows).mean() + 4 * (shares * columns).mean() + 5 * (shares.mean() - 0.4)
    return 1 / (1 + np.exp(-2 * (score + 8 * (shares * (np.abs(columns) < 0.5)).mean() - 2)))


@pytest.fixture(scope="module")
def photo():
    blocks = np.array([[198, 142, 79], [180, 32, 173], [57, 33, 173]], np.uint8)
    return np.kron(blocks, np.ones((10, 10), np.uint8))


@pytest.fixture(scope="module")
def cases(photo):
    return contract_cases(photo, reference)


def pixels(file):
    return fitted(read_image(file), (SIZE, SIZE, 1))[..., 0]


def right(file):
    return reference(pixels(file))


def by_opencv(file):
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)  # it turns the picture as EXIF says
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return reference(
        cv2.resize(grey[:, (grey.shape[1] - grey.shape[0]) // 2 :][:, : len(grey)], (SIZE, SIZE), 0, 0, 0, 3)
    )


def by_pillow(change=lambda image: image):
    def predictor(file):
        with Image.open(file) as image:
            return reference(np.asarray(ImageOps.fit(change(image).convert("L"), (SIZE, SIZE), method=2)))

    return predictor


def test_what_is_right_keeps_every_promise(cases):
    assert broken_promises(right, cases) == []
    assert [case.name.split()[-1] for case in cases] == ["file", "sideways", "photo", "bits", "size", "high"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda grey: reference(grey / 255), "divides by 255"),
        (lambda grey: 1 - reference(grey), "the probability of the other class"),
        (lambda grey: reference(255 - grey), "black and white round"),
    ],
)
def test_a_mistake_with_every_file_is_named_once(cases, change, told):
    (problem,) = broken_promises(lambda file: change(pixels(file)), cases)
    assert problem.startswith("a plain file: it ") and told in problem


def test_exif_that_is_ignored(cases):
    problems = broken_promises(by_pillow(), cases)
    assert "a photo of a phone that was held sideways: it ignores the EXIF orientation" in problems


def test_bgr(cases):
    assert any("colour photo: it takes BGR for RGB" in problem for problem in broken_promises(by_opencv, cases))


def test_squashed(cases):
    def squash(file):
        return reference(np.asarray(Image.fromarray(read_image(file)).convert("L").resize((SIZE, SIZE))))

    assert broken_promises(squash, cases) == ["a photo wider than high: it squashes pictures into the square"]


def test_without_antialiasing_and_cut(cases):
    def every_third(file):
        image = np.asarray(Image.fromarray(read_image(file)).convert("L"))
        return reference(image[1::3, 1::3]) if image.shape == (3 * SIZE, 3 * SIZE) else right(file)

    def middle(file):
        image = np.asarray(Image.fromarray(read_image(file)).convert("L"))
        rows, columns = (np.array(image.shape) - SIZE) // 2
        return reference(image[rows : rows + SIZE, columns : columns + SIZE])

    assert broken_promises(every_third, cases) == ["a photo of three times the size: it shrinks without antialiasing"]
    assert broken_promises(middle, cases) == [
        "a photo of three times the size: it cuts a piece out instead of shrinking"
    ]


def test_sixteen_bits_cut_off(cases):
    def cut(file):
        with Image.open(file) as image:
            deep = image.mode.startswith("I")
            return reference(np.minimum(np.asarray(image), 255)) if deep else right(file)

    assert broken_promises(cut, cases) == ["a file with 16 bits: it cuts numbers above 255 off"]


def test_what_nobody_foresaw(cases):
    random = np.random.default_rng(1)
    (first,) = broken_promises(lambda file: random.random(), cases)
    assert first == "a plain file: it answers differently when it is asked again"
    (stops,) = broken_promises(lambda file: 1 / 0, cases)
    assert stops == "a plain file: it stops with ZeroDivisionError"
    (other,) = broken_promises(lambda file: 0.999, cases)
    assert other.startswith("a plain file: it says 100 % instead of ")
    assert other.endswith(f"{100 * cases[0].expected:.0f} %")


def test_a_photo_that_cannot_tell_is_refused(photo):
    flat = np.full((SIZE, SIZE), 128, np.uint8)
    with pytest.raises(ValueError, match=r"cannot see that it .* Choose another photo\."):
        broken_promises(right, contract_cases(flat, reference))
    for wrong in (photo[:-1], photo.astype(float), np.dstack([photo] * 3)):
        with pytest.raises(ValueError, match="square grey photo"):
            contract_cases(wrong, reference)
