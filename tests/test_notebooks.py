"""Guards for what nbval does not see: every notebook is what its lesson says, executed, in order, clean and small."""

import ast
import base64
import io
import re
from pathlib import Path

import build_notebooks as build
import nbformat
import numpy as np
import pytest
from PIL import Image

from conftest import is_compared

LESSONS = build.lesson_files()
MACHINE_PATH = re.compile(r"(?:/(?:root|home|work|tmp|Users)/\w|[A-Z]:\\\\?\w)")


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request) -> Path:
    return request.param


@pytest.fixture
def notebook(lesson):
    return nbformat.read(build.notebook_path(lesson), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    """Yield (number of the code cell, output) for everything stored."""
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            yield number, output


def test_each_lesson_has_a_notebook_and_each_notebook_a_lesson():
    assert LESSONS
    difference = {p.stem for p in LESSONS} ^ {p.stem for p in build.NOTEBOOKS.glob("*.ipynb")}
    assert not difference, "build the lesson, or remove the notebook that has none"


def test_notebook_has_the_cells_of_its_lesson(lesson, notebook):
    fresh = build.read_lesson(lesson, notebook.metadata.course.run_time_s)
    kept = [(c.id, c.cell_type, c.source, c.metadata) for c in notebook.cells]
    wanted = [(c.id, c.cell_type, c.source, c.metadata) for c in fresh.cells]
    assert kept == wanted, f"run: python3 course.py build {lesson.stem[:2]}"


def test_notebook_is_neither_stale_nor_edited_by_hand(lesson, notebook):
    remedy = f"run: python3 course.py build {lesson.stem[:2]}"
    course = notebook.metadata.course
    assert course.made_from == build.made_from(lesson), f"its code, a module or a version has changed; {remedy}"
    assert course.outputs == build.outputs_digest(notebook), f"its outputs were not written by the build; {remedy}"


def test_cells_were_executed_once_and_in_order(notebook):
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(cells) + 1)), "let the build run it: a notebook is never run by hand"


def test_no_stored_error_or_stderr(notebook):
    bad = [(n, o.get("name"), o.output_type) for n, o in outputs(notebook) if o.output_type == "error"]
    bad += [(n, o.get("name"), o.output_type) for n, o in outputs(notebook) if o.get("name") == "stderr"]
    bad += [(n, "warning", o.text[:80]) for n, o in outputs(notebook) if "WARNING" in o.get("text", "")]
    assert not bad, "silence it where it arises: (code cell, stream, kind)"


def test_no_stored_figure_is_blank(notebook):
    for number, output in outputs(notebook):
        if "image/png" in output.get("data", {}):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB"))
            assert pixels.std() > 3, f"code cell {number} stores a figure of one colour"


def missing_alt(notebook):
    """Return the numbers of the code cells that store a figure and do not say what is to be seen."""
    figures = {number for number, output in outputs(notebook) if "image/png" in output.get("data", {})}
    cells = dict(enumerate(code_cells(notebook), 1))
    return sorted(n for n in figures if len(str(cells[n].metadata.get("alt", "")).split()) < 5)


def test_figures_have_alternative_text(notebook):
    assert not missing_alt(notebook), "add `:alt:` to these code cells, one sentence that says what is to be seen"


def test_alternative_text_stands_where_there_is_a_figure(notebook):
    figures = {number for number, output in outputs(notebook) if "image/png" in output.get("data", {})}
    described = {number for number, cell in enumerate(code_cells(notebook), 1) if cell.metadata.get("alt")}
    assert described <= figures


def test_no_magics_shell_lines_or_trailing_semicolons(notebook):
    # A cell with a bad magic or a failing shell line passes nbval, so neither may be there.
    for number, cell in enumerate(code_cells(notebook), 1):
        ast.parse(cell.source)  # a magic is no Python
        assert not cell.source.rstrip().endswith(";"), f"code cell {number} ends in a semicolon: use plt.show()"


def test_cells_are_short(notebook):
    long = {n: len(c.source.splitlines()) for n, c in enumerate(code_cells(notebook), 1)}
    long = {n: lines for n, lines in long.items() if lines > 18}
    assert not long, "divide these code cells, one idea each (number: lines)"


def test_nearly_all_cells_are_compared(notebook):
    cells = code_cells(notebook)
    compared = sum(map(is_compared, cells)) / len(cells)
    assert compared >= 0.85, "too many cells have the tag nbval-ignore-output: use `measured=` for what differs"


def test_no_path_of_a_machine(notebook):
    for cell in notebook.cells:
        assert not MACHINE_PATH.search(cell.source), cell.source
    for number, output in outputs(notebook):
        text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        assert not MACHINE_PATH.search(text), f"code cell {number}: {text[:200]}"


def test_notebook_is_small(lesson):
    size = build.notebook_path(lesson).stat().st_size
    assert size < 2e6, "draw fewer or smaller figures"


def test_every_lesson_has_its_frame(notebook):
    first = notebook.cells[0].source
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert re.search(r"^# \d\d · ", first, re.MULTILINE)
    times = r"^core \d+ min( · going further \d+ min)? · exercises \d+ min · runs in about \d+ s$"
    assert re.search(times, first + "\n" + notebook.cells[1].source, re.MULTILINE)
    for heading in ("You will learn", "You need", "Predict first", "Trap", "Exercises", "Key points", "Next lesson"):
        assert heading in text, heading
    assert "show_pipeline(" in code, "show in the first cell where the lesson stands"
    assert code.count("verify(") >= 5, "hold what the text claims by `verify`"


def test_no_heading_is_empty(notebook):
    markdown = "\n".join(c.source if c.cell_type == "markdown" else "[code]" for c in notebook.cells)
    lines = [line for line in re.sub(r"```.*?```", "[block]", markdown, flags=re.DOTALL).splitlines() if line.strip()]
    heads = [re.match(r"(#+) ", line) for line in lines] + [None]
    for here, after, line in zip(heads, heads[1:], lines, strict=False):
        assert not (here and after and len(after[1]) <= len(here[1])), line
    assert not re.match(r"#+ ", lines[-1])


def test_links_lead_somewhere(notebook, lesson):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:|#|attachment:)([^)#]+)", cell.source):
                assert (build.NOTEBOOKS / target).exists(), f"{lesson.name} links to {target}, which is not there"


def test_run_time_is_within_the_budget(notebook):
    assert notebook.metadata.course.run_time_s <= notebook.metadata.course.budget


def test_readme_shows_figures_of_the_notebooks():
    shown = set(re.findall(r"docs/pictures/([\w-]+\.png)", (build.ROOT / "README.md").read_text(encoding="utf-8")))
    built = {}
    for path in LESSONS:
        built |= build.readme_pictures(nbformat.read(build.notebook_path(path), as_version=4))
    assert shown == {*built, "web_page.png"} and len(shown) <= 6  # that one is drawn by tests/test_web_page.py
    for name, content in built.items():
        assert (build.ROOT / "docs/pictures" / name).read_bytes() == content, "run: python3 course.py build"


def test_readme_table_is_the_one_that_build_writes():
    readme = (build.ROOT / "README.md").read_text(encoding="utf-8")
    assert build.lesson_table() in readme, "run: python3 course.py build"
