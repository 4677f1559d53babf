#!/usr/bin/env python3
"""The one entry point of the course. Standard library only, because it runs before anything is installed.

    python3 course.py lab      set everything up, then open JupyterLab on lesson 1 (options go through to JupyterLab)
    python3 course.py test     set everything up, then run every test and every notebook (options go through to pytest)
    python3 course.py build    turn lessons/*.md into notebooks; what changed runs (build 03: only that lesson)
    python3 course.py new      begin a lesson from a template (new 15 optical_flow)
    python3 course.py check    say whether this computer is ready, and what to do where it is not

With --torch, lab, test, build and the two below also install PyTorch, which only lesson 10 needs.

For instructors (all lessons, or those named by number after the folder):

    python3 course.py solutions FOLDER     write copies of the notebooks with every exercise solved, executed
    python3 course.py worksheets FOLDER    write notebooks with the exercises alone, blank

Written in the Python of 2017, so that an old Python can still say which one to install.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
OLDEST, TOO_NEW = map(int, re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', PYPROJECT).groups())
SUPPORTED = [(3, minor) for minor in range(TOO_NEW - 1, OLDEST - 1, -1)]  # the newest is tried first
STAMP = VENV / "course-installed"  # holds what the finished installation was made from
TORCH_STAMP = VENV / "course-installed-torch"  # the same for the optional part, there only if somebody wanted it
UNFINISHED = VENV / "course-unfinished"  # there while an installation is under way
LOG = ROOT / ".venv-install.log"
UV = "uv==0.13.9"  # installs the same in a third of the time; pip does it where uv cannot be had
FIRST_LESSON = "notebooks/01_environment_check.ipynb"
OFFLINE = re.compile(
    "NewConnectionError|ConnectTimeout|ReadTimeout|name resolution|getaddrinfo|Network is unreachable|ProxyError"
    "|Connection refused|Max retries exceeded|connection broken"
)


class SetupError(Exception):
    """Something stops the set-up; the message is the one sentence that the learner needs."""


def venv_python():
    """Return the path of the Python inside .venv on this system."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


PIP = [str(venv_python()), "-m", "pip", "--disable-pip-version-check"]


def version_of(command):
    """Return (major, minor) of the Python that `command` starts, or None if it starts none that can make a venv."""
    try:
        out = subprocess.run(
            [*command, "-c", "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
        )
        return tuple(int(part) for part in out.stdout.split()) if out.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def supported_python():
    """Return the command of a supported Python: the running one, or else the newest found on PATH.

    Raises SetupError, with what to install on this system, if there is none.
    """
    running = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info[:2] in SUPPORTED and version_of([sys.executable]):
        return [sys.executable]
    for major, minor in SUPPORTED:
        name = f"python{major}.{minor}"
        launcher = ["py", f"-{major}.{minor}"]
        found = [[shutil.which(name)]] if shutil.which(name) else []
        found += [launcher] if os.name == "nt" and shutil.which("py") else []
        for command in found:
            if version_of(command) == (major, minor):
                print("This Python is {}; using {} for the course.".format(running, " ".join(command)), flush=True)
                return command
    install = {
        "win32": "winget install Python.Python.3.12",
        "darwin": "brew install python@3.12",
    }.get(sys.platform, "sudo apt install python3.12 python3.12-venv (or your system's equivalent)")
    raise SetupError(
        f"The course needs Python 3.{OLDEST} to 3.{TOO_NEW - 1} with its venv module, and found only Python {running}: "
        f"install one ({install}) and start again."
    )


def wanted_stamp(name="requirements.txt"):
    """Return what the stamp of a finished, current installation holds: its inputs and its place.

    Of pyproject.toml only the sections count by which pip installs the package: the versions stand in the requirements.
    """
    sections = re.findall(r"^\[(?:build-system|tool\.hatch[^]]*)\]\n(?:(?!\[).*\n)*", PYPROJECT, re.MULTILINE)
    digest = hashlib.sha256((ROOT / name).read_bytes() + "".join(sections).encode())
    return digest.hexdigest() + "\n" + str(ROOT) + "\n"  # an environment that was moved no longer works


def is_current(stamp, *name):
    """Return whether a stamp holds what it would hold if the installation were made now."""
    return stamp.exists() and stamp.read_text(encoding="utf-8") == wanted_stamp(*name)


def installed(torch):
    """Return whether .venv is finished, current and has a Python that starts; with PyTorch if that is wanted."""
    try:
        return (
            is_current(STAMP)
            and (not torch or is_current(TORCH_STAMP, "requirements-torch.txt"))
            and not UNFINISHED.exists()
            and version_of([str(venv_python())]) in SUPPORTED
        )
    except OSError:
        return False


@contextmanager
def one_at_a_time():
    """Hold a file lock while a block runs; the system releases it when the process ends, however it ends."""
    with (ROOT / ".venv.lock").open("a+") as file:
        if os.name == "nt":
            import msvcrt

            while True:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError:
                    time.sleep(1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pip_settings():
    """Return what the user told pip, as a function from the name of an option to the list of its values."""
    out = subprocess.run([*PIP, "config", "list"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    settings = {}
    # Lines such as global.index-url='…'; what is nearer to the user counts: pip.conf, its part on install, environment.
    for line in sorted(
        out.stdout.splitlines(), key=lambda line: (line.startswith(":env:"), line.startswith("install"))
    ):
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = value.strip("'\"").replace("\\n", " ").split()
    return lambda name: settings.get(name, [])


def uv_command():
    """Return the path of uv, from PATH or fetched into .venv; None where it cannot be had or is not wanted."""
    if os.environ.get("COURSE_INSTALLER") == "pip":
        return None
    if shutil.which("uv"):
        return shutil.which("uv")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    place = VENV / "course-uv"
    subprocess.call([*PIP, "install", "--retries", "0", "--target", str(place), UV], **quiet)
    return next((str(file) for file in place.glob("*/uv*") if file.stem == "uv"), None)


def run_uv(files):
    """Let uv install the files into a new .venv as pip would; return whether it could, None if there is no uv."""
    uv = uv_command()
    if uv is None:
        return None
    wanted = pip_settings()
    # As pip does: the highest version of all indexes (a build of PyTorch without NVIDIA's libraries counts as higher).
    command = [uv, "pip", "install", "--python", str(venv_python()), "--index-strategy", "unsafe-best-match"]
    for option, name in (
        ("--index-url", "index-url"),
        ("--extra-index-url", "extra-index-url"),
        ("--find-links", "find-links"),
        ("--allow-insecure-host", "trusted-host"),
    ):
        command += [part for value in wanted(name) for part in (option, value)]
    command += ["--no-index"] * (wanted("no-index") not in ([], ["0"], ["false"]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    for variable, name in (("ALL_PROXY", "proxy"), ("SSL_CERT_FILE", "cert"), ("SSL_CLIENT_CERT", "client-cert")):
        if wanted(name):
            environment[variable] = wanted(name)[-1]
    try:
        run_installer([*command, *(part for name in files for part in ("-r", name))], 0, env=environment)
    except (SetupError, OSError):
        print("uv could not install the packages; pip tries it now.", flush=True)
        return False
    return True


def run_installer(command, total, **options):
    """Run pip or uv with one line of progress instead of its log, which goes to a file; SetupError if it fails."""
    start = time.monotonic()
    state = {"fetched": 0, "step": "starting"}

    def follow(stream):
        with LOG.open("w", encoding="utf-8") as log:
            for line in stream:
                log.write(line)
                log.flush()
                if line.startswith(("Collecting ", "Processing ")):
                    state["fetched"] += 1
                    state["step"] = "fetching " + re.split(r"[=<>;(]|-\d", Path(line.split()[1]).name)[0]
                elif line.lstrip().startswith(("Downloading ", "Downloaded ", "Building ", "Built ")):  # uv
                    state["step"] = line.strip().lower()
                elif line.startswith("Installing collected"):
                    UNFINISHED.touch()  # until here pip has only fetched: .venv is as it was
                    state["step"] = "unpacking (a minute or two)"

    pip = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        encoding="utf-8",
        errors="replace",  # on Windows pip writes folder names in the code page of the system
        cwd=str(ROOT),
        **options,
    )
    reader = threading.Thread(target=follow, args=(pip.stdout,), daemon=True)
    reader.start()
    interactive = sys.stdout.isatty()
    said = None
    try:
        while pip.poll() is None:
            seconds = int(time.monotonic() - start)
            count = "package {} of about {}: ".format(state["fetched"], total) if total else ""
            text = "  {:3d} s  {}{}".format(seconds, count, state["step"])
            if interactive:
                print("\r" + text[:78].ljust(78), end="", flush=True)
            elif seconds // 20 != said:
                said = seconds // 20
                print(text, flush=True)
            time.sleep(0.5)
    except KeyboardInterrupt:
        pip.terminate()
        pip.wait()
        raise
    reader.join()
    if interactive:
        print()
    if pip.returncode:
        log = LOG.read_text(encoding="utf-8")
        if OFFLINE.search(log):
            raise SetupError(
                "No package index could be reached, and the first start needs one: connect to the network (or point "
                f"pip at your index or proxy) and start again; pip's own words are in {LOG.name}."
            )
        errors = [line for line in log.splitlines() if line.startswith("ERROR")] or ["ERROR: unknown"]
        raise SetupError(f"pip could not install the packages ({errors[-1][7:]}); see {LOG.name}.")
    LOG.unlink()


def make_venv(python):
    """Make a new .venv without packages, marked as unfinished, in place of one that was there."""
    if VENV.exists():
        shutil.rmtree(str(VENV))
    VENV.mkdir()
    UNFINISHED.touch()
    if subprocess.call([*python, "-m", "venv", str(VENV)]):
        raise SetupError("Python could not make .venv: the lines above say why; mend it and start again.")


def install(torch=False):
    """Make .venv hold exactly what requirements.txt says; finish or redo what an earlier start left undone.

    With `torch`, PyTorch is added for lesson 10. Once added it stays, and later starts keep it current.
    """
    torch = torch or TORCH_STAMP.exists()
    if installed(torch):
        return
    done = False
    with one_at_a_time():
        if installed(torch):  # another start did it while this one waited
            return
        files = ["requirements.txt", "requirements-torch.txt"] if torch else ["requirements.txt"]
        if UNFINISHED.exists() or version_of([str(venv_python())]) not in SUPPORTED:
            # Nothing of an interrupted installation is trusted; pip's cache makes doing it again quick.
            python = supported_python()
            size = "4 GB or more" if torch else "3 GB"
            print(f"Making .venv with the packages of {' and '.join(files)} (once; about {size}) …", flush=True)
            make_venv(python)
            done = run_uv(files)
            if done is False:
                make_venv(python)  # uv may have begun
        elif is_current(STAMP):
            size = "0.9 GB, or several where pip finds only the build for NVIDIA cards"
            print(f"Adding PyTorch for lesson 10 (once; {size}) …", flush=True)
        else:
            print("requirements.txt changed: bringing .venv up to date …", flush=True)
        if not done:
            pins = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in files)
            total = len(re.findall(r"^[\w.-]+==", pins, re.MULTILINE))
            # One call for all files: the pins of the first also hold for what the packages of the second need.
            pip = [*PIP, "install", "--retries", "2", "--progress-bar", "off"]
            run_installer([*pip, *(part for name in files for part in ("-r", name))], total)
        settings = VENV / "share/jupyter/lab/settings/overrides.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        quiet = {"fetchNews": "false", "checkForUpdates": False}  # no question about news on the first start
        settings.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}), encoding="utf-8")
        STAMP.write_text(wanted_stamp(), encoding="utf-8")
        if torch:
            TORCH_STAMP.write_text(wanted_stamp("requirements-torch.txt"), encoding="utf-8")
        if UNFINISHED.exists():
            UNFINISHED.unlink()
        print("Installed.", flush=True)


def run(arguments, **options):
    """Run the Python of .venv with `arguments` from the project's folder and return its exit code.

    Ctrl-C reaches the child as well; this waits until it has ended by itself, and ends it if it does not.
    """
    child = subprocess.Popen([str(venv_python()), *arguments], cwd=str(ROOT), **options)
    try:
        return child.wait()
    except KeyboardInterrupt:
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
        return 130


def prepare():
    """Get data and weights if they are not there yet; say so and go on if that is not possible."""
    return run(["-m", "course_utils.prepare"])


def lab(arguments):
    """Open JupyterLab on lesson 1; `arguments` go through to it."""
    prepare()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    run(
        [
            *("-m", "jupyterlab", "-y"),  # -y: Ctrl-C ends it without a question
            "--ServerApp.root_dir=" + str(ROOT),
            "--LabApp.default_url=/lab/tree/" + FIRST_LESSON,
            *(["--allow-root"] if root else []),  # containers run as root; the token still guards the server
            *arguments,
        ]
    )
    print("JupyterLab has ended.")
    return 0


def test(arguments):
    """Run the suite: unit tests with their coverage, then all notebooks; or what `arguments` choose."""
    if prepare():
        return 1
    # Each worker may hold a kernel of 2 GB.
    pytest = ["-m", "pytest", "-n", str(max(1, min(4, os.cpu_count() or 1))), "--dist", "loadscope"]
    if arguments:
        return run([*pytest, "--nbval", *arguments])
    units = run([*pytest, "tests", "--cov=course_utils", "--cov-report=term:skip-covered", "--cov-fail-under=90"])
    if units == 130:
        return units
    return run([*pytest, "--nbval", "notebooks"]) or units


def build(arguments):
    """Build notebooks from lessons."""
    return prepare() or run(["tools/build_notebooks.py", *arguments])


def new(arguments):
    """Begin a lesson from the templates."""
    return run(["tools/new_lesson.py", *arguments])


def copies(kind, arguments):
    """Write copies of the notebooks for instructors; a relative folder is meant from where the command was given."""
    if arguments and not arguments[0].startswith("-"):
        arguments = [str(Path(arguments[0]).resolve()), *arguments[1:]]
    return prepare() or run(["tools/instructor_copies.py", kind, *arguments])


def check():
    """Print the environment report with the Python of the course: that of .venv, or the one `lab` would take."""
    try:
        python = [str(venv_python())] if venv_python().exists() else supported_python()
    except SetupError:
        python = [sys.executable]  # the report says what to install
    return subprocess.call([*python, "-m", "course_utils.environment"], cwd=str(ROOT))


def main(arguments):
    """Do what the first argument says and return the exit code."""
    commands = {"lab": lab, "test": test, "build": build, "new": new}
    commands.update({kind: lambda rest, kind=kind: copies(kind, rest) for kind in ("solutions", "worksheets")})
    if not arguments or arguments[0] not in {*commands, "check"}:
        print(__doc__)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    if arguments[0] == "check":
        return check()
    options = [option for option in arguments[1:] if option != "--torch"]
    install(torch=len(options) < len(arguments) - 1)
    return commands[arguments[0]](options)


def interrupt(*_):
    """Let a request to end (a server's stop, a closed terminal) take the same way out as Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
