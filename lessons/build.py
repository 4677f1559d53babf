"""Turn lessons/NN_name.md into executed notebooks/NN_name.ipynb. Run through ``python3 course.py build``.

A notebook is a result: whatever is not output comes from the lesson, and rebuilding on the same machine changes only
timings. So cell ids are made from the cells' text, run times are rounded, and what differs from run to run without
meaning anything (widget ids, the patch level of Python) is left out.
"""

import argparse
import base64
import hashlib
import io
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

import jupytext
import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from PIL import Image

from course_utils import pytorch

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ROOT / "lessons"
NOTEBOOKS = ROOT / "notebooks"
MEMORY_LIMIT_MB = 2048  # what a free Binder gives a kernel
RUN_TIME_STEP_S = 5
RUN_TIME_FIELD = "{{run_time}}"
HEADER = re.compile(r"^teaching (\d+) min · exercises (\d+) min · runs in about {{run_time}} s$", re.MULTILINE)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
README_TABLE = re.compile(r"(<!-- lessons: written by course.py build -->\n).*?(<!-- end of lessons -->)", re.DOTALL)


class LessonError(Exception):
    """A lesson that cannot become a notebook: the message names the lesson, the reason and the remedy."""


def lesson_files() -> list[Path]:
    """Return the lesson sources in their order."""
    return sorted(LESSONS.glob("[0-9][0-9]_*.md"))


def notebook_path(lesson: Path) -> Path:
    """Return where the notebook of a lesson belongs."""
    return NOTEBOOKS / f"{lesson.stem}.ipynb"


def read_lesson(lesson: Path, run_time_s: int) -> NotebookNode:
    """Return the unexecuted notebook of a lesson, with `run_time_s` in its header line.

    The notebook's metadata keep the kernel's name and, under ``course``, what the lesson says of itself: the time it
    may take (``budget`` in seconds) and what the learner can do afterwards (``can``).

    Raises
    ------
    LessonError
        If the header line or an entry under ``course`` is missing.
    """
    notebook = jupytext.read(lesson)
    course = dict(notebook.metadata.get("course", {}))
    if missing := {"budget", "can"} - set(course):
        raise LessonError(f"{lesson.name}: its front matter has no course.{min(missing)}: add it as in lesson 01.")
    if not any(HEADER.search(cell.source) for cell in notebook.cells[:2]):
        raise LessonError(f"{lesson.name}: it has no header line with its three times: add it as in lesson 01.")
    course["run_time_s"] = run_time_s
    notebook.metadata = nbformat.from_dict(
        {
            "course": course,
            "kernelspec": notebook.metadata.kernelspec,
            "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(RUN_TIME_FIELD, str(run_time_s))
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def made_from(lesson: Path) -> str:
    """Return a digest of everything that the outputs of a lesson depend on: its text, the package, the versions."""
    others = {p for p in ROOT.glob("course_utils/exercises/lesson_*.py") if p.stem != f"lesson_{lesson.stem[:2]}"}
    sources = sorted({p for p in (ROOT / "course_utils").rglob("*") if p.suffix in {".py", ".mplstyle"}} - others)
    digest = hashlib.sha256()
    pins = ["requirements.txt"] + ["requirements-torch.txt"] * (lesson.stem == "10_pytorch")
    for path in [lesson, *(ROOT / name for name in pins), *sources]:
        digest.update(f"{path.name}\n{path.read_text(encoding='utf-8')}".encode())
    return digest.hexdigest()[:16]


def missing(lesson: Path) -> str | None:
    """Return why a lesson cannot run in this installation, in one sentence, or None if it can."""
    if lesson.stem == "10_pytorch" and not pytorch.installed():
        return f"{lesson.stem}: left out, because it needs PyTorch: add --torch to the command."
    return None


def stored_notebook(lesson: Path) -> NotebookNode | None:
    """Return the notebook that an earlier build made of this lesson, or None if there is none that can be read."""
    try:
        return nbformat.read(notebook_path(lesson), as_version=4)
    except (OSError, ValueError):
        return None


def rounded_run_time(seconds: float, before: int | None) -> int:
    """Round a run time up to whole steps of 5 s, and keep the one from before if it is at most one step away."""
    steps = max(1, -(-int(seconds + 0.5) // RUN_TIME_STEP_S)) * RUN_TIME_STEP_S
    return before if before is not None and abs(before - steps) <= RUN_TIME_STEP_S else steps


def with_palette(png: str) -> str:
    """Return a figure (PNG in base64) with a palette of 192 colours, if that is smaller: photos shrink to a third."""
    figure = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    buffer = io.BytesIO()
    figure.quantize(192, kmeans=1, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return min(png, base64.b64encode(buffer.getvalue()).decode(), key=len)


def execute(notebook: NotebookNode, name: str, budget_s: int) -> tuple[float, float]:
    """Run every cell in a fresh kernel, in place, and return the seconds and the peak megabytes that took.

    Raises
    ------
    LessonError
        If a cell fails or writes to stderr, or the lesson takes more time or memory than it may.
    """
    number = 0
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    peak = 0.0
    finished = threading.Event()

    def tell(cell: NotebookNode, cell_index: int) -> None:
        nonlocal number
        number += cell.cell_type == "code"
        if sys.stderr.isatty():
            print(f"\r  {name}: cell {number} of {total} ", end="", file=sys.stderr, flush=True)

    def watch_memory() -> None:
        nonlocal peak
        while not finished.wait(0.2):
            for child in psutil.Process().children():
                try:
                    peak = max(peak, child.memory_info().rss / 2**20)
                except psutil.Error:
                    continue  # it ended between the two calls

    client = NotebookClient(
        notebook,
        timeout=2 * budget_s,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_execute=tell,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # a kernel on this computer need not warn of its network
    )
    watcher = threading.Thread(target=watch_memory, daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        raise LessonError(f"{name}: code cell {number} fails:\n{error}") from None
    except CellTimeoutError:
        raise LessonError(
            f"{name}: code cell {number} took longer than {2 * budget_s} s: make its work smaller."
        ) from None
    finally:
        finished.set()
        watcher.join()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    seconds = time.perf_counter() - start
    for position, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise LessonError(f"{name}: code cell {position} writes to stderr: {output.text.strip()[:500]}")
            output.get("data", {}).pop(WIDGET_VIEW, None)  # a widget without its kernel is an error message
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = with_palette(output.data["image/png"])
    if seconds > budget_s:
        raise LessonError(f"{name}: it ran {seconds:.0f} s but may take {budget_s} s: make its work smaller.")
    if peak > MEMORY_LIMIT_MB:
        raise LessonError(f"{name}: its kernel took {peak:.0f} MB but may take {MEMORY_LIMIT_MB} MB.")
    return seconds, peak


def build(lesson: Path) -> str:
    """Execute one lesson into its notebook, whole or not at all, and return a line that says what it took."""
    stored = stored_notebook(lesson)
    before = stored.metadata.get("course", {}).get("run_time_s") if stored else None
    notebook = read_lesson(lesson, before or RUN_TIME_STEP_S)
    digest = made_from(lesson)
    with tempfile.TemporaryDirectory() as cold:  # the time on the page is that of a first run, without cached features
        os.environ["COURSE_CACHE"] = cold
        seconds, peak = execute(notebook, lesson.stem, notebook.metadata.course.budget)
    final = read_lesson(lesson, rounded_run_time(seconds, before))
    final.metadata.course.made_from = digest
    for cell, executed in zip(final.cells, notebook.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    nbformat.validate(final)
    path = notebook_path(lesson)
    scratch = path.with_suffix(".part")
    scratch.write_text(nbformat.writes(final) + "\n", encoding="utf-8", newline="\n")
    scratch.replace(path)
    return f"{lesson.stem}: {seconds:.0f} s, {peak:.0f} MB at most, {path.stat().st_size / 1e6:.2f} MB on disk"


def readme_pictures(notebook: NotebookNode) -> dict[str, bytes]:
    """Return name → PNG of the figures that the README shows: those of cells with a tag such as ``readme-kernels``."""
    pictures = {}
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("readme-"):
                figure = next(
                    output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})
                )
                pictures[f"{tag.removeprefix('readme-')}.png"] = base64.b64decode(figure)
    return pictures


def lesson_table() -> str:
    """Return the README's table of lessons, made from the built notebooks."""
    lines = ["| lesson | afterwards you can | teaching | exercises | runs in |", "|---|---|---|---|---|"]
    for lesson in lesson_files():
        notebook = stored_notebook(lesson)
        if notebook is None:
            continue
        title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE).group(1)
        teaching, exercises = HEADER.search(lesson.read_text(encoding="utf-8")).groups()
        course = notebook.metadata.course
        link = f"[{title}](notebooks/{lesson.stem}.ipynb)"
        lines.append(f"| {link} | {course.can} | {teaching} min | {exercises} min | {course.run_time_s} s |")
    return "\n".join(lines) + "\n"


def update_readme() -> None:
    """Write the table of lessons into the README, between its two markers, and the pictures that it shows."""
    for notebook in filter(None, map(stored_notebook, lesson_files())):
        for name, content in readme_pictures(notebook).items():
            picture = ROOT / "docs" / "pictures" / name
            picture.parent.mkdir(parents=True, exist_ok=True)
            if not picture.exists() or picture.read_bytes() != content:
                picture.write_bytes(content)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    renewed = README_TABLE.sub(lambda match: match.group(1) + lesson_table() + match.group(2), text)
    if renewed != text:
        readme.write_text(renewed, encoding="utf-8", newline="\n")


def chosen(names: list[str]) -> list[Path]:
    """Return the lessons that `names` mean: numbers such as ``03`` or file names; all if there are none.

    Raises
    ------
    LessonError
        If a name fits no lesson.
    """
    lessons = lesson_files()
    picked = []
    for name in names:
        stem = Path(name).stem
        fitting = [p for p in lessons if p.stem == stem or p.stem.split("_")[0] == stem.zfill(2)]
        if not fitting:
            known = ", ".join(p.stem for p in lessons)
            raise LessonError(f"There is no lesson {name!r} in lessons/: use a number or a name out of {known}.")
        picked += fitting
    return picked or lessons


def main(arguments: list[str] | None = None) -> int:
    """Build what changed, say a line for each lesson, and return the exit code."""
    parser = argparse.ArgumentParser(prog="course.py build", description="turn lessons into executed notebooks")
    parser.add_argument("lesson", nargs="*", help="number or name; without one: every lesson that changed")
    parser.add_argument("--all", action="store_true", help="also rebuild what did not change")
    options = parser.parse_args(arguments)
    # Outputs must not depend on who builds: a learner's own setting of these would show in the pages.
    os.environ["COLUMNS"] = "120"
    os.environ["COURSE_PROGRESS"] = "off"
    NOTEBOOKS.mkdir(exist_ok=True)
    failed = False
    try:
        # Lesson 01 draws how long the others take, so it comes last.
        for lesson in sorted(chosen(options.lesson), key=lambda path: path.stem.startswith("01")):
            stored = stored_notebook(lesson)
            same = stored is not None and stored.metadata.get("course", {}).get("made_from") == made_from(lesson)
            if same and not (options.lesson or options.all):
                print(f"{lesson.stem}: nothing changed")
                continue
            if reason := missing(lesson):
                print(reason)
                continue
            try:
                print(build(lesson), flush=True)
            except LessonError as error:
                failed = True
                print(error, file=sys.stderr)
        update_readme()
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
