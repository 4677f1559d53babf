"""How long does each lesson run, and how much memory does its kernel take? Every lesson, from first to last cell."""

import sys
import tempfile

import _report

sys.path.insert(0, str(_report.ROOT / "tools"))
import build_notebooks as build


def shortened(notebook: build.NotebookNode) -> None:
    """Leave only the first code cell of a notebook, and of that one only its first line."""
    first = next(position for position, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    del notebook.cells[first + 1 :]
    notebook.cells[first].source = notebook.cells[first].source.partition("\n")[0]


def measure(quick: bool) -> _report.Result:
    """Run each lesson in a kernel of its own, with an empty cache, as a learner does the first time."""
    rows, failed = [], []
    slowness = (lambda: 1.0) if quick else build.slowness
    slower = slowness()
    for lesson in build.lesson_files()[: 1 if quick else None]:
        notebook = build.read_lesson(lesson, run_time_s=0)
        budget = notebook.metadata.course.budget
        row = {"lesson": lesson.stem, "code cells": sum(cell.cell_type == "code" for cell in notebook.cells)}
        row |= {"time (s)": None, "may take (s)": budget, "peak memory (MB)": None}
        if quick:
            shortened(notebook)
        with tempfile.TemporaryDirectory() as empty:
            try:
                row["time (s)"], row["peak memory (MB)"] = build.execute(notebook, lesson.stem, empty)
            except build.LessonError as error:
                print(error, file=sys.stderr)
        took = row["time (s)"]
        print(f"{lesson.stem}: " + ("failed" if took is None else f"{took:.0f} s"), flush=True)
        slower = max(slower, slowness())
        if took is None or took > budget * slower:
            failed.append(lesson.stem)
        rows.append(row)
    together = sum(row["time (s)"] or 0 for row in rows)
    highest = max(row["peak memory (MB)"] or 0 for row in rows)
    return _report.Result(
        title="Course: run time and memory of each lesson",
        question="How long does a lesson run the first time, with nothing in its cache? How much memory does it take?",
        columns={"lesson": "", "code cells": "d", "time (s)": ",.0f", "may take (s)": "d", "peak memory (MB)": ",.0f"},
        rows=rows,
        checks=[
            ("every lesson runs to its end, within its time" + "".join(f"; not {name}" for name in failed), not failed),
            (f"no kernel takes more than {build.MEMORY_LIMIT_MB:,} MB", highest <= build.MEMORY_LIMIT_MB),
        ],
        notes=[
            f"One after another they take {_report.as_duration(together)}. The memory is what the lesson's kernel held "
            "at most, looked at after each cell. Data and weights were prepared before. A fixed piece of work took up "
            f"to {slower:.1f} times as long as on the machine of the budgets; so much longer a lesson may take.",
        ],
    )


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
