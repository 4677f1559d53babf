"""What the course says where PyTorch is not installed; that it is not is played here, whether it is or not."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from course_utils import pytorch


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as Python itself marks a module that must not be found


@pytest.fixture
def with_all(monkeypatch):
    monkeypatch.setattr(pytorch, "find_spec", lambda name: name)


def test_installed_needs_all_packages(monkeypatch, with_all):
    assert pytorch.installed()
    for missing in pytorch.PACKAGES:
        monkeypatch.setattr(pytorch, "find_spec", lambda name, missing=missing: None if name == missing else name)
        assert not pytorch.installed()


def test_require_does_nothing_where_pytorch_is(with_all):
    pytorch.require()


def test_require_says_in_one_sentence_what_to_run(without):
    assert not pytorch.installed()
    with pytest.raises(ModuleNotFoundError, match=r"python3 course\.py lab --torch"):
        pytorch.require()


def test_notebook_shows_the_sentence_alone(without, capsys):
    shell = InteractiveShell()
    try:
        result = shell.run_cell("from course_utils import pytorch\npytorch.require()\nprint('went on')")
    finally:
        InteractiveShell.clear_instance()
    assert not result.success  # so “Run All” stops here
    assert capsys.readouterr().out.strip() == pytorch.MISSING


def test_installed_imports_nothing_of_pytorch():
    code = "import sys; from course_utils import pytorch; pytorch.installed(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout == "False\n", run.stderr
