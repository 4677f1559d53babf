"""Keeping TensorFlow's start-up lines off the page.

``TF_CPP_MIN_LOG_LEVEL`` silences most of them, but on processors with AVX-512 VNNI or AMX the compiled code writes that
oneDNN is on straight to file descriptor 2, whatever the level. So the descriptor is watched while TensorFlow loads.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

NOISE = (b"oneDNN custom operations are on", b"All log messages before absl::InitializeLog()")


@contextmanager
def without_noise() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 in a block; afterwards write it, but for the `NOISE` lines."""
    with tempfile.TemporaryFile() as held:
        before = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            held.seek(0)
            for line in held:
                if not any(words in line for words in NOISE):
                    os.write(2, line)


class QuietImport(MetaPathFinder):
    """Runs the first import of one package in `without_noise`. To be asked for the package alone uses nothing up."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name, path=None, target=None):
        """Return the ordinary spec of the package, with a loader that runs it quietly; None for anything else."""
        if name != self.package:
            return None
        ordinary = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((found for found in ordinary if found is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                with without_noise():
                    run(module)

            spec.loader.exec_module = exec_module
        return spec


def quiet_import(package: str) -> None:
    """Let the first import of `package` be quiet; nothing happens if it was imported before."""
    waiting = any(isinstance(finder, QuietImport) and finder.package == package for finder in sys.meta_path)
    if package not in sys.modules and not waiting:
        sys.meta_path.insert(0, QuietImport(package))
