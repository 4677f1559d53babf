"""Running what a learner wrote: with a time limit, and with an exception told in one line."""

import contextlib
import ctypes
import io
import linecache
import re
import reprlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

SLICE_S = 0.05
IMPORT_LIMIT_S = 60.0  # a function may import a large library from a cold disk
GRACE_S = 1.0  # how long a stopped function is asked to end before it is left behind
MOST_PRINTED = 2000  # characters that a function may print while it is checked
SMALL_ARRAY = 12  # arrays up to so many elements are shown with their values


class _Brief(reprlib.Repr):
    """Like the standard library's, but without the address of an object that cannot describe itself."""

    def repr_instance(self, value, level):
        try:
            return repr(value.item() if isinstance(value, np.generic) else value)
        except Exception:  # a __repr__ may do anything
            return f"an object of type {type(value).__name__}"


_brief = _Brief()
_brief.maxstring = _brief.maxother = _brief.maxlong = 60


class _FirstWords(io.TextIOBase):
    """A stdout that passes on only so many characters: an endless loop may print in each round."""

    def __init__(self, target) -> None:
        self.target = target
        self.left = MOST_PRINTED

    def write(self, text: str) -> int:
        if self.left > 0:
            self.target.write(text[: self.left])
            self.left -= len(text)
            if self.left <= 0:
                self.target.write("\n… (more was printed)\n")
        return len(text)

    def flush(self) -> None:
        self.target.flush()


class Outcome(NamedTuple):
    """What became of a call: its value, or the exception it ended with, or neither if it took too long."""

    value: Any = None
    error: BaseException | None = None
    finished: bool = True


class _Stop(SystemExit):
    """Raised inside a function that takes too long; a thread ends on SystemExit without printing a traceback."""


def _ends(done: threading.Event, seconds: float) -> bool:
    """Wait in slices: one long wait notices neither Stop (on Windows) nor `_Stop` before it is over."""
    end = time.monotonic() + seconds
    while not done.wait(min(SLICE_S, max(0.0, end - time.monotonic()))) and time.monotonic() < end:
        pass
    return done.is_set()


def _importing(thread: threading.Thread) -> bool:
    """Return whether a thread is inside an import: a library that is stopped half-loaded stays broken."""
    frame = sys._current_frames().get(thread.ident)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _stop(thread: threading.Thread, done: threading.Event) -> None:
    """Ask a thread to end, again and again in case it catches the request; give up after `GRACE_S`."""
    end = time.monotonic() + GRACE_S
    while time.monotonic() < end:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop))
        if done.wait(SLICE_S):
            return


def run_limited(function: Callable, arguments: Sequence = (), seconds: float = 5.0) -> Outcome:
    """Call a function that may do anything in a thread of its own, and stop it when it takes too long.

    One that waits inside compiled code (a long ``time.sleep``) is left behind and ends with the notebook's kernel.
    KeyboardInterrupt (the learner presses Stop) passes.
    """
    outcome, done = [], threading.Event()  # Thread.is_alive() is wrong after an interrupted join

    def work() -> None:
        with contextlib.suppress(_Stop):  # it is sent repeatedly, so it may also arrive outside of the function
            try:
                outcome.append(Outcome(function(*arguments)))
            except BaseException as error:  # also SystemExit from exit(): the notebook must go on
                outcome.append(Outcome(error=error))
            finally:
                done.set()

    thread = threading.Thread(target=work, daemon=True)
    with contextlib.redirect_stdout(_FirstWords(sys.stdout)):
        thread.start()
        in_time = _wait_or_stop(thread, done, seconds)
    return outcome[0] if in_time and outcome else Outcome(finished=False)


def _wait_or_stop(thread: threading.Thread, done: threading.Event, seconds: float) -> bool:
    """Return whether a thread has done its work in time; stop it if not, also when the learner presses Stop."""
    try:
        end = time.monotonic() + IMPORT_LIMIT_S
        while not (in_time := _ends(done, seconds)) and _importing(thread) and time.monotonic() < end:
            while not done.is_set() and _importing(thread) and time.monotonic() < end:
                time.sleep(SLICE_S)
        return in_time  # after an import, the function has had its time once more
    finally:
        if not done.is_set():
            _stop(thread, done)


def short(value: Any, length: int = 60) -> str:
    """Return a description of any object on one line, at most `length` characters; never raises an Exception."""
    try:
        if isinstance(value, np.ndarray) and value.size > SMALL_ARRAY:
            return f"an array of shape {value.shape} and dtype {value.dtype}"
        if isinstance(value, np.ndarray):
            text = np.array2string(value, separator=", ", precision=4, suppress_small=True)
        else:
            text = str(value) if isinstance(value, np.generic) else _brief.repr(value)
    except Exception:  # of an array's entry, for example
        text = f"an object of type {type(value).__name__}"
    return _cut(text, length)


def _cut(text: str, length: int) -> str:
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(text.split()).replace("[ ", "["))
    return text if len(text) <= length else text[: length - 1] + "…"


def one_line(error: BaseException, code: CodeType | None = None) -> str:
    """Return what an exception says and where it arose, as one line.

    That is the innermost frame in the file of `code` (a learner's function), without it in any cell of a notebook:
    ``ZeroDivisionError: division by zero (line 2 of your cell: `return a / 0`)``.
    """
    position = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file == code.co_filename if code is not None else "ipykernel" in file or file.startswith("<ipython"):
            position = (file, number)
    if position is None:
        return _said(error)
    source = linecache.getline(*position).strip()[:80]
    return f"{_said(error)} (line {position[1]} of your cell{f': `{source}`' if source else ''})"


def _said(error: BaseException) -> str:
    try:
        words = re.sub(r"^OpenCV\([^)]*\) \S+ error: ", "", str(error))  # the reason, not OpenCV's own file
    except Exception:  # a __str__ may do anything
        words = ""
    name = type(error).__name__
    name = "cv2.error" if name == "error" else name  # as OpenCV calls its exception
    return _cut(f"{name}: {words}" if words else name, 160)
