"""The copies for instructors: every solution runs in its notebook and is accepted; worksheets stand on their own."""

import re
from pathlib import Path

import build
import copies
import nbformat
from nbclient import NotebookClient

from course_utils.exercises import lesson_03

LESSONS = build.lesson_files()


def replies(notebook, lesson) -> list[str]:
    cells = [cell for cell in notebook.cells if copies.exercise_of(cell, lesson) is not None]
    return [output.data["text/plain"] for cell in cells for output in cell.outputs]


class OfOneLesson:
    """Subclassed for each lesson below: workers share the tests out by class, and these are the slowest of all."""

    lesson: Path

    def test_every_solution_runs_in_its_notebook_and_is_correct(self, tmp_path):
        line = copies.make_solutions(self.lesson, tmp_path)
        notebook = nbformat.read(tmp_path / f"{self.lesson.stem}.ipynb", as_version=4)
        said = replies(notebook, self.lesson)
        assert len(said) >= 5 and all(reply.startswith("✔ Correct.") for reply in said)
        assert f"{len(said)} exercises solved" in line
        original = build.read_lesson(self.lesson, 5)
        assert len(notebook.cells) == len(original.cells)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")

    def test_a_worksheet_stands_on_its_own_and_gives_nothing_away(self, tmp_path):
        copies.make_worksheet(self.lesson, tmp_path)
        notebook = nbformat.read(tmp_path / f"{self.lesson.stem}.ipynb", as_version=4)
        assert notebook.cells[0].source.endswith(": exercises")
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert "Key points" not in "".join(cell.source for cell in notebook.cells)
        NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
        said = replies(notebook, self.lesson)
        assert len(said) >= 5 and all(reply.startswith("○ Not attempted.") for reply in said)


for lesson in LESSONS:
    globals()[f"Test_{lesson.stem}"] = type(f"Test_{lesson.stem}", (OfOneLesson,), {"lesson": lesson})


def test_a_solution_that_is_not_accepted_is_not_written(tmp_path, monkeypatch, capsys):
    lesson = next(path for path in LESSONS if path.stem.startswith("03"))
    short = copies.worksheet(lesson)  # its few cells run in seconds
    monkeypatch.setattr(build, "read_lesson", lambda *_: short)
    quiz = next(e for e in vars(lesson_03).values() if isinstance(e, copies.Quiz))
    monkeypatch.setitem(vars(quiz), "right_answer", sorted(quiz.reasons)[0])
    assert copies.main(["solutions", str(tmp_path / "new"), "3"]) == 1
    error = capsys.readouterr().err
    assert "a solution is not accepted" in error and f"exercises.{quiz.name}.check(" in error
    assert list((tmp_path / "new").iterdir()) == []


def test_the_folder_of_the_learners_is_refused(capsys):
    before = {path: path.read_bytes() for path in build.NOTEBOOKS.glob("*.ipynb")}
    assert copies.main(["worksheets", str(build.NOTEBOOKS)]) == 1
    assert "choose another one" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in build.NOTEBOOKS.glob("*.ipynb")} == before


def test_an_unknown_lesson_or_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    assert copies.main(["worksheets", str(tmp_path), "77"]) == 1
    assert "no lesson '77'" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert copies.main(["worksheets", str(tmp_path / "file" / "sub")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_worksheets_of_chosen_lessons(tmp_path, capsys):
    assert copies.main(["worksheets", str(tmp_path / "sheets"), "03"]) == 0
    assert re.fullmatch(r"03_\w+: \d+ exercises\n", capsys.readouterr().out)
    assert [path.name[:2] for path in (tmp_path / "sheets").iterdir()] == ["03"]


def test_solutions_that_need_pytorch_are_left_out_without_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build.pytorch, "installed", lambda: False)
    assert copies.main(["solutions", str(tmp_path), "10"]) == 0
    assert "10_pytorch: left out, because it needs PyTorch" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_lesson_without_exercises_has_no_worksheet(tmp_path, monkeypatch, capsys):
    lesson = LESSONS[0]
    notebook = build.read_lesson(lesson, 5)
    notebook.cells = notebook.cells[:3]
    monkeypatch.setattr(build, "read_lesson", lambda *_: notebook)
    assert copies.main(["worksheets", str(tmp_path), "1"]) == 1
    assert "no section “## Exercises”" in capsys.readouterr().err
