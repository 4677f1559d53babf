"""Scenes of several digits with known boxes, to compare object detectors on."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from course_utils.datasets import digits, sample_photo
from course_utils.detection import iou


class Scenes(NamedTuple):
    """Images with several digits each, as `digit_scenes` composes them."""

    images: np.ndarray  # uint8 (n, size, size), grey, 0…255
    boxes: list[np.ndarray]  # per image: float64 (k, 4), corners (x1, y1, x2, y2) in pixels, tight around the ink
    labels: list[np.ndarray]  # per image: int64 (k,), 0…9
    sources: list[np.ndarray]  # per image: int64 (k,), which digit of the split was used


# Which columns of the textures (512 × 512 pixels) each split may use.
_TEXTURE_COLUMNS = {"train": (0, 288), "validation": (288, 400), "test": (400, 512)}
_TEXTURES = ("brick", "grass", "gravel")


def digit_scenes(
    split: str,
    count: int,
    size: int = 96,
    seed: int = 0,
    digits_per_image: tuple[int, int] = (1, 5),
    max_iou: float = 0.1,
    clutter: int = 4,
) -> Scenes:
    """Compose `count` images for object detection: digits of several sizes on photographed brick, grass and gravel.

    Each is a crop of a texture, with clutter (scraps of digits, 10 × 10 pixels) and whole digits over it, bright, at
    random places and between 0.9 and 2 times their own size. Scenes of two splits (train, validation, test) share
    neither digits nor texture. An image has `size` × `size` pixels, at least 64, and as many digits as the range
    `digits_per_image` says (one that finds no free place is left out), whose boxes overlap by `max_iou` at most.
    Raises ValueError if there is no such split, or a number is out of range.
    """
    if split not in _TEXTURE_COLUMNS:
        raise ValueError(f"The digits have no split called {split!r}: use one of {', '.join(_TEXTURE_COLUMNS)}.")
    if size < 64 or count < 0 or not 0 <= digits_per_image[0] <= digits_per_image[1] or clutter < 0:
        raise ValueError(
            f"No scene can be made with size {size}, count {count}, digits_per_image {digits_per_image} and clutter "
            f"{clutter}: the size must be at least 64, the others not negative, and digits_per_image (min, max)."
        )
    images, labels = getattr(digits(), split)
    textures = [sample_photo(name)[:, slice(*_TEXTURE_COLUMNS[split])] for name in _TEXTURES]
    random = np.random.default_rng([seed, list(_TEXTURE_COLUMNS).index(split)])
    scenes = Scenes(np.empty((count, size, size), np.uint8), [], [], [])
    for number in range(count):
        canvas = _background(textures[random.integers(len(textures))], size, random)
        for _ in range(clutter):
            scrap = _scaled(images[random.integers(len(images))], random)
            top, left = random.integers(0, np.array(scrap.shape) - 10)
            scrap = scrap[top : top + 10, left : left + 10]
            _paint(canvas, scrap, *random.integers(0, size - 10, 2), random)
        boxes, chosen = [], []
        for _ in range(random.integers(digits_per_image[0], digits_per_image[1] + 1)):
            row = int(random.integers(len(images)))
            ink = _ink(_scaled(images[row], random))
            for _ in range(20):  # tries to find a free place
                top, left = random.integers(0, size - np.array(ink.shape) + 1)
                box = np.array([left, top, left + ink.shape[1], top + ink.shape[0]], np.float64)
                if not boxes or iou(box[np.newaxis], np.array(boxes)).max() <= max_iou:
                    _paint(canvas, ink, top, left, random)
                    boxes.append(box)
                    chosen.append(row)
                    break
        scenes.images[number] = canvas.round()
        scenes.boxes.append(np.array(boxes).reshape(-1, 4))
        scenes.sources.append(np.array(chosen, np.int64))
        scenes.labels.append(labels[scenes.sources[-1]])
    return scenes


def _background(texture: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Return a random crop of a texture, float64 (size, size), perhaps mirrored, with random brightness."""
    missing = [(0, max(0, size - side)) for side in texture.shape]
    texture = np.pad(texture, missing, mode="symmetric") if np.any(missing) else texture
    top, left = random.integers(0, np.array(texture.shape) - size + 1)
    piece = texture[top : top + size, left : left + size][:, :: random.choice((-1, 1))]
    return random.uniform(0.4, 0.9) * piece + random.uniform(0, 20)


def _scaled(digit: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a digit at a random size, uniform on a logarithmic scale."""
    side = round(28 * 0.9 * (2 / 0.9) ** random.random())
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BILINEAR))


def _ink(digit: np.ndarray) -> np.ndarray:
    """Crop a digit to the box of its ink."""
    rows, columns = (np.flatnonzero((digit >= 64).any(axis=axis)) for axis in (1, 0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paint(canvas: np.ndarray, ink: np.ndarray, top: int, left: int, random: np.random.Generator) -> None:
    """Blend ink into the canvas, in place: where it is 255 it covers what was there."""
    cover = ink / 255
    place = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
    place += cover * (random.uniform(170, 255) - place)
