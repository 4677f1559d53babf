"""Copies of the lessons for instructors. Run through ``python3 course.py solutions FOLDER`` or ``worksheets FOLDER``.

Solutions: whole notebooks with every exercise solved, executed, so that each check stands there with its “Correct”.
Worksheets: the exercises alone, blank, with the one cell of imports that they need.
"""

import argparse
import importlib
import re
import sys
from pathlib import Path

import build_notebooks as build
import nbformat
from build_notebooks import LessonError
from nbformat import NotebookNode

from course_utils.exercises.engine import Quiz

CHECK = re.compile(r"^exercises\.(\w+)\.check\(.*\)$")


def exercise_of(cell: NotebookNode, lesson: Path):
    """Return the exercise that a cell checks in its last line, or None."""
    lines = cell.source.splitlines() if cell.cell_type == "code" else []
    match = CHECK.match(lines[-1]) if lines else None
    if match is None:
        return None
    module = importlib.import_module(f"course_utils.exercises.lesson_{lesson.stem[:2]}")
    return getattr(module, match[1])


def solved(lesson: Path) -> NotebookNode:
    """Return the unexecuted notebook of a lesson with the solution in every exercise's cell."""
    notebook = build.read_lesson(lesson, build.RUN_TIME_STEP_S)
    for cell in notebook.cells:
        exercise = exercise_of(cell, lesson)
        if isinstance(exercise, Quiz):
            cell.source = f"exercises.{exercise.name}.check({exercise.answer_code()})"
        elif exercise is not None:
            code, last = exercise.answer_code(), cell.source.splitlines()[-1]
            gap = "\n\n\n" if "\ndef " in f"\n{code}" else "\n\n"
            cell.source = f"{code}{gap}{last}"
    return notebook


def worksheet(lesson: Path, whole: NotebookNode | None = None) -> NotebookNode:
    """Return title, imports and exercises of a lesson, not executed: blank, or as they are in the `whole` notebook."""
    notebook = whole or build.read_lesson(lesson, build.RUN_TIME_STEP_S)
    title = re.search(r"^# .+$", notebook.cells[0].source, re.MULTILINE)[0]
    imports = next(cell for cell in notebook.cells if cell.cell_type == "code")
    section, inside = [], False
    for cell in notebook.cells:
        kept = []
        # A cell of text may hold the end of one section and the beginning of the next.
        for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE) if cell.cell_type == "markdown" else [""]:
            if part.startswith("## "):
                inside = part.startswith("## Exercises")
            if inside:
                kept.append(part)
        if inside and cell.cell_type == "code":
            section.append(cell)
        elif "".join(kept):
            section.append(nbformat.v4.new_markdown_cell("".join(kept).strip(), id=cell.id))
    if not section:
        raise LessonError(f"{lesson.name} has no section “## Exercises”: there is nothing to put on a worksheet.")
    notebook.cells = [nbformat.v4.new_markdown_cell(f"{title}: exercises", id="title"), imports, *section]
    return notebook


def wrong_checks(notebook: NotebookNode, lesson: Path) -> list[str]:
    """Return what the checks of an executed notebook said wherever it was not “Correct”."""
    replies = []
    for cell in notebook.cells:
        if exercise_of(cell, lesson) is not None:
            said = "".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)
            if not said.startswith("✔ Correct."):
                replies.append(f"{cell.source.splitlines()[-1]} says: {said or 'nothing'}")
    return replies


def make_solutions(lesson: Path, folder: Path) -> str:
    """Write the solved, executed copy of a lesson and return a line that says so.

    Raises
    ------
    LessonError
        If a cell fails, or a check says anything but “Correct”: a copy with a wrong solution is not written.
    """
    notebook = solved(lesson)
    seconds, _ = build.execute(notebook, lesson.stem)
    if replies := wrong_checks(notebook, lesson):
        raise LessonError(f"{lesson.stem}: a solution is not accepted:\n" + "\n".join(replies))
    for cell in notebook.cells:
        cell.source = re.sub(r"runs in about \d+ s", f"runs in about {round(seconds)} s", cell.source)
    build.write(notebook, folder / f"{lesson.stem}.ipynb")
    count = sum(exercise_of(cell, lesson) is not None for cell in notebook.cells)
    return f"{lesson.stem}: {count} exercises solved, every check says “Correct” ({seconds:.0f} s)"


def make_worksheet(lesson: Path, folder: Path) -> str:
    """Write the worksheet of a lesson and return a line that says so."""
    notebook = worksheet(lesson)
    build.write(notebook, folder / f"{lesson.stem}.ipynb")
    count = sum(exercise_of(cell, lesson) is not None for cell in notebook.cells)
    return f"{lesson.stem}: {count} exercises"


def main(arguments: list[str] | None = None) -> int:
    """Write the copies of all lessons, or of those named, into a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="course.py", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("solutions", "worksheets"))
    parser.add_argument("folder", type=Path, help="made if it is not there; notebooks of the same names are replaced")
    parser.add_argument("lesson", nargs="*", help="number or name; without one: every lesson")
    options = parser.parse_args(arguments)
    make = make_solutions if options.kind == "solutions" else make_worksheet
    folder = options.folder.resolve()
    if folder.exists() and folder.samefile(build.NOTEBOOKS):
        print("This folder holds the notebooks of the learners: choose another one for the copies.", file=sys.stderr)
        return 1
    failed = False
    try:
        lessons = build.chosen(options.lesson)
        folder.mkdir(parents=True, exist_ok=True)
    except (LessonError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for lesson in lessons:
        try:
            notebook = build.read_lesson(lesson, build.RUN_TIME_STEP_S)
            if make is make_solutions and (reason := build.missing(notebook, lesson)):
                print(reason)
                continue
            print(make(lesson, folder), flush=True)
        except (LessonError, OSError) as error:
            failed = True
            print(error, file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
