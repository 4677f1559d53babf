"""What a learner has solved so far: `show` and `reset`. With ``COURSE_PROGRESS=off`` nothing is read or written."""

import html
import importlib
import pkgutil
import re

from IPython.display import display

from course_utils import exercises
from course_utils.exercises.engine import Exercise, results

WORDS = {"correct": "✔ correct", "wrong": "✘ wrong so far"}


def show(lesson: int | None = None) -> None:
    """Show which exercises of one lesson, or of all, are solved, tried or not attempted."""
    chosen = _chosen(lesson)
    found, note = results.look()
    display(_Table({name: {e: found.get(name, {}).get(e) for e in names} for name, names in chosen.items()}, note))


def reset(lesson: int | None = None) -> None:
    """Forget all results, or those of one lesson, and say how many there were."""
    chosen = _chosen(lesson)
    print(results.forget(None if lesson is None else chosen))


class _Table:
    """One row per exercise, in text and in HTML, said by symbols and words alone: no colour depends on the theme."""

    def __init__(self, lessons: dict[str, dict[str, dict | None]], note: str) -> None:
        self.note = note
        self.rows: list[tuple[str, ...]] = []  # (heading) or (exercise, result)
        for lesson, entries in lessons.items():
            solved = sum(entry is not None and entry["status"] == "correct" for entry in entries.values())
            self.rows.append((f"{lesson.replace('_', ' ').capitalize()}: {solved} of {len(entries)} correct",))
            self.rows += [(exercise, _in_words(entry)) for exercise, entry in entries.items()]

    def __repr__(self) -> str:
        width = max((len(row[0]) for row in self.rows if len(row) == 2), default=0)
        lines = [self.note] if self.note else []
        return "\n".join(lines + [f"  {row[0]:{width}}  {row[1]}" if len(row) == 2 else row[0] for row in self.rows])

    def _repr_html_(self) -> str:
        left = 'style="text-align: left"'
        rows = ""
        for first, *result in self.rows:
            scope = f'scope="row" {left}' if result else f'colspan="2" {left}'
            cells = "".join(f"<td {left}>{words}</td>" for words in result)
            rows += f"<tr><th {scope}>{html.escape(first)}</th>{cells}</tr>"
        return (f"<p>{html.escape(self.note)}</p>" if self.note else "") + f"<table>{rows}</table>"


def _in_words(entry: dict | None) -> str:
    if entry is None:
        return "· not attempted"
    return f"{WORDS[entry['status']]} ({entry['tries']} {'try' if entry['tries'] == 1 else 'tries'})"


def _exercises() -> dict[str, list[str]]:
    """Return the names of all exercises by lesson, in the order of their definition."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(exercises.__path__)):
        if re.fullmatch(r"lesson_\d\d", name):
            things = vars(importlib.import_module(f"{exercises.__name__}.{name}")).values()
            found[name] = [thing.name for thing in things if isinstance(thing, Exercise) and thing.lesson == name]
    return found


def _chosen(lesson: int | None) -> dict[str, list[str]]:
    """Return the exercises of one lesson, or of all; raise ValueError if the lesson has none."""
    lessons = _exercises()
    numbers = {name: int(name[-2:]) for name in lessons}
    if lesson is not None and lesson not in numbers.values():
        known = ", ".join(map(str, numbers.values()))
        raise ValueError(f"There is no lesson {lesson!r} with exercises: choose one of {known}.")
    return {name: names for name, names in lessons.items() if lesson in (None, numbers[name])}
