"""Do the stored outputs also hold on other processors? ``python3 course.py test -m portability`` (half an hour)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ONE_THREAD = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
SETTINGS = {
    "oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "AVX2 only": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "one thread": dict.fromkeys(ONE_THREAD, "1"),
}


@pytest.mark.portability
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_match_under(setting, notebook):
    command = [sys.executable, "-m", "pytest", "--nbval", notebook, "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **SETTINGS[setting]}, capture_output=True, text=True, encoding="utf-8"
    )
    assert run.returncode in (0, 5), run.stdout[-5000:]  # 5: every cell was skipped, because PyTorch is not installed
