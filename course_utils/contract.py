"""Does a deployed predictor treat pictures as the model was trained to expect them? Lesson 11 derives each question."""

import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

_ORIENTATION = 274  # the EXIF tag that says how the camera was held


class Case(NamedTuple):
    """One file, what a right predictor answers to it, and what the usual mistakes answer."""

    name: str
    ending: str  # of the file, with the dot
    content: bytes
    expected: float  # probability
    suspects: dict[str, float]  # mistake → the probability that it leads to


def contract_cases(photo: np.ndarray, reference: Callable[[np.ndarray], float]) -> list[Case]:
    """Return the files that a predictor must treat rightly, made from one photo.

    Parameters
    ----------
    photo : ndarray
        uint8 (size, size), grey, in the size that the model takes. Choose one to which the model gives a clear answer.
    reference : callable
        Takes such a photo, of uint8 or float numbers, and returns the probability that the model itself gives.

    Returns
    -------
    list of Case
        Plain file, EXIF orientation, colour, 16 bit, other size, other shape, in this order.

    Raises
    ------
    ValueError
        If the photo is not square, grey and uint8.
    """
    photo = np.asarray(photo)
    if photo.dtype != np.uint8 or photo.ndim != 2 or photo.shape[0] != photo.shape[1]:
        raise ValueError(f"contract_cases needs a square grey photo of uint8, not {photo.dtype} {photo.shape}.")
    size = len(photo)
    plain, name = float(reference(photo)), "a plain file"
    cases = [
        Case(
            name,
            ".png",
            _file(Image.fromarray(photo)),
            plain,
            {
                "it divides by 255 what the model scales itself": float(reference(photo / 255)),
                "it gives the probability of the other class": 1 - plain,
                "it turns black and white round": float(reference(255 - photo)),
            },
        )
    ]

    turned = np.rot90(photo)  # stored lying on its side, with a note for the reader: turn me back
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    content = _file(Image.fromarray(turned), "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(content)) as stored:
        upright, lying = np.asarray(ImageOps.exif_transpose(stored)), np.asarray(stored)
    cases.append(
        Case(
            "a photo of a phone that was held sideways",
            ".jpg",
            content,
            float(reference(upright)),
            {"it ignores the EXIF orientation": float(reference(lying))},
        )
    )

    colour = np.dstack([photo, photo, 255 - photo])
    cases.append(
        Case(
            "a colour photo",
            ".png",
            _file(Image.fromarray(colour)),
            float(reference(_grey(colour))),
            {
                "it takes BGR for RGB": float(reference(_grey(colour[..., ::-1]))),
                "it takes one channel for the picture": plain,
            },
        )
    )

    deep = photo.astype(np.uint16) * 257  # 0…65535
    cases.append(
        Case(
            "a file with 16 bits",
            ".png",
            _file(Image.fromarray(deep)),
            plain,
            {"it cuts numbers above 255 off": float(reference(np.minimum(deep, 255).astype(np.uint8)))},
        )
    )

    # Three times as large, and grainy: the middle of each 3 × 3 pixels is brighter, the others make up for it.
    grain = np.tile(np.array([[-8, -8, -8], [-8, 64, -8], [-8, -8, -8]]), photo.shape)
    large = np.repeat(np.repeat(photo.astype(int), 3, axis=0), 3, axis=1) + grain
    large = large.clip(0, 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(large).resize((size, size), Image.Resampling.BILINEAR))
    cases.append(
        Case(
            "a photo of three times the size",
            ".png",
            _file(Image.fromarray(large)),
            float(reference(small)),
            {
                "it shrinks without antialiasing": float(reference(large[1::3, 1::3])),
                "it cuts a piece out instead of shrinking": float(reference(large[size : 2 * size, size : 2 * size])),
            },
        )
    )

    margin = size // 2
    wide = np.pad(photo, ((0, 0), (margin, margin)))
    squashed = np.asarray(Image.fromarray(wide).resize((size, size), Image.Resampling.BILINEAR))
    cases.append(
        Case(
            "a photo wider than high",
            ".png",
            _file(Image.fromarray(wide)),
            plain,
            {"it squashes pictures into the square": float(reference(squashed))},
        )
    )
    return cases


def broken_promises(
    predictor: Callable[[Path], float], cases: list[Case], tolerance: float = 0.02, blunt: float = 0.05
) -> list[str]:
    """Ask a predictor about each file and say what it does wrongly.

    Parameters
    ----------
    predictor : callable
        Takes the path of a file and returns a probability, as the deployed program computes it.
    cases : list of Case
        From `contract_cases`.
    tolerance : float
        How far a probability may be off.
    blunt : float
        A mistake that would change the probability by less than this cannot be seen with this photo.

    Returns
    -------
    list of str
        A sentence for each broken promise, with the mistake that explains it if one does; empty if all are kept. If
        the first file goes wrong already, the others are not tried: they would go wrong for the same reason.

    Raises
    ------
    ValueError
        If a mistake would hardly change the answer, so that the test could not fail: choose another photo.

    Notes
    -----
    Lesson 11, section 11.7.
    """
    for case in cases:
        for mistake, answer in case.suspects.items():
            if abs(answer - case.expected) < blunt:
                raise ValueError(
                    f"With this photo the contract cannot see that {mistake}: right and wrong differ by less than "
                    f"{100 * blunt:.0f} points. Choose another photo."
                )
    problems = []
    with TemporaryDirectory() as folder:
        for case in cases:
            file = Path(folder) / f"picture{case.ending}"
            file.write_bytes(case.content)
            problem = _broken(predictor, file, case, tolerance)
            if problem:
                problems.append(f"{case.name}: {problem}")
            if problem and case is cases[0]:
                break
    return problems


def _broken(predictor: Callable[[Path], float], file: Path, case: Case, tolerance: float) -> str | None:
    """Say what a predictor does wrongly with one file, or return None."""
    try:
        answer, again = float(predictor(file)), float(predictor(file))
    except Exception as error:  # a predictor that stops breaks its promise, whatever stops it
        return f"it stops with {type(error).__name__}"
    if abs(answer - again) > 1e-6:
        return "it answers differently when it is asked again"
    if abs(answer - case.expected) <= tolerance:
        return None
    mistake, wrong = min(case.suspects.items(), key=lambda item: abs(item[1] - answer))
    if abs(wrong - answer) <= tolerance:
        return mistake
    return f"it says {100 * answer:.0f} % instead of {100 * case.expected:.0f} %"


def _file(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _grey(colour: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(colour)).convert("L"))
