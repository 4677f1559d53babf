"""Running foreign code: it returns, raises, never ends, or says something that cannot be shown."""

import linecache
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from course_utils.exercises.engine import limits
from course_utils.exercises.engine.limits import one_line, run_limited, short


def test_value_comes_back():
    assert run_limited(lambda a, b: a + b, (1, 2)) == (3, None, True)


def test_exception_comes_back():
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
def test_endless_loop_is_stopped(function, capfd, monkeypatch):
    monkeypatch.setattr(limits, "GRACE_S", 60.0)
    before = set(threading.enumerate())
    outcome = run_limited(function, seconds=0.1)
    assert outcome == (None, None, False)
    for thread in set(threading.enumerate()) - before:  # nothing goes on behind the notebook's back
        thread.join(60)
        assert not thread.is_alive()
    assert capfd.readouterr() == ("", "")


def test_function_that_cannot_be_stopped_is_left_behind(monkeypatch):
    monkeypatch.setattr(limits, "GRACE_S", 0.1)
    # It ends by itself: under coverage, Python 3.11 hangs while a thread that waits for ever has an exception coming.
    assert run_limited(time.sleep, (2,), seconds=0.1) == (None, None, False)


STOPPED = """
import os, signal, threading, time
from course_utils.exercises.engine.limits import run_limited

def endless():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        pass

try:
    run_limited(run_limited, (endless, (), 600), 600)
except KeyboardInterrupt:
    end = time.monotonic() + 60
    while threading.active_count() > 1 and time.monotonic() < end:
        time.sleep(0.01)
    print("stopped", threading.active_count())
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_stop_button_stops_the_function_too():
    run = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=300)
    assert (run.stdout, run.stderr) == ("stopped 1\n", "")


def test_flood_of_words_is_cut_off(capsys):
    def floods():
        for number in range(100_000):
            print(number)

    assert run_limited(floods).finished
    out = capsys.readouterr().out
    assert out.startswith("0\n1\n2\n") and out.endswith("\n… (more was printed)\n")
    assert len(out) == limits.MOST_PRINTED + len("\n… (more was printed)\n")


def test_import_is_not_broken_off(tmp_path, monkeypatch):
    source = "from course_utils.exercises.engine import limits\nlimits.begun.set()\nready = limits.goes_on.wait(60)\n"
    (tmp_path / "slow_to_load.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(limits, "begun", threading.Event(), raising=False)
    monkeypatch.setattr(limits, "goes_on", threading.Event(), raising=False)
    limits_passed = []

    def ends(done, seconds):  # the time is up when the import has begun; the import ends later
        assert limits.begun.wait(60)
        if limits_passed:
            done.wait(60)
        else:
            threading.Timer(0.2, limits.goes_on.set).start()
        limits_passed.append(seconds)
        return done.is_set()

    monkeypatch.setattr(limits, "_ends", ends)

    def imports():
        import slow_to_load

        return slow_to_load.ready

    assert run_limited(imports, seconds=0.1) == (True, None, True)
    assert limits_passed == [0.1, 0.1]  # what follows the import has as much time as without it


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


def test_one_line_names_line_of_cell():
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


def test_one_line_without_position():
    assert one_line(ValueError("bad")) == "ValueError: bad"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"

    class Unspeakable(Exception):
        def __str__(self):
            raise ValueError

    assert one_line(Unspeakable()) == "Unspeakable"
