"""Right and wrong predictors under the contract of lesson 11; the model is a formula, so every prediction is known."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from course_utils.contract import failed_checks, input_checks
from course_utils.images import read_image, resize_to_cover

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
def checks(photo):
    return input_checks(photo, reference)


def pixels(file):
    return resize_to_cover(read_image(file), (SIZE, SIZE, 1))[..., 0]


def right(file):
    return reference(pixels(file))


def by_opencv(file):
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)  # it turns the image as EXIF says
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return reference(
        cv2.resize(grey[:, (grey.shape[1] - grey.shape[0]) // 2 :][:, : len(grey)], (SIZE, SIZE), 0, 0, 0, 3)
    )


def by_pillow(change=lambda image: image):
    def predictor(file):
        with Image.open(file) as image:
            return reference(np.asarray(ImageOps.fit(change(image).convert("L"), (SIZE, SIZE), method=2)))

    return predictor


def test_contract_accepts_correct_predictor(checks):
    assert failed_checks(right, checks) == []
    assert [check.name.split()[-1] for check in checks] == ["file", "sideways", "photo", "bits", "size", "high"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda grey: reference(grey / 255), "divides by 255"),
        (lambda grey: 1 - reference(grey), "the probability of the other class"),
        (lambda grey: reference(255 - grey), "inverts black and white"),
    ],
)
def test_contract_names_mistake_of_every_file_once(checks, change, told):
    (problem,) = failed_checks(lambda file: change(pixels(file)), checks)
    assert problem.startswith("a plain file: it ") and told in problem


def test_contract_names_ignored_exif(checks):
    problems = failed_checks(by_pillow(), checks)
    assert "a photo of a phone that was held sideways: it ignores the EXIF orientation" in problems


def test_contract_names_bgr(checks):
    assert any("colour photo: it takes BGR for RGB" in problem for problem in failed_checks(by_opencv, checks))


def test_contract_names_squashing(checks):
    def squash(file):
        return reference(np.asarray(Image.fromarray(read_image(file)).convert("L").resize((SIZE, SIZE))))

    assert failed_checks(squash, checks) == ["a photo wider than high: it squashes images into the square"]


def test_contract_names_aliasing_and_cropping(checks):
    def every_third(file):
        image = np.asarray(Image.fromarray(read_image(file)).convert("L"))
        return reference(image[1::3, 1::3]) if image.shape == (3 * SIZE, 3 * SIZE) else right(file)

    def middle(file):
        image = np.asarray(Image.fromarray(read_image(file)).convert("L"))
        rows, columns = (np.array(image.shape) - SIZE) // 2
        return reference(image[rows : rows + SIZE, columns : columns + SIZE])

    assert failed_checks(every_third, checks) == ["a photo of three times the size: it shrinks without antialiasing"]
    assert failed_checks(middle, checks) == ["a photo of three times the size: it crops instead of shrinking"]


def test_contract_names_clipped_bits(checks):
    def cut(file):
        with Image.open(file) as image:
            deep = image.mode.startswith("I")
            return reference(np.minimum(np.asarray(image), 255)) if deep else right(file)

    assert failed_checks(cut, checks) == ["a file with 16 bits: it clips numbers above 255"]


def test_contract_reports_unknown_mistakes(checks):
    random = np.random.default_rng(1)
    (first,) = failed_checks(lambda file: random.random(), checks)
    assert first == "a plain file: it predicts something else when it is asked again"
    (stops,) = failed_checks(lambda file: 1 / 0, checks)
    assert stops == "a plain file: it stops with ZeroDivisionError"
    (other,) = failed_checks(lambda file: 0.999, checks)
    assert other.startswith("a plain file: it returns 100 % instead of ")
    assert other.endswith(f"{100 * checks[0].expected:.0f} %")


def test_contract_refuses_photo_that_cannot_tell(photo):
    flat = np.full((SIZE, SIZE), 128, np.uint8)
    with pytest.raises(ValueError, match=r"cannot see that it .* Choose another photo\."):
        failed_checks(right, input_checks(flat, reference))
    for wrong in (photo[:-1], photo.astype(float), np.dstack([photo] * 3)):
        with pytest.raises(ValueError, match="square grey photo"):
            input_checks(wrong, reference)
