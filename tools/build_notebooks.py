"""Turn lessons/NN_name.md into executed notebooks/NN_name.ipynb. Run through ``python3 course.py build``.

A notebook is a result: whatever is not output comes from the lesson, and rebuilding on the same machine changes only
timings. So cell ids are made from the cells' text, run times are rounded, and what differs from run to run without
meaning anything (widget ids, the patch level of Python) is left out.

A notebook keeps two digests. `made_from` covers what its outputs depend on: the lesson's code cells, the modules of the
course that they import, what they show of other notebooks, the pinned versions. `outputs` covers the stored outputs. A
lesson runs again only if the first has changed or the second does not fit; otherwise its outputs are reused.
"""

import argparse
import ast
import base64
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
import numpy as np
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode
from PIL import Image

from course_utils import pytorch
from course_utils.environment import MEMORY_LIMIT_MB

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ROOT / "lessons"
NOTEBOOKS = ROOT / "notebooks"
RUN_TIME_STEP_S = 5
CALIBRATION_ROUNDS, CALIBRATION_S = 72, 1.0  # seconds that the fixed work takes on two cores that do nothing else
BUSY = 1.5  # a machine that is slower than that is busy with other things
HANG_S = 600  # a cell that runs longer hangs, however slow the machine
HEADER = "{{minutes}} · runs in about {{run_time}} s"  # a line of the first cell; the build fills it in
FURTHER = re.compile(r"^(#{2,6}) (.+?) \{\.further\}$", re.MULTILINE)
HEADING = re.compile(r"^(#{1,6}) ", re.MULTILINE)
CHECK = re.compile(r"^exercises\.(\w+)\.check\((.*)\)$", re.MULTILINE)
# How the minutes of a lesson are computed (CONTRIBUTING explains it): reading aloud, running and looking, exercises.
WORDS_PER_MINUTE, MINUTES_PER_CELL, MINUTES_PER_EXERCISE, MINUTES_PER_QUESTION, MINUTES_STEP = 130, 1, 7, 2, 5
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
README_TABLE = re.compile(r"(<!-- lessons: written by course.py build -->\n).*?(<!-- end of lessons -->)", re.DOTALL)
# A build shows what every learner sees, whoever builds: their own settings of these would show in the pages.
ENVIRONMENT = {"COLUMNS": "120", "COURSE_PROGRESS": "off", "COURSE_STRICT": "1"}


class LessonError(Exception):
    """A lesson that cannot become a notebook: the message names the lesson, the reason and the remedy."""


def lesson_files() -> list[Path]:
    """Return the lesson sources in their order."""
    return sorted(LESSONS.glob("[0-9][0-9]_*.md"))


def notebook_path(lesson: Path) -> Path:
    """Return where the notebook of a lesson belongs."""
    return NOTEBOOKS / f"{lesson.stem}.ipynb"


class Minutes(NamedTuple):
    """How long a lesson takes a learner, in minutes."""

    core: int
    further: int  # sections that are going further
    exercises: int

    def __str__(self) -> str:
        further = f" · going further {self.further} min" if self.further else ""
        return f"core {self.core} min{further} · exercises {self.exercises} min"


def sections(notebook: NotebookNode) -> list[tuple[str, NotebookNode]]:
    """Return (kind, cell or piece of a text cell) in order; the kind is "core", "further" or "exercises".

    A section ends where the next heading of its level or a higher one begins.
    """
    pieces, kind, level = [], "core", 0
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            pieces.append((kind, cell))
            continue
        for text in re.split(r"^(?=#{1,6} )", cell.source, flags=re.MULTILINE):
            heading = HEADING.match(text)
            if heading and (kind == "core" or len(heading[1]) <= level):
                level = len(heading[1])
                further = FURTHER.match(text.partition("\n")[0])
                kind = "further" if further else "exercises" if text.startswith("## Exercises") else "core"
            pieces.append((kind, nbformat.v4.new_markdown_cell(text)))
    return pieces


def minutes(notebook: NotebookNode) -> Minutes:
    """Compute how long a lesson takes, from its words, code cells and exercises, rounded up to whole steps."""
    totals = dict.fromkeys(Minutes._fields, 0.0)
    for kind, cell in sections(notebook):
        if kind == "exercises":
            for _, answer in CHECK.findall(cell.source if cell.cell_type == "code" else ""):
                totals[kind] += MINUTES_PER_QUESTION if answer == "..." else MINUTES_PER_EXERCISE
        elif cell.cell_type == "code":
            totals[kind] += MINUTES_PER_CELL
        else:
            totals[kind] += len(re.findall(r"\w[\w'’-]*", cell.source)) / WORDS_PER_MINUTE
    return Minutes(*(MINUTES_STEP * -(-round(value) // MINUTES_STEP) for value in totals.values()))


def read_lesson(lesson: Path, run_time_s: int) -> NotebookNode:
    """Return the unexecuted notebook of a lesson, with its times in the header line.

    The notebook's metadata keep the kernel's name and, under ``course``, what the lesson says of itself (``budget`` in
    seconds, what the learner ``can`` do afterwards, and if it has them ``path``, ``needs`` and ``reads``) and its
    times.

    Raises
    ------
    LessonError
        If the header line or an entry under ``course`` is missing.
    """
    notebook = jupytext.read(lesson)
    course = dict(notebook.metadata.get("course", {}))
    if missing := {"budget", "can"} - set(course):
        raise LessonError(f"{lesson.name}: its front matter has no course.{min(missing)}: add it as in lesson 01.")
    if not any(HEADER in cell.source.splitlines() for cell in notebook.cells[:2]):
        raise LessonError(f"{lesson.name}: it lacks the line “{HEADER}” below its title: add it as in lesson 01.")
    course["run_time_s"] = run_time_s
    notebook.metadata = nbformat.from_dict(
        {
            "course": course,
            "kernelspec": notebook.metadata.kernelspec,
            "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    header = HEADER.replace("{{minutes}}", str(minutes(notebook))).replace("{{run_time}}", str(run_time_s))
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = FURTHER.sub(r"\1 \2 · *going further*", cell.source.replace(HEADER, header))
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


# --- what the outputs of a lesson depend on


def code_of(source: str) -> str:
    """Return a module without comments, docstrings and blank lines: what is left decides what it does."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                lines[first.lineno - 1 : first.end_lineno] = [""] * (first.end_lineno - first.lineno + 1)
                if len(node.body) == 1 and first.col_offset:  # a class or function must have a body
                    lines[first.lineno - 1] = " " * first.col_offset + "..."
    return "\n".join(line.rstrip() for line in lines if line.strip())


def files_named_in(source: str) -> set[Path]:
    """Return the files of `course_utils` that some code imports, or names in a string (a command, a style)."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= set(re.findall(r"\bcourse_utils(?:\.\w+)*", node.value))
    files = set()
    for parts in (name.split(".") for name in names if name.split(".")[0] == "course_utils"):
        for length in range(1, len(parts) + 1):  # importing a module also runs the packages that it lies in
            path = ROOT.joinpath(*parts[:length])
            endings = (".py", ".mplstyle", ".html.jinja")
            files |= {path / "__init__.py", *(path.with_suffix(ending) for ending in endings)}
    return {file for file in files if file.is_file()}


def modules_of(source: str) -> list[Path]:
    """Return the files of `course_utils` that some code needs, directly or through others."""
    found, waiting = set(), files_named_in(source)
    while waiting:
        file = waiting.pop()
        found.add(file)
        if file.suffix == ".py":
            waiting |= files_named_in(code_of(file.read_text(encoding="utf-8"))) - found
    return sorted(found)


def pins(name: str) -> str:
    """Return the lines of a requirements file without its comments."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def made_from(lesson: Path) -> str:
    """Return a digest of everything that the outputs of a lesson depend on."""
    notebook = jupytext.read(lesson)
    course = notebook.metadata.get("course", {})
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    source = "\n".join(cell.source for cell in cells)
    parts = [json.dumps([(cell.source, cell.metadata.get("tags", [])) for cell in cells])]
    for file in modules_of(source):
        text = file.read_text(encoding="utf-8")
        parts += [file.relative_to(ROOT).as_posix(), code_of(text) if file.suffix == ".py" else text]
    parts += [pins("requirements.txt"), pins("requirements-torch.txt") if course.get("needs") == "torch" else ""]
    if field := course.get("reads"):
        parts += [f"{o.stem} {stored.metadata.course.get(field)}" for o, stored in stored_notebooks() if o != lesson]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def outputs_digest(notebook: NotebookNode) -> str:
    """Return a digest of what a notebook stores of its runs."""
    stored = [(cell.execution_count, cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(stored, sort_keys=True).encode()).hexdigest()[:16]


def is_current(notebook: NotebookNode | None, lesson: Path) -> bool:
    """Return whether the outputs that a notebook stores are those of its lesson as it is now."""
    course = notebook.metadata.get("course", {}) if notebook else {}
    return (
        bool(course)
        and course.get("made_from") == made_from(lesson)
        and course.get("outputs") == outputs_digest(notebook)
    )


def missing(notebook: NotebookNode, lesson: Path) -> str | None:
    """Return why a lesson cannot run in this installation, in one sentence, or None if it can."""
    if notebook.metadata.course.get("needs") == "torch" and not pytorch.installed():
        return f"{lesson.stem}: left out, because it needs PyTorch: add --torch to the command."
    return None


def stored_notebook(lesson: Path) -> NotebookNode | None:
    """Return the notebook that an earlier build made of this lesson, or None if there is none that can be read."""
    try:
        return nbformat.read(notebook_path(lesson), as_version=4)
    except (OSError, ValueError):
        return None


def stored_notebooks() -> list[tuple[Path, NotebookNode]]:
    """Return each lesson that has a notebook, with it."""
    found = [(lesson, stored_notebook(lesson)) for lesson in lesson_files()]
    return [(lesson, notebook) for lesson, notebook in found if notebook is not None]


# --- running


def slowness() -> float:
    """Return how many times longer a fixed piece of work takes here than on the machine the budgets were set on.

    At least 1: on a faster machine a lesson may not take more. The work occupies two threads for about a second.
    """

    def work(seed: int) -> None:
        numbers = np.random.default_rng(seed).random((600, 600))
        for _ in range(CALIBRATION_ROUNDS):
            np.sort(numbers @ numbers, axis=1)

    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    return max(1.0, (time.perf_counter() - start) / CALIBRATION_S)


def rounded_run_time(seconds: float, before: int | None, slower: float = 1.0) -> int:
    """Round a run time up to whole steps of 5 s; keep the one from before if it is at most one step away.

    It is also kept if the machine was so slow or busy that this one says little.
    """
    if before is not None and slower > BUSY:
        return before
    steps = max(1, -(-int(seconds + 0.5) // RUN_TIME_STEP_S)) * RUN_TIME_STEP_S
    return before if before is not None and abs(before - steps) <= RUN_TIME_STEP_S else steps


def colour_bar(pixels: np.ndarray) -> np.ndarray | None:
    """Return one line of pixels along the colour bar of a figure (H, W, 3), or None if there is none.

    A bar is known by two rows or columns that are equal, seven pixels apart, and change in more than 100 small steps.
    """
    for lines in (pixels.swapaxes(0, 1), pixels):
        for number in np.flatnonzero((lines[7:] == lines[:-7]).all(axis=(1, 2))):
            change = np.abs(np.diff(lines[number].astype(int), axis=0)).max(axis=1)
            if np.sum((change > 0) & (change < 12)) > 100 and np.sum(change >= 12) < 10:
                return lines[number]
    return None


def with_palette(png: str) -> str:
    """Return a figure (PNG in base64) with a palette of 192 colours, if that is smaller: photos shrink to a third.

    A colour bar has few pixels, so it would get few colours and show flat bands: it counts as much as all the rest.
    """
    figure = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    pixels = np.asarray(figure)
    bar = colour_bar(pixels)
    counted = pixels if bar is None else np.concatenate([pixels.reshape(-1, 3), np.resize(bar, (pixels.size // 3, 3))])
    chosen_from = Image.fromarray(counted.reshape(-1, pixels.shape[1], 3))
    palette = chosen_from.quantize(192, kmeans=1, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small = palette if bar is None else figure.quantize(palette=palette, dither=Image.Dither.NONE)
    small.save(buffer, "png", optimize=True)
    return min(png, base64.b64encode(buffer.getvalue()).decode(), key=len)


def peak_memory_mb(process: psutil.Process) -> float:
    """Return the largest resident memory that a process has had so far (Linux), or has now (elsewhere)."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return process.memory_info().rss / 2**20


def execute(notebook: NotebookNode, name: str, cache: str | None = None) -> tuple[float, float]:
    """Run every cell in a fresh kernel, in place, and return the seconds and the peak megabytes that took.

    Parameters
    ----------
    notebook : NotebookNode
        Gets its outputs.
    name : str
        Of the lesson, for messages.
    cache : str, optional
        Folder for cached features instead of the usual one.

    Raises
    ------
    LessonError
        If a cell fails, hangs or writes to stderr.
    """
    number, peak = 0, 0.0
    total = sum(cell.cell_type == "code" for cell in notebook.cells)

    def tell(cell: NotebookNode, cell_index: int) -> None:
        nonlocal number
        number += cell.cell_type == "code"
        if sys.stderr.isatty():
            print(f"\r  {name}: cell {number} of {total} ", end="", file=sys.stderr, flush=True)

    def look_at_memory(**_: object) -> None:
        nonlocal peak
        peak = max(peak, peak_memory_mb(psutil.Process(client.km.provisioner.pid)))

    client = NotebookClient(
        notebook,
        timeout=HANG_S,
        startup_timeout=HANG_S,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_execute=tell,
        on_cell_executed=look_at_memory,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # a kernel on this computer need not warn of its network
    )
    start = time.perf_counter()
    try:
        client.execute(env=os.environ | ENVIRONMENT | ({"COURSE_CACHE": cache} if cache else {}))
    except CellExecutionError as error:
        raise LessonError(f"{name}: code cell {number} fails:\n{error}") from None
    except CellTimeoutError:
        raise LessonError(f"{name}: code cell {number} took longer than {HANG_S} s: make its work smaller.") from None
    finally:
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
    return seconds, peak


def run(notebook: NotebookNode, name: str) -> tuple[float, float, float]:
    """Run a lesson as a learner does the first time, and judge it; return seconds, peak megabytes and `slowness`.

    The cache of features is empty. On a slower machine the lesson may take longer in proportion.

    Raises
    ------
    LessonError
        As in `execute`, or if the lesson takes more time or memory than it may.
    """
    budget, slower = notebook.metadata.course.budget, slowness()
    with tempfile.TemporaryDirectory() as cold:
        seconds, peak = execute(notebook, name, cold)
    slower = max(slower, slowness())
    if seconds > budget * slower:
        raise LessonError(
            f"{name}: it ran {seconds:.0f} s but may take {budget} s (here {budget * slower:.0f} s, because a fixed "
            f"piece of work takes {slower:.1f} times longer than where the budget was set): make its work smaller."
        )
    if peak > MEMORY_LIMIT_MB:
        raise LessonError(f"{name}: its kernel took {peak:.0f} MB but may take {MEMORY_LIMIT_MB} MB.")
    return seconds, peak, slower


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook whole or not at all."""
    nbformat.validate(notebook)
    scratch = path.with_suffix(".part")
    scratch.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    scratch.replace(path)


def build(lesson: Path, force: bool = False) -> str | None:
    """Bring one notebook up to date, whole or not at all; return a line that says what was done, or None for nothing.

    Outputs are reused if nothing that they depend on has changed, unless `force`.
    """
    stored = stored_notebook(lesson)
    before = stored.metadata.get("course", {}).get("run_time_s") if stored else None
    final = read_lesson(lesson, before or RUN_TIME_STEP_S)
    path = notebook_path(lesson)
    if reuse := not force and is_current(stored, lesson):
        executed, said = stored, f"{lesson.stem}: only text changed, its outputs were reused"
        final.metadata.course |= {key: stored.metadata.course[key] for key in ("made_from", "outputs")}
    elif reason := missing(final, lesson):
        return reason
    else:
        executed, digest = final, made_from(lesson)
        seconds, peak, slower = run(executed, lesson.stem)
        said = f"{lesson.stem}: {seconds:.0f} s, {peak:.0f} MB at most"
        final = read_lesson(lesson, rounded_run_time(seconds / slower, before, slower))
        final.metadata.course |= {"made_from": digest, "outputs": outputs_digest(executed)}
    code = [[cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (final, executed)]
    for cell, source in zip(*code, strict=True):
        cell.outputs, cell.execution_count = source.outputs, source.execution_count
    if reuse and nbformat.writes(final) == nbformat.writes(stored):
        return None
    write(final, path)
    return f"{said}, {path.stat().st_size / 1e6:.2f} MB on disk"


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
    """Return the README's table of lessons and how long they take together, made from the built notebooks."""
    lines = [
        "| lesson | afterwards you can | core | going further | exercises | runs in |",
        "|---|---|--:|--:|--:|--:|",
    ]
    totals = {"whole course": [0, 0, 0], "short path": [0, 0, 0]}
    short = []
    for lesson, notebook in stored_notebooks():
        title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE).group(1)
        course = notebook.metadata.course
        times = minutes(jupytext.read(lesson))
        totals["whole course"] = [a + b for a, b in zip(totals["whole course"], times, strict=True)]
        if on_path := course.get("path") == "short":
            totals["short path"] = [a + b for a, b in zip(totals["short path"], times, strict=True)]
            short.append(lesson.stem[:2])
        link = f"[{title}](notebooks/{lesson.stem}.ipynb)" + " ●" * on_path
        cells = [f"{value} min" if value else "–" for value in times]
        lines.append(f"| {link} | {course.can} | {' | '.join(cells)} | {course.run_time_s} s |")
    for name, values in totals.items():
        if name == "whole course" or short:
            cells = [f"**{value / 60:.1f} h**" if value else "–" for value in values]
            label = f"● short path: {', '.join(short)}" if name == "short path" else name
            lines.append(f"| **{label}** | | {' | '.join(cells)} | |")
    return "\n".join(lines) + "\n"


def update_readme() -> None:
    """Write the table of lessons into the README, between its two markers, and the pictures that it shows."""
    for _, notebook in stored_notebooks():
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
    """Build what changed, say a line for each lesson that did, and return the exit code."""
    parser = argparse.ArgumentParser(prog="course.py build", description="turn lessons into executed notebooks")
    parser.add_argument("lesson", nargs="*", help="number or name; without one: every lesson")
    parser.add_argument("--force", action="store_true", help="also run what did not change")
    options = parser.parse_args(arguments)
    NOTEBOOKS.mkdir(exist_ok=True)
    said, failed = [], False
    try:
        # A lesson that shows something of the other notebooks comes last.
        for lesson in sorted(
            chosen(options.lesson), key=lambda path: bool(read_lesson(path, 0).metadata.course.get("reads"))
        ):
            try:
                if line := build(lesson, options.force):
                    said.append(line)
                    print(line, flush=True)
            except LessonError as error:
                failed = True
                print(error, file=sys.stderr)
        update_readme()
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1
    if not said and not failed:
        print("nothing to do")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
