"""The copies for instructors: every solution is accepted in its worksheet; worksheets stand on their own."""

import linecache
import re
from pathlib import Path

import build_notebooks as build
import instructor_copies as copies
import matplotlib.pyplot as plt
import nbformat
import pytest

from course_utils.exercises import lesson_03

LESSONS = build.lesson_files()
LESSON_01, LESSON_03 = (next(path for path in LESSONS if path.stem.startswith(number)) for number in ("01", "03"))


def run(source: str, namespace: dict, name: str) -> None:
    """Run a cell here, without a kernel: a lesson's worksheet takes moments, where all kernels would take minutes."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # a check reads a function
    exec(compile(source, name, "exec"), namespace)


def replies(lesson: Path, notebook, capsys) -> list[str]:
    """Run the cells of a worksheet one after another and return what its checks said."""
    namespace, said = {"__name__": "__main__"}, []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            capsys.readouterr()
            run(cell.source, namespace, f"<{lesson.stem} cell {number}>")
            if copies.exercise_of(cell, lesson) is not None:
                said.append(capsys.readouterr().out)
    plt.close("all")
    return said


@pytest.fixture
def threads_stay(monkeypatch):
    """Let a lesson ask for a number of threads, which TensorFlow, running already, would refuse to change."""
    import tensorflow as tf

    for setting in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, setting, lambda count: None)


@pytest.mark.usefixtures("threads_stay")
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
class TestWorksheet:
    def test_blank_stands_on_its_own_and_gives_nothing_away(self, lesson, tmp_path, capsys):
        copies.make_worksheet(lesson, tmp_path)
        notebook = nbformat.read(tmp_path / f"{lesson.stem}.ipynb", as_version=4)
        assert notebook.cells[0].source.endswith(": exercises")
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert "Key points" not in "".join(cell.source for cell in notebook.cells)
        said = replies(lesson, notebook, capsys)
        assert len(said) >= 5 and all(reply.startswith("○ Not attempted.") for reply in said), said

    def test_solved_is_accepted(self, lesson, capsys):
        said = replies(lesson, copies.worksheet(lesson, copies.solved(lesson)), capsys)
        assert len(said) >= 5 and all(reply.startswith("✔ Correct.") for reply in said), said


def test_solutions_are_the_whole_lesson_executed(tmp_path):
    line = copies.make_solutions(LESSON_01, tmp_path)
    notebook = nbformat.read(tmp_path / f"{LESSON_01.stem}.ipynb", as_version=4)
    checks = [cell for cell in notebook.cells if copies.exercise_of(cell, LESSON_01) is not None]
    assert all(cell.outputs[0].data["text/plain"].startswith("✔ Correct.") for cell in checks)
    assert f"{len(checks)} exercises solved" in line
    assert len(notebook.cells) == len(build.read_lesson(LESSON_01, 5).cells)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_a_solution_that_is_not_accepted_is_not_written(tmp_path, monkeypatch, capsys):
    short = copies.worksheet(LESSON_03)  # its few cells run in seconds
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
