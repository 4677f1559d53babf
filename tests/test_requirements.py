"""requirements.txt is what pyproject.toml asks for, on every system that the course supports."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
PINS = [Requirement(line) for line in LINES if re.match(r"^[a-z0-9]", line, re.IGNORECASE)]
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix", "platform_system": "Linux"},
    "linux on ARM": {
        "sys_platform": "linux",
        "platform_machine": "aarch64",
        "os_name": "posix",
        "platform_system": "Linux",
    },
    "mac": {"sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix", "platform_system": "Darwin"},
    "windows": {"sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt", "platform_system": "Windows"},
}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_dependency_has_one_pin_in_its_range(system, python):
    environment = {
        **SYSTEMS[system],
        "python_version": python,
        "python_full_version": f"{python}.5",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    for wanted in WANTED:
        pins = [
            str(pin.specifier).removeprefix("==")
            for pin in PINS
            if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
            and (pin.marker is None or pin.marker.evaluate(environment))
        ]
        if wanted.marker is None or wanted.marker.evaluate(environment):
            assert len(pins) == 1, f"{wanted}: {pins}; compile requirements.txt again (CONTRIBUTING.md)"
            assert wanted.specifier.contains(pins[0], prereleases=True), f"{wanted} but {pins[0]} is pinned"
        else:
            assert not pins, f"{wanted.name} is pinned where pyproject.toml does not want it"


def test_pins_are_exact_and_the_package_itself_is_installed():
    assert all(re.fullmatch(r"==[\w.!+-]+", str(pin.specifier)) for pin in PINS)
    assert "-e ." in LINES


def test_pins_leave_nothing_over():
    # uv writes, under each pin, what needs it: a direct dependency that pyproject.toml no longer names would show.
    direct = {canonicalize_name(wanted.name) for wanted in WANTED}
    text = "\n".join(LINES)
    for block in re.finditer(r"^([\w.-]+)==.*\n((?:    #.*\n?)*)", text, re.MULTILINE):
        if re.search(r"course-utils", block[2]):
            assert canonicalize_name(block[1]) in direct, block[1]


TORCH_FILE = (ROOT / "requirements-torch.txt").read_text(encoding="utf-8")
TORCH_PINS = [Requirement(line) for line in TORCH_FILE.splitlines() if re.match(r"[a-z]", line)]


def test_torch_extra_has_one_exact_pin_each():
    pins = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in TORCH_PINS}
    assert len(pins) == len(TORCH_PINS)
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) and pin.marker is None for pin in TORCH_PINS)
    wanted = [Requirement(line) for line in PROJECT["optional-dependencies"]["torch"]]
    for requirement in wanted:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    others = re.findall(r"^([\w-]+)==.*\n    # via [\w-]+$", TORCH_FILE, re.MULTILINE)
    assert set(pins) == {canonicalize_name(requirement.name) for requirement in wanted} | set(others)


def test_package_is_pinned_in_one_file_only():
    # Two pins could contradict each other, and pip reads both files in one call.
    names = {canonicalize_name(pin.name) for pin in PINS}
    assert not names & {canonicalize_name(pin.name) for pin in TORCH_PINS}


def test_environment_yml_uses_the_same_file():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert re.search(r"^ +- -r requirements.txt$", text, re.MULTILINE)
    assert not re.search(r"==", text), "versions stand in requirements.txt only"


def test_pythons_of_ci_and_launcher_are_the_same():
    import course

    supported = {"{}.{}".format(*version) for version in course.SUPPORTED}
    assert supported == {"3.11", "3.12", "3.13"}
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
