"""Fetching from a server on this machine that cuts, keeps silent, drips, refuses or never ends."""

import contextlib
import os
import time
from types import SimpleNamespace

import pytest
from loopback import NOWHERE, begin, breaks_off, drips, never_ends, says_nothing, sends, serving

from course_utils._setup import fetch as module
from course_utils._setup.fetch import FetchError, Limits, fetch, follow

CONTENT = os.urandom(20_000)
PATIENT = Limits(size=1_000_000, silence=60)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file"


def ranges(asked):
    return [asked_for for _, asked_for in asked]


class Line:
    """Stands for a LiveLine."""

    def __init__(self):
        self.texts = []

    def update(self, text):
        self.texts.append(text)


@pytest.mark.parametrize("goes_on", [True, False])
def test_fetch_goes_on_or_starts_over_after_a_cut(file, goes_on):
    with serving(breaks_off(CONTENT, after=9000, ranges=goes_on)) as (url, asked):
        fetch(url, file, PATIENT)
    assert file.read_bytes() == CONTENT
    assert ranges(asked) == [None, "bytes=9000-"]


def test_fetch_survives_many_cuts_as_long_as_something_arrives(file):
    with serving(breaks_off(CONTENT, after=2500, times=7)) as (url, asked):
        fetch(url, file, PATIENT)
    assert file.read_bytes() == CONTENT
    assert len(asked) == 8 and asked[7] == ("/", "bytes=17500-")


def test_fetch_replaces_a_connection_that_died(file, monkeypatch):
    monkeypatch.setattr(module, "_ANSWER", 0.5)

    def half_then_silent(handler, over):
        if handler.headers.get("Range"):
            begin(handler, 10_000, 206, Content_Range="bytes 10000-19999/20000")
            handler.wfile.write(CONTENT[10_000:])
        else:
            begin(handler, 20_000)
            handler.wfile.write(CONTENT[:10_000])
            over.wait(120)

    with serving(half_then_silent) as (url, asked):
        fetch(url, file, PATIENT)
    assert file.read_bytes() == CONTENT
    assert "bytes=10000-" in ranges(asked)


def test_fetch_is_content_when_the_server_has_nothing_more(file):
    """A server that announced too much says 416 when asked for the rest; the hash of the file will judge."""

    def announces_too_much(handler, over):
        asks = handler.headers.get("Range")
        begin(handler, 0 if asks else 20_001, 416 if asks else 200)
        handler.wfile.write(b"" if asks else CONTENT)

    with serving(announces_too_much) as (url, asked):
        fetch(url, file, PATIENT)
    assert file.read_bytes() == CONTENT and len(asked) == 2


def test_fetch_asks_a_busy_server_again(file):
    answers = [sends(b"", status=503), sends(b"", status=429), sends(CONTENT)]
    with serving(lambda handler, over: answers.pop(0)(handler, over)) as (url, asked):
        fetch(url, file, PATIENT)
    assert file.read_bytes() == CONTENT and len(asked) == 3


@pytest.mark.parametrize(("speed", "enough"), [(1100, True), (900, False)])
def test_follow_waits_for_a_slow_server_but_not_for_a_dripping_one(monkeypatch, speed, enough):
    line, seconds = Line(), 0

    def over(_):
        nonlocal seconds
        seconds += 1
        return seconds == 100

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: seconds))
    expected = contextlib.nullcontext() if enough else pytest.raises(FetchError, match="hardly anything arrived")
    with expected:
        follow(over, lambda: seconds * speed, Limits(size=10**6, silence=20), line, total=2_000_000)
    assert seconds == (100 if enough else 21)
    assert line.texts[9] == "0.0 of 2.0 MB"


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (None, "the server cannot be reached", 0),
        (sends(b"", status=404), "the server answered with status 404", 1),
        (sends(b"", status=503), "the server answered with status 503", 3),
        (breaks_off(CONTENT, after=9000, times=99, ranges=False), r"the connection broke after 0\.0 MB", 4),
        (never_ends, "more than 1 MB arrived", 1),
        (sends(bytes(1_000_001)), "more than 1 MB arrived", 1),
    ],
    ids=["nobody there", "404", "busy", "cuts", "endless", "too large"],
)
def test_fetch_gives_up(file, answer, reason, requests):
    with serving(answer) if answer else contextlib.nullcontext((NOWHERE, [])) as (url, asked):
        with pytest.raises(FetchError, match=f"^{reason}$"):
            fetch(url, file, PATIENT)
        assert len(asked) == requests


def half(handler, over):
    begin(handler, len(CONTENT))
    handler.wfile.write(CONTENT[:50])
    over.wait(120)


@pytest.mark.parametrize("answer", [says_nothing, half, drips])
def test_fetch_gives_up_a_server_that_hardly_sends(file, answer):
    with serving(answer) as (url, _), pytest.raises(FetchError, match=r"^hardly anything arrived for 0\.3 seconds$"):
        fetch(url, file, PATIENT._replace(silence=0.3))


def test_fetch_ends_after_its_longest_time_however_steady_the_bytes(file):
    limits = Limits(size=10**12, silence=60, longest=0.3)
    with serving(drips) as (url, _), pytest.raises(FetchError, match=r"^it was not finished after 0\.3 seconds$"):
        fetch(url, file, limits)


@pytest.mark.parametrize("url", ["no-scheme", "http://", "http://[::1/cat.png"])
def test_fetch_refuses_what_is_no_address(file, url):
    with pytest.raises(FetchError, match=r"^the address is not valid$"):
        fetch(url, file, PATIENT)


def test_fetch_says_which_disk_is_full(file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_append", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(NOWHERE, file, PATIENT)


def test_fetch_stops_its_thread_when_it_gives_up(file):
    hung_up = []

    def steady(handler, over):
        begin(handler, 10**9)
        try:
            while not over.wait(0.01):
                handler.wfile.write(bytes(1000))
        except OSError:
            hung_up.append(True)

    with serving(steady) as (url, _):
        with pytest.raises(FetchError, match="more than"):
            fetch(url, file, Limits(size=5000, silence=60))
        end = time.monotonic() + 60
        while not hung_up and time.monotonic() < end:
            time.sleep(0.01)
    assert hung_up
