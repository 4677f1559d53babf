"""Results of exercises: nothing is lost between two notebooks, and no state of the file stops a learner."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from course_utils import progress
from course_utils.exercises.engine import results

ROOT = Path(__file__).resolve().parent.parent
EXERCISES = {
    "lesson_02": ["order", "split", "q1"],
    "lesson_03": ["pad", "left_edges"],
}

# Records 25 exercises under names that begin with argv[1].
WORKER = """
import sys
from course_utils.exercises.engine import results

results.LOCK_WAIT_S = 60
for number in range(25):
    print(results.record("lesson_03", f"{sys.argv[1]}{number}", "wrong"), end="")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Progress is on and kept in an empty folder, for a course with five exercises."""
    monkeypatch.delenv("COURSE_PROGRESS", raising=False)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(progress, "_exercises", lambda: EXERCISES)
    return tmp_path


@pytest.fixture
def shown(monkeypatch):
    """What show() prints, a text per call."""
    texts = []
    monkeypatch.setattr(progress, "print", texts.append, raising=False)
    return texts


def kept(folder: Path) -> dict:
    return json.loads((folder / "progress.json").read_text(encoding="utf-8"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".progress.json.lock"}


def refuse(error: OSError):
    def replacement(*arguments, **options):
        raise error

    return replacement


# -------------------------------------------------------------------------------------------------------------- record


def test_record_counts_tries_until_correct(folder):
    for status in ("wrong", "wrong", "correct", "wrong", "correct"):
        assert results.record("lesson_03", "pad", status) == ""
    assert results.record("lesson_03", "left_edges", "wrong") == ""
    assert results.record("lesson_02", "q1", "correct") == ""
    assert kept(folder) == {
        "lesson_03": {"pad": {"tries": 3, "status": "correct"}, "left_edges": {"tries": 1, "status": "wrong"}},
        "lesson_02": {"q1": {"tries": 1, "status": "correct"}},
    }
    assert names(folder) == {"progress.json"}


def test_record_ignores_not_attempted(folder):
    assert results.record("lesson_03", "pad", "not attempted") == ""
    assert names(folder) == set()


def test_record_from_two_processes_loses_nothing(folder):
    command = [sys.executable, "-c", WORKER]
    workers = [subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in "ab"]
    assert [worker.communicate()[0] for worker in workers] == ["", ""]
    assert kept(folder)["lesson_03"] == {
        f"{name}{number}": {"tries": 1, "status": "wrong"} for name in "ab" for number in range(25)
    }


def test_record_interrupted_leaves_old_file(folder, monkeypatch):
    results.record("lesson_03", "pad", "wrong")
    monkeypatch.setattr(Path, "replace", refuse(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        results.record("lesson_03", "pad", "correct")
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "wrong"}}}
    assert names(folder) == {"progress.json"}


def test_record_clears_up_after_killed_process(folder):
    killed = "import os, pathlib; pathlib.Path.replace = lambda *a: os._exit(9)\n"
    command = killed + "from course_utils.exercises.engine import results; results.record('lesson_03', 'pad', 'wrong')"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT).returncode == 9
    assert names(folder) == {".progress.json.part"}
    assert results.record("lesson_03", "pad", "wrong") == ""
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "wrong"}}}
    assert names(folder) == {"progress.json"}


def test_record_tells_refused_rename(folder, monkeypatch):
    results.record("lesson_03", "pad", "wrong")
    monkeypatch.setattr(Path, "replace", refuse(PermissionError(13, "Permission denied")))
    said = "This result was not kept: progress.json cannot be read or written (Permission denied)."
    assert results.record("lesson_03", "pad", "correct") == said
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "wrong"}}}
    assert names(folder) == {"progress.json"}


def test_record_tells_unwritable_folder(folder, monkeypatch):
    monkeypatch.setattr(results, "FileLock", refuse(PermissionError(13, "Permission denied")))
    said = "This result was not kept: progress.json cannot be read or written (Permission denied)."
    assert results.record("lesson_03", "pad", "correct") == said
    assert names(folder) == set()


def test_read_only_folder_is_told_and_shown(folder, shown):
    results.record("lesson_03", "pad", "correct")
    (folder / ".progress.json.lock").unlink(missing_ok=True)
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("an administrator may write everywhere")
        assert results.record("lesson_03", "left_edges", "wrong").startswith("This result was not kept: ")
        progress.show(3)
    finally:
        folder.chmod(0o700)
    assert "✔ correct (1 try)" in shown[0]


def test_record_tells_busy_file(folder, monkeypatch):
    monkeypatch.setattr(results, "LOCK_WAIT_S", 0.05)
    with FileLock(folder / ".progress.json.lock"):
        said = results.record("lesson_03", "pad", "correct")
    assert said == "This result was not kept: another notebook keeps progress.json busy."
    assert results.record("lesson_03", "pad", "correct") == ""
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "correct"}}}


def test_record_tells_folder_that_is_a_file(folder, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setenv("COURSE_DATA", str(folder / "file"))
    assert results.record("lesson_03", "pad", "correct").startswith("This result was not kept: ")


# -------------------------------------------------------------------------------------------------------- damaged files

DAMAGED = {
    "empty": b"",
    "not JSON": b'{"lesson_03": {"pad": {"tries": 1,',
    "binary": bytes(range(256)),
    "list": b"[]",
    "number": b"5",
    "lesson is a number": b'{"lesson_03": 5}',
    "lesson is a list": b'{"lesson_03": ["pad"]}',
    "exercise is a number": b'{"lesson_03": {"pad": 1}}',
    "exercise is a text": b'{"lesson_03": {"pad": "correct"}}',
    "no tries": b'{"lesson_03": {"pad": {"status": "wrong"}}}',
    "no status": b'{"lesson_03": {"pad": {"tries": 1}}}',
    "unknown status": b'{"lesson_03": {"pad": {"tries": 1, "status": "solved"}}}',
    "status is a list": b'{"lesson_03": {"pad": {"tries": 1, "status": ["wrong"]}}}',
    "tries are a text": b'{"lesson_03": {"pad": {"tries": "1", "status": "wrong"}}}',
    "tries are true": b'{"lesson_03": {"pad": {"tries": true, "status": "wrong"}}}',
    "no try": b'{"lesson_03": {"pad": {"tries": 0, "status": "wrong"}}}',
    "nested too deeply": b"[" * 100_000,
}
SET_ASIDE = (
    "The file with your results, progress.json, was damaged: it is now progress.json.damaged, and a new one begins."
)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_file_is_set_aside(folder, content):
    (folder / "progress.json").write_bytes(content)
    assert results.record("lesson_03", "pad", "wrong") == SET_ASIDE
    assert (folder / "progress.json.damaged").read_bytes() == content
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "wrong"}}}
    assert results.record("lesson_03", "pad", "wrong") == ""


def test_folder_with_the_files_name_is_set_aside(folder):
    (folder / "progress.json").mkdir()
    (folder / "progress.json" / "photo.png").write_bytes(b"a photo")
    assert results.record("lesson_03", "pad", "wrong") == SET_ASIDE
    assert (folder / "progress.json.damaged" / "photo.png").read_bytes() == b"a photo"
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "wrong"}}}


def test_files_set_aside_are_never_overwritten(folder):
    for content in ("first", "second", "third"):
        (folder / "progress.json").write_text(content)
        said = results.record("lesson_03", "pad", "wrong")
    assert "it is now progress.json.damaged3, and" in said
    found = [(folder / f"progress.json.damaged{number}").read_text() for number in ("", 2, 3)]
    assert found == ["first", "second", "third"]


def test_byte_order_mark_is_no_damage(folder):
    (folder / "progress.json").write_text('{"lesson_03": {"pad": {"tries": 1, "status": "wrong"}}}', "utf-8-sig")
    assert results.record("lesson_03", "pad", "correct") == ""
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 2, "status": "correct"}}}


def test_damage_and_failed_write_are_both_told(folder, monkeypatch):
    (folder / "progress.json").touch()
    monkeypatch.setattr(Path, "replace", refuse(OSError(28, "No space left on device")))
    said = "This result was not kept: progress.json cannot be read or written (No space left on device)."
    assert results.record("lesson_03", "pad", "wrong") == f"{SET_ASIDE} {said}"


def test_damaged_file_that_cannot_be_renamed_stays(folder, monkeypatch):
    (folder / "progress.json").write_text("damaged")
    monkeypatch.setattr(Path, "rename", refuse(PermissionError(13, "Permission denied")))
    said = "This result was not kept: progress.json cannot be read or written (Permission denied)."
    assert results.record("lesson_03", "pad", "wrong") == said
    assert (folder / "progress.json").read_text() == "damaged"
    assert names(folder) == {"progress.json"}


# ---------------------------------------------------------------------------------------------------------------- show


def some_results() -> None:
    for exercise, status in [("order", "correct"), ("split", "wrong"), ("split", "wrong")]:
        results.record("lesson_02", exercise, status)
    for status in ("wrong", "correct"):
        results.record("lesson_03", "pad", status)


def test_show_lists_every_exercise(shown):
    some_results()
    progress.show()
    assert shown[0].splitlines() == [
        "Lesson 02: 1 of 3 correct",
        "  order       ✔ correct (1 try)",
        "  split       ✘ wrong so far (2 tries)",
        "  q1          · not attempted",
        "Lesson 03: 1 of 2 correct",
        "  pad         ✔ correct (2 tries)",
        "  left_edges  · not attempted",
    ]


def test_show_one_lesson(shown):
    some_results()
    progress.show(lesson=3)
    assert shown[0].splitlines() == [
        "Lesson 03: 1 of 2 correct",
        "  pad         ✔ correct (2 tries)",
        "  left_edges  · not attempted",
    ]


def test_show_prints(capsys):
    results.record("lesson_03", "pad", "correct")
    progress.show(3)
    printed = "Lesson 03: 1 of 2 correct\n  pad         ✔ correct (1 try)\n  left_edges  · not attempted\n"
    assert capsys.readouterr().out == printed


def test_show_sets_damaged_file_aside(folder, shown):
    (folder / "progress.json").write_bytes(b"\0\1\2")
    progress.show(3)
    assert shown[0].splitlines()[:2] == [SET_ASIDE, "Lesson 03: 0 of 2 correct"]
    assert names(folder) == {"progress.json.damaged"}
    progress.show(3)
    assert shown[1].splitlines()[0] == "Lesson 03: 0 of 2 correct"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), Timeout("lock")], ids=type)
def test_show_reads_file_that_cannot_be_locked(folder, shown, monkeypatch, error):
    results.record("lesson_03", "pad", "correct")
    monkeypatch.setattr(results, "FileLock", refuse(error))
    progress.show(3)
    assert shown[0].splitlines()[:2] == ["Lesson 03: 1 of 2 correct", "  pad         ✔ correct (1 try)"]


def test_show_tells_damaged_file_that_cannot_be_locked(folder, shown, monkeypatch):
    (folder / "progress.json").write_text("[]")
    monkeypatch.setattr(results, "FileLock", refuse(PermissionError(13, "Permission denied")))
    progress.show(3)
    said = "Your results cannot be shown: progress.json cannot be read or written (it is damaged)."
    assert shown[0].splitlines()[:2] == [said, "Lesson 03: 0 of 2 correct"]
    assert (folder / "progress.json").read_text() == "[]"


@pytest.mark.parametrize("call", [progress.show, progress.reset])
@pytest.mark.parametrize("lesson", [0, 4, "03", 2.5])
def test_unknown_lesson_names_known_ones(folder, call, lesson):
    results.record("lesson_03", "pad", "correct")
    message = f"There is no lesson {lesson!r} with exercises: choose one of 2, 3."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(lesson)
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "correct"}}}


# --------------------------------------------------------------------------------------------------------------- reset


def test_reset_forgets_removed_exercises_too(folder, capsys):
    some_results()
    results.record("lesson_99", "gone", "correct")
    progress.reset()
    assert capsys.readouterr().out == "4 results removed.\n"
    assert names(folder) == set()
    progress.reset()
    assert capsys.readouterr().out == "0 results removed.\n"


def test_reset_one_lesson_keeps_others(folder, capsys):
    some_results()
    progress.reset(3)
    assert capsys.readouterr().out == "1 result removed.\n"
    assert kept(folder) == {
        "lesson_02": {"order": {"tries": 1, "status": "correct"}, "split": {"tries": 2, "status": "wrong"}}
    }
    progress.reset(2)
    assert capsys.readouterr().out == "2 results removed.\n"
    assert names(folder) == set()


def test_reset_sets_damaged_file_aside(folder, capsys):
    (folder / "progress.json").touch()
    progress.reset()
    assert capsys.readouterr().out == f"{SET_ASIDE} 0 results removed.\n"
    assert names(folder) == {"progress.json.damaged"}


def test_reset_says_when_it_cannot(folder, monkeypatch, capsys):
    results.record("lesson_03", "pad", "correct")
    monkeypatch.setattr(Path, "unlink", refuse(PermissionError(13, "Permission denied")))
    progress.reset()
    said = "Nothing was removed: progress.json cannot be read or written (Permission denied).\n"
    assert capsys.readouterr().out == said
    assert kept(folder) == {"lesson_03": {"pad": {"tries": 1, "status": "correct"}}}


# ----------------------------------------------------------------------------------------------------------- off, found


def test_off_reads_and_writes_nothing(folder, monkeypatch, shown):
    (folder / "progress.json").write_text("[]")
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert results.record("lesson_03", "pad", "correct") == ""
    progress.show(3)
    assert shown[0].splitlines()[1:] == ["  pad         · not attempted", "  left_edges  · not attempted"]
    progress.reset()
    assert shown[1] == "Nothing was removed: results are not kept here (COURSE_PROGRESS=off)."
    assert (folder / "progress.json").read_text() == "[]"
    assert [path.name for path in folder.iterdir()] == ["progress.json"]


def test_exercises_are_found_in_order(monkeypatch):
    monkeypatch.undo()  # the real search
    engine = importlib.import_module("course_utils.exercises.engine")
    found = progress._exercises()
    files = sorted((ROOT / "course_utils" / "exercises").glob("lesson_[0-9][0-9].py"))
    assert list(found) == [file.stem for file in files]
    for file in files:
        module = importlib.import_module(f"course_utils.exercises.{file.stem}")
        exercises = [getattr(module, name) for name in found[file.stem]]
        assert len(exercises) >= 5
        assert all(isinstance(exercise, engine.Exercise) and exercise.lesson == file.stem for exercise in exercises)
        source = file.read_text(encoding="utf-8")
        places = [re.search(rf"^def {name}\(", source, re.MULTILINE).start() for name in found[file.stem]]
        assert places == sorted(places)
