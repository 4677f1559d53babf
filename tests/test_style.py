"""Lint and format, on package, tests, launcher and notebooks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = {".py", ".md", ".ipynb", ".txt", ".yml", ".toml", ".mplstyle"}
UNFINISHED = re.compile("TO" + r"DO\b|FIX" + r"ME\b|coming " + "soon")


@pytest.mark.parametrize("check", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(check):
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *check, "--no-cache", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_texts_are_finished_and_name_no_registry_host():
    host = re.compile(r"pypi\." + r"org|python" + r"hosted")
    folders = ("course_utils", "lessons", "benchmarks", "notebooks", "tests", "docs", "data/README.md", ".github")
    files = [p for name in folders for p in [ROOT / name, *(ROOT / name).rglob("*")] if p.suffix in TEXT]
    files += [p for p in ROOT.iterdir() if p.suffix in TEXT]
    assert len(files) > 20
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not UNFINISHED.search(text), path
        assert not host.search(text), path


def test_sections_that_a_text_names_exist():
    lessons = sorted((ROOT / "lessons").glob("*.md"))
    headings = {n for path in lessons for n in re.findall(r"^##+ (\d+\.\d+) ", path.read_text(encoding="utf-8"), re.M)}
    named = re.compile(r"[Ss]ections?\s+\d+\.\d+(?:(?:,| and| to)\s+\d+\.\d+)*")
    assert len(headings) > 100
    for path in [*lessons, *(ROOT / "course_utils").rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        for words in named.findall(path.read_text(encoding="utf-8")):
            assert set(re.findall(r"\d+\.\d+", words)) <= headings, f"{path.name} names a missing one: {words}"
