"""Small notebooks that must fail: they prove that a wrong output, an error or noise is found.

Each is written here, so that a reader sees what is wrong with it, and run by the same pytest settings as the lessons.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def cell(source: str, *outputs) -> dict:
    return new_code_cell(source, execution_count=1, outputs=list(outputs))


CLAIM = "from course_utils import verify\nverify({!r}, {}, measured={!r})"
MUST_FAIL = {
    "wrong_stored_output": cell("print(1 + 1)", stream("3\n")),
    "output_that_is_no_longer_there": cell("pass", stream("3\n")),
    "output_that_was_not_there": cell("print(3)"),
    "raised_error": cell("1 / 0"),
    "claim_that_does_not_hold": cell(CLAIM.format("one is two", "1 == 2", "1"), stream("✔ one is two · measured 1\n")),
    "claim_in_other_words": cell(CLAIM.format("one is one", "1 == 1", "1"), stream("✔ one is 1 · measured 1\n")),
    "measured_where_nothing_was": cell(CLAIM.format("one is one", "1 == 1", ""), stream("✔ one is one · measured 1\n")),
    "stderr": cell("import sys\nprint('careful', file=sys.stderr)"),
    "warning": cell("import warnings\nwarnings.warn('old')"),
}
# Without these, a runner that fails at everything would make all canaries look healthy.
MUST_PASS = {
    "good": cell("print(1 + 1)", stream("2\n")),
    "other_measured_value": cell(
        CLAIM.format("one is one", "1 == 1", "97.1%"), stream("✔ one is one · measured 88.9 %\n")
    ),
    "never_run": new_code_cell("print(1 + 1)", execution_count=None, outputs=[]),  # nbval's blind spot, see below
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """Run a notebook for each canary through nbval, by the settings of the course, and return pytest's words."""
    folder = tmp_path_factory.mktemp("canaries")
    for name, canary in (MUST_FAIL | MUST_PASS).items():
        nbformat.write(new_notebook(cells=[canary]), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-rA", "-p", "no:cacheprovider", "-p", "no:xdist", "-c"]
    command += [str(ROOT / "pyproject.toml"), "--rootdir", str(folder), str(folder)]
    strict = {**os.environ, "COURSE_STRICT": "1"}  # as conftest.py sets it, which does not count for this folder
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, cwd=ROOT, env=strict)
    return run.stdout + run.stderr


@pytest.mark.parametrize("name", MUST_FAIL)
def test_canary_fails(name, report):
    assert re.search(rf"FAILED \S*\b{name}\.ipynb::Cell 0", report), report


@pytest.mark.parametrize("name", MUST_PASS)
def test_good_notebook_passes(name, report):
    assert re.search(rf"PASSED \S*\b{name}\.ipynb::Cell 0", report), report


def test_cell_that_was_never_run_is_seen_by_our_guard():
    from test_notebooks import test_cells_were_executed_once_and_in_order as guard

    with pytest.raises(AssertionError):
        guard(new_notebook(cells=[MUST_PASS["never_run"]]))


@pytest.mark.parametrize("strict", [False, True])
def test_false_claim_stops_only_a_strict_notebook(strict, monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    first = new_code_cell(CLAIM.format("one is two", "1 == 2", "1 %"))
    notebook = new_notebook(cells=[first, new_code_cell("print('goes on')")])
    client = NotebookClient(notebook, timeout=600, startup_timeout=600, kernel_name="python3")
    environment = os.environ | ({"COURSE_STRICT": "1"} if strict else {})
    if strict:
        with pytest.raises(CellExecutionError, match="Not so in this run: one is two"):
            client.execute(env=environment)
    else:
        client.execute(env=environment)
        assert first.outputs[0].text.startswith("✘ Not so in this run: one is two · measured 1 %\n")
        assert notebook.cells[1].outputs[0].text == "goes on\n"


@pytest.mark.parametrize("source", ["%nosuchmagic", "!false"])
def test_magics_and_shell_lines_are_banned(source):
    from test_notebooks import test_no_magics_shell_lines_or_trailing_semicolons as guard

    with pytest.raises(SyntaxError):
        guard(new_notebook(cells=[new_code_cell(source, execution_count=1)]))


def test_stored_stderr_and_blank_figures_are_seen():
    import base64
    import io

    from PIL import Image
    from test_notebooks import test_no_stored_error_or_stderr, test_no_stored_figure_is_blank

    with pytest.raises(AssertionError):
        test_no_stored_error_or_stderr(new_notebook(cells=[new_code_cell("", outputs=[stream("hm", "stderr")])]))
    png = io.BytesIO()
    Image.new("RGB", (50, 50), "white").save(png, "png")
    figure = new_output("display_data", data={"image/png": base64.b64encode(png.getvalue()).decode()})
    with pytest.raises(AssertionError):
        test_no_stored_figure_is_blank(new_notebook(cells=[new_code_cell("", outputs=[figure])]))
