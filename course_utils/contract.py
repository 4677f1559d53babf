"""Does a deployed predictor read images as the model was trained to expect them? Lesson 11 derives each check."""

import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

MIN_EFFECT = 0.05  # of a mistake on the probability


class InputCheck(NamedTuple):
    """One file, what a correct predictor returns for it, and what the usual mistakes return."""

    name: str
    extension: str  # with the dot
    content: bytes
    expected: float  # probability
    mistakes: dict[str, float]  # mistake → the probability that it leads to


def input_checks(photo: np.ndarray, reference: Callable[[np.ndarray], float]) -> list[InputCheck]:
    """Return six files that a predictor must read correctly, made from one photo.

    Parameters
    ----------
    photo : ndarray
        uint8 (size, size), grey, in the size that the model takes; ValueError otherwise. Choose one that the model is
        confident about.
    reference : callable
        Takes such a photo, of uint8 or float numbers, and returns the probability that the model itself gives.
    """
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 2 or photo.shape[0] != photo.shape[1]:
        raise ValueError(f"input_checks needs a square grey photo of uint8, not {photo.dtype} {photo.shape}.")
    size = len(photo)

    # Stored lying on its side, with a note for the reader: turn me back.
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    sideways = _encode(np.rot90(photo), "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(sideways)) as stored:
        upright, lying = np.asarray(ImageOps.exif_transpose(stored)), np.asarray(stored)

    colour = np.dstack([photo, photo, 255 - photo])
    deep = photo.astype(np.uint16) * 257  # 0…65535
    clipped = np.minimum(deep, 255).astype(np.uint8)

    # Three times as large, and grainy: the middle of each 3 × 3 pixels is brighter, the others make up for it.
    grain = np.tile(np.array([[-8, -8, -8], [-8, 64, -8], [-8, -8, -8]]), photo.shape)
    large = np.repeat(np.repeat(photo.astype(int), 3, axis=0), 3, axis=1) + grain
    large = large.clip(0, 255).astype(np.uint8)
    middle = large[size : 2 * size, size : 2 * size]
    wide = np.pad(photo, ((0, 0), (size // 2, size // 2)))

    def resized(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))

    # Name, extension, content, what the model must get to see of it, and what it sees after a mistake.
    scaled = {"it divides by 255 what the model scales itself": photo / 255, "it inverts black and white": 255 - photo}
    one_channel = {"it takes BGR for RGB": _grey(colour[..., ::-1]), "it takes one channel for the image": photo}
    shrunk = {"it shrinks without antialiasing": large[1::3, 1::3], "it crops instead of shrinking": middle}
    turned, squashed = {"it ignores the EXIF orientation": lying}, {"it squashes images into the square": resized(wide)}
    table = [
        ("a plain file", ".png", _encode(photo), photo, scaled),
        ("a photo of a phone that was held sideways", ".jpg", sideways, upright, turned),
        ("a colour photo", ".png", _encode(colour), _grey(colour), one_channel),
        ("a file with 16 bits", ".png", _encode(deep), photo, {"it clips numbers above 255": clipped}),
        ("a photo of three times the size", ".png", _encode(large), resized(large), shrunk),
        ("a photo wider than high", ".png", _encode(wide), photo, squashed),
    ]
    checks = [
        InputCheck(*file, float(reference(seen)), {name: float(reference(wrong)) for name, wrong in mistakes.items()})
        for *file, seen, mistakes in table
    ]
    checks[0].mistakes["it returns the probability of the other class"] = 1 - checks[0].expected
    return checks


def failed_checks(predictor: Callable[[Path], float], checks: list[InputCheck], tolerance: float = 0.02) -> list[str]:
    """Ask a predictor about each file and return one sentence per failed check, naming the mistake that explains it.

    If the first file fails already, the others are not tried: they would fail for the same reason. Raises ValueError if
    a mistake would change the probability by less than `MIN_EFFECT`: with such a photo the test could not fail.

    Parameters
    ----------
    predictor : callable
        Takes the path of a file and returns a probability, as the deployed program computes it.
    tolerance : float
        How far a probability may be off.
    """
    for check in checks:
        for mistake, probability in check.mistakes.items():
            if abs(probability - check.expected) < MIN_EFFECT:
                raise ValueError(
                    f"With this photo the contract cannot see that {mistake}: right and wrong differ by less than "
                    f"{100 * MIN_EFFECT:.0f} points. Choose another photo."
                )
    problems = []
    with TemporaryDirectory() as folder:
        for check in checks:
            file = Path(folder) / f"image{check.extension}"
            file.write_bytes(check.content)
            problem = _failure(predictor, file, check, tolerance)
            if problem:
                problems.append(f"{check.name}: {problem}")
            if problem and check is checks[0]:
                break
    return problems


def _failure(predictor: Callable[[Path], float], file: Path, check: InputCheck, tolerance: float) -> str | None:
    """Say what a predictor does wrong with one file, or return None."""
    try:
        probability, again = float(predictor(file)), float(predictor(file))
    except Exception as error:  # a predictor that stops fails the check, whatever stops it
        return f"it stops with {type(error).__name__}"
    if abs(probability - again) > 1e-6:
        return "it predicts something else when it is asked again"
    if abs(probability - check.expected) <= tolerance:
        return None
    mistake, wrong = min(check.mistakes.items(), key=lambda item: abs(item[1] - probability))
    if abs(wrong - probability) <= tolerance:
        return mistake
    return f"it returns {100 * probability:.0f} % instead of {100 * check.expected:.0f} %"


def _encode(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _grey(colour: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(colour)).convert("L"))
