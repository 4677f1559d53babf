"""TensorFlow's start-up lines stay away; everything else that is written to stderr arrives."""

import subprocess
import sys

LOUD = """
import os
os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on. You may see\\n")
os.write(2, b"a real warning\\n")
"""


def run(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", cwd=folder, timeout=120
    )


def test_only_the_noise_of_a_loud_package_is_dropped(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD)
    code = "from course_utils._setup.quiet import quiet_import; quiet_import('loud'); quiet_import('loud')\n"
    result = run(code + "import loud, sys, os; print(loud.__name__); os.write(2, b'after\\n')", tmp_path)
    assert result.stdout == "loud\n"
    assert result.stderr == "a real warning\nafter\n"


def test_a_package_that_fails_fails_as_before_and_stderr_is_back(tmp_path):
    (tmp_path / "loud.py").write_text(LOUD + "raise RuntimeError('broken')")
    result = run("import course_utils._setup.quiet as q; q.quiet_import('loud'); import loud", tmp_path)
    assert result.returncode == 1
    assert "a real warning" in result.stderr and "RuntimeError: broken" in result.stderr
    assert "oneDNN" not in result.stderr


def test_a_package_that_is_not_there_is_missing_as_before(tmp_path):
    result = run("import course_utils._setup.quiet as q; q.quiet_import('nowhere'); import nowhere", tmp_path)
    assert "ModuleNotFoundError: No module named 'nowhere'" in result.stderr


def test_tensorflow_starts_without_a_word(tmp_path):
    result = run("import course_utils, keras; print(keras.Sequential([keras.layers.Dense(1)]).name)", tmp_path)
    assert result.stdout == "sequential\n"
    assert result.stderr == ""
