"""A new lesson made from the templates passes the guards: NN, NUMBER and TITLE are all that must be replaced."""

import ast
import subprocess
import sys

import build_notebooks as build
import matplotlib.pyplot as plt
import pytest

TEMPLATES = build.ROOT / "tools" / "templates"


def test_new_lesson_is_written_and_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    import new_lesson

    monkeypatch.setattr(build, "LESSONS", tmp_path)
    monkeypatch.setattr(new_lesson, "EXERCISES", tmp_path)
    assert new_lesson.main(["99", "brightness"]) == 0
    lesson, exercises = tmp_path / "99_brightness.md", tmp_path / "lesson_99.py"
    assert "# 99 · Brightness" in lesson.read_text(encoding="utf-8") and "NN" not in lesson.read_text(encoding="utf-8")
    ast.parse(exercises.read_text(encoding="utf-8"))
    notebook = build.read_lesson(lesson, 5)
    assert sum(cell.source.count("verify(") for cell in notebook.cells) >= 5
    lesson.write_text("mine", encoding="utf-8")
    assert new_lesson.main(["99", "brightness"]) == 1
    assert lesson.read_text(encoding="utf-8") == "mine" and "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["9", "x y"], ["nine", "x"], ["199", "x"]])
def test_new_lesson_refuses_a_name_that_is_none(arguments, capsys):
    import new_lesson

    with pytest.raises(SystemExit):
        new_lesson.main(arguments)
    assert "must be" in capsys.readouterr().err


def test_template_lesson_runs_and_its_claims_hold(tmp_path, capsys):
    lesson = tmp_path / "99_brightness.md"
    lesson.write_text((TEMPLATES / "lesson.md").read_text(encoding="utf-8").replace("NN", "99"), encoding="utf-8")
    pieces = build.sections(build.read_lesson(lesson, 5))
    cells = [cell.source for kind, cell in pieces if cell.cell_type == "code" and kind != "exercises"]
    namespace = {}
    for source in cells:
        exec(source, namespace)
    plt.close("all")
    assert capsys.readouterr().out.count("✔") == "".join(cells).count("verify(") >= 5
    run = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", "--select=E501,F821", "-"],
        input="\n".join(cells),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert run.returncode == 0, run.stdout


def test_template_exercises_answer_back(tmp_path):
    # In a process of its own, where the template is a module with the name of a lesson.
    code = """
import sys
from course_utils.exercises.engine import Exercise
import lesson_99
found = [e for e in vars(lesson_99).values() if isinstance(e, Exercise)]
for exercise in found:
    assert exercise.judge(...).status == "not attempted"
    assert exercise.judge(exercise.right_answer).status == "correct", exercise
    assert len(exercise.mistakes) >= 2
    for mistake in exercise.mistakes:
        assert mistake.message in exercise.judge(mistake.answer).text, mistake
print(len(found))
"""
    (tmp_path / "lesson_99.py").write_text(
        (TEMPLATES / "exercises.py").read_text(encoding="utf-8").replace("NN", "99"), encoding="utf-8"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=600
    )
    assert run.stdout.strip() == "5", run.stderr
