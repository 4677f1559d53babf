"""The live line: in a notebook, in a terminal, in a log file."""

import subprocess
import sys
from types import SimpleNamespace

import IPython
import pytest

from course_utils import live


class Place:
    """Stands for the place in a notebook that `display` returns, and keeps what it showed."""

    def __init__(self):
        self.shown = []

    def update(self, data, raw):
        assert raw
        self.shown.append(data["text/plain"])


def use(line):
    with line:
        line.update("1 of 2")
        line.update("2 of 2")


def test_line_in_a_notebook_ends_as_it_began(monkeypatch, capsys):
    place = Place()

    def display(data, raw, display_id):
        assert display_id
        place.update(data, raw)
        return place

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel="a notebook's"))
    use(live.LiveLine("two steps"))
    assert place.shown == ["two steps", "two steps · 1 of 2", "two steps · 2 of 2", "two steps"]
    assert capsys.readouterr() == ("", "")


def test_line_for_terminals_alone_leaves_a_notebook_as_it_is(monkeypatch, capsys):
    monkeypatch.setattr("IPython.display.display", None)  # called, it would fail
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel="a notebook's"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(live, "_PATIENCE", 0)
    use(live.LiveLine("two steps", notebook=False))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", [None, SimpleNamespace(kernel=None), SimpleNamespace()])
def test_line_in_a_terminal_is_wiped(shell, monkeypatch, capsys):
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "17")
    monkeypatch.setattr(live, "_PATIENCE", 3600)
    use(live.LiveLine("two steps"))
    assert capsys.readouterr() == ("", "")  # too soon
    monkeypatch.setattr(live, "_PATIENCE", 0)
    monkeypatch.setattr(live, "_TICK", 0)
    use(live.LiveLine("two steps"))
    wiped = 16 * " "
    assert capsys.readouterr().err == f"\rtwo steps · 1 of\r\rtwo steps · 2 of\r\r{wiped}\r"  # cut to the width


def test_line_in_a_log_file_is_silent(monkeypatch, capsys):
    monkeypatch.setattr(live, "_PATIENCE", 0)
    use(live.LiveLine("two steps"))
    assert capsys.readouterr() == ("", "")


def test_line_imports_no_ipython():
    code = "import sys; from course_utils.live import LiveLine; LiveLine('x').rest(); print('IPython' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert run.stdout == "False\n", run.stderr
