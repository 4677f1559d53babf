"""Read images as people really have them: turned by a phone, 16-bit, transparent, animated, broken."""

import base64
import difflib
import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Reading an image of this size takes about 0.7 GB at its peak (measured), which the smallest machine has.
MAX_MEGAPIXELS = 70

# Formats are named so that Pillow does not try its rarer readers, some of which start other programs or accept
# almost any bytes. JPEG includes the MPO files of some phones, which hold several images.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM")

# Pillow logs complaints about damaged TIFF files; without a handler Python would print them into the notebook.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_STDERR = threading.RLock()  # the stream belongs to the whole process; blocks may lie in each other


class ImageError(ValueError):
    """An image that cannot be read; the message names the file, the reason and what to do."""


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as an RGB array, upright: uint8 (H, W, 3) in 0…255, C-contiguous and writable.

    Reads JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF and PPM, whatever the extension says. The EXIF orientation is applied.
    Grey, palette, 1-bit and CMYK become RGB; transparent areas are blended with white; of several frames or pages the
    first is returned. 16-bit values are scaled from 0…65535 to 0…255. 32-bit integers and floats have no agreed range:
    integers in 0…65535 count as 16-bit, floats in 0…1 are multiplied by 255, floats in 0…255 are rounded, and
    everything else is stretched from its smallest to its largest value.

    Raises
    ------
    ImageError
        If the file is missing, no image, damaged, or has more than `MAX_MEGAPIXELS` million pixels (by its header).
    """
    try:
        path = Path(path).expanduser()
        if path.is_dir():
            raise ImageError(f"“{path}” is a folder: pass the path of one image in it.")
        if path.exists() and not path.is_file():
            raise ImageError(f"“{path}” is not an ordinary file: pass the path of an image.")
        if not path.exists():
            raise ImageError(f"There is no file “{path}”{did_you_mean(path)}: check the name and the folder.")
        with path.open("rb") as file:
            return decode_image(file, str(path))
    except (OSError, RuntimeError) as error:  # no permission, name too long, a home folder that is not known
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"“{path}” cannot be opened ({reason}): check the path and its permissions.") from error


def decode_image(file: BinaryIO, name: str) -> np.ndarray:
    """Read an image from an open, seekable file, as `read_image` does; `name` stands for it in error messages."""
    start = file.read(4096)
    if not start:
        raise ImageError(f"“{name}” is empty (0 bytes): copy or download it again.")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata and of large images; neither changes what we return or refuse.
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                width, height = image.size
                if width * height > MAX_MEGAPIXELS * 1e6:
                    raise Image.DecompressionBombError
                with silent_stderr() if image.format == "TIFF" else nullcontext():
                    image.load()
                with suppress(Exception):  # unreadable metadata is no reason to lose the image
                    ImageOps.exif_transpose(image, in_place=True)
                return _to_rgb(image)
    except Exception as error:  # damaged bytes make Pillow's readers fail in many ways, not only with OSError
        raise ImageError(f"“{name}” {_what_went_wrong(error, start)}.") from error


def resize_to_cover(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize an image with antialiasing until it covers a size, and crop the centre: no distortion, no border.

    Takes uint8 (H, W, 3) RGB or (H, W) grey, and a size of (height, width) or (height, width, channels): with 1 or 3
    channels the result is grey or RGB. Returns uint8 in 0…255 as before: the model itself does the scaling.
    """
    height, width, *channels = size
    photo = Image.fromarray(image)
    if channels:
        photo = photo.convert("L" if channels == [1] else "RGB")
    # Pillow's bilinear filter widens when it shrinks, and so antialiases (lesson 02).
    pixels = np.array(ImageOps.fit(photo, (width, height), method=Image.Resampling.BILINEAR))
    return pixels.reshape(size) if channels else pixels


def kept_box(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom, in pixels, of what `resize_to_cover` keeps of an image of this shape."""
    scale = min(shape[0] / size[0], shape[1] / size[1])
    height, width = round(scale * size[0]), round(scale * size[1])
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return left, top, left + width, top + height


def data_uri(image: np.ndarray, side: int) -> str:
    """Return an image, at most `side` pixels high and wide, as an address that holds the image itself (a JPEG)."""
    small = Image.fromarray(image.squeeze()).convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def did_you_mean(path: Path) -> str:
    """Return “ (did you mean …?)” if something beside the missing `path` is called almost like it, else nothing."""
    try:
        neighbours = {neighbour.name.casefold(): neighbour.name for neighbour in path.parent.iterdir()}
    except (OSError, ValueError):  # the folder is missing as well, or its name is impossible
        return ""
    close = difflib.get_close_matches(path.name.casefold(), neighbours, n=1, cutoff=0.7)
    return f" (did you mean “{neighbours[close[0]]}”?)" if close else ""


def _what_went_wrong(error: Exception, start: bytes) -> str:
    """Say why an image that begins with `start` cannot be decoded, and what to do."""
    if isinstance(error, UnidentifiedImageError):
        return _what_it_is(start)
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_MEGAPIXELS} million pixels, which could fill the memory: save a smaller copy"
    if isinstance(error, MemoryError):
        return "does not fit into the free memory: close other programs or shrink it"
    return f"is damaged or cut off and cannot be decoded ({error}): copy or download it again"


def _what_it_is(start: bytes) -> str:
    """Say why a file that begins with `start` is no image in a known format, and what to do."""
    if start[4:8] == b"ftyp" and start[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return "is a HEIC photo, as iPhones take them: open it in a photo program and save it as JPEG"
    if start.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")):
        return "begins like an image but is damaged or cut off: copy or download it again"
    if start.startswith(b"%PDF"):
        return "is a PDF document: save the page as PNG or JPEG"
    if b"<svg" in start:
        return "is an SVG drawing, which has no pixels: export it as PNG"
    text = start.decode("utf-8", errors="ignore")
    if len(text.encode()) > 0.9 * len(start) and all(letter.isprintable() or letter.isspace() for letter in text):
        return "holds text and not an image (an error page that was saved, perhaps): get the image itself"
    return "is not an image in a known format: save it as JPEG or PNG"


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what C libraries (libtiff, OpenCV) write to the error stream meanwhile, past Python's reach."""
    with _STDERR:
        try:
            original = os.dup(2)
        except OSError:  # a process without an error stream: nothing to silence
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield an image in strips: converting it as a whole would hold several copies of a large one in memory."""
    width, height = image.size
    for top in range(0, height, 256):
        bottom = min(top + 256, height)
        yield slice(top, bottom), image.crop((0, top, width, bottom))


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Convert any Pillow mode to a uint8 array of shape (H, W, 3)."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    if image.mode.startswith(("I", "F")):  # convert("RGB") would clip 16-bit values at 255 and make all white
        extremes = np.array([(np.min(strip), np.max(strip)) for strip in (_numbers(s) for _, s in _strips(image))])
        low, high = _black_and_white(extremes.min(), extremes.max(), image.mode[0] == "I")
        for rows, strip in _strips(image):
            grey = np.rint((_numbers(strip) - low) * (255 / (high - low)))
            pixels[rows] = grey.astype(np.uint8)[:, :, np.newaxis]
        return pixels
    for rows, strip in _strips(image):
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        pixels[rows] = np.asarray(strip.convert("RGB"))
    return pixels


def _numbers(strip: Image.Image) -> np.ndarray:
    """Return 16-bit, 32-bit or float grey values as float64, with 0 for what is not a finite number."""
    return np.nan_to_num(np.asarray(strip).astype(np.float64), posinf=0.0, neginf=0.0)


def _black_and_white(low: float, high: float, whole: bool) -> tuple[float, float]:
    """Return the values that become 0 and 255, from the extremes of an image of integers or of floats."""
    if low >= 0:
        for top in (65535.0,) if whole else (1.0, 255.0):
            if high <= top:
                return 0.0, top
    return low, (high if high > low else low + 1)
