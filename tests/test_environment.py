import json
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from course_utils import environment
from course_utils.environment import Check


def by_name(checks):
    return {check.what: check for check in checks}


@pytest.mark.parametrize(("version", "status"), [((3, 10, 13), "FAIL"), ((3, 12, 1), "OK"), ((3, 14, 0), "FAIL")])
def test_python_version(monkeypatch, version, status):
    monkeypatch.setattr(environment.sys, "version_info", version)
    check = environment.check_python()
    assert check.status == status
    assert bool(check.remedy) == (status == "FAIL")


@pytest.mark.parametrize(("platform", "command"), [("linux", "apt"), ("darwin", "brew"), ("win32", "winget")])
def test_remedy_is_for_this_system(monkeypatch, platform, command):
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(environment.sys, "platform", platform)
    assert command in environment.check_python().remedy


def test_pins_are_those_of_this_system():
    pins = environment.pinned_versions()
    assert pins["keras"].startswith("3.")
    assert ("tensorflow-cpu" in pins) != ("tensorflow" in pins)  # exactly one of the two builds


def test_packages_missing_or_different_get_a_remedy(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "keras":
            return "2.15.0"
        if name in ("numpy", "h5py"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(environment.metadata, "version", version)
    checks = by_name(environment.check_packages())
    pins = environment.pinned_versions()
    assert checks["keras"].status == "WARN" and "2.15.0" in checks["keras"].found
    assert f'pip install "keras=={pins["keras"]}"' in checks["keras"].remedy
    assert checks["numpy"].status == checks["h5py"].status == "FAIL"  # taught or not
    assert checks["matplotlib"] == Check("OK", "matplotlib", pins["matplotlib"])


def test_packages_all_missing_get_the_set_up_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    (check,) = environment.check_packages()
    assert check.status == "FAIL" and check.remedy == environment.SET_UP


def test_bare_python_gets_a_short_report(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True, timeout=600)
    python = tmp_path / "bare" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run = subprocess.run(
        [python, "-m", "course_utils.environment"],
        cwd=environment.ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8"},
        timeout=600,
    )
    assert run.returncode == 1 and run.stderr == ""
    assert (
        f"[FAIL] packages   this Python was not set up for the course yet\n{'':18}→ {environment.SET_UP}" in run.stdout
    )
    assert "1 thing(s) to fix" in run.stdout


def test_packages_missing_are_one_line(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "version", version)
    assert [check.what for check in environment.checks()] == ["Python", "packages", "processor", "disk"]


def test_opencv_without_its_system_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr(environment.sys, "platform", "linux")
    check = environment.check_opencv()
    assert check.status == "FAIL" and "libgl1" in check.remedy


def stand_in(gpus):
    return SimpleNamespace(__version__="2.21.0", config=SimpleNamespace(list_physical_devices=lambda kind: gpus))


@pytest.mark.parametrize(
    ("gpus", "card", "status", "words"),
    [
        ([], None, "OK", "enough for every lesson"),
        (["GPU:0"], "nvidia-smi", "OK", "1 GPU"),
        ([], "nvidia-smi", "WARN", "NVIDIA"),
    ],
)
def test_devices(monkeypatch, gpus, card, status, words):
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in(gpus))
    monkeypatch.setattr(environment.shutil, "which", lambda name: card)
    check = environment.check_devices()
    assert check.status == status and words in check.found
    assert bool(check.remedy) == (status == "WARN")


def test_broken_tensorflow_is_one_line(monkeypatch):
    def broken(kind):
        raise RuntimeError("no such instruction")

    fake = SimpleNamespace(__version__="2.21.0", config=SimpleNamespace(list_physical_devices=broken))
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    check = environment.check_devices()
    assert check.status == "FAIL" and "no such instruction" in check.found


@pytest.mark.parametrize(("cores", "status"), [({0}, "WARN"), ({0, 1}, "OK")])
def test_cores(monkeypatch, cores, status):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda pid: cores, raising=False)
    assert environment.check_cores().status == status


@pytest.mark.parametrize(
    ("free", "limit", "status"),
    [(8e9, "max", "OK"), (1.5e9, "max", "WARN"), (0.5e9, "max", "FAIL"), (8e9, "1500000000", "WARN")],
)
def test_memory_inside_a_container(monkeypatch, tmp_path, free, limit, status):
    import psutil

    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(environment, "CONTAINER_LIMIT", tmp_path / "memory.max")
    assert environment.check_memory().status == status


def test_memory_without_psutil(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert environment.check_memory().status == "FAIL"


@pytest.mark.parametrize(("free", "status"), [(1e9, "OK"), (1e8, "FAIL")])
def test_disk(monkeypatch, tmp_path, free, status):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert environment.check_disk().status == status


def test_data_folder_empty_gets_the_command_that_prepares(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    checks = by_name(environment.check_prepared())
    assert checks["data"].status == checks["weights"].status == "FAIL"
    assert checks["data"].remedy.endswith("-m course_utils.prepare")


def test_data_without_its_package_gets_the_set_up_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "course_utils.datasets", None)
    assert by_name(environment.check_prepared())["data"].remedy == environment.SET_UP


def test_jupyterlab_starts_here():
    assert environment.start_jupyter()() == Check("OK", "JupyterLab starts", "yes")


def test_jupyterlab_that_does_not_start_is_one_line(monkeypatch):
    real = subprocess.Popen
    monkeypatch.setattr(
        environment.subprocess,
        "Popen",
        lambda command, **rest: real([sys.executable, "-c", "print('first'); raise SystemExit('no port')"], **rest),
    )
    check = environment.start_jupyter()()
    assert check.status == "FAIL" and check.found == "no: no port" and "pip install" in check.remedy


def test_jupyterlab_limit_leaves_out_other_checks(monkeypatch):
    monkeypatch.setattr(environment, "JUPYTER_START_LIMIT_S", -1)  # long over when the report gets to it
    finish = environment.start_jupyter()
    assert finish().found.startswith("no: ")  # a sentence, and no exception


def test_report_prints_one_line_per_check_and_the_remedy_below(monkeypatch, capsys):
    found = [Check("OK", "Python", "3.12.1"), Check("FAIL", "data", "not prepared yet", "do this")]
    monkeypatch.setattr(environment, "checks", lambda: found)
    assert environment.main() == 1
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == ["[ OK ] Python  3.12.1", "[FAIL] data    not prepared yet", " " * 15 + "→ do this"]
    assert "1 thing(s) to fix" in out


def test_warning_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(environment, "checks", lambda: [Check("WARN", "processor", "1 core", "close programs")])
    assert environment.main() == 0
    assert "Ready." in capsys.readouterr().out


def test_checks_come_in_their_order(monkeypatch):
    monkeypatch.setattr(environment, "start_jupyter", lambda: lambda: Check("OK", "JupyterLab starts", "yes"))
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in([]))
    names = [check.what for check in environment.checks()]
    wanted = ["Python", "numpy", "OpenCV loads", "TensorFlow sees", "processor", "memory", "disk", "data", "weights"]
    assert [name for name in names if name in wanted] == wanted
    assert names[-1] == "JupyterLab starts"


def test_lesson_times_come_from_the_notebooks(monkeypatch, tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name, seconds in (("02_b_c", 40), ("01_a", 25)):
        text = json.dumps({"metadata": {"course": {"run_time_s": seconds}}})
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(text)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.lesson_times() == {"01 a": 25, "02 b c": 40}


def test_python_path_is_quoted_and_relative(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.sys, "executable", str(environment.ROOT / ".venv" / "bin" / "python"))
    assert environment.this_python().replace("\\", "/") == ".venv/bin/python"
    monkeypatch.setattr(environment.sys, "executable", str(tmp_path / "my python" / "python"))
    assert environment.this_python().startswith('"') and environment.this_python().endswith('"')
