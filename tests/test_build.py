"""The builder, on small lessons of its own."""

import base64
import io
import os
import re

import build_notebooks as build
import nbformat
import numpy as np
import pytest
from PIL import Image

LESSON = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
course:
  budget: 60
  can: add
---

# 09 · Adding

{{minutes}} · runs in about {{run_time}} s

```{code-cell} ipython3
print(1 + 1)
```

```{code-cell} ipython3
:tags: [nbval-ignore-output]

print(1 + 1)
```

```{code-cell} ipython3
print(1 + 1)
```
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project with one lesson, whose path is returned."""
    for name in ("lessons", "notebooks", "course_utils"):
        (tmp_path / name).mkdir()
    (tmp_path / "requirements.txt").write_text("one==1\n")
    (tmp_path / "README.md").write_text(
        "# Course\n<!-- lessons: written by course.py build -->\nold\n<!-- end of lessons -->\nend\n", encoding="utf-8"
    )
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "LESSONS", tmp_path / "lessons")
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(build, "CALIBRATION_ROUNDS", 1)  # a moment instead of a second
    lesson = tmp_path / "lessons/09_adding.md"
    lesson.write_text(LESSON, encoding="utf-8")
    return lesson


def test_reading_gives_reproducible_and_different_ids(project):
    first, second = build.read_lesson(project, 5), build.read_lesson(project, 5)
    ids = [cell.id for cell in first.cells]
    assert ids == [cell.id for cell in second.cells]
    assert len(set(ids)) == len(ids) == 4  # also for the two cells with the same text


def test_run_time_and_tags_reach_the_notebook(project):
    notebook = build.read_lesson(project, 25)
    assert "runs in about 25 s" in notebook.cells[0].source
    assert notebook.cells[2].metadata.tags == ["nbval-ignore-output"]
    assert "core 5 min · exercises 0 min · runs in about 25 s" in notebook.cells[0].source.splitlines()
    assert notebook.metadata.course == {"budget": 60, "can": "add", "run_time_s": 25}


@pytest.mark.parametrize("line", ["  budget: 60\n", "  can: add\n", "{{minutes}} · runs in about {{run_time}} s"])
def test_an_incomplete_header_is_one_sentence(project, line):
    project.write_text(LESSON.replace(line, ""), encoding="utf-8")
    with pytest.raises(build.LessonError, match=r"09_adding\.md.*add it as in lesson 01"):
        build.read_lesson(project, 5)


@pytest.mark.parametrize(
    ("seconds", "before", "expected"),
    [(0.2, None, 5), (5.4, None, 5), (5.6, None, 10), (23, None, 25), (23, 30, 30), (23, 20, 20), (23, 35, 25)],
)
def test_run_times_are_rounded_and_do_not_flicker(seconds, before, expected):
    assert build.rounded_run_time(seconds, before) == expected
    assert build.rounded_run_time(seconds, 15, slower=3.0) == 15  # a busy machine says little


MORE = """
## Exercises

```{code-cell} ipython3
def double(x):
    return ...

exercises.double.check(double)
```

```{code-cell} ipython3
exercises.q1.check(...)
```

## Key points

WORDS

## Aside {.further}

WORDS

### Deeper

WORDS

## Next lesson

None.
"""


def test_minutes_come_from_words_cells_and_exercises_of_each_kind_of_section(project):
    project.write_text(LESSON + MORE.replace("WORDS", "one two-three four’s. " * 260), encoding="utf-8")
    notebook = build.read_lesson(project, 5)
    # Core: three cells, 260 × 3 words at 130 a minute; further: two sections; a coding exercise and a question.
    assert "core 10 min · going further 15 min · exercises 10 min" in notebook.cells[0].source
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "## Aside · *going further*" in text and "{.further}" not in text


def test_building_twice_changes_no_byte_and_skips_what_did_not_change(project, capsys):
    assert build.main([]) == 0
    notebook = build.notebook_path(project)
    first = notebook.read_bytes()
    cells = nbformat.read(notebook, as_version=4).cells
    assert [cell.get("execution_count") for cell in cells] == [None, 1, 2, 3]
    assert cells[1].outputs[0].text == "2\n"
    table = (build.ROOT / "README.md").read_text("utf-8")
    assert "| [09 · Adding](notebooks/09_adding.ipynb) | add | 5 min | – | – | 5 s |" in table
    assert "| **whole course** | | **0.1 h** | – | – | |" in table
    assert build.main(["9", "--force"]) == 0
    assert notebook.read_bytes() == first
    capsys.readouterr()
    for arguments in ([], ["9"]):
        assert build.main(arguments) == 0
        assert capsys.readouterr().out == "nothing to do\n"


def test_changed_text_reuses_the_outputs(project, monkeypatch, capsys):
    assert build.main([]) == 0
    before = nbformat.read(build.notebook_path(project), as_version=4)
    project.write_text(LESSON.replace("# 09 · Adding", "# 09 · Sums") + "\nOne more sentence.\n", encoding="utf-8")
    monkeypatch.setattr(build, "execute", None)  # would fail
    assert build.main([]) == 0
    assert "only text changed" in capsys.readouterr().out
    after = nbformat.read(build.notebook_path(project), as_version=4)
    assert "# 09 · Sums" in after.cells[0].source and after.cells[-1].source == "One more sentence."
    assert [cell.outputs for cell in after.cells[1:4]] == [cell.outputs for cell in before.cells[1:4]]
    assert build.is_current(after, project)


def edit(notebook):
    notebook.cells[1].outputs[0].text = "3\n"


def empty(notebook):
    notebook.cells[1].outputs = []


def count_again(notebook):
    notebook.cells[1].execution_count = 7


@pytest.mark.parametrize("change", [edit, empty, count_again])
def test_outputs_that_were_edited_by_hand_are_stale(project, change):
    assert build.main([]) == 0
    path = build.notebook_path(project)
    notebook = nbformat.read(path, as_version=4)
    assert build.is_current(notebook, project)
    change(notebook)
    assert not build.is_current(notebook, project)
    first = path.read_bytes()
    nbformat.write(notebook, path)
    assert build.main([]) == 0 and path.read_bytes() == first


def module(name: str, text: str) -> None:
    path = build.ROOT / "course_utils" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_digest_covers_what_the_lesson_imports_and_nothing_else(project):
    module("__init__.py", "")
    module("direct.py", '"""What it is."""\nfrom course_utils.deep import value\nSIZE = 1  # in pixels\n')
    module("deep/__init__.py", "from course_utils.deep.inner import value\n")
    module("deep/inner.py", "def value():\n    import course_utils.late\n    return 1\n")
    module("late.py", "")
    module("command.py", "")
    module("look.mplstyle", "font.size: 9\n")
    module("other.py", "")
    cell = 'from course_utils import direct\nrun("-m", "course_utils.command")\nplt.style.use("course_utils.look")\n'
    project.write_text(LESSON.replace("print(1 + 1)", cell, 1), encoding="utf-8")
    digest = build.made_from(project)

    module("other.py", "changed = True")
    module("direct.py", '"""What else\nit is."""\n\nfrom course_utils.deep import value\nSIZE = 1\n\n# The end.\n')
    (build.ROOT / "requirements.txt").write_text("# compiled anew\none==1\n    # via nothing\n")
    assert build.made_from(project) == digest  # not imported, or no code

    seen = {digest}
    for name in ("__init__.py", "direct.py", "deep/__init__.py", "deep/inner.py", "late.py", "command.py"):
        module(name, (build.ROOT / "course_utils" / name).read_text(encoding="utf-8") + "\nchanged = True\n")
        seen.add(build.made_from(project))
    module("look.mplstyle", "font.size: 10\n")
    seen.add(build.made_from(project))
    (build.ROOT / "requirements.txt").write_text("one==2\n")
    seen.add(build.made_from(project))
    assert len(seen) == 9


def test_digest_covers_what_the_lesson_reads_from_other_notebooks(project):
    other = project.with_name("08_other.md")
    other.write_text(LESSON, encoding="utf-8")
    project.write_text(LESSON.replace("  can: add\n", "  can: add\n  reads: run_time_s\n"), encoding="utf-8")
    assert build.main([]) == 0
    own, first = build.made_from(other), build.made_from(project)
    notebook = build.stored_notebook(other)
    notebook.metadata.course.run_time_s = 99
    build.write(notebook, build.notebook_path(other))
    assert build.made_from(project) != first and build.made_from(other) == own


def test_code_of_a_module_is_what_decides_what_it_does():
    source = 'x = "# no comment"  # a comment\n\n\ndef f():\n    """Doc."""\n    return f"{x} # {1}"\n'
    assert build.code_of(source) == 'x = "# no comment"\ndef f():\n    return f"{x} # {1}"'
    assert build.code_of('class Odd(ValueError):\n    """Doc."""\n') == "class Odd(ValueError):\n    ..."


@pytest.mark.parametrize(
    ("source", "budget", "message"),
    [
        ("1 / 0", 60, "code cell 1 fails"),
        ("import sys; print('careful', file=sys.stderr)", 60, "code cell 1 writes to stderr: careful"),
        ("pass", 0, r"it ran \d+ s but may take 0 s"),
        ("import time; time.sleep(600)", 60, "code cell 1 took longer than 1 s"),
    ],
)
def test_lesson_that_may_not_stay_leaves_the_old_notebook(project, monkeypatch, capsys, source, budget, message):
    if "sleep" in source:
        monkeypatch.setattr(build, "HANG_S", 1)
    build.notebook_path(project).write_text("the old one")
    text = LESSON.replace("print(1 + 1)", source, 1).replace("budget: 60", f"budget: {budget}")
    project.write_text(text, encoding="utf-8")
    assert build.main([]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert build.notebook_path(project).read_text() == "the old one"


def test_a_lesson_that_takes_too_much_memory_is_refused(project, monkeypatch):
    monkeypatch.setattr(build, "MEMORY_LIMIT_MB", 1)
    with pytest.raises(build.LessonError, match=r"MB but may take 1 MB"):
        build.build(project)


def test_budget_grows_with_the_slowness_of_the_machine(project, monkeypatch):
    notebook = build.read_lesson(project, 5)
    monkeypatch.setattr(build, "execute", lambda *_: (200.0, 100.0))
    monkeypatch.setattr(build, "slowness", lambda: 4.0)
    assert build.run(notebook, "09") == (200.0, 100.0, 4.0)
    monkeypatch.setattr(build, "slowness", lambda: 3.0)
    with pytest.raises(build.LessonError, match=r"ran 200 s but may take 60 s \(here 180 s"):
        build.run(notebook, "09")


def test_slowness_is_at_least_one_and_grows_with_the_work(monkeypatch):
    monkeypatch.setattr(build, "CALIBRATION_ROUNDS", 1)
    assert build.slowness() >= 1
    monkeypatch.setattr(build, "CALIBRATION_S", 1e-6)
    assert build.slowness() > 100


def test_lesson_that_needs_pytorch_is_left_out_without_it(project, monkeypatch, capsys):
    project.write_text(LESSON.replace("  can: add\n", "  can: add\n  needs: torch\n"), encoding="utf-8")
    (build.ROOT / "requirements-torch.txt").write_text("torch==1\n")
    monkeypatch.setattr(build.pytorch, "installed", lambda: False)
    assert build.main(["9"]) == 0
    assert capsys.readouterr().out == "09_adding: left out, because it needs PyTorch: add --torch to the command.\n"
    assert not build.notebook_path(project).exists()
    before = build.made_from(project)
    (build.ROOT / "requirements-torch.txt").write_text("torch==2\n")
    assert build.made_from(project) != before


def test_caller_environment_is_left_as_it_was(project, monkeypatch):
    monkeypatch.delenv("COURSE_CACHE", raising=False)
    before = dict(os.environ)
    assert build.main([]) == 0
    assert dict(os.environ) == before


def test_an_unknown_lesson_is_named(project, capsys):
    assert build.main(["77"]) == 1
    assert "no lesson '77'" in capsys.readouterr().err


def test_a_palette_keeps_a_photo_close_and_makes_it_smaller():
    from course_utils.datasets import sample_photo

    cat = sample_photo("cat")
    buffer = io.BytesIO()
    Image.fromarray(cat).save(buffer, "png")
    before = base64.b64encode(buffer.getvalue()).decode()
    after = build.with_palette(before)
    assert len(after) < 0.6 * len(before)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB"), "int16")
    assert np.abs(pixels - cat).mean() < 4  # grey levels of 255
    assert build.with_palette(after) == after or len(build.with_palette(after)) <= len(after)


@pytest.mark.parametrize("upright", [True, False])
def test_a_colour_bar_beside_a_photo_stays_smooth(upright):
    from matplotlib import colormaps

    from course_utils.datasets import sample_photo

    figure = np.full((300, 560, 3), 255, np.uint8)
    figure[:, :451] = sample_photo("cat")
    bar = (255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, None, :3]).round().astype(np.uint8)
    figure[20:276, 500:515] = bar
    figure = figure if upright else figure.swapaxes(0, 1).copy()
    buffer = io.BytesIO()
    Image.fromarray(figure).save(buffer, "png")
    after = build.with_palette(base64.b64encode(buffer.getvalue()).decode())
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(after))).convert("RGB"))
    pixels = pixels if upright else pixels.swapaxes(0, 1)
    assert np.abs(pixels[20:276, 507].astype(int) - bar[:, 0]).max() <= 12
    assert len(np.unique(pixels[20:276, 507], axis=0)) > 60
    assert build.colour_bar(sample_photo("cat").repeat(2, axis=1)) is None


def test_a_figure_with_a_readme_tag_goes_to_the_docs(project):
    drawing = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    text = LESSON.replace("print(1 + 1)", drawing, 1).replace(
        "{code-cell} ipython3\nimport", "{code-cell} ipython3\n:tags: [readme-line]\n\nimport", 1
    )
    project.write_text(text, encoding="utf-8")
    assert build.main([]) == 0
    assert (build.ROOT / "docs/pictures/line.png").read_bytes().startswith(b"\x89PNG")
