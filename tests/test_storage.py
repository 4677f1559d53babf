"""Prepared data is there whole or not at all: after a failure, a kill at any moment, and two processes at once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_utils._setup.storage import data_folder, prepared_once

ROOT = Path(__file__).resolve().parent.parent

# Writes 40 files slowly into the folder argv[1], notes in a log that it has started, and stays for argv[2] s more.
WORKER = """
import sys, time
from pathlib import Path
from course_utils._setup.storage import prepared_once

target = Path(sys.argv[1])
with prepared_once(target) as work:
    if work is not None:
        with (target.parent / "log.txt").open("a") as log:
            log.write("started\\n")
        work.mkdir()
        for number in range(40):
            (work / f"{number}.txt").write_text("x" * 1000)
            time.sleep(0.01)
        time.sleep(float(sys.argv[2]))
"""


def start(target: Path, pause: int = 0) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(target), str(pause)], cwd=ROOT)


def complete(folder: Path) -> bool:
    return sorted(int(file.stem) for file in folder.iterdir()) == list(range(40)) and all(
        file.stat().st_size == 1000 for file in folder.iterdir()
    )


def test_data_folder_can_be_set(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    assert data_folder() == ROOT / "data"
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "new" / "place"))
    assert data_folder() == tmp_path / "new" / "place"
    assert data_folder().is_dir()


def test_prepared_once_keeps_the_ending_of_a_file(tmp_path):
    target = tmp_path / "some" / "table.npz"
    with prepared_once(target) as work:
        assert work.suffix == ".npz"
        assert not target.exists()
        work.write_bytes(b"numbers")
    assert target.read_bytes() == b"numbers"
    with prepared_once(target) as work:
        assert work is None
    assert [entry.name for entry in target.parent.iterdir() if entry.name != ".table.npz.lock"] == ["table.npz"]


def test_prepared_once_starts_over_after_a_failure(tmp_path):
    target = tmp_path / "folder"
    with pytest.raises(RuntimeError, match="half-way"), prepared_once(target) as work:
        work.mkdir()
        (work / "first").write_text("1")
        raise RuntimeError("half-way")
    assert not target.exists()
    assert not list(tmp_path.glob(".*part*"))
    (tmp_path / ".folder.part-of-a-killed-process").mkdir()
    with prepared_once(target) as work:
        assert len(list(tmp_path.glob(".folder.part-*"))) == 1  # only our own
        assert not work.exists()  # a fresh place, not what the failed call left
        work.mkdir()
    assert target.is_dir()


def test_prepared_once_refuses_work_that_writes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), prepared_once(tmp_path / "folder"):
        pass
    assert not (tmp_path / "folder").exists()


def test_prepared_once_repairs_what_a_killed_process_left(tmp_path):
    target = tmp_path / "folder"
    for delay in (0.0, 0.1, 0.3):
        process = start(target, pause=600)
        deadline = time.monotonic() + 60
        log = tmp_path / "log.txt"
        lines = log.read_text().count("\n") if log.exists() else 0
        while not (log.exists() and log.read_text().count("\n") > lines):  # it is at work from here on
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert not target.exists()
    assert start(target).wait(timeout=600) == 0
    assert complete(target)
    assert not list(tmp_path.glob(".*part*"))  # what the killed ones left is gone


def test_prepared_once_works_once_for_two_processes(tmp_path):
    target = tmp_path / "folder"
    processes = [start(target) for _ in range(2)]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    assert complete(target)
    assert (tmp_path / "log.txt").read_text() == "started\n"


def test_prepared_once_uses_what_appears_while_it_waits(tmp_path, monkeypatch):
    target = tmp_path / "folder"

    class OtherProcessFirst:
        def __init__(self, path):
            assert os.fspath(path) == os.fspath(tmp_path / ".folder.lock")

        def __enter__(self):
            target.mkdir()

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("course_utils._setup.storage.FileLock", OtherProcessFirst)
    with prepared_once(target) as work:
        assert work is None
