"""What all benchmarks share: their result is printed as a table, kept as JSON, and drawn into docs/benchmarks.md.

A benchmark is a script in this folder that measures one thing. Its file holds ``measure(quick)``, which returns a
`Result`, and ends with::

    if __name__ == "__main__":
        sys.exit(_report.main(__file__, measure))

Conventions:

- ``.venv/bin/python benchmarks/NAME.py`` runs it, in a clone that ``python3 course.py test`` has set up. It prints its
  table, writes ``benchmarks/results/NAME.json``, renews docs/benchmarks.md, and returns 1 if one of its `checks` does
  not hold.
- ``--quick`` shrinks the work to a few seconds, so that tests/test_benchmarks.py can run the whole script. Of the solar
  cells it sees every 24th only, if it asks for ``datasets.solar_cells()`` or `read_solar_cells`. Its numbers mean
  nothing: they are kept only if ``--output FILE`` says where, and its checks decide nothing.
- ``.venv/bin/python benchmarks/_report.py`` draws docs/benchmarks.md again from all JSON files; a test compares.
- What is compared must give the same result first: a benchmark raises if it does not, before it times anything.
- ``import _report`` comes before TensorFlow and Keras (sorted imports see to it): it imports course_utils, which keeps
  TensorFlow's start-up messages off the screen.
- Nothing that identifies a person or a computer goes into a result: no path, no host name.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import psutil

import course_utils  # noqa: F401  (before TensorFlow, which then starts silently)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
# on the page; others follow
ORDER = ("paper_protocol", "time_to_accuracy", "convolution", "pipeline", "detectors", "exports", "course")
PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "scikit-learn", "scikit-image", "opencv-python")
HEAD = """\
# Benchmarks

What the course claims about speed and accuracy, measured by the scripts in `benchmarks/`. Each section shows the last
run of one script, with the machine and the day. `.venv/bin/python benchmarks/NAME.py` repeats it on yours
(`.venv\\Scripts\\python` on Windows) and renews this page; `--quick` only tries whether the script works, in seconds.

| script | measures | takes |
|---|---|--:|
"""
FOOT = """\
## How these numbers are made

- Everything that is compared is first checked to give the same result, or is judged by the same score on the same
  images.
- A time is the median of several runs after one run that is not counted. The machine does nothing else meanwhile.
- `benchmarks/results/NAME.json` holds each result with more digits. This page is drawn from these files by
  `.venv/bin/python benchmarks/_report.py`; a test compares the two, so do not edit it by hand.
- A new benchmark is a new script in `benchmarks/`; `benchmarks/_report.py` says in its first lines what it must offer.
"""


class Result(NamedTuple):
    """What a benchmark found.

    `columns` maps the heading of each column, unit included, to the format of its numbers (such as ``",.1f"``; ``""``
    for text). Each row maps the headings to text, numbers, or None for an empty cell. `checks` are the sentences that
    the benchmark is there to hold, each with whether it does. `notes` are paragraphs below the table.
    """

    title: str
    question: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, str | float | None]]
    checks: Sequence[tuple[str, bool]] = ()
    notes: Sequence[str] = ()


def median_seconds(function: Callable[[], object], runs: int = 5) -> float:
    """Return the median time of several calls of a function, after one that is not counted."""
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def processor() -> str:
    """Return the name of the processor as its maker writes it, or what Python knows of it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        name = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return name.stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def machine() -> dict[str, object]:
    """Return what a reader must know of this computer to judge a time, and nothing that identifies it."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # of the two builds of TensorFlow only one is installed
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


@contextmanager
def few_cells(step: int = 24) -> Iterator[None]:
    """Let the solar cells be every `step`-th of them while a block runs: all modules, both classes in each set."""
    from course_utils import datasets  # late: not every benchmark needs what it imports

    original, whole = datasets.solar_cells, datasets.solar_cells()
    with tempfile.TemporaryDirectory() as scratch:
        few = Path(scratch)
        head, *lines = (whole / "manifest.csv").read_text(encoding="utf-8").splitlines()
        (few / "manifest.csv").write_text("\n".join([head, *lines[::step]]), encoding="utf-8")
        for line in lines[::step]:
            file = line.partition(",")[0]
            (few / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(whole / file, few / file)
        datasets.solar_cells = lambda: few
        try:
            yield
        finally:
            datasets.solar_cells = original


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, str | float | None]]) -> str:
    """Return a table that reads well on a terminal and is Markdown: numbers to the right, text to the left."""

    def cell(value: str | float | None, form: str) -> str:
        return "" if value is None else value if isinstance(value, str) else format(value, form)

    aligned = []
    for name, form in columns.items():
        cells = [name, *(cell(row.get(name), form) for row in rows)]
        width = max(map(len, cells))
        cells = [text.rjust(width) if form else text.ljust(width) for text in cells]
        aligned.append([cells[0], "-" * (width - 1) + ":" if form else "-" * width, *cells[1:]])
    return "\n".join("| " + " | ".join(line) + " |" for line in zip(*aligned, strict=True))


def checks_as_lines(checks: Sequence[Sequence]) -> list[str]:
    """Return a line for each check: a tick or a cross, and its sentence."""
    return [f"{'✔' if holds else '✘'} {sentence}" for sentence, holds in checks]


def as_duration(seconds: float) -> str:
    """Return a time as a reader would say it."""
    return f"{max(1, round(seconds))} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _section(result: Mapping) -> str:
    """Return the part of the page that shows one result."""
    computer = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in computer["versions"].items())
    parts = [
        f"## {result['title']}",
        result["question"],
        table(result["columns"], result["rows"]),
        "\n".join(f"- {line}" for line in checks_as_lines(result["checks"])),
        *result["notes"],
        f"*{result['date']}, {as_duration(result['seconds'])}, with `benchmarks/{result['name']}.py`. "
        f"{computer['processor']}, {computer['cores']} cores, {computer['memory_gb']} GB, {computer['system']}; "
        f"Python {computer['python']}, {versions}.*",
    ]
    return "\n\n".join(part for part in parts if part)


def page(results: Path = RESULTS) -> str:
    """Return the text of docs/benchmarks.md, made from all JSON files in a folder."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))]
    found.sort(key=lambda result: ORDER.index(result["name"]) if result["name"] in ORDER else len(ORDER))
    contents = "".join(f"| `{r['name']}.py` | {r['title']} | {as_duration(r['seconds'])} |\n" for r in found)
    return "\n".join([HEAD + contents, *(_section(result) + "\n" for result in found), FOOT])


def write_page() -> None:
    """Write docs/benchmarks.md from all results."""
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


def main(script: str, measure: Callable[[bool], Result], arguments: list[str] | None = None) -> int:
    """Run a benchmark as its command line asks, and return the exit code.

    Parameters
    ----------
    script : str
        ``__file__`` of the benchmark; its name names the result.
    measure : callable
        Gets True for a quick try, False for the real run; returns a `Result`.
    arguments : list of str, optional
        Instead of those of the command line.
    """
    name = Path(script).stem
    parser = argparse.ArgumentParser(prog=f"benchmarks/{name}.py", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, a few seconds: does the script work?")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"instead of benchmarks/results/{name}.json")
    options = parser.parse_args(arguments)

    start = time.perf_counter()
    with few_cells() if options.quick else nullcontext():
        result = measure(options.quick)
    seconds = time.perf_counter() - start
    kept = {
        "name": name,
        "date": datetime.date.today().isoformat(),
        "seconds": round(seconds, 1),
        "quick": options.quick,
        "machine": machine(),
        **result._asdict(),
    }
    print(result.title, result.question, "", table(result.columns, result.rows), "", sep="\n")
    print(*checks_as_lines(result.checks), *result.notes, f"({as_duration(seconds)})", sep="\n")
    file = options.output or (None if options.quick else RESULTS / f"{name}.json")
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
        print(f"kept in {file.name}")
    if options.output is None and not options.quick:
        write_page()
    return 0 if options.quick or all(holds for _, holds in result.checks) else 1


if __name__ == "__main__":
    write_page()
