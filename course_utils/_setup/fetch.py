"""The one way in which the course fetches a URL: within limits of time and size, going on where a connection broke."""

import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

from course_utils.live import LiveLine

_ATTEMPTS = 3  # in a row that bring nothing new
_ANSWER = 10.0  # seconds without a byte after which a connection counts as dead and is replaced by another one
_PAUSE = 1.0  # seconds before the second attempt, twice that before the third
_BUSY = (429, 500, 502, 503, 504)  # what a server answers when another attempt may help
_SLOWEST = 1000  # bytes per second; less than that counts as silence
_CHUNK = 1 << 18


class FetchError(RuntimeError):
    """Why a file did not arrive, as the middle of a sentence: *the server answered with status 404*."""


class Limits(NamedTuple):
    """How long and how much to wait for."""

    size: int  # bytes at most
    silence: float = 20.0  # seconds in which hardly a byte arrives
    longest: float = inf  # seconds in all, however steadily the bytes arrive


def fetch(url: str, file: Path, limits: Limits, line: LiveLine | None = None, total: int = 0) -> None:
    """Write what a server sends for `url` into `file`; `line` shows how much of `total` bytes is there.

    Raises
    ------
    FetchError
        If there is no network, the server fails, or a limit is passed. What arrived so far stays in `file`.
    OSError
        If `file` cannot be written.
    """
    failures: list[Exception] = []
    given_up = threading.Event()
    file.touch()

    def work() -> None:
        try:
            _fetch(url, file, given_up)
        except Exception as error:
            failures.append(error)

    def over(seconds: float) -> bool:
        thread.join(seconds)
        return not thread.is_alive()

    # A thread, because requests limits each step only: a name server that does not answer, or a server with many
    # addresses of which none answers, would hold us for minutes. A daemon does not keep Python from ending.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        follow(over, lambda: file.stat().st_size, limits, line, total)
    finally:
        given_up.set()
    if failures:
        raise _in_words(failures[0], file.stat().st_size) from failures[0]


def follow(
    over: Callable[[float], bool],
    received: Callable[[], int],
    limits: Limits,
    line: LiveLine | None = None,
    total: int = 0,
) -> None:
    """Wait for a download that goes on elsewhere, and raise `FetchError` when it passes a limit.

    `over` waits the seconds it is given, or until the end, and returns whether that has come; `received` counts bytes.
    """
    start = since = time.monotonic()
    mark = 0
    while True:
        ended = over(0.1)
        size, now = received(), time.monotonic()
        if size > limits.size:
            raise FetchError(f"more than {limits.size / 1e6:,.0f} MB arrived")
        if ended:
            return
        if line is not None:
            line.update(f"{size / 1e6:,.1f} of {total / 1e6:,.1f} MB")
        if abs(size - mark) >= _SLOWEST * limits.silence:
            mark, since = size, now
        elif now - since > limits.silence:
            raise FetchError(f"hardly anything arrived for {limits.silence:g} seconds")
        if now - start > limits.longest:
            raise FetchError(f"it was not finished after {limits.longest:g} seconds")


def _fetch(url: str, file: Path, given_up: threading.Event) -> None:
    """Fetch `url` in as many attempts as it takes, as long as each third one brings something new."""
    import requests
    import urllib3

    furthest = failures = 0
    while not given_up.is_set():
        try:
            _append(url, file, given_up)
            return
        # Two layers, two families of errors: requests until the answer begins, urllib3 after that.
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            arrived = file.stat().st_size
            failures = 0 if arrived > furthest else failures + 1
            furthest = max(furthest, arrived)
            nobody_there = isinstance(error, requests.ConnectionError) and not arrived
            refused = isinstance(error, ValueError) or _status(error) not in (None, *_BUSY)  # a ValueError: no address
            if failures == _ATTEMPTS or nobody_there or refused:
                raise
            given_up.wait(_PAUSE * failures)


def _append(url: str, file: Path, given_up: threading.Event) -> None:
    """Ask for the bytes of `url` that `file` lacks, and append them; start over if the server sends all of them."""
    import requests

    have = file.stat().st_size
    headers = {"Accept-Encoding": "identity", "User-Agent": "course-utils (image recognition course)"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=_ANSWER) as answer:
        if have and answer.status_code == 416:  # it has no bytes beyond what we have
            return
        answer.raise_for_status()
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        with file.open("ab" if goes_on else "wb", buffering=0) as stream:
            while not given_up.is_set() and (piece := answer.raw.read1(_CHUNK, decode_content=False)):
                stream.write(piece)


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _in_words(error: Exception, arrived: int) -> Exception:
    """Say in plain words why a download failed; the same words on every system."""
    import requests
    import urllib3

    if not isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError):
        return error
    if status := _status(error):
        return FetchError(f"the server answered with status {status}")
    if isinstance(error, ValueError):
        return FetchError("the address is not valid")
    broke = f"the connection broke after {arrived / 1e6:,.1f} MB"
    return FetchError(broke if arrived else "the server cannot be reached")
