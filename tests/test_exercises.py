"""Every exercise of every lesson in its three states, and what lessons and modules must agree on."""

import importlib
import inspect
import pkgutil
import re

import build_notebooks as build
import jupytext
import pytest

import course_utils.exercises
from course_utils.exercises.engine import Exercise, Function, Model, Quiz, Value, kinds

NAMES = [m.name for m in pkgutil.iter_modules(course_utils.exercises.__path__) if m.name.startswith("lesson_")]
MODULES = {name: importlib.import_module(f"course_utils.exercises.{name}") for name in NAMES}
EXERCISES = [e for module in MODULES.values() for e in vars(module).values() if isinstance(e, Exercise)]
STATES = [(e, "blank", None) for e in EXERCISES]
# A model is trained once, in tests/test_copies.py: its solution runs there as the learner's cell.
STATES += [(e, "solution", None) for e in EXERCISES if not isinstance(e, Model)]
STATES += [(e, number, mistake) for e in EXERCISES for number, mistake in enumerate(e.mistakes)]


def lesson_text(name: str) -> str:
    (path,) = (p for p in build.lesson_files() if p.stem.startswith(name.removeprefix("lesson_")))
    return path.read_text(encoding="utf-8")


def exercise_cells(name: str) -> list[str]:
    """Return the sources of the code cells of a lesson in which an exercise is checked."""
    cells = jupytext.reads(lesson_text(name), fmt="md:myst").cells
    return [c.source for c in cells if c.cell_type == "code" and re.search(r"^exercises\.\w+\.check\(", c.source, re.M)]


def blank_answers(exercise: Exercise) -> list:
    if not isinstance(exercise, Function):
        return [...]
    names = ", ".join(inspect.signature(exercise.reference).parameters)
    return [..., eval(f"lambda {names}: ...")]  # the definition in the lesson itself is run by nbval


def short_id(state) -> str:
    exercise, which, _ = state
    return f"{exercise.lesson}-{exercise.name}-{which}"


@pytest.mark.parametrize("state", STATES, ids=short_id)
def test_exercise_answers_back(state, monkeypatch):
    exercise, which, mistake = state
    monkeypatch.setattr(kinds, "JUDGING_LIMIT_S", 600.0)  # the limits are for learners, not for a busy machine
    if isinstance(exercise, Function):
        monkeypatch.setattr(exercise, "seconds", 300.0)
    if which == "blank":
        for answer in blank_answers(exercise):
            assert exercise.judge(answer).status == "not attempted"
    elif which == "solution":
        feedback = exercise.judge(exercise.right_answer)
        assert feedback.status == "correct", feedback
        assert feedback.text == exercise.remark
    else:
        feedback = exercise.judge(mistake.answer)
        assert feedback.status == "wrong"
        assert feedback.text.splitlines()[0] == mistake.message, feedback


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: f"{e.lesson}-{e.name}")
def test_exercise_has_all_states(exercise):
    messages = [mistake.message for mistake in exercise.mistakes]
    assert len(messages) == len(set(messages)) >= 2
    if isinstance(exercise, Quiz):
        assert exercise.right_answer not in exercise.reasons
        assert exercise.letters == list("ABCDEFGH")[: len(exercise.letters)] and len(exercise.letters) >= 3
        assert exercise.remark
    else:
        assert len(exercise.hints) >= 2
    if isinstance(exercise, Function):
        assert len(exercise.inputs) >= 2
    assert vars(MODULES[exercise.lesson])[exercise.name] is exercise


@pytest.mark.parametrize("path", build.lesson_files(), ids=lambda path: path.stem)
def test_lesson_has_enough_exercises(path):
    found = [e for e in EXERCISES if e.lesson == f"lesson_{path.stem[:2]}"]
    assert sum(isinstance(e, Quiz) for e in found) >= 2
    assert sum(isinstance(e, Value | Function | Model) for e in found) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_lesson_has_the_exercises_of_its_module_in_order(name):
    cells = exercise_cells(name)
    checked = [re.findall(r"^exercises\.(\w+)\.check\(", cell, re.MULTILINE) for cell in cells]
    assert [names[0] for names in checked] == [e.name for e in EXERCISES if e.lesson == name]
    assert all(len(names) == 1 for names in checked)
    assert f"from course_utils.exercises import {name} as exercises" in lesson_text(name)
    for exercise, cell in zip((e for e in EXERCISES if e.lesson == name), cells, strict=True):
        last = f"exercises.{exercise.name}.check({'...' if isinstance(exercise, Quiz) else exercise.name})"
        assert cell.splitlines()[-1] == last
        assert "..." in cell


@pytest.mark.parametrize("name", NAMES)
def test_question_has_the_options_of_its_module(name):
    text = lesson_text(name)
    for exercise in (e for e in EXERCISES if e.lesson == name and isinstance(e, Quiz)):
        before = text[: text.index(f"exercises.{exercise.name}.check(")].rpartition("```{code-cell}")[0]
        question = re.split(r"\n#+ |```", before)[-1]
        assert re.findall(r"^- \*\*([A-H])\*\*", question, re.MULTILINE) == exercise.letters, exercise


def test_modules_import_no_framework():
    # progress.show() imports every module: it must not take TensorFlow's seconds.
    for module in MODULES.values():
        imported = re.findall(r"^(?:import|from) (\w+)", inspect.getsource(module), re.MULTILINE)
        assert not {"tensorflow", "keras", "cv2", "sklearn", "skimage"} & set(imported)
