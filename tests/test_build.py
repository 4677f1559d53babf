"""The builder, on small lessons of its own."""

import base64
import io
import re

import build
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

teaching 5 min · exercises 4 min · runs in about {{run_time}} s

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
    assert notebook.metadata.course == {"budget": 60, "can": "add", "run_time_s": 25}


@pytest.mark.parametrize("line", ["  budget: 60\n", "  can: add\n", "runs in about {{run_time}} s"])
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


def test_building_twice_changes_no_byte_and_skips_what_did_not_change(project, capsys):
    assert build.main([]) == 0
    notebook = build.notebook_path(project)
    first = notebook.read_bytes()
    cells = nbformat.read(notebook, as_version=4).cells
    assert [cell.get("execution_count") for cell in cells] == [None, 1, 2, 3]
    assert cells[1].outputs[0].text == "2\n"
    row = "| [09 · Adding](notebooks/09_adding.ipynb) | add | 5 min | 4 min |"
    assert row in (build.ROOT / "README.md").read_text("utf-8")
    assert build.main(["9"]) == 0
    assert notebook.read_bytes() == first
    capsys.readouterr()
    assert build.main([]) == 0
    assert "nothing changed" in capsys.readouterr().out
    (build.ROOT / "requirements.txt").write_text("one==2\n")
    assert build.made_from(project) != nbformat.read(notebook, as_version=4).metadata.course.made_from


@pytest.mark.parametrize(
    ("source", "budget", "message"),
    [
        ("1 / 0", 60, "code cell 1 fails"),
        ("import sys; print('careful', file=sys.stderr)", 60, "code cell 1 writes to stderr: careful"),
        ("import time; time.sleep(1.5)", 1, r"it ran \d+ s but may take 1 s"),
        ("import time; time.sleep(9)", 1, "code cell 1 took longer than 2 s"),
    ],
)
def test_a_lesson_that_may_not_stay_leaves_the_old_notebook(project, capsys, source, budget, message):
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


def test_the_lesson_on_pytorch_is_left_out_without_it(project, monkeypatch, capsys):
    lesson = project.with_name("10_pytorch.md")
    project.rename(lesson)
    (build.ROOT / "requirements-torch.txt").write_text("torch==1\n")
    monkeypatch.setattr(build.pytorch, "installed", lambda: False)
    assert build.main(["10"]) == 0
    assert capsys.readouterr().out == "10_pytorch: left out, because it needs PyTorch: add --torch to the command.\n"
    assert not build.notebook_path(lesson).exists()
    monkeypatch.setattr(build.pytorch, "installed", lambda: True)
    assert build.main([]) == 0
    before = build.made_from(lesson)
    (build.ROOT / "requirements-torch.txt").write_text("torch==2\n")
    assert build.made_from(lesson) != before


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


def test_a_figure_with_a_readme_tag_goes_to_the_docs(project):
    drawing = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    text = LESSON.replace("print(1 + 1)", drawing, 1).replace(
        "{code-cell} ipython3\nimport", "{code-cell} ipython3\n:tags: [readme-line]\n\nimport", 1
    )
    project.write_text(text, encoding="utf-8")
    assert build.main([]) == 0
    assert (build.ROOT / "docs/pictures/line.png").read_bytes().startswith(b"\x89PNG")
