"""What a learner has solved so far: `show` and `reset`. With ``COURSE_PROGRESS=off`` nothing is read or written."""

import importlib
import pkgutil
import re

from course_utils import exercises
from course_utils.exercises.engine import Exercise, results

WORDS = {"correct": "✔ correct", "wrong": "✘ wrong so far"}


def show(lesson: int | None = None) -> None:
    """Show which exercises of one lesson, or of all, are solved, tried or not attempted."""
    chosen = _chosen(lesson)
    found, note = results.look()
    width = max((len(name) for names in chosen.values() for name in names), default=0)
    lines = [note] if note else []
    for title, names in chosen.items():
        entries = [found.get(title, {}).get(name) for name in names]
        solved = sum(entry is not None and entry["status"] == "correct" for entry in entries)
        lines.append(f"{title.replace('_', ' ').capitalize()}: {solved} of {len(names)} correct")
        lines += [f"  {name:{width}}  {_in_words(entry)}" for name, entry in zip(names, entries, strict=True)]
    print("\n".join(lines))


def reset(lesson: int | None = None) -> None:
    """Forget all results, or those of one lesson, and say how many there were."""
    chosen = _chosen(lesson)
    print(results.forget(None if lesson is None else chosen))


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
