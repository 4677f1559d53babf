"""TensorFlow's start-up lines stay away; everything else that is written to stderr arrives."""

import subprocess
import sys

LOUD = """
import os
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"a real warning\\n")
"""
QUIET = "from course_utils._setup.quiet import quiet_import, sys; quiet_import('loud'); quiet_import('loud')\n"


def run(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", cwd=folder, timeout=600
    )


def test_quiet_import_drops_only_the_noise(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD)
    result = run(QUIET + "import loud, os; print(loud.__name__); os.write(2, b'after\\n')", tmp_path)
    assert result.stdout == "loud\n"
    assert result.stderr == "a real warning\nafter\n"


def test_quiet_import_outlives_a_question_for_the_package(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD)
    code = "from importlib.util import find_spec; print(find_spec('loud').name, find_spec('loud').name); import loud\n"
    result = run(QUIET + code + "print(*[f.package for f in sys.meta_path if hasattr(f, 'package')])", tmp_path)
    assert result.stdout == "loud loud\ntensorflow\n"  # the import has used it up; the package's own still waits
    assert result.stderr == "a real warning\n"


def test_quiet_import_lets_a_failure_through(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD + "raise RuntimeError('broken')")
    result = run(QUIET + "import loud", tmp_path)
    assert result.returncode == 1
    assert "a real warning" in result.stderr and "RuntimeError: broken" in result.stderr
    assert "oneDNN" not in result.stderr


def test_quiet_import_of_a_missing_package_is_an_ordinary_error(tmp_path):
    result = run(QUIET + "import loud", tmp_path)
    assert "ModuleNotFoundError: No module named 'loud'" in result.stderr


def test_tensorflow_starts_without_a_word(tmp_path):
    code = "from importlib.util import find_spec; import course_utils; find_spec('tensorflow')\n"
    result = run(code + "import keras; print(keras.Sequential([keras.layers.Dense(1)]).name)", tmp_path)
    assert result.stdout == "sequential\n"
    assert result.stderr == ""
