"""The results of the exercises: ``progress.json`` in the data folder, or nothing with ``COURSE_PROGRESS=off``."""

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from course_utils._setup.storage import data_folder

FILE = "progress.json"
LOCK_WAIT_S = 2.0  # the file is busy for milliseconds; nobody should wait longer for the reply to an answer
KEPT = ("correct", "wrong")

Results = dict[str, dict[str, dict]]  # lesson → exercise → {"tries": 2, "status": "correct" or "wrong"}


def record(lesson: str, exercise: str, status: str) -> str:
    """Keep the result of one try; never raises. After the first correct answer, nothing changes any more.

    Any `status` but "correct" and "wrong" is ignored. Returns what the learner should know (the file was damaged, or
    the result could not be kept), else an empty text.
    """
    note = ""
    if _are_off() or status not in KEPT:
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


def look() -> tuple[Results, str]:
    """Return what `_load` does, also where the file can be read but not locked, as in a read-only folder."""
    if _are_off():
        return {}, ""
    with suppress(Exception), _locked() as path:
        return _load(path)
    try:
        return _read(data_folder() / FILE), ""
    except Exception as error:
        return {}, f"Your results cannot be shown: {_reason(error)}."


def forget(lessons: Collection[str] | None) -> str:
    """Forget the results of some lessons, or of all (None), and return what to tell the learner; never raises."""
    if _are_off():
        return "Nothing was removed: results are not kept here (COURSE_PROGRESS=off)."
    note = ""
    try:
        with _locked() as path:
            results, note = _load(path)
            # Without a lesson everything goes, also exercises that the course no longer has.
            kept = {name: entries for name, entries in results.items() if lessons is not None and name not in lessons}
            if kept:
                _save(path, kept)
            else:
                path.unlink(missing_ok=True)
        count = sum(map(len, results.values())) - sum(map(len, kept.values()))
        said = f"{count} result{'' if count == 1 else 's'} removed."
    except Exception as error:
        said = f"Nothing was removed: {_reason(error)}."
    return f"{note} {said}".strip()


def _are_off() -> bool:
    return os.environ.get("COURSE_PROGRESS", "").lower() == "off"


@contextmanager
def _locked() -> Iterator[Path]:
    """Yield the path of the file while no other notebook reads or writes it."""
    path = data_folder() / FILE
    with FileLock(path.with_name(f".{FILE}.lock"), timeout=LOCK_WAIT_S, poll_interval=0.01):
        yield path


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


def _save(path: Path, results: Results) -> None:
    """Write the file whole or not at all. The caller holds the lock."""
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
