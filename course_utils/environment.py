"""Is this computer ready for the course? Lesson 01 prints the report; so does ``python3 course.py check``."""

import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SET_UP = f"{'py' if sys.platform == 'win32' else 'python3'} course.py lab"  # the remedy where nothing is installed
# pyproject.toml says it once, for pip, for course.py and for the report.
OLDEST, TOO_NEW = re.search(
    r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text("utf-8")
).groups()
SUPPORTED_PYTHONS = [(3, minor) for minor in range(int(OLDEST), int(TOO_NEW))]
MANY_MISSING = 10  # with more packages missing, this Python was never set up: one line says so
MEMORY_LIMIT_MB = 2048  # what a lesson's kernel may take: a free Binder gives no more; build and tests measure it
DISK_NEEDED_GB = 1.0  # solar cells, weights and cached embeddings, with room for downloads
JUPYTER_START_LIMIT_S = 120  # of waiting; what the other checks take does not count
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # bytes, where a container limits them
# The packages that lessons import, in the order of an image's way; the rest of requirements.txt comes along.
TAUGHT = ("numpy", "pillow", "opencv-python", "scikit-image", "matplotlib", "scikit-learn")
TAUGHT += ("optuna", "tensorflow-cpu", "tensorflow", "keras", "jupyterlab", "ipywidgets")


class Check(NamedTuple):
    """One line of the report: what was looked at, what was found, and the remedy if it is not right."""

    status: str  # "OK", "WARN" or "FAIL"
    what: str
    found: str
    remedy: str = ""


def this_python() -> str:
    """Return how to call the running Python from the project's folder, as one word of a command line."""
    executable = Path(sys.executable)
    text = str(executable.relative_to(ROOT) if executable.is_relative_to(ROOT) else executable)
    return f'"{text}"' if " " in text else text


def reinstall(what: str = "-r requirements.txt") -> str:
    """Return the command that installs again what is there but does not work."""
    return f"{this_python()} -m pip install --force-reinstall {what}"


def for_this_system(linux: str, mac: str, windows: str) -> str:
    """Return the one of three commands that fits the running system."""
    return {"darwin": mac, "win32": windows}.get(sys.platform, linux)


def check_python() -> Check:
    """Is the running Python one that TensorFlow has wheels for?"""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] in SUPPORTED_PYTHONS:
        return Check("OK", "Python", version)
    remedy = for_this_system(
        "sudo apt install python3.12 python3.12-venv", "brew install python@3.12", "winget install Python.Python.3.12"
    )
    return Check("FAIL", "Python", f"{version}, but TensorFlow needs 3.{OLDEST} to 3.{int(TOO_NEW) - 1}", remedy)


def pinned_versions() -> dict[str, str]:
    """Return name → version of every line of requirements.txt that applies to this system."""
    from packaging.requirements import Requirement

    pins = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if "==" not in line or line.lstrip().startswith("#"):
            continue
        requirement = Requirement(line.strip())
        if requirement.marker is None or requirement.marker.evaluate():
            pins[requirement.name] = str(requirement.specifier).removeprefix("==")
    return pins


def check_packages() -> list[Check]:
    """Is each package there, in the version that the stored outputs were made with? One line for those not taught."""
    not_set_up = [Check("FAIL", "packages", "this Python was not set up for the course yet", SET_UP)]
    try:
        pins = pinned_versions()
    except ImportError:
        return not_set_up
    in_order = sorted(pins, key=lambda name: (TAUGHT.index(name) if name in TAUGHT else len(TAUGHT), name))
    checks = [_check_package(name, pins[name]) for name in in_order]
    if sum(check.status == "FAIL" for check in checks) > MANY_MISSING:
        return not_set_up
    shown = [check for check in checks if check.status != "OK" or check.what in TAUGHT]
    return [*shown, Check("OK", "other packages", f"{len(checks) - len(shown)} as pinned in requirements.txt")]


def _check_package(name: str, pin: str) -> Check:
    remedy = f'{this_python()} -m pip install "{name}=={pin}"'
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check("FAIL", name, f"missing, should be {pin}", remedy)
    if version != pin:
        return Check("WARN", name, f"{version}, but the lessons were checked with {pin}", remedy)
    return Check("OK", name, version)


def check_opencv() -> Check:
    """Does OpenCV load? On a bare Linux its system library may be missing although the package is there."""
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        remedy = for_this_system(
            "sudo apt install libgl1 libglib2.0-0",
            reinstall("opencv-python"),
            "winget install Microsoft.VCRedist.2015+.x64",
        )
        return Check("FAIL", "OpenCV loads", str(error), remedy)
    return Check("OK", "OpenCV loads", "yes")


def check_devices() -> Check:
    """Which devices does TensorFlow see? A CPU is enough; a graphics card that it does not see is worth a line."""
    try:
        tensorflow = importlib.import_module("tensorflow")
        gpus = tensorflow.config.list_physical_devices("GPU")
    except Exception as error:  # whatever a broken installation raises, the report goes on
        return Check("FAIL", "TensorFlow starts", f"{type(error).__name__}: {error}", reinstall())
    if gpus:
        return Check("OK", "TensorFlow sees", f"the CPU and {len(gpus)} GPU")
    if shutil.which("nvidia-smi"):
        remedy = for_this_system(
            f'{this_python()} -m pip install "tensorflow[and-cuda]=={tensorflow.__version__}"',
            "see the README, “With a GPU”",
            "wsl --install   (TensorFlow uses an NVIDIA card on Windows only inside WSL 2)",
        )
        return Check("WARN", "TensorFlow sees", "the CPU only, although there is an NVIDIA card", remedy)
    return Check("OK", "TensorFlow sees", "the CPU, which is enough for every lesson")


def check_cores() -> Check:
    """How many cores may this process use?"""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count >= 2:
        return Check("OK", "processor", f"{count} cores; the lessons' times were measured on 2")
    return Check("WARN", "processor", "1 core: lessons take about twice their time", "close other programs")


def check_memory() -> Check:
    """Is there memory for the largest lesson, also inside a container with a limit?"""
    try:
        free = importlib.import_module("psutil").virtual_memory().available
    except ImportError:
        return Check("FAIL", "memory", "psutil is missing, so it cannot be read", SET_UP)
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        free = min(free, int(CONTAINER_LIMIT.read_text()))
    free, needed = free / 1e9, MEMORY_LIMIT_MB / 1024
    text = f"{free:.1f} GB free; a lesson takes up to {needed:.0f} GB"
    if free >= needed:
        return Check("OK", "memory", text)
    remedy = "close other programs, and in JupyterLab: Kernel → Shut Down All Kernels"
    return Check("FAIL" if free < needed / 2 else "WARN", "memory", text, remedy)


def check_disk() -> Check:
    """Is there room for data and weights?"""
    try:
        from course_utils._setup.storage import data_folder

        folder = data_folder()
    except ImportError:  # nothing is installed yet; the data will be put here
        folder = ROOT
    free = shutil.disk_usage(folder).free / 1e9
    text = f"{free:.1f} GB free; data and weights need {DISK_NEEDED_GB} GB"
    if free >= DISK_NEEDED_GB:
        return Check("OK", "disk", text)
    return Check("FAIL", "disk", text, f"free some space, for example: {this_python()} -m pip cache purge")


def check_prepared() -> list[Check]:
    """Are data and weights there, so that the lessons also run without a network?"""
    remedy = f"{this_python()} -m course_utils.prepare"
    checks = []
    for what, module in (("data", "datasets"), ("weights", "weights")):
        try:
            there = importlib.import_module(f"course_utils.{module}").prepared()
            checks.append(Check("OK", what, "prepared") if there else Check("FAIL", what, "not prepared yet", remedy))
        except ImportError as error:
            checks.append(Check("FAIL", what, f"cannot be looked at: {error}", SET_UP))
    return checks


def start_jupyter() -> Callable[[], Check]:
    """Start a JupyterLab server without a browser; return a function that waits until it answers and then ends it."""
    # Root needs a flag of its own (containers); -y lets the server end without a question.
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [sys.executable, "-m", "jupyterlab", "-y", "--no-browser", "--ServerApp.port=0", *root]
    # A file, not a pipe: a full pipe would stop the server.
    log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed in finish)
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT)

    def finish() -> Check:
        end = time.monotonic() + JUPYTER_START_LIMIT_S
        ended, text = False, ""
        try:
            while not ended and "is running at" not in text:
                time.sleep(0.1)
                ended = server.poll() is not None or time.monotonic() > end  # asked first: then the log is complete
                log.seek(0)
                text = log.read()
        finally:
            server.terminate()
            server.wait()
            log.close()
        if "is running at" in text:
            return Check("OK", "JupyterLab starts", "yes")
        last = (text.strip().splitlines() or ["it said nothing"])[-1]
        return Check("FAIL", "JupyterLab starts", f"no: {last}", reinstall())

    return finish


def checks() -> list[Check]:
    """Look at everything once, in the order of the report; without packages, only at what does not need them."""
    packages = check_packages()
    if packages[0].what == "packages":
        return [check_python(), *packages, check_cores(), check_disk()]
    jupyter = start_jupyter()  # it takes a few seconds, in which the others run
    found = [check_python(), *packages, check_opencv(), check_devices(), check_cores(), check_memory()]
    return [*found, check_disk(), *check_prepared(), jupyter()]


def report() -> list[Check]:
    """Print a line for each check, with the command that repairs it if it is not OK, and return the checks."""
    found = checks()
    width = max(len(check.what) for check in found)
    for check in found:
        print(f"[{check.status:^4}] {check.what:{width}}  {check.found}")
        if check.remedy:
            print(f"{'':7}{'':{width}}  → {check.remedy}")
    return found


def lesson_times() -> dict[str, int]:
    """Return title → seconds of every built lesson, as its build measured them on two cores (rounded up to 5 s)."""
    times = {}
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        seconds = json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]["run_time_s"]
        times[path.stem.replace("_", " ")] = seconds
    return times


def main() -> int:
    """Print the report and return 1 if a check failed, else 0."""
    failed = [check for check in report() if check.status == "FAIL"]
    print("\nReady." if not failed else f"\n{len(failed)} thing(s) to fix: run the command after each arrow.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
