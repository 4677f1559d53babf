"""Small notebooks that must fail: they prove that a wrong output, an error or noise is found.

Each is written here, so that a reader sees what is wrong with it, and run by the same pytest settings as the lessons.
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def failed_cells(folder: Path, *cells) -> tuple[int, str]:
    """Run a notebook made of `cells` through nbval and return how many of them failed, with pytest's words."""
    nbformat.write(new_notebook(cells=list(cells)), folder / "canary.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-p", "no:xdist", "-c"]
    command += [str(ROOT / "pyproject.toml"), "--rootdir", str(folder), str(folder / "canary.ipynb")]
    run = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, cwd=folder)
    found = re.search(r"(\d+) failed", run.stdout)
    return int(found[1]) if found else 0, run.stdout + run.stderr


CANARIES = {
    "wrong stored output": new_code_cell("print(1 + 1)", execution_count=1, outputs=[stream("3\n")]),
    "output that is no longer there": new_code_cell("pass", execution_count=1, outputs=[stream("3\n")]),
    "output that was not there": new_code_cell("print(3)", execution_count=1, outputs=[]),
    "raised error": new_code_cell("1 / 0", execution_count=1, outputs=[]),
    "claim that does not hold": new_code_cell(
        "from course_utils import verify\nverify('one is two', 1 == 2)", execution_count=1, outputs=[]
    ),
    "stderr": new_code_cell("import sys\nprint('careful', file=sys.stderr)", execution_count=1, outputs=[]),
    "warning": new_code_cell("import warnings\nwarnings.warn('old')", execution_count=1, outputs=[]),
}


@pytest.mark.parametrize("what", CANARIES)
def test_canary_fails(what, tmp_path):
    count, text = failed_cells(tmp_path, CANARIES[what])
    assert count == 1, text


def test_a_good_notebook_passes(tmp_path):
    # Without this, a runner that fails at everything would make all canaries look healthy.
    good = new_code_cell("print(1 + 1)", execution_count=1, outputs=[stream("2\n")])
    count, text = failed_cells(tmp_path, good)
    assert count == 0 and "1 passed" in text, text


def test_a_cell_that_was_never_run_is_nbvals_blind_spot_and_our_guard_sees_it(tmp_path):
    from test_notebooks import test_cells_were_executed_once_and_in_order as guard

    never_run = new_code_cell("print(1 + 1)", execution_count=None, outputs=[])
    count, text = failed_cells(tmp_path, never_run)
    assert count == 0 and "1 passed" in text, "nbval compares such cells now: simplify the guard"
    with pytest.raises(AssertionError):
        guard(new_notebook(cells=[never_run]))


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
