"""Where prepared data lives, and how it gets there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


def data_folder() -> Path:
    """Return the folder for prepared data (``$COURSE_DATA`` or ``data/`` of this checkout), made if missing."""
    configured = os.environ.get("COURSE_DATA")
    folder = Path(configured).expanduser() if configured else Path(__file__).resolve().parents[2] / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def prepared_once(target: Path) -> Iterator[Path | None]:
    """Let exactly one process prepare `target` (a file or a folder), whole or not at all.

    Yields the path at which the block writes its work, or ``None`` when `target` is there already. Only when the block
    ends well, its work is renamed to `target`. Two processes wait for each other.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        yield None
        return
    # The lock belongs to the process: the system releases it when the process dies, however it dies.
    with FileLock(target.parent / f".{target.name}.lock"):
        if target.exists():
            yield None
            return
        prefix = f".{target.name}.part-"
        for leftover in target.parent.glob(f"{prefix}*"):  # of a process that was killed: we hold the lock
            shutil.rmtree(leftover, ignore_errors=True)  # Windows refuses while a scanner reads it
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        try:
            # The name keeps its ending: some libraries choose the file format by it.
            work = scratch / target.name
            yield work
            work.replace(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
