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
HANG_S = 600
NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
CHANGES = ("Making", "Adding", "bringing")  # how a start begins that installs something
CALLED = "import sys\nprint('called', __name__, __spec__.name, sys.argv[1:], flush=True)\n"
WAIT = "import time\nif '--wait' in sys.argv:\n    time.sleep(600)\n"


def make_wheel(folder: Path, name: str = "tiny", **modules: str) -> None:
    """Write a wheel of some modules; by default stand-ins for jupyterlab and pytest that print how they were called."""
    info = f"{name}-1.0.dist-info"
    modules = modules or {"jupyterlab": CALLED + WAIT, "pytest": CALLED}
    files = {
        **{f"{module}.py": text for module, text in modules.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the launcher with a package of its own, set up once."""
    root = tmp_path_factory.mktemp("course with a space")
    shutil.copy(LAUNCHER, root)
    (root / "pyproject.toml").write_text('requires-python = ">=3.11,<3.14"\n[build-system]\nrequires = []\n')
    (root / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    make_wheel(root)
    (root / "course_utils").mkdir()
    (root / "course_utils/__init__.py").touch()
    (root / "course_utils/prepare.py").write_text("print('prepared')\n")
    first = run(root, "test", "-k", "something")
    assert first.returncode == 0, first.stdout + first.stderr
    return root


def environment(**changes):
    # The rest of the machine's pip settings must not decide what these tests see, nor whether uv can be had.
    return {**os.environ, "PIP_CONFIG_FILE": os.devnull, "COURSE_INSTALLER": "pip", **changes}


def run(root: Path, *arguments, **changes):
    return subprocess.run(
        [sys.executable, "course.py", *arguments],
        cwd=root,
        env=environment(**changes),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=HANG_S,
    )


def test_second_start_installs_nothing_and_passes_options_on(project):
    again = run(project, "test", "-k", "x", **NOWHERE)
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
def test_copies_go_to_the_folder_relative_to_the_command(project, tmp_path, kind):
    (project / "tools").mkdir(exist_ok=True)
    (project / "tools/instructor_copies.py").write_text("import sys\nprint('copies', sys.argv[1:])\n")
    command = [sys.executable, str(project / "course.py"), kind, "my copies", "03"]
    made = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=HANG_S)
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
    out, error = process.communicate(timeout=HANG_S)
    assert process.returncode == 0
    assert "has ended" in out
    assert "course.py" not in error  # the stand-in prints a traceback of its own, the launcher none


@pytest.mark.skipif(os.name == "nt", reason="kills with a POSIX signal")
def test_interrupted_installation_is_done_again_in_one_go_with_torch(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns(".venv*"))
    make_wheel(root, "tinytorch", tinytorch="")
    (root / "requirements-torch.txt").write_text("./tinytorch-1.0-py3-none-any.whl\n")
    process = subprocess.Popen(
        [sys.executable, "course.py", "test", "x"],
        cwd=root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    unfinished = root / ".venv/course-unfinished"
    deadline = time.monotonic() + HANG_S
    while not (unfinished.exists() and (root / ".venv/pyvenv.cfg").exists()) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert unfinished.exists() and not (root / ".venv/course-installed").exists()
    (root / ".venv/half-written").touch()
    again = run(root, "test", "--torch", "x")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Making .venv with the packages of requirements.txt and requirements-torch.txt" in again.stdout
    assert "called" in again.stdout
    assert "Adding" not in again.stdout and list(root.glob(".venv/**/tinytorch.py"))
    assert not (root / ".venv/half-written").exists()
    assert not unfinished.exists()


def test_changed_setting_of_a_tool_installs_nothing(monkeypatch):
    before = course.wanted_stamp()
    monkeypatch.setattr(course, "PYPROJECT", course.PYPROJECT + "[tool.ruff]\nline-length = 99\n")
    assert course.wanted_stamp() == before
    monkeypatch.setattr(course, "PYPROJECT", course.PYPROJECT.replace("hatchling", "another"))
    assert course.wanted_stamp() != before


def test_changed_requirements_are_installed_and_offline_is_one_sentence(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, symlinks=True)
    (root / "requirements.txt").write_text("no-such-package-here==1.0\n")
    offline = run(root, "lab", **NOWHERE)
    assert offline.returncode == 1
    assert len(offline.stderr.strip().splitlines()) == 1
    assert "No package index could be reached" in offline.stderr
    assert "called" not in offline.stdout  # never half-used
    # An index that answers and does not have the package is another matter.
    lacking = run(root, "lab", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert lacking.returncode == 1 and len(lacking.stderr.strip().splitlines()) == 1
    assert "No matching distribution found for no-such-package-here==1.0" in lacking.stderr
    (root / "requirements.txt").write_text("./tiny-1.0-py3-none-any.whl\n")
    assert "called" in run(root, "test", "x").stdout


def test_moved_environment_is_brought_up_to_date_and_torch_added_once(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, symlinks=True)
    moved = run(root, "test", "x")
    assert moved.returncode == 0
    assert "bringing .venv up to date" in moved.stdout or "Making .venv" in moved.stdout

    # Out of reach: one sentence, and what was there is as good as before.
    (root / "requirements-torch.txt").write_text("no-such-package-here==1.0\n")
    offline = run(root, "lab", "--torch", **NOWHERE)
    assert offline.returncode == 1
    assert "Adding PyTorch" in offline.stdout and "called" not in offline.stdout
    assert len(offline.stderr.strip().splitlines()) == 1 and "No package index could be reached" in offline.stderr
    plain = run(root, "lab", **NOWHERE)
    assert plain.returncode == 0 and not any(word in plain.stdout for word in CHANGES)

    # Within reach: added beside what is there, and the option itself goes no further.
    make_wheel(root, "tinytorch", tinytorch="")
    (root / "requirements-torch.txt").write_text("./tinytorch-1.0-py3-none-any.whl\n")
    added = run(root, "test", "--torch", "x")
    assert added.returncode == 0, added.stderr
    assert "Adding PyTorch" in added.stdout and "'--nbval', 'x']" in added.stdout
    assert list(root.glob(".venv/**/tinytorch.py"))

    # From now on it is there, asked for or not.
    for command in (["lab", "--torch"], ["lab"], ["test", "--torch", "x"]):
        again = run(root, *command, **NOWHERE)
        assert again.returncode == 0 and not any(word in again.stdout for word in CHANGES)
        assert "--torch" not in again.stdout

    # And it is kept current.
    with (root / "requirements-torch.txt").open("a") as file:
        file.write("# changed\n")
    assert "Adding PyTorch" in run(root, "lab").stdout


@pytest.mark.parametrize(("line", "touched"), [("Collecting tiny", False), ("Installing collected packages", True)])
def test_installation_is_done_again_only_if_pip_began_to_change_it(monkeypatch, tmp_path, line, touched):
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course, "LOG", tmp_path / "log")
    monkeypatch.setattr(course, "UNFINISHED", tmp_path / "unfinished")
    with pytest.raises(course.SetupError, match="could not install"):
        course.run_installer([sys.executable, "-c", f"print('{line}'); raise SystemExit(1)"], 1)
    assert (tmp_path / "unfinished").exists() == touched


def test_uv_installs_the_same_as_pip(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns(".venv*"))
    made = run(root, "test", "x", COURSE_INSTALLER="uv")
    assert made.returncode == 0, made.stdout + made.stderr
    packages = [sorted(path.name for path in folder.glob(".venv/**/tiny*")) for folder in (project, root)]
    assert packages[0] == packages[1] and "tiny.py" not in packages[0] and len(packages[0]) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs an executable script")
def test_pip_does_it_where_uv_fails(project, tmp_path):
    root = tmp_path / "clone"
    shutil.copytree(project, root, ignore=shutil.ignore_patterns(".venv*"))
    (tmp_path / "uv").write_text('#!/bin/sh\ntouch "$5/../half-written"\nexit 2\n')
    (tmp_path / "uv").chmod(0o755)
    made = run(root, "test", "x", COURSE_INSTALLER="uv", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert made.returncode == 0 and "pip tries it now" in made.stdout and "called" in made.stdout
    assert not list(root.glob(".venv/**/half-written"))


def test_uv_gets_what_pip_was_told(monkeypatch, tmp_path):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://a.example/simple\nproxy = http://proxy.example:3128\ntarget = elsewhere\n"
        "extra-index-url =\n    https://b.example/simple\n    https://c.example/simple\n"
        "[install]\ntrusted-host = b.example\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    for name in [name for name in os.environ if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", "https://nearer.example/simple")
    monkeypatch.setenv("PIP_CERT", "/cert.pem")
    monkeypatch.setenv("UV_INDEX_URL", "https://nobody.example")
    monkeypatch.setattr(course, "PIP", [sys.executable, "-m", "pip"])
    monkeypatch.setattr(course, "uv_command", lambda: "uv")
    called = []
    monkeypatch.setattr(course, "run_installer", lambda command, total, env: called.append((command, env)))
    assert course.run_uv(["requirements.txt"])
    ((command, variables),) = called
    text = " ".join(command)
    assert "--index-url https://nearer.example/simple " in text and "a.example" not in text
    assert "--extra-index-url https://b.example/simple --extra-index-url https://c.example/simple" in text
    assert "--allow-insecure-host b.example" in text and "elsewhere" not in text and "--no-index" not in text
    assert text.endswith("-r requirements.txt")
    assert variables["ALL_PROXY"] == "http://proxy.example:3128" and variables["SSL_CERT_FILE"] == "/cert.pem"
    assert "UV_INDEX_URL" not in variables


def test_unknown_command_prints_the_usage(project):
    unknown = run(project, "lap")
    assert unknown.returncode == 2
    assert "course.py lab" in unknown.stdout


def test_supported_python_is_found_and_named(monkeypatch, tmp_path, capsys):
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
def test_missing_python_is_one_sentence(monkeypatch, tmp_path, running):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(course.sys, "version_info", running)
    with pytest.raises(course.SetupError, match=r"needs Python 3\.11 to 3\.13.*install one"):
        course.supported_python()


def test_shim_that_starts_nothing_is_passed_over(monkeypatch, tmp_path):
    if os.name == "nt":
        pytest.skip("needs an executable script")
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\necho 'version not installed' >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(course.sys, "version_info", (3, 10, 0))
    with pytest.raises(course.SetupError):
        course.supported_python()
