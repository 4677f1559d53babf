"""What a tutor would say to a wrong answer: a row a case, expected first, given second."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from course_utils.exercises.engine.compare import difference

GREY = np.arange(1, 21, dtype="uint8").reshape(4, 5)
SQUARE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 10]])
COLOUR = np.array([[[10, 20, 30], [40, 50, 60]], [[1, 2, 3], [7, 8, 9]]], dtype="uint8")
SHARES = np.array([0.1, 0.25, 0.4])
CENTRED = np.array([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 0.0]])


class Tensor:
    """What a tensor of a framework looks like from outside."""

    __module__ = "tensorflow.something"

    def __array__(self, dtype=None, copy=None):
        return SHARES


class Torch(Tensor):
    __module__ = "torch"

    def detach(self):
        return SHARES


RIGHT = [
    (3, 3),
    (3, 3.0),
    (3, np.int64(3)),
    (0.5, np.float32(0.5)),
    (np.float64(0.5), 0.5),
    (3, np.array(3)),
    (3, np.array([3])),
    (10**20, 10**20),
    (float("nan"), float("nan")),
    (True, np.bool_(True)),
    (None, None),
    ("a", np.str_("a")),
    ((28, 28, 1), [28, 28, 1]),
    ([1, 2], (1, 2)),
    ([1, 2], np.array([1, 2])),
    ([(0, 1), (2, 3)], [[0, 1], [2, 3]]),
    ({"a": 1, "b": [1, 2]}, {"b": (1, 2), "a": 1.0}),
    ({1, 2}, [2, 1]),
    ({1, 2}, {1, 2}),
    (0.5, Fraction(1, 2)),
    (SHARES, SHARES.tolist()),
    (SHARES, SHARES.astype("float32")),
    (SHARES, Tensor()),
    (SHARES, Torch()),
    (SHARES, np.ma.array(SHARES)),
    (GREY, Image.fromarray(GREY)),
    (GREY, GREY.astype(float)),
    (np.array(["a"]), np.array(["a"])),
    (np.array([True, False]), np.array([True, False])),
    (np.array(3.0), 3),
    (np.empty((0, 3)), np.empty((0, 3))),
    (np.array([1.0, np.nan]), np.array([1.0, np.nan])),
    (True, np.array([True])),
    (np.arange(20_000), list(range(20_000))),
]


@pytest.mark.parametrize(("expected", "got"), RIGHT)
def test_right(expected, got):
    assert difference(expected, got) is None


WRONG = [
    # no data at all
    (3, None, "The result is None: did you forget `return`?"),
    (3, len, "is a function or a class: call it"),
    (3, int, "is a function or a class: call it"),
    (3, np, "One number is expected, got <module"),
    ([1], iter([1]), "wrap it in `list(…)`"),
    ([0, 1], range(2), "wrap it in `list(…)`"),
    ([1], (x for x in [1]), "a `generator` object, which makes its items later"),
    (12, "12", "is text in quotes, '12', but a number is expected"),
    (12, "twelve", "is text in quotes, 'twelve', but a number"),
    (12, "13", "is text in quotes, '13', but a number is expected"),
    (SHARES, "x", "is text in quotes, 'x', but an array is expected"),
    # numbers
    (28, 29, "Expected 28, got 29. It is off by one."),
    (3, -3, "the sign is not"),
    (0.5, 127.5, "255 times too large"),
    (127.5, 0.5, "255 times too small"),
    (0.97, 97.0, "a percentage for a fraction"),
    (97.0, 0.97, "a fraction for a percentage"),
    (0.25, 4.0, "reciprocal"),
    (0.123456, 0.12, "give more digits"),
    (123.456, 123, "give more digits"),
    (0.7, float("nan"), "Got nan: something was divided by zero"),
    (0.7, float("inf"), "Got inf"),
    (0.7, 1.3, "Expected 0.7, got 1.3."),
    (0, 5, "Expected 0, got 5."),
    (1, True, "One number is expected, got True"),
    (7, np.zeros((2, 2)), "One number is expected, got [[0., 0.], [0., 0.]]"),
    (7, [7], "One number is expected, got [7]"),
    (7, 10**400, "too large to be true"),
    # truth values and None
    (True, 1, "Expected True, got 1."),
    (True, False, "Expected True, got False."),
    (None, 3, "Expected None, got 3."),
    # text
    ("shuffle", "Shuffle ", "only in capital letters, spaces or quotes"),
    ("shuffle", "cache", "Expected 'shuffle', got 'cache'."),
    ("shuffle", 3, "Text in quotes is expected, got 3."),
    # tuples
    ((28, 30), (26, 30), "Entry 0 (counted from 0): Expected 28, got 26."),
    ((28, 30), 840, "A tuple with 2 entries is expected, got 840."),
    # lists
    ([1, 2, 3], [1, 2], "It has 2 entries, but 3 are expected."),
    ([1, 2, 3], [3, 2, 1], "The entries are right, their order is not."),
    (["a", "b"], ["a", "c"], "Entry 1 (counted from 0): Expected 'b', got 'c'."),
    ([[1, 2], [3, 4]], [[1, 2], [3, 5]], "Entry 1 (counted from 0): Entry 1 (counted from 0): Expected 4, got 5."),
    # dicts and sets
    ({"a": 1}, {"b": 1}, "The key 'a' is missing."),
    ({"a": 1}, {"a": 1, "b": 2}, "There should be no key 'b'."),
    ({"a": 1}, {"a": 2}, "Under the key 'a': Expected 1, got 2."),
    ({"a": 1}, [1], "A dict is expected, got [1]."),
    ({1, 2}, {1, 5}, "5 does not belong in it."),
    ({1, 2}, {1}, "1 entries are missing."),
    ({1, 2}, 1, "A set is expected, got 1."),
    # shapes of arrays
    (GREY, GREY.T, "Rows and columns are exchanged"),
    (COLOUR, np.moveaxis(COLOUR, 2, 0), "The channels come first, but should be the last axis."),
    (GREY, GREY[..., None], "There is one axis too many at the end."),
    (GREY[..., None], GREY, "The last axis is missing: the channels?"),
    (GREY, GREY.ravel(), "That is 1 axes instead of 2."),
    (GREY, GREY[1:-1, 1:-1], "Both sides are 2 too short: how is the border treated?"),
    (GREY, np.pad(GREY, 1), "Both sides are 2 too long"),
    (GREY, GREY[:2], "Expected shape (4, 5), got (2, 5)."),
    (SHARES, 3.5, "An array of shape (3,) is expected, got 3.5."),
    (GREY, [[1, 2], [3]], "The rows of your list differ in length"),
    (GREY, np.broadcast_to(np.uint8(0), (10**6, 10**6)), "Expected shape (4, 5), got (1000000, 1000000)."),
    (np.broadcast_to(0.0, (10**8,)), np.broadcast_to(0.0, (10**8,)), "too large to be looked at"),
    # what arrays hold
    (SHARES, np.array(["a", "b", "c"]), "Numbers are expected, but the array has dtype <U1."),
    (SHARES, np.array([1, None, 2]), "dtype object"),
    (np.array(["a"]), np.array(["b"]), "The entries differ."),
    (GREY, GREY > 5, "True and False where numbers are expected"),
    (SHARES, np.array([0.1, np.nan, np.inf]), "2 of 3 values are NaN or infinite"),
    # what happened to the values
    (COLOUR, COLOUR[..., ::-1], "Red and blue are exchanged: BGR for RGB."),
    (COLOUR, COLOUR[:, ::-1, ::-1], "Left and right are exchanged, and so are red and blue (BGR for RGB)."),
    (COLOUR, np.dstack([COLOUR, COLOUR[..., :1]]), "The image has four channels (RGBA): drop the last one."),
    (SQUARE, -SQUARE, "Every value has the wrong sign."),
    (GREY, GREY / 255, "255 times too small"),
    (GREY / 255, GREY, "255 times too large"),
    (SQUARE, SQUARE.T, "(transposed)"),
    (GREY, GREY[:, ::-1], "Left and right are exchanged."),
    (GREY, GREY[::-1], "The order along the first axis is reversed."),
    (SHARES, SHARES[::-1], "The order along the first axis is reversed."),
    (GREY, GREY[::-1, ::-1], "half a turn"),
    (SQUARE, np.rot90(SQUARE), "turned by a quarter"),
    (SQUARE, np.rot90(SQUARE, -1), "turned by a quarter"),
    (GREY, GREY + 0.4, "off by less than 1: round them"),
    (np.array([1.5, 2.7]), np.array([1, 2]), "turned into whole numbers too early"),
    (np.array([250, 260, 300]), np.array([250, 4, 44], dtype="uint8"), "wrapped around at 256"),
    (np.array([-5, 10, 300]), np.array([0, 10, 255]), "Values outside 0…255 were cut off."),
    (SQUARE, SQUARE + 7, "Every value is too large by 7."),
    (SQUARE, SQUARE - 7, "Every value is too small by 7."),
    (SQUARE, SQUARE * 9, "Every value is 9 times what it should be."),
    (GREY, np.pad(GREY[1:-1, 1:-1], 1), "Only the border differs"),
    (np.pad(GREY, 1), np.pad(GREY, 1, constant_values=250).astype("uint8"), "Only the border differs"),
    (np.pad(GREY, 1), np.pad(GREY, 1, constant_values=255), "Only the border differs"),
    (GREY, 255 - GREY, "Black and white are exchanged."),
    (1, np.array([True]), "A number is expected, got [True]"),
    (np.array([1, 2, 3]), np.array([1, 5, 3]), "1 of 3 values differ; the first at 1: expected 2, got 5."),
    (14_714_688, 14_714_687, "It is off by one."),
    (138_357_544, 138_357_480, "Expected 138357544, got 138357480."),
    (np.array([14_714_688, 3]), np.array([14_714_687, 3]), "1 of 2 values differ"),
    (SHARES, np.ma.array(SHARES, mask=[0, 1, 0]), "masked values"),
    (["a"], {"a": 1}.keys(), "wrap it in `list(…)`"),
    ((3, 28), (None, 28), "Entry 0 (counted from 0): It is None: a value is missing here."),
    ("padding", "pading", "is a letter wrong"),
    ("same", "'same'", "quotes inside"),
    ("max pool", "maxpool", "only in capital letters, spaces or quotes"),
    (GREY / 255, GREY / 256, "255 is the largest grey value"),
    (np.array([255, 0, 100], "uint8"), np.array([4, 250, 100], "uint8"), "wrapped around at 256, as `uint8` does"),
    (np.array([0, 255, 9]), np.array([-4, 300, 9]), "Values outside 0…255 are left"),
    (np.array([0, 1, 0.5]), np.array([-4, 3, 0.5]), "Values outside 0…1 are left"),
    (GREY, GREY + 0.7, "cut them off to whole numbers"),
    (np.stack([COLOUR, COLOUR]), np.stack([COLOUR, COLOUR])[..., ::-1], "BGR for RGB"),
    (np.stack([COLOUR, COLOUR + 9]), np.stack([COLOUR, COLOUR + 9])[:, ::-1], "Top and bottom are exchanged."),
    (np.stack([COLOUR, COLOUR + 9]), np.stack([COLOUR, COLOUR + 9])[:, :, ::-1], "Left and right are exchanged."),
    (SQUARE, SQUARE + np.eye(3) * [0, 2, 9], "2 of 9 values differ; the first at (1, 1): expected 5, got 7.0."),
]


@pytest.mark.parametrize(("expected", "got", "words"), WRONG)
def test_wrong(expected, got, words):
    message = difference(expected, got)
    assert words in message
    assert len(message) <= 220 and "\n" not in message


NOT_MISTAKEN = [  # neither a sign, a factor, a turn nor a shift, although a careless test would see one
    (np.zeros((3, 3)), CENTRED, "1 of 9 values differ"),
    (CENTRED, np.zeros((3, 3)), "1 of 9 values differ"),
    (CENTRED, CENTRED.T + np.diag([0, 1, 0]), "1 of 9 values differ"),
    (np.full((2, 2), 3.0), np.array([[3.0, 3.0], [3.0, -3.0]]), "1 of 4 values differ"),
    (0, 1, "Expected 0, got 1."),
    (0.6, 1, "Expected 0.6, got 1."),
    (0.6, 0.006, "Expected 0.6, got 0.006."),
    (187.5, 1.875, "Expected 187.5, got 1.875."),
    (np.array([1, 0]), np.array([0.7, 0.3]), "2 of 2 values differ"),
    ((3000, 4000, 3), (4000, 3, 3000), "The entries are right, their order is not."),
    (0.5, 0.75, "Expected 0.5, got 0.75."),
    (7, 2, "Expected 7, got 2."),
    (np.zeros(3), np.array([2e-4, 1e-4, 2e-4]), "3 of 3 values differ"),
    (np.zeros((2, 2)), np.ones((2, 2)), "4 of 4 values differ"),
    (np.full((2, 2), 4.0), np.full((2, 2), 7.0), "4 of 4 values differ"),
    (np.array([-1.0, -2.0]), np.zeros(2), "2 of 2 values differ"),
    (np.array([0, 9, 0]), np.array([0.9, 8.2, 0.1]), "3 of 3 values differ"),
    (np.array([np.inf, 2.0]), np.array([1.0, 2.0]), "1 of 2 values differ"),
    ("float32", "float64", "Expected 'float32', got 'float64'."),
]


@pytest.mark.parametrize(("expected", "got"), [(0.005, 0.9), (0.5, 55.0)])
def test_wide_tolerance_invents_no_cause(expected, got):
    assert difference(expected, got, tolerance=0.05) == f"Expected {expected}, got {got}."


@pytest.mark.parametrize(("expected", "got", "words"), NOT_MISTAKEN)
def test_no_cause_without_evidence(expected, got, words):
    message = difference(expected, got)
    assert words in message and not any(word in message for word in ("sign", "times", "turned", "exchanged", "Every"))


SHAPES = [
    ((28, 30), (30, 28), "rows (height) first"),
    ((28, 30, 3), (3, 28, 30), "The channels come first, but should be the last axis."),
    ((3, 28, 30), (28, 30, 3), "The channels come last, but should be the first axis."),
    ((28, 30, 1), (28, 30), "The last axis is missing: the channels?"),
    ((1, 28, 30), (28, 30), "The first axis is missing: the batch?"),
    ((28, 30), (1, 28, 30), "one axis too many in front"),
    ((28, 30), (28, 30, 1), "one axis too many at the end"),
    ((5, 28, 30), (28, 30), "The first axis is missing."),
    ((28, 1), (28,), "The last axis is missing."),
    ((1, 28, 30), (28, 1, 30, 1), "Axes of length 1: 2 instead of 1."),
    ((1, 28, 30, 2), (28, 30, 2, 1), "The axis of length 1 stands in another position."),
    ((3000, 4000, 3), (4000, 3, 3000), "The entries are right, their order is not."),
]


@pytest.mark.parametrize(("expected", "got", "words"), SHAPES)
def test_shapes(expected, got, words):
    assert words in difference(expected, got, shape=True)
    assert not any(word in difference(expected, got) for word in ("rows", "axis", "channels"))


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        (448, 432, "432 is too small."),
        (448, 500, "500 is too large."),
        (448, -448, "-448 is not right. The size is right, the sign is not."),
        ("cache", "batch", "'batch' is not right."),
        (True, False, "False is not right."),
        (True, 0, "0 is not True or False."),
        ((28, 30), (30, 28), "(30, 28) is not right. The entries are right, their order is not."),
        ((28, 30), (20, 30), "Entry 0 (counted from 0): 20 is too small."),
        (np.array([1, 2, 3]), np.array([1, 5, 3]), "1 of 3 values differ; the first at 1, where yours is 5."),
        (3, None, "Your answer is None: assign a value to it."),
    ],
)
def test_value_is_not_given_away(expected, got, said):
    message = difference(expected, got, reveal=False, where="value")
    assert message.startswith(said)
    if not isinstance(expected, bool | tuple):
        assert str(expected) not in message.replace(f"-{expected}", "")


def test_dtype_counts_only_if_asked():
    assert difference(GREY, GREY.astype(float)) is None
    message = difference(GREY, GREY.astype(float), dtype=True)
    assert message == "The values are right, but the dtype is float64 instead of uint8: use `.astype(…)` at the end."
    assert difference(GREY, GREY.copy(), dtype=True) is None


def test_tolerance():
    assert difference(1.0, 1.01) is not None
    assert difference(1.0, 1.01, tolerance=0.02) is None
    assert difference(SHARES, SHARES + 0.01, tolerance=0.02) is None


def test_amount_is_told_only_if_revealed():
    assert difference(SQUARE, SQUARE + 7, reveal=False) == "Every value is too large by the same amount."
    assert difference(SQUARE, SQUARE * 9, reveal=False) == "Every value is the same multiple of what it should be."


@pytest.mark.filterwarnings("error")
def test_comparison_warns_nobody():
    assert difference(np.array([1.0, 2.0]), np.array([1e308, 1.0])).startswith("2 of 2 values differ")
    assert difference(np.array([1.0, np.inf]), np.array([2.0, 3.0])).startswith("2 of 2 values differ")


def test_wide_tolerance_invents_no_offset():
    message = difference(np.array([10, 20, 30]), np.array([13, 22, 35]), tolerance=1)
    assert message == "3 of 3 values differ; the first at 0: expected 10, got 13."


def test_pixels_are_called_pixels():
    changed = np.array(GREY)
    changed[0, 1] = 99
    changed[1, 2] = 99
    assert difference(GREY, changed, image=True).startswith("2 of 20 pixels differ")


def test_list_in_itself_ends():
    own = [1]
    own.append(own)
    assert difference([1, 2], own) is not None


def _twelve_levels():
    nested = [0] * 10
    for _ in range(12):  # 10**13 numbers in the memory of 130
        nested = [nested] * 10
    return nested


def _both_itself():
    own = []
    own += [own, own]
    return own


@pytest.mark.parametrize("make", [_twelve_levels, _both_itself, lambda: [[0] * 10**4] * 10**6])
@pytest.mark.parametrize("expected", [SQUARE, (3, 3), [1, 2], 3])
def test_huge_nested_lists_are_not_converted(make, expected):
    assert len(difference(expected, make())) <= 220
