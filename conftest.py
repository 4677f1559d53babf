"""What every run of pytest needs, also a plain ``pytest --nbval notebooks`` in an environment made by hand."""

import os
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

import course_utils  # noqa: F401  (before NumPy, whose threads would otherwise wait for each other)

# isort: split
import nbformat
import psutil
import pytest
from build_notebooks import peak_memory_mb
from nbval.plugin import IPyNbCell, IPyNbFile

from course_utils.environment import MEMORY_LIMIT_MB

ROOT = Path(__file__).resolve().parent
IGNORING = ("nbval-ignore-output", "NBVAL_IGNORE_OUTPUT", "nbval-skip", "NBVAL_SKIP")
# Lessons whose front matter says `needs: torch`: their notebook, copies and exercises are skipped without PyTorch.
TORCH_LESSONS = [
    path.stem
    for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.md"))
    if re.search(r"^  needs: torch$", path.read_text(encoding="utf-8"), re.MULTILINE)
]
NEEDS_TORCH = re.compile(
    "|".join(
        rf"{stem}\.ipynb::|test_copies\.py::.*{stem}|test_exercises\.py::.*lesson_{stem[:2]}" for stem in TORCH_LESSONS
    )
)
# Cells that run once more after the end of their notebook: whoever goes back and changes something must not meet an
# exception, because a later cell gave a name another meaning. Lesson → how many, at random (the seed is fixed);
# of lessons 00 and 03 all.
RERUN = {"00": 1000, "01": 12, "02": 12, "03": 1000, "04": 8, "05": 15, "07": 8, "09": 12, "10": 8, "11": 8, "12": 8}
MEMORY_MARGIN = 1.15  # the build judges the limit; a test ends what runs away, and the peak differs from run to run
peaks_mb: dict[str, float] = {}
os.environ["COURSE_PROGRESS"] = "off"  # tests and the kernels they start leave the learner's progress alone
os.environ["COURSE_STRICT"] = "1"  # a claim that does not hold stops them


def is_compared(cell: nbformat.NotebookNode) -> bool:
    """Return whether nbval compares the stored output of this code cell with a fresh one."""
    marks = [*cell.metadata.get("tags", []), cell.source]
    return cell.execution_count is not None and not any(word in mark for word in IGNORING for mark in marks)


def pytest_sessionstart(session):
    """Prepare data and weights before any notebook runs, so that none of them prints progress into a compared cell."""
    if session.config.option.nbval and not hasattr(session.config, "workerinput"):
        from course_utils import prepare

        if prepare.main():
            pytest.exit("Data or weights are missing, see above.", returncode=1)


def pytest_configure(config):
    """Find the file of pyproject.toml's --nbval-sanitize-with from any working folder."""
    sanitizer = config.option.nbval_sanitize_with
    if sanitizer and config.inipath and not Path(sanitizer).is_absolute():
        config.option.nbval_sanitize_with = str(config.inipath.parent / sanitizer)


class CellAgain(IPyNbCell):
    """A cell that runs once more after the end of its notebook; its output may differ, an exception may not arise."""

    def reportinfo(self):
        path, line, description = super().reportinfo()
        return path, line, f"{description} again"


def cells_again(notebook: IPyNbFile, cells: list[IPyNbCell]) -> list[CellAgain]:
    """Return the cells of a notebook that are to run once more after its end."""
    count = RERUN.get(notebook.path.stem[:2], 0) if len(cells) > 1 else 0
    chosen = random.Random(0).sample(cells, min(count, len(cells)))
    return [
        CellAgain.from_parent(
            notebook,
            name=f"{cell.name} again",
            cell_num=cell.cell_num,
            # As for a learner: a claim may not hold this time.
            cell=nbformat.v4.new_code_cell(f"__import__('os').environ.pop('COURSE_STRICT', None)\n{cell.cell.source}"),
            options=defaultdict(bool),  # nothing is compared
        )
        # From the last to the first: each finds what it needs as the end of the notebook left it.
        for cell in sorted(chosen, key=lambda cell: -cell.cell_num)
    ]


def pytest_collection_modifyitems(items):
    """Let some cells run once more, and skip, by name, what needs PyTorch where it is not installed."""
    from course_utils import pytorch

    for notebook in dict.fromkeys(item.parent for item in items if isinstance(item, IPyNbCell)):
        cells = [item for item in items if item.parent is notebook]
        last = items.index(cells[-1])
        items[last + 1 : last + 1] = cells_again(notebook, cells)

    if not pytorch.installed():
        skip = pytest.mark.skip(reason="lesson 10 needs PyTorch: python3 course.py test --torch")
        for item in items:
            if NEEDS_TORCH.search(item.nodeid):
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """End a notebook cell only if it hangs, and fail it if its kernel has taken too much memory."""
    if isinstance(item, IPyNbCell):
        item.output_timeout = 60  # nbval waits 5 s for the output of a cell that has ended
    outcome = yield
    if isinstance(item, IPyNbCell) and outcome.excinfo is None:
        kernel = item.parent.kernel.km.provisioner
        if kernel is not None and getattr(kernel, "pid", None):
            peak = peak_memory_mb(psutil.Process(kernel.pid))
            item.user_properties.append(("peak_mb", peak))
            if peak > MEMORY_MARGIN * MEMORY_LIMIT_MB:
                message = f"the kernel has taken {peak:.0f} MB by this cell; a lesson may take {MEMORY_LIMIT_MB} MB"
                outcome.force_exception(AssertionError(message))


def pytest_runtest_logreport(report):
    """Collect the memory peaks, also from the workers."""
    for name, value in report.user_properties:
        if name == "peak_mb":
            notebook = report.nodeid.split("::")[0]
            peaks_mb[notebook] = max(peaks_mb.get(notebook, 0), value)


def pytest_terminal_summary(terminalreporter):
    """Say how many code cells were compared, a line a notebook that ran."""
    if not peaks_mb:
        return
    terminalreporter.section("code cells compared with their stored output")
    compared = total = 0
    for name, peak in sorted(peaks_mb.items()):
        notebook = nbformat.read(Path(terminalreporter.config.rootpath) / name, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        here = sum(map(is_compared, cells))
        compared, total = compared + here, total + len(cells)
        terminalreporter.line(f"{name}: {here} of {len(cells)}, kernel up to {peak:.0f} MB")
    terminalreporter.line(f"all: {compared} of {total} = {compared / total:.0%}")


if sys.platform == "win32":  # Jupyter's sockets need this event loop there
    import asyncio

    asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
