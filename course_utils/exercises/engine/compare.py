"""What differs between the expected and the given answer, in the words of a tutor."""

import contextlib
import difflib
import math
import numbers
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from course_utils.exercises.engine.limits import short

MOST_ELEMENTS = 50_000_000  # arrays beyond this are not looked into
FEW = 4  # up to here, numbers lie so close that “off by one” or “rounded” would often be said of a mere guess
CHANNELS = (1, 3, 4)
LONGEST = 10_000  # items of a list, set or dict that are looked at


@np.errstate(all="ignore")  # a learner's infinities must not print warnings into the notebook
def difference(
    expected: Any,
    got: Any,
    *,
    tolerance: float = 1e-6,
    dtype: bool = False,
    image: bool = False,
    shape: bool = False,
    reveal: bool = True,
    where: str = "result",
) -> str | None:
    """Say in one or two sentences what differs, and why if that can be recognised; None if `got` is right.

    Parameters
    ----------
    expected : bool, int, float, str, None, ndarray, or list, tuple, set, dict of these
    got : object
        Anything at all. Lists count as arrays, tuples as lists, tensors and Pillow images as arrays.
    tolerance : float
        Relative and absolute; absolute only where `expected` is of an integer type: a count of millions must be exact.
    dtype, image, shape : bool
        Whether the dtype counts, whether to speak of pixels, and whether a tuple is the shape of an array.
    reveal : bool
        Whether the message may say the expected value.
    where : {"result", "value", "entry"}
        Whether `got` is what a function returned, what the learner assigned, or an item inside either.
    """
    expected, got = _plain(expected), _plain(got)
    if expected is not None and (message := _wrong_kind(expected, got, where)):
        return message
    options = {"tolerance": tolerance, "dtype": dtype, "image": image, "shape": shape, "reveal": reveal, "where": where}
    if isinstance(got, np.ndarray) and got.size == 1 and isinstance(expected, bool | int | float | str):
        only = got.reshape(-1)[0]  # an array of one element stands for the element, but the message speaks of the array
        right = difference(expected, only, **options) is None
        return None if right else f"{_kind(expected).capitalize()} is expected, got {short(got)}."
    compare = {np.ndarray: _array, int: _number, float: _number, str: _text, tuple: _sequence, list: _sequence}
    compare |= {dict: _dict, set: _set, bool: _same, type(None): _same}
    return compare[type(expected)](expected, got, options)


def _plain(got: Any) -> Any:
    """Turn tensors, images, array subclasses and NumPy scalars into plain arrays and Python's own numbers."""
    library = type(got).__module__.partition(".")[0]
    convertible = hasattr(type(got), "__array__") or hasattr(type(got), "__array_interface__")
    if library in {"tensorflow", "keras", "torch", "PIL", "pandas"} and convertible:
        with contextlib.suppress(Exception):  # such as a symbolic tensor, which has no values
            got = np.asarray(got.detach() if library == "torch" else got)
    if isinstance(got, np.ndarray) and not np.ma.is_masked(got):
        got = np.asarray(got)
    return got.item() if isinstance(got, np.generic) else got


def _wrong_kind(expected: Any, got: Any, where: str) -> str | None:
    """Recognise an answer that is no data at all."""
    what, cause = {
        "result": ("The result", "did you forget `return`?"),
        "value": ("Your answer", "assign a value to it."),
        "entry": ("It", "a value is missing here."),
    }[where]
    if got is None:
        return f"{what} is None: {cause}"
    if isinstance(got, np.ma.MaskedArray):
        return f"{what} is an array with masked values: fill them with `.filled(…)`."
    if callable(got):
        return f"{what} is a function or a class: call it, with `()`, to get what it returns."
    if isinstance(got, Iterator | range | type({}.keys()) | type({}.values()) | type({}.items())):
        return f"{what} is a `{type(got).__name__}` object, which makes its items later: wrap it in `list(…)`."
    if isinstance(got, str) and not isinstance(expected, str):
        return f"{what} is text in quotes, {short(got)}, but {_kind(expected)} is expected."
    return None


KINDS = {bool: "True or False", int: "a number", float: "a number", str: "text"}
KINDS |= {tuple: "a tuple", list: "a list", dict: "a dict", set: "a set", type(None): "None"}


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "an array")


def _said(expected: Any, got: Any, options: dict) -> str:
    if options["reveal"]:
        return f"Expected {short(expected)}, got {short(got)}."
    return f"{short(got)} is not {'right' if _kind(got) == _kind(expected) else _kind(expected)}."


def _same(expected: bool | None, got: Any, options: dict) -> str | None:
    # Of many values, 1 stands for True and 0 for False; a single answer is asked for by its name.
    number = options["where"] == "entry" and type(got) in (int, float) and expected is not None and got == expected
    return None if got is expected or number else _said(expected, got, options)


def _close(expected: Any, got: Any, tolerance: float, whole: bool = False) -> Any:
    return np.isclose(got, expected, rtol=0 if whole else tolerance, atol=tolerance, equal_nan=True)


def _explains(expected: Any, repaired: Any, tolerance: float) -> bool:
    """Return whether a cause accounts for the answer; in relative terms, or any two tiny numbers would be related."""
    floor = 1e-7 * np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    return np.shape(repaired) == np.shape(expected) and np.allclose(
        repaired, expected, rtol=min(tolerance, 1e-3), atol=floor, equal_nan=True
    )


# --- numbers

NUMBER_CAUSES: tuple[tuple[Callable[[float], float], str], ...] = (  # what makes the answer right → what happened
    (lambda x: -x, "The size is right, the sign is not."),
    (lambda x: x * 255, "It is 255 times too small: values in 0…1 where 0…255 are meant?"),
    (lambda x: x / 255, "It is 255 times too large: values in 0…255 where 0…1 are meant?"),
    (lambda x: x * 100 if x <= 1 < 100 * x else 0.0, "It is 100 times too small: a fraction for a percentage?"),
    (lambda x: x / 100 if x / 100 <= 1 < x else 0.0, "It is 100 times too large: a percentage for a fraction?"),
    (lambda x: 1 / x, "It is the reciprocal: divide the other way round."),
)


def _number(expected: float, got: Any, options: dict) -> str | None:
    if isinstance(got, bool) or not isinstance(got, numbers.Real):
        return f"One number is expected, got {short(got)}."
    try:
        got = got if isinstance(got, int) and abs(got) <= 2**53 else float(got)
    except OverflowError:
        return "Your number is too large to be true."
    if _close(expected, got, options["tolerance"], whole=isinstance(expected, int)):
        return None
    if not math.isfinite(got):
        return f"Got {got}: something was divided by zero, or the logarithm of zero taken."
    said = _said(expected, got, options)
    if expected != 0 and got != 0:
        for cause, words in NUMBER_CAUSES:
            if _explains(expected, cause(got), options["tolerance"]):
                return f"{said} {words}"
    rounded = any(round(expected, digits) == got for digits in range(4))
    if isinstance(expected, float) and rounded and (got != int(got) or abs(expected) > FEW):
        return f"{said} It is rounded: give more digits."
    if isinstance(expected, int) and abs(expected - got) == 1 and abs(expected) > FEW:
        return f"{said} It is off by one."
    return said if options["reveal"] else f"{short(got)} is too {'large' if got > expected else 'small'}."


# --- text, sequences, dicts, sets


def _text(expected: str, got: Any, options: dict) -> str | None:
    if not isinstance(got, str):
        return f"Text in quotes is expected, got {short(got)}."
    if got == expected:
        return None
    if _bare(got) == _bare(expected):
        return f"{short(got)} differs only in capital letters, spaces or quotes inside the text."
    said = _said(expected, got, options)
    digits = [[c for c in text if c.isdigit()] for text in (expected, got)]  # float32 is no typo of float64
    comparable = len(expected) > 4 and abs(len(got) - len(expected)) <= 2 and digits[0] == digits[1]
    if comparable and difflib.SequenceMatcher(None, expected, got).ratio() > 0.8:
        return f"{said} It is close: is a letter wrong, missing or too many?"
    return said


def _bare(text: str) -> str:
    return re.sub(r"[\s\"'`“”‘’]", "", text).casefold()


def _items(got: Any) -> list | None:
    """Return the items of a list, a tuple or an array with one axis; None for anything else."""
    if isinstance(got, np.ndarray) and got.ndim == 1 and got.size <= LONGEST:
        return got.tolist()
    return list(got) if isinstance(got, list | tuple) and len(got) <= LONGEST else None


def _sequence(expected: tuple | list, got: Any, options: dict) -> str | None:
    items = _items(got)
    inner = options | {"where": "entry"}
    if items is None:
        return f"{_kind(expected).capitalize()} with {len(expected)} entries is expected, got {short(got)}."

    def same(one: Any, other: Any) -> bool:
        return difference(one, other, **inner) is None

    if len(items) == len(expected) and all(map(same, expected, items)):
        return None
    said = _said(expected, type(expected)(items), options)
    sides = options["shape"] and all(isinstance(item, numbers.Real) for item in items)
    if sides and (cause := _shape_cause(tuple(expected), tuple(items))):
        return f"{said} {cause}"
    if len(items) != len(expected):
        return f"It has {len(items)} entries, but {len(expected)} are expected."
    left = list(items)
    for entry in expected:
        position = next((i for i, item in enumerate(left) if same(entry, item)), None)
        if position is None:
            first = next(i for i, pair in enumerate(zip(expected, items, strict=True)) if not same(*pair))
            return f"Entry {first} (counted from 0): {difference(expected[first], items[first], **inner)}"
        left.pop(position)
    return f"{said} The entries are right, their order is not."


def _shape_cause(want: tuple, have: tuple) -> str:
    """Recognise a shape whose sides are exchanged, or that has an axis too many or too few; else return nothing."""
    if len(want) > 1 and have == (want[1], want[0], *want[2:]):
        return "Rows and columns are exchanged: an array counts rows (height) first, then columns (width)."
    if len(want) == 3 and want[2] in CHANNELS and have == (want[2], *want[:2]):
        return "The channels come first, but should be the last axis."
    if len(want) == 3 and want[0] in CHANNELS and have == (*want[1:], want[0]):
        return "The channels come last, but should be the first axis."
    if len(want) > 2 and want[-1] == 3 and have == (*want[:-1], 4):
        return "The image has four channels (RGBA): drop the last one."
    if have == want[:-1]:
        return "The last axis is missing" + (": the channels?" if len(want) > 2 and want[-1] in CHANNELS else ".")
    if have == want[1:]:
        return "The first axis is missing" + (": the batch?" if len(want) == 4 or want[0] == 1 else ".")
    if want in (have[1:], have[:-1]):
        return f"There is one axis too many {'in front' if want == have[1:] else 'at the end'}."
    if [side for side in have if side != 1] == [side for side in want if side != 1]:
        if have.count(1) == want.count(1):
            return "The axis of length 1 stands in another position."
        return f"Axes of length 1: {have.count(1)} instead of {want.count(1)}."
    return ""


def _dict(expected: dict, got: Any, options: dict) -> str | None:
    if not isinstance(got, dict):
        return f"A dict is expected, got {short(got)}."
    if missing := [key for key in expected if key not in got]:
        return f"The key {short(missing[0])} is missing."
    if extra := [key for key in list(got)[:LONGEST] if key not in expected]:
        return f"There should be no key {short(extra[0])}."
    for key, value in expected.items():
        if message := difference(value, got[key], **options | {"where": "entry"}):
            return f"Under the key {short(key)}: {message}"
    return None


def _set(expected: set, got: Any, _: dict) -> str | None:
    items = list(got)[:LONGEST] if isinstance(got, set | frozenset) else _items(got)
    if items is None:
        return f"A set is expected, got {short(got)}."
    if extra := [item for item in items if item not in expected]:
        return f"{short(extra[0])} does not belong in it."
    missing = len(expected) - len(set(items))
    return f"{missing} entries are missing." if missing else None


# --- arrays


def _sides(array: np.ndarray) -> tuple[int, int]:
    """Return which axes are rows and columns: after the first in a batch of images."""
    return (1, 2) if array.ndim == 4 else (0, 1)


# What makes the given array right → what happened. In this order: the likelier cause comes first.
ARRAY_CAUSES: tuple[tuple[Callable[[np.ndarray], np.ndarray], str], ...] = (
    (lambda a: a[..., ::-1] if a.ndim > 2 and a.shape[-1] == 3 else a, "Red and blue are exchanged: BGR for RGB."),
    (lambda a: -a, "Every value has the wrong sign."),
    (
        lambda a: np.flip(a, (_sides(a)[1], -1)) if a.ndim > 2 and a.shape[-1] == 3 else a,
        "Left and right are exchanged, and so are red and blue (BGR for RGB).",
    ),
    (lambda a: a * 255, "Every value is 255 times too small: 0…1 given for 0…255."),
    (lambda a: a / 255, "Every value is 255 times too large: 0…255 given for 0…1."),
    (lambda a: np.swapaxes(a, *_sides(a)) if a.ndim > 1 else a, "Rows and columns are exchanged (transposed)."),
    (lambda a: np.flip(a, _sides(a)[1]) if a.ndim > 1 else a, "Left and right are exchanged."),
    (lambda a: np.flip(a, 1) if a.ndim == 4 else a, "Top and bottom are exchanged."),
    (lambda a: np.flip(a, 0), "The order along the first axis is reversed."),
    (lambda a: np.rot90(a, 2, _sides(a)) if a.ndim > 1 else a, "It is turned by half a turn (flipped both ways)."),
    (lambda a: np.rot90(a, 1, _sides(a)) if a.ndim > 1 else a, "It is turned by a quarter."),
    (lambda a: np.rot90(a, 3, _sides(a)) if a.ndim > 1 else a, "It is turned by a quarter."),
    (lambda a: 255 - a, "Black and white are exchanged."),
    (lambda a: a * 256 / 255, "Every value was divided by 256 (or multiplied by 255): 255 is the largest grey value."),
    (lambda a: np.clip(a, 0, 255), "Values outside 0…255 are left: limit them with `np.clip`."),
    (lambda a: np.clip(a, 0, 1), "Values outside 0…1 are left: limit them with `np.clip`."),
)


def _array(expected: np.ndarray, got: Any, options: dict) -> str | None:
    if isinstance(got, list | tuple):
        shape = _outer_shape(got)
        if shape != expected.shape and (len(shape) > expected.ndim + 2 or math.prod(shape) > LONGEST):
            return _other_shape(expected.shape, shape, options)
        try:
            got = np.asarray([_plain(item) for item in got])
        except ValueError:
            return "The rows of your list differ in length: an array needs equal ones."
    if isinstance(got, int | float) and expected.ndim == 0:
        got = np.asarray(got)
    if not isinstance(got, np.ndarray):
        return f"An array of shape {expected.shape} is expected, got {short(got)}."
    if got.shape != expected.shape:
        return _other_shape(expected.shape, got.shape, options)
    if got.size > MOST_ELEMENTS:
        return "Your array is too large to be looked at."
    if expected.dtype.kind not in "biuf":
        return None if np.array_equal(expected, got) else "The entries differ."
    if got.dtype.kind not in "biuf":
        return f"Numbers are expected, but the array has dtype {got.dtype}."
    if got.dtype.kind == "b" and expected.dtype.kind != "b":
        return "The array holds True and False where numbers are expected."
    return _values(expected, got, options)


def _outer_shape(got: Any) -> tuple:
    """Return the shape that a nested list seems to have, by its first items: an array of all could fill the memory."""
    shape: tuple = ()
    while isinstance(got, list | tuple) and len(shape) < 8:
        shape += (len(got),)
        got = got[0] if got else None
    return shape + got.shape if isinstance(got, np.ndarray) else shape


def _other_shape(want: tuple, have: tuple, options: dict) -> str:
    """Say in words how the shapes of two arrays differ."""
    said = f"Expected shape {want}, got {have}." if options["reveal"] or have else f"The shape {have} is not right."
    cause = _shape_cause(want, have)
    if not cause and len(have) != len(want):
        cause = f"That is {len(have)} axes instead of {len(want)}."
    steps = {h - w for h, w in zip(have[:2], want[:2], strict=False)}
    if not cause and len(want) > 1 and len(steps) == 1 and have[2:] == want[2:]:
        step = steps.pop()
        cause = f"Both sides are {abs(step)} too {'long' if step > 0 else 'short'}: how is the border treated?"
    return f"{said} {cause}".rstrip()


def _values(expected: np.ndarray, got: np.ndarray, options: dict) -> str | None:
    """Compare two arrays of one shape; recognise what happened to the values."""
    want, have = expected.astype(float), got.astype(float)
    right = _close(want, have, options["tolerance"], whole=expected.dtype.kind in "iu")
    if right.all():
        if not options["dtype"] or got.dtype == expected.dtype:
            return None
        said = f"the dtype is {got.dtype} instead of {expected.dtype}"
        return f"The values are right, but {said}: use `.astype(…)` at the end."
    unclear = ~np.isfinite(have)
    if unclear.any():
        return f"{unclear.sum()} of {have.size} values are NaN or infinite: was something divided by zero?"
    for cause, words in ARRAY_CAUSES:
        repaired = cause(have)
        blurred = np.ptp(repaired) == 0 < np.ptp(have)  # what makes all values equal explains nothing
        if repaired is not have and not blurred and _explains(want, repaired, options["tolerance"]):
            return words
    where = _where(expected, got, right, options)
    if where.startswith("Only the border"):  # whatever happened there, the arithmetic is right
        return where
    return _arithmetic(expected, got, want, have, right) or _step(want, have, options) or where


def _arithmetic(
    expected: np.ndarray, got: np.ndarray, want: np.ndarray, have: np.ndarray, right: np.ndarray
) -> str | None:
    """Recognise rounding, whole numbers where fractions are meant, wrap-around of uint8, and clipping."""
    off, whole = have - want, expected.dtype.kind in "iu"
    near = np.abs(off).max() < 1
    if whole and got.dtype.kind == "f" and near and np.abs(want).max() > FEW:
        for repaired, remedy in ((np.rint(have), "round them and turn them into"), (np.trunc(have), "cut them off to")):
            if (repaired == want).all():
                return f"The values are off by less than 1: {remedy} whole numbers."
    if expected.dtype.kind == "f" and near and np.abs(want).max() > 1 and (have == np.trunc(have)).all():
        return "The values have lost what comes after the point: were they turned into whole numbers too early?"
    modulo = (want == np.trunc(want)).all() and (off % 256 == 0).all() and have.min() >= 0 and have.max() <= 255
    if modulo or (got.dtype == np.uint8 and _restarts(want, off, right)):
        return "Values have wrapped around at 256, as `uint8` does: compute in a larger type."
    if np.ptp(have) > 0 and (np.clip(want, 0, 255) == have).all():
        return "Values outside 0…255 were cut off."
    return None


def _step(want: np.ndarray, have: np.ndarray, options: dict) -> str | None:
    """Recognise one offset or one factor for all values."""
    if not np.isfinite(want).all() or np.ptp(want) == 0:  # all offsets and factors fit values that are all equal
        return None
    off = have - want
    if np.ptp(off) <= min(options["tolerance"], 1e-3) * max(1.0, np.abs(off).max()):
        side, by = "large" if off.flat[0] > 0 else "small", abs(off.flat[0])
        return f"Every value is too {side} by " + (f"{by:.4g}." if options["reveal"] else "the same amount.")
    factors = have[want != 0] / want[want != 0]
    if factors.size < 2 or ((want == 0) != (have == 0)).any():
        return None
    if np.ptp(factors) > 1e-3 * abs(factors[0]) or abs(factors[0] - 1) <= 1e-3:
        return None
    times = f"{factors[0]:.4g} times" if options["reveal"] else "the same multiple of"
    return f"Every value is {times} what it should be."


def _restarts(want: np.ndarray, off: np.ndarray, right: np.ndarray) -> bool:
    """Return whether exactly the limited values are wrong, and mostly by more than half the range."""
    limited = (want[~right] == 0) | (want[~right] == 255)
    extreme = np.isin((want + off)[~right], (0, 255)).all()  # a white border, a mask: no arithmetic went wrong there
    return bool(right.any() and limited.all() and not extreme and np.abs(off[~right]).mean() > 128)


def _where(expected: np.ndarray, got: np.ndarray, right: np.ndarray, options: dict) -> str:
    """Say where values differ: only along the border, or how many and the first."""
    inside = (slice(1, -1),) * min(2, right.ndim)
    if right.ndim > 1 and right[inside].size and right[inside].all():
        return "Only the border differs, everything inside is right: how do you treat the border?"
    units = "pixels" if options["image"] and right.ndim == 2 else "values"
    first = tuple(int(i) for i in np.unravel_index(np.argmin(right), right.shape))
    at = first[0] if len(first) == 1 else first
    text = f"{(~right).sum()} of {right.size} {units} differ; the first at {at}"
    if options["reveal"]:
        return f"{text}: expected {short(expected[first])}, got {short(got[first])}."
    return f"{text}, where yours is {short(got[first])}."
