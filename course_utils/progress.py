"""What a learner has solved so far, kept in one small file on this computer: ``progress.json`` in the data folder.

It holds, for each exercise, the number of tries and whether the answer was right. With the environment variable
``COURSE_PROGRESS=off`` nothing is read or written.
"""

import html
import importlib
import json
import os
import pkgutil
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from IPython.display import display

from course_utils._setup.storage import data_folder

FILE = "progress.json"
LOCK_WAIT_S = 2.0  # the file is busy for milliseconds; nobody should wait longer for the reply to an answer
WORDS = {"correct": "✔ correct", "wrong": "✘ wrong so far", "not attempted": "· not attempted"}
KEPT = ("correct", "wrong")

Results = dict[str, dict[str, dict]]  # lesson → exercise → {"tries": 2, "status": "correct" or "wrong"}


def record(lesson: str, exercise: str, status: str) -> str:
    """Keep the result of one try; never raises. After the first correct answer, nothing changes any more.

    Parameters
    ----------
    lesson, exercise : str
        Such as ``"lesson_03"`` and ``"pad"``.
    status : str
        "correct" or "wrong"; anything else, such as "not attempted", is not kept.

    Returns
    -------
    str
        Empty, or what the learner should know: the file was damaged, or the result could not be kept.
    """
    note = ""
    if _is_off() or status not in KEPT:
        return note
    try:
        with _locked() as path:
            results, note = _load(path)
            before = results.setdefault(lesson, {}).get(exercise, {"tries": 0, "status": "wrong"})
            if before["status"] != "correct":
                results[lesson][exercise] = {"tries": before["tries"] + 1, "status": status}
                _save(path, results)
    except Exception as error:  # the reply to the answer matters more than keeping the result
        return f"{note} This result was not kept: {_reason(error)}.".strip()
    return note


def show(lesson: int | None = None) -> None:
    """Show which exercises are solved, tried or untouched: a table in a notebook, the same words in a terminal.

    Parameters
    ----------
    lesson : int, optional
        Only this lesson.

    Raises
    ------
    ValueError
        If there is no such lesson with exercises.
    """
    chosen = _chosen(lesson)
    results, note = ({}, "") if _is_off() else _look()
    display(_Table({name: {e: results.get(name, {}).get(e) for e in names} for name, names in chosen.items()}, note))


def reset(lesson: int | None = None) -> None:
    """Forget all results, or those of one lesson, and say how many there were.

    Parameters
    ----------
    lesson : int, optional
        Only this lesson.

    Raises
    ------
    ValueError
        If there is no such lesson with exercises.
    """
    chosen = _chosen(lesson)
    if _is_off():
        print("Nothing was removed: results are not kept here (COURSE_PROGRESS=off).")
        return
    note = ""
    try:
        with _locked() as path:
            results, note = _load(path)
            # Without a lesson everything goes, also exercises that the course no longer has.
            kept = {name: entries for name, entries in results.items() if lesson is not None and name not in chosen}
            if kept:
                _save(path, kept)
            else:
                path.unlink(missing_ok=True)
        count = sum(map(len, results.values())) - sum(map(len, kept.values()))
        said = f"{count} result{'' if count == 1 else 's'} removed."
    except Exception as error:
        said = f"Nothing was removed: {_reason(error)}."
    print(f"{note} {said}".strip())


class _Table:
    """Lessons × exercises, said by symbols and words alone, in the text colour of any theme."""

    def __init__(self, lessons: dict[str, dict[str, dict | None]], note: str) -> None:
        self.note = note
        self.rows: list[tuple[str, str, list[tuple[str, str]]]] = []  # lesson, count, (exercise, result)
        for lesson, entries in lessons.items():
            solved = sum(entry is not None and entry["status"] == "correct" for entry in entries.values())
            cells = [(exercise, _in_words(entry)) for exercise, entry in entries.items()]
            self.rows.append((lesson.replace("_", " ").capitalize(), f"{solved} of {len(entries)} correct", cells))

    def __repr__(self) -> str:
        width = max((len(exercise) for _, _, cells in self.rows for exercise, _ in cells), default=0)
        lines = [self.note] if self.note else []
        for title, count, cells in self.rows:
            lines += [f"{title}: {count}", *(f"  {exercise:{width}}  {result}" for exercise, result in cells)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = 'style="text-align: left; vertical-align: top"'
        rows = ""
        for title, count, cells in self.rows:
            columns = [f"<td {left}><b>{html.escape(exercise)}</b><br>{result}</td>" for exercise, result in cells]
            rows += f'<tr><th scope="row" {left}>{title}:<br>{count}</th>{"".join(columns)}</tr>'
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f'{note}<div style="overflow-x: auto"><table>{rows}</table></div>'


def _in_words(entry: dict | None) -> str:
    if entry is None:
        return WORDS["not attempted"]
    return f"{WORDS[entry['status']]} ({entry['tries']} {'try' if entry['tries'] == 1 else 'tries'})"


def _exercises() -> dict[str, list[str]]:
    """Return the names of all exercises by lesson, in the order of their definition."""
    from course_utils import exercises
    from course_utils.exercises.engine import Exercise  # here, because the engine imports this module

    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(exercises.__path__)):
        if re.fullmatch(r"lesson_\d\d", name):
            things = vars(importlib.import_module(f"{exercises.__name__}.{name}")).values()
            found[name] = [thing.name for thing in things if isinstance(thing, Exercise) and thing.lesson == name]
    return found


def _chosen(lesson: int | None) -> dict[str, list[str]]:
    lessons = _exercises()
    numbers = {name: int(name[-2:]) for name in lessons}
    if lesson is not None and lesson not in numbers.values():
        known = ", ".join(map(str, numbers.values()))
        raise ValueError(f"There is no lesson {lesson!r} with exercises: choose one of {known}.")
    return {name: exercises for name, exercises in lessons.items() if lesson in (None, numbers[name])}


def _is_off() -> bool:
    return os.environ.get("COURSE_PROGRESS", "").lower() == "off"


@contextmanager
def _locked() -> Iterator[Path]:
    """Yield the path of the file while no other notebook reads or writes it."""
    path = data_folder() / FILE
    with FileLock(path.with_name(f".{FILE}.lock"), timeout=LOCK_WAIT_S, poll_interval=0.01):
        yield path


def _read(path: Path) -> Results:
    """Return what the file holds, or nothing if there is none; raise ValueError if it is damaged."""
    if not path.exists():
        return {}
    if not path.is_file():
        raise ValueError("it is not a file")
    try:
        results = json.loads(path.read_bytes())
        for entry in (entry for entries in results.values() for entry in entries.values()):
            if entry["status"] not in KEPT or type(entry["tries"]) is not int or entry["tries"] < 1:
                raise ValueError
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("it is damaged") from error
    return results


def _load(path: Path) -> tuple[Results, str]:
    """Return what the file holds and a note for the learner; set a damaged file aside. The caller holds the lock."""
    try:
        return _read(path), ""
    except ValueError:
        aside, number = path.with_name(f"{FILE}.damaged"), 1
        while aside.exists() or aside.is_symlink():  # an earlier one is never overwritten
            number += 1
            aside = path.with_name(f"{FILE}.damaged{number}")
        path.rename(aside)
        return {}, f"The file with your results, {FILE}, was damaged: it is now {aside.name}, and a new one begins."


def _look() -> tuple[Results, str]:
    """Return what `_load` does, also where the file can be read but not locked, as in a read-only folder."""
    try:
        with _locked() as path:
            return _load(path)
    except Exception:
        try:
            return _read(data_folder() / FILE), ""
        except Exception as error:
            return {}, f"Your results cannot be shown: {_reason(error)}."


def _save(path: Path, results: Results) -> None:
    work = path.with_name(f".{FILE}.part")  # always this name, so that the next call clears up after a killed one
    try:
        work.write_text(json.dumps(results, indent=1), encoding="utf-8")
        work.replace(path)
    finally:
        work.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, Timeout):
        return f"another notebook keeps {FILE} busy"
    return f"{FILE} cannot be read or written ({getattr(error, 'strerror', None) or error})"
