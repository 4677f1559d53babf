"""The kinds of exercises, on small exercises of their own, and five hundred hostile answers."""

import html
import re
import sys

import numpy as np
import pytest

from course_utils.exercises.engine import function, kinds, model, quiz, value
from course_utils.exercises.engine.feedback import Feedback, draw_comparison, drawable
from course_utils.exercises.engine.kinds import has_blank

EXPECTED_IMAGE = np.arange(48, dtype="uint8").reshape(4, 4, 3)


@function(
    inputs=lambda: [(np.array([[1, 2], [3, 4]]), 1), (np.zeros((3, 3)), 2)],
    hints=("Look at the corners.", "`np.pad` does it."),
    remark="Zeros all around.",
)
def pad(image, width):
    # a comment of the solution
    return np.pad(image, width)


@pad.mistake("You padded below and on the right only.")
def one_side(image, width):
    return np.pad(image, ((0, width), (0, width)))


@value(hints=("Kernels first.", "And the biases."), mistakes=[(3 * 3 * 3 * 16, "You left out the biases.")])
def parameters():
    weights = 3 * 3 * 3
    return (weights + 1) * 16


@value(hints=("a", "b"), image=True, dtype=True)
def picture():
    return EXPECTED_IMAGE


@value(
    hints=("a", "b"),
    mistakes=[([0, 1], "Begin at 1.")],
    rules=[
        (lambda pair: len(pair) == 2, (1, 2, 3), "It must be two numbers."),
        (lambda pair: pair[0] < pair[1], lambda: (2, 1), "The first must be the smaller one."),
    ],
)
def ordered():
    return (1, 2)


@quiz(because="it is so.", hints=("Think.",), A="It is not A.", C="It is not C.")
def q1():
    return "B"


def network(units):
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])


@model(
    hints=("a", "b"),
    rules=[(lambda network: network.count_params() < 20, lambda: network(5), "It has too many parameters.")],
)
def small():
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


ALL = [pad, parameters, picture, ordered, q1, small]


def said(exercise, answer) -> str:
    return str(exercise.judge(answer))


# --- functions


def test_solution_is_correct_and_says_the_remark():
    assert said(pad, pad.right_answer) == "✔ Correct. Zeros all around."


def test_exchanged_parameters_are_named():
    told = "It is called with (image, width), but yours takes (width, image): keep their order."
    assert told in said(pad, lambda width, image: np.pad(image, width))  # which stops
    assert said(pad, lambda width, image: width).startswith(f"✘ Not yet. {told}\n")
    assert "keep their order" not in said(pad, lambda picture, width: picture)


def test_known_mistake_is_named_with_smallest_input():
    text = said(pad, lambda image, width: np.pad(image, [(0, width), (0, width)]))
    assert text.startswith("✘ Not yet. You padded below and on the right only.\n`pad([[1, 2], [3, 4]], 1)`")


def test_first_failing_input_is_shown():
    text = said(pad, lambda image, width: np.pad(image, min(width, 1)))
    assert (
        "`pad([[0., 0., 0.], [0., 0., 0.], [0., 0., 0.]], 2)` (the input before it came out right) goes wrong." in text
    )


def forgets(image, width):
    np.pad(image, width)


def breaks(image, width):
    border = width
    return image[border, border, border]


def changes_its_input(image, width):
    image += 100
    return np.pad(image - 100, width)


def unfinished(image, width):
    result = ...
    print(result)
    return result


def half_finished(image, width):
    return np.pad(image, width) if width == 1 else ...


def stub(image, width):
    """Pad."""


def with_an_index(image, width):
    return np.pad(image[..., None], ((width, width), (width, width), (0, 0)))[..., 0]


def with_a_stub_inside(image, width):
    def later(): ...

    return np.pad(image.__getitem__(...), width)


def adds_to_a_blank(image, width):
    padding = dict(width=...)["width"]
    return padding + 1


def endless(image, width):
    while True:
        pass


def leaves(image, width):
    sys.exit("bye")


def one_argument(image):
    return image


@pytest.mark.parametrize("blank", [..., unfinished, half_finished, stub, adds_to_a_blank, lambda image, width: ...])
def test_blank_function_is_not_attempted(blank):
    assert said(pad, blank) == "○ Not attempted. Replace each `...` with your answer and run the cell again."


def test_stub_inside_a_function_is_no_blank():
    assert pad.judge(with_a_stub_inside).status != "not attempted"


def test_blank_found_by_running_is_not_attempted():
    source = "def f(image, width):\n    return ... + width\n"
    names = {}
    exec(source, names)  # its source cannot be read
    assert pad.judge(names["f"]).status == "not attempted"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (forgets, "`pad([[1, 2], [3, 4]], 1)` goes wrong. The result is None: did you forget `return`?"),
        (breaks, "`pad([[1, 2], [3, 4]], 1)` stops with IndexError: too many indices for array"),
        (leaves, "stops with SystemExit: bye (line 2 of your cell: `sys.exit"),
        (one_argument, "stops with TypeError: one_argument() takes 1 positional argument but 2 were given"),
        (np.zeros((4, 4)), "Pass the function itself, without calling it: `check(pad)`."),
        (None, "Pass the function itself, without calling it: `check(pad)`. This is None."),
        (int, "`pad([[1, 2], [3, 4]], 1)` stops with ValueError: int() base must be"),
    ],
    ids=lambda part: getattr(part, "__name__", None),
)
def test_wrong_function_gets_reply(answer, words):
    text = said(pad, answer)
    assert text.startswith("✘ Not yet.")
    if answer is leaves:
        words = words.replace("line 2", f"line {leaves.__code__.co_firstlineno + 1}")
    assert words in text


def test_exception_names_line_of_cell():
    line = breaks.__code__.co_firstlineno + 2
    assert f"(line {line} of your cell: `return image[border, border, border]`)" in said(pad, breaks)


@pytest.mark.parametrize("answer", [changes_its_input, with_an_index, np.pad])
def test_unusual_function_is_correct(answer):
    assert pad.judge(answer).status == "correct"


def test_endless_loop_is_told(monkeypatch):
    monkeypatch.setattr(pad, "seconds", 0.2)
    text = said(pad, endless)
    assert text.startswith("✘ Not yet. `pad([[1, 2], [3, 4]], 1)` did not end within 0.2 s: does a loop never stop")
    assert "`input()`" in text


def collects(image, width, seen=[]):  # noqa: B006 (the bug it shows)
    seen.append(np.pad(image, width))
    return seen[0] if len(seen) == 1 else seen


def test_first_result_survives_later_changes():
    buffer = np.zeros((4, 4))

    def reuses(image, width):
        buffer[...] = 0
        buffer[1:-1, 1:-1] = image[:2, :2]
        return buffer

    assert "2)` (the input before it came out right) goes wrong. Expected shape (7, 7)" in said(pad, reuses)
    assert "2)` (the input before it came out right) goes wrong." in said(pad, collects)


def test_course_fault_is_a_note():
    def missing():
        raise FileNotFoundError("coins.png")

    broken = function(hints=(), inputs=missing)(pad.reference)
    feedback = broken.judge(pad.reference)
    assert feedback.status == "note"
    assert "`pad` could not be prepared: FileNotFoundError: coins.png. This is the course's fault" in feedback.text
    assert value(hints=())(missing).judge(3).status == "note"


# --- values, models, quiz


def test_values():
    assert said(parameters, 448) == "✔ Correct."
    assert said(parameters, 432) == "✘ Not yet. You left out the biases."
    assert parameters.judge(449).status == "wrong"
    assert "448" not in said(parameters, 447)  # the right number is not given away
    assert parameters.judge(...).status == "not attempted"


def test_rules_are_tried_in_order():
    assert said(ordered, (1, 5)) == "✔ Correct."
    assert said(ordered, (0, 1)) == "✘ Not yet. Begin at 1."
    assert said(ordered, (1, 2, 3)) == said(ordered, 7) == "✘ Not yet. It must be two numbers."
    assert said(ordered, "ba") == said(ordered, (None, 1)) == "✘ Not yet. The first must be the smaller one."
    assert ordered.judge([1, ...]).status == "not attempted"


def test_mistakes_are_made_on_demand():
    assert [mistake.answer for mistake in ordered.mistakes] == [[0, 1], (1, 2, 3), (2, 1)]
    for mistake in (*ordered.mistakes, *parameters.mistakes, *pad.mistakes, *q1.mistakes):
        assert isinstance(mistake.message, str)
    assert pad.mistakes[0].answer is one_side
    assert [mistake.answer for mistake in q1.mistakes] == ["A", "C"]


def test_progress_is_off_in_tests(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    parameters.check(448)  # conftest.py switches progress off, also for the kernels that tests start
    assert capsys.readouterr().out == "✔ Correct.\n"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("COURSE_PROGRESS")
    parameters.check(448)
    assert (tmp_path / "progress.json").exists()


def test_check_takes_several_numbers(capsys):
    ordered.check(1, 2)
    assert capsys.readouterr().out == "✔ Correct.\n"


def test_models():
    assert said(small, small.right_answer) == "✔ Correct."
    assert said(small, network(5)) == "✘ Not yet. It has too many parameters."
    assert said(small, 5) == "✘ Not yet. A Keras model is expected, but this is 5."
    assert said(small, network).endswith("Call your function, and pass what it returns.")
    import keras

    assert "begin it with `keras.Input(...)`" in said(small, keras.Sequential([keras.layers.Dense(2)]))
    assert small.judge(...).status == "not attempted"
    history = keras.callbacks.History()
    assert said(small, history).endswith("That is what `fit` returns: pass the network itself.")
    assert "Call your function" not in said(small, keras.layers.Dense(2))
    assert said(parameters, keras.Input((3,))).startswith("✘ Not yet. One number is expected, got <KerasTensor")


def test_model_exercise_works_without_keras(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    assert small.judge(5).status == "wrong"


@pytest.mark.parametrize("answer", ["B", "b", " b) ", "B.", "(b)"])
def test_right_letter(answer):
    assert said(q1, answer) == "✔ Correct. it is so."


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("a", "It is not A."),
        ("C", "It is not C."),
        ("D", "out of A, B, C; this is 'D'"),
        (2, "this is 2"),
        ("", "this"),
    ],
)
def test_wrong_letter(answer, words):
    assert words in said(q1, answer) and q1.judge(answer).status == "wrong"


def test_blank_letter():
    assert said(q1, ...).startswith("○ Not attempted. Replace the `...` with the letter of your answer in quotes")


# --- hints and solutions


def test_hints(capsys):
    pad.hint()
    assert capsys.readouterr().out == "→ Hint 1 of 2: Look at the corners. (`.hint(2)` says more)\n"
    pad.hint(2)
    assert capsys.readouterr().out == "→ Hint 2 of 2: `np.pad` does it.\n"
    for number in (3, 0, "x", None):
        pad.hint(number)
        assert "the hints are .hint(1) to .hint(2)." in capsys.readouterr().out


def test_no_hints(capsys):
    exercise = quiz(because="b", A="a", C="c")(q1.reference)
    exercise.hint()
    assert "there is no hint" in capsys.readouterr().out


def test_solution_shows_source(capsys):
    pad.solution()
    wanted = "def pad(image, width):\n    # a comment of the solution\n    return np.pad(image, width)\n"
    assert capsys.readouterr().out == "→ Solution Zeros all around.\n\n" + wanted
    assert parameters.answer_code() == "weights = 3 * 3 * 3\nparameters = (weights + 1) * 16"
    assert q1.answer_code() == '"B"'


def test_check_shows_and_records(monkeypatch, capsys):
    recorded = []
    monkeypatch.setattr(kinds, "record", lambda *result: recorded.append(result) or "Something was off.")
    assert parameters.check(448) is None
    assert capsys.readouterr().out == "→ Note Something was off.\n✔ Correct.\n"
    assert recorded == [("test_engine", "parameters", "correct")]
    parameters.check()
    assert "Not attempted" in capsys.readouterr().out


def test_stop_ends_check_with_one_line(monkeypatch, capsys):
    def stopped(answer):
        raise KeyboardInterrupt

    monkeypatch.setattr(parameters, "judge", stopped)
    parameters.check(3)
    assert capsys.readouterr().out == "→ Note Stopped.\n"


def test_repr_says_how_to_use_it():
    assert repr(pad) == "Exercise pad of test_engine: .check(your answer), .hint(), .solution()"


# --- the reply


@pytest.mark.parametrize(
    "feedback",
    [
        Feedback("correct", "a < b & `c`\nnext"),
        Feedback("wrong", ""),
        Feedback("solution", "Why.", code="def f(x):\n    return x < 1"),
    ],
)
def test_feedback_says_the_same_in_text_and_html(feedback):
    words = html.unescape(re.sub(r"<[^>]+>", " ", feedback._repr_html_()))
    assert words.split() == str(feedback).replace("`", " ").split()


def test_wrong_image_is_drawn():
    wrong = EXPECTED_IMAGE[::-1]
    feedback = picture.judge(wrong)
    assert feedback.status == "wrong"
    assert 'src="data:image/png;base64,' in feedback._repr_html_()
    assert "base64" not in str(feedback)
    assert "base64" not in picture.judge("no picture")._repr_html_()


def test_drawing_uses_range_of_expected_image():
    import io

    from PIL import Image

    bright, dark = np.full((8, 8), 200, "uint8"), np.zeros((8, 8), "uint8")
    drawn = np.asarray(Image.open(io.BytesIO(draw_comparison(bright, dark))).convert("L"))
    height, width = drawn.shape
    middle = [int(drawn[height * 2 // 3, width * part // 6]) for part in (1, 3, 5)]
    assert middle == [255, 0, 255]  # expected, got, difference
    narrow = np.asarray(Image.open(io.BytesIO(draw_comparison(bright, dark[:4]))))
    assert narrow.shape[1] < width  # other shapes have no difference


def test_drawable_images():
    assert drawable(np.zeros((5, 5))) and drawable(np.zeros((5, 5, 3), "uint8"))
    for other in (None, [[1]], np.zeros((2, 2)), np.zeros((5, 5, 4)), np.zeros((5, 5), complex), np.zeros(9)):
        assert not drawable(other)
    assert not drawable(np.broadcast_to(np.uint8(0), (10**6, 10**6)))


def test_undrawable_image_leaves_the_words():
    feedback = Feedback("wrong", "words", expected=np.zeros((5, 5)), got=np.array([[object()] * 5] * 5))
    assert "words" in feedback._repr_html_() and "<img" not in feedback._repr_html_()


# --- hostile answers


class Raises:
    """An object that raises whatever is done with it."""

    def _no(self, *arguments, **named):
        raise RuntimeError("never")

    __eq__ = __ne__ = __array__ = __repr__ = __str__ = __len__ = __iter__ = __bool__ = __hash__ = _no
    __getitem__ = __contains__ = __float__ = __int__ = __index__ = __lt__ = __gt__ = __call__ = __deepcopy__ = _no
    __add__ = __radd__ = __mul__ = __sub__ = __abs__ = __neg__ = __round__ = _no

    def __getattr__(self, name):
        raise RuntimeError("never")


class Exits:
    """An object that wants to end the notebook."""

    def __repr__(self):
        sys.exit(1)

    __array__ = __eq__ = __len__ = __iter__ = __float__ = __bool__ = lambda self, *a, **k: sys.exit(1)
    __hash__ = None


class FalseClass:
    """An object that lies about its class."""

    @property
    def __class__(self):
        raise RuntimeError("never")


class EqualToAll:
    """An object that says it equals everything, with an array."""

    def __eq__(self, other):
        return np.array([True, False])

    __hash__ = None


class Endless:
    """An array-like object that never ends."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self


class LyingArray(np.ndarray):
    """An array whose operations raise."""

    def __array_ufunc__(self, *arguments, **named):
        raise RuntimeError("never")

    def __array_function__(self, *arguments, **named):
        raise RuntimeError("never")


def recursive(*arguments):
    return recursive(*arguments)


def generator(*arguments):
    yield arguments


async def coroutine(*arguments):
    return arguments


def deep_list():
    items = []
    for _ in range(100_000):
        items = [items]
    return items


def own_list():
    items = [1]
    items.append(items)
    return items


def own_dict():
    items = {}
    items["self"] = items
    return items


HOLDER = np.empty(1, dtype=object)
HOLDER[0] = Raises()
HOSTILE_VALUES = [
    None, True, False, 0, -1, 1, 10**400, -(10**400), 1e308, -0.0, float("nan"), float("inf"), -float("inf"), 1j,
    "", "x", "...", "\0", "a" * 10**6, "B" * 10**6, b"B", bytearray(b"x"), [], (), {}, set(), frozenset({1}),
    [None], [[]], [[3], [2, 3]], [float("nan")], {"a": ...}, [1, "a", None], range(10**12), slice(None),
    memoryview(b"x"), object(), object, type, int, len, print, sys, np, lambda: 1, lambda *a, **k: 1,
    NotImplemented, Exception("x"), np.nan, np.float16(1), np.int8(-1), np.bool_(True), np.str_("C"),
    np.datetime64("2020-01-01"), np.array(None), np.array([]), np.empty((0, 5)), np.array(3),
    np.array([np.nan] * 4), np.array(["b", "a"]), np.array([None, 1]), np.full((4, 4, 3), np.nan),
    np.zeros((4, 4, 3), complex), np.zeros(3, "datetime64[s]"), np.zeros(2, [("a", int)]),
    np.zeros((4, 4, 3), bool), np.zeros((4, 4, 3), ">i2"), np.ma.masked_all((4, 4, 3)),
    np.broadcast_to(np.uint8(0), (10**6, 10**6)), np.broadcast_to(0.0, (10**9,)), np.zeros((1,) * 30),
    np.zeros(3).view(LyingArray), np.zeros((4, 4, 3), "uint8").view(LyingArray), HOLDER, np.float64, np.ndarray,
    Raises(), [Raises()], (Raises(), Raises()), {"a": Raises()}, Raises, Exits(), [Exits()], Exits, FalseClass(),
    [FalseClass()], EqualToAll(), [EqualToAll()], Endless(), iter([1]), zip([1], [2], strict=True), map(str, [1]),
    enumerate([1]), (i for i in [1]), deep_list(), own_list(), own_dict(), open, generator, generator(), recursive,
    coroutine, staticmethod(len), property(),
]  # fmt: skip


def returning(result):
    return lambda *arguments, **named: result


HOSTILE = HOSTILE_VALUES + [returning(answer) for answer in HOSTILE_VALUES]


# Stopping a thread raises SystemExit in it, which threads end on silently; pytest tells of it all the same.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning", "ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.name)
def test_hostile_answers_get_a_reply(exercise, monkeypatch, capsys):
    monkeypatch.setattr(kinds, "JUDGING_LIMIT_S", 5.0)
    if exercise is pad:
        monkeypatch.setattr(pad, "seconds", 0.5)
    for number, answer in enumerate(HOSTILE):
        feedback = exercise.judge(answer)
        assert feedback.status in {"wrong", "not attempted"}, (number, type(answer))
        assert 0 < len(str(feedback)) < 1500 and len(feedback._repr_html_()) > 0, (number, type(answer))
        assert "Traceback" not in str(feedback)


def test_hostile_answers_are_five_hundred():
    assert len(HOSTILE) * len(ALL) >= 500


def test_slow_judging_is_stopped(monkeypatch):
    monkeypatch.setattr(kinds, "JUDGING_LIMIT_S", 0.2)
    slow = value(hints=(), rules=[(lambda answer: endless(1, 1), 3, "")])(parameters.reference)
    assert said(slow, 3) == "✘ Not yet. Your answer, of type int, could not be checked: it took longer than 0 s."


def test_has_blank_searches_containers():
    for blank in (..., [1, ...], (1, [2, ...]), {"a": ...}, {...}, np.array([1, ...], dtype=object), [[[[...]]]]):
        assert has_blank(blank)
    for other in (None, [], 0, "...", [1, 2], own_list(), np.zeros(3), [0] * 10**6, deep_list()):
        assert not has_blank(other)
