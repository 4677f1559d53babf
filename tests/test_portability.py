"""Do the stored outputs also hold on other processors? ``python3 course.py test -m portability`` (minutes)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
SETTINGS = {
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "AVX2 only": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "one thread": dict.fromkeys(ONE_THREAD, "1"),
}


@pytest.mark.portability
@pytest.mark.parametrize("setting", SETTINGS)
def test_stored_outputs_match_under(setting, capsys):
    command = [sys.executable, "-m", "pytest", "--nbval", "notebooks", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **SETTINGS[setting]}, capture_output=True, text=True, encoding="utf-8"
    )
    with capsys.disabled():
        print(f"\n{setting}: {run.stdout.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stdout[-5000:]
