"""The house stays small and its rooms apart: what CONTRIBUTING promises of the package and of lessons/."""

import ast
import re
from pathlib import Path

import build_notebooks as build
import jupytext
import pytest

PACKAGE = build.ROOT / "course_utils"
MODULES = sorted(PACKAGE.rglob("*.py"))
HELPERS = [path for path in MODULES if not re.fullmatch(r"lesson_\d\d\.py", path.name)]  # without exercises' contents
MOST_LINES = 6_860
MOST_DOCSTRINGS = 0.18


def docstring_lines(path: Path) -> int:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, kinds)]
    return sum(
        n.body[0].end_lineno - n.body[0].lineno + 1 for n in nodes if ast.get_docstring(n, clean=False) is not None
    )


def test_package_is_small():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in HELPERS}
    docstrings = sum(map(docstring_lines, HELPERS)) / sum(lines.values())
    assert sum(lines.values()) <= MOST_LINES, "take something out of course_utils, or let a library do it"
    assert docstrings < MOST_DOCSTRINGS, "shorten docstrings: shapes, units, errors and sources, no retelling"


def explicit_imports(path: Path) -> set[Path]:
    """Return the modules of the package that a module imports by name, also inside of its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    files = set()
    for name in names:
        place = build.ROOT.joinpath(*name.split("."))
        files |= {place.with_suffix(".py"), place / "__init__.py"} if name.startswith("course_utils.") else set()
    return {file for file in files if file in MODULES} - {path}


def test_no_module_imports_itself_through_others():
    imports = {path: explicit_imports(path) for path in MODULES}
    for start in MODULES:
        reached, waiting = set(), set(imports[start])
        while waiting:
            path = waiting.pop()
            reached.add(path)
            waiting |= imports[path] - reached
        assert start not in reached, f"{start.relative_to(build.ROOT)} is part of an import circle"


def test_lessons_folder_holds_text_only():
    others = [path.name for path in build.LESSONS.iterdir() if path.suffix != ".md" and path.name != "__pycache__"]
    assert not others, "code belongs in tools/ or course_utils/"


@pytest.mark.parametrize("lesson", build.lesson_files(), ids=lambda path: path.stem)
def test_lesson_imports_nothing_private(lesson):
    source = "\n".join(cell.source for cell in jupytext.read(lesson).cells if cell.cell_type == "code")
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        private = [
            name for name in names if any(part.startswith("_") and part != "__future__" for part in name.split("."))
        ]
        assert not private, f"{private[0]} is private: a lesson shows only what a learner may use"
