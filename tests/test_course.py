"""The launcher, driven as a real process in a small project whose packages are one wheel made here."""

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import course

LAUNCHER = Path(course.__file__)
CALLED = "import sys\nprint('called', __name__, __spec__.name, sys.argv[1:], flush=True)\n"
WAIT = "import time\nif '--wait' in sys.argv:\n    time.sleep(60)\n"


def make_wheel(folder: Path) -> None:
    """Write a wheel with stand-ins for jupyterlab and pytest that print how they were called."""
    info = "tiny-1.0.dist-info"
    files = {
        "jupyterlab.py": CALLED + WAIT,
        "pytest.py": CALLED,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the launcher with a package of its own, set up once."""
    root = tmp_path_factory.mktemp("course with a space")
    shutil.copy(LAUNCHER, root)
    (root / "pyproject.toml").write_text("# nothing\n")
    (root / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    make_wheel(root)
    (root / "course_utils").mkdir()
    (root / "course_utils/__init__.py").touch()
    (root / "course_utils/prepare.py").write_text("print('prepared')\n")
    first = run(root, "test", "-k", "something")
    assert first.returncode == 0, first.stdout + first.stderr
    return root


def environment(**changes):
    # The rest of the machine's pip settings must not decide what these tests see.
    return {**os.environ, "PIP_CONFIG_FILE": os.devnull, **changes}


def run(root: Path, *arguments, **changes):
    return subprocess.run(
        [sys.executable, "course.py", *arguments],
        cwd=root,
        env=environment(**changes),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def test_second_start_installs_nothing_and_passes_options_on(project):
    again = run(project, "test", "-k", "x", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert "Making .venv" not in again.stdout and "up to date" not in again.stdout
    assert "prepared" in again.stdout
    assert "'--nbval', '-k', 'x']" in again.stdout


def test_lab_passes_options_on_and_opens_the_first_lesson(project):
    lab = run(project, "lab", "--no-browser", "--port", "8899")
    assert lab.returncode == 0
    assert "'--no-browser', '--port', '8899']" in lab.stdout
    assert "--LabApp.default_url=/lab/tree/notebooks/01_environment_check.ipynb" in lab.stdout
    assert (LAUNCHER.parent / course.FIRST_LESSON).exists()


@pytest.mark.parametrize("kind", ["solutions", "worksheets"])
def test_copies_go_to_the_folder_as_meant_where_the_command_was_given(project, tmp_path, kind):
    (project / "lessons").mkdir(exist_ok=True)
    (project / "lessons/copies.py").write_text("import sys\nprint('copies', sys.argv[1:])\n")
    command = [sys.executable, str(project / "course.py"), kind, "my copies", "03"]
    made = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    assert f"copies {[kind, str((tmp_path / 'my copies').resolve()), '03']}" in made.stdout


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal to a process group")
def test_ctrl_c_ends_lab_without_a_traceback(project):
    process = subprocess.Popen(
        [sys.executable, "course.py", "lab", "--wait"],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if line.startswith("called"):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "has ended" in out
    assert "course.py" not in error  # the stand-in prints a traceback of its own, the launcher none


@pytest.mark.skipif(os.name == "nt", reason="kills with a POSIX signal")
def test_an_interrupted_installation_is_done_again(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns(".venv*"))
    process = subprocess.Popen(
        [sys.executable, "course.py", "test", "x"],
        cwd=root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    unfinished = root / ".venv/course-unfinished"
    deadline = time.monotonic() + 30
    while not (unfinished.exists() and (root / ".venv/pyvenv.cfg").exists()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert unfinished.exists() and not (root / ".venv/course-installed").exists()
    (root / ".venv/half-written").touch()
    again = run(root, "test", "x")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Making .venv" in again.stdout and "called" in again.stdout
    assert not (root / ".venv/half-written").exists()
    assert not unfinished.exists()


def test_changed_requirements_are_installed_and_offline_is_one_sentence(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns(".venv*"))
    (root / "requirements.txt").write_text("no-such-package-here==1.0\n")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    offline = run(root, "lab", **nowhere)
    assert offline.returncode == 1
    assert len(offline.stderr.strip().splitlines()) == 1
    assert "No package index could be reached" in offline.stderr
    assert "called" not in offline.stdout  # never half-used
    (root / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    assert "called" in run(root, "test", "x").stdout


def test_an_environment_that_was_moved_is_not_used(project, tmp_path):
    root = tmp_path / "moved"
    shutil.copytree(project, root, symlinks=True)
    moved = run(root, "test", "x")
    assert moved.returncode == 0
    assert "bringing .venv up to date" in moved.stdout or "Making .venv" in moved.stdout


def test_unknown_command_prints_the_usage(project):
    unknown = run(project, "lap")
    assert unknown.returncode == 2
    assert "course.py lab" in unknown.stdout


def test_another_supported_python_is_found_and_named(monkeypatch, tmp_path, capsys):
    version = sys.version_info[:2]
    name = "python{}.{}".format(*version) + (".exe" if os.name == "nt" else "")
    if os.name == "nt":
        pytest.skip("Windows finds it through py.exe, which cannot be stood in for here")
    (tmp_path / name).symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(course, "SUPPORTED", (version,))
    monkeypatch.setattr(course.sys, "version_info", (3, 10, 0))
    assert course.supported_python() == [str(tmp_path / name)]
    assert "This Python is 3.10" in capsys.readouterr().out


@pytest.mark.parametrize("running", [(3, 10, 13), (3, 14, 0)])
def test_no_supported_python_is_one_sentence(monkeypatch, tmp_path, running):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(course.sys, "version_info", running)
    with pytest.raises(course.SetupError, match=r"needs Python 3\.11, 3\.12 or 3\.13.*install one"):
        course.supported_python()


def test_a_shim_that_starts_nothing_is_passed_over(monkeypatch, tmp_path):
    if os.name == "nt":
        pytest.skip("needs an executable script")
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'version not installed' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(course.sys, "version_info", (3, 10, 0))
    with pytest.raises(course.SetupError):
        course.supported_python()
