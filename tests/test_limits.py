"""Running foreign code: it returns, raises, never ends, or says something that cannot be shown."""

import linecache
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from course_utils.exercises.engine import limits
from course_utils.exercises.engine.limits import one_line, run_limited, short


def test_a_value_comes_back():
    assert run_limited(lambda a, b: a + b, (1, 2)) == (3, None, True)


def test_an_exception_comes_back_even_one_that_would_end_the_notebook():
    assert isinstance(run_limited(lambda: 1 / 0).error, ZeroDivisionError)
    assert isinstance(run_limited(exit).error, SystemExit)


def endless():
    while True:
        pass


def endless_and_stubborn():
    for _ in range(3):
        try:
            while True:
                pass
        except BaseException:
            continue
    while True:
        pass


@pytest.mark.parametrize("function", [endless, endless_and_stubborn])
def test_an_endless_loop_is_stopped(function, capfd):
    before = limits.threading.active_count()
    outcome = run_limited(function, seconds=0.1)
    assert outcome == (None, None, False)
    assert limits.threading.active_count() == before  # nothing goes on behind the notebook's back
    assert capfd.readouterr() == ("", "")


def test_a_function_that_cannot_be_stopped_is_left_behind(monkeypatch):
    monkeypatch.setattr(limits, "GRACE_S", 0.1)
    assert run_limited(time.sleep, (1,), seconds=0.1) == (None, None, False)


STOPPED = """
import os, signal, threading, time
from course_utils.exercises.engine.limits import run_limited

def endless():
    while True:
        pass

threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    run_limited(run_limited, (endless, (), 60), 60)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("stopped", threading.active_count())
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_the_stop_button_stops_the_function_too():
    run = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr) == ("stopped 1\n", "")


def test_a_flood_of_words_is_cut_off(capsys):
    def floods():
        for number in range(100_000):
            print(number)

    assert run_limited(floods).finished
    out = capsys.readouterr().out
    assert out.startswith("0\n1\n2\n") and out.endswith("\n… (more was printed)\n")
    assert len(out) == limits.MOST_PRINTED + len("\n… (more was printed)\n")


def test_an_import_is_not_broken_off(tmp_path, monkeypatch):
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(0.5)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def imports():
        import slow_to_load

        return slow_to_load.ready

    assert run_limited(imports, seconds=0.1) == (True, None, True)


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


class Rambling:
    def __repr__(self):
        return "word " * 1000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3"),
        ("text", "'text'"),
        (np.float64(0.5), "0.5"),
        ([np.int64(0)], "[0]"),
        (np.array([[5], [90]]), "[[5], [90]]"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (np.zeros((28, 28), "uint8"), "an array of shape (28, 28) and dtype uint8"),
        (Hostile(), "an object of type Hostile"),
        ([Hostile()], "[an object of type Hostile]"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, ...]"),
        ("a\nb", r"'a\nb'"),
        (object(), "<object object>"),
        (endless, "<function endless>"),
    ],
)
def test_short(value, expected):
    assert short(value).startswith(expected)
    assert "\n" not in short(value)


def test_short_is_short():
    assert len(short(Rambling())) <= 60
    assert len(short("x" * 10**6)) <= 60
    assert len(short(10**5000)) <= 60
    assert short(np.array([Hostile()], dtype=object)) == "an object of type ndarray"
    assert short("abcdefghij", 5) == "'abc…"


def raised(source: str, file: str):
    """Run a cell the way a notebook does and return the exception and the function that it defines."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = {}
    exec(compile(source, file, "exec"), names)
    return run_limited(names["f"], (2,)).error, names["f"]


def test_one_line_names_the_line_of_the_cell_not_of_the_library():
    source = "import numpy as np\n\ndef f(x):\n    y = x + 1\n    return np.ones(3).reshape(y, 7)\n"
    error, function = raised(source, "ipykernel_1/2.py")
    wanted = "ValueError: cannot reshape array of size 3 into shape (3,7)"
    place = " (line 5 of your cell: `return np.ones(3).reshape(y, 7)`)"
    assert one_line(error, function.__code__) == wanted + place
    assert one_line(error) == wanted + place  # the file's name tells that it is a cell


def test_one_line_of_opencv_gives_its_reason():
    import cv2

    error = run_limited(lambda: cv2.resize(np.zeros((4, 4), "uint8"), (2.5, 2))).error
    assert one_line(error).startswith("cv2.error: (-5:Bad argument) in function 'resize'")
    assert "Can't parse 'dsize'" in one_line(error)


def test_one_line_without_a_place():
    assert one_line(ValueError("bad")) == "ValueError: bad"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"

    class Unspeakable(Exception):
        def __str__(self):
            raise ValueError

    assert one_line(Unspeakable()) == "Unspeakable"
