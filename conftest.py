"""What every run of pytest needs, also a plain ``pytest --nbval notebooks`` in an environment made by hand."""

import os
import re
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from nbval.plugin import IPyNbCell

IGNORING = ("nbval-ignore-output", "NBVAL_IGNORE_OUTPUT", "nbval-skip", "NBVAL_SKIP")
MEMORY_LIMIT_MB = 2048  # what a free Binder gives a kernel
# What runs PyTorch: a notebook, its copies and its exercises. The guards of stored outputs do without.
NEEDS_TORCH = re.compile(
    r"10_pytorch\.ipynb::|test_copies\.py::.*10_pytorch"
    r"|test_exercises\.py::test_(?:exercise_answers_back|no_exercise_lacks_a_state)\[lesson_10"
)
peaks_mb: dict[str, float] = {}
os.environ["COURSE_PROGRESS"] = "off"  # tests and the kernels they start leave the learner's progress alone


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


def pytest_collection_modifyitems(items):
    """Skip, by name, what needs PyTorch where it is not installed."""
    from course_utils import pytorch

    if not pytorch.installed():
        skip = pytest.mark.skip(reason="lesson 10 needs PyTorch: python3 course.py test --torch")
        for item in items:
            if NEEDS_TORCH.search(item.nodeid):
                item.add_marker(skip)


def peak_memory_mb(process: psutil.Process) -> float:
    """Return the largest resident memory that a process has had so far (Linux), or has now (elsewhere)."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return process.memory_info().rss / 2**20


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Give each notebook cell its lesson's budget, and fail it if its kernel has taken too much memory."""
    if isinstance(item, IPyNbCell):
        budget = item.parent.nb.metadata.get("course", {}).get("budget")
        item.config.option.nbval_cell_timeout = budget or 90
    outcome = yield
    if isinstance(item, IPyNbCell) and outcome.excinfo is None:
        kernel = item.parent.kernel.km.provisioner
        if kernel is not None and getattr(kernel, "pid", None):
            peak = peak_memory_mb(psutil.Process(kernel.pid))
            item.user_properties.append(("peak_mb", peak))
            if peak > MEMORY_LIMIT_MB:
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
