"""Is PyTorch here? It is large and only lesson 10 needs it, so the course works without it.

This module imports nothing of PyTorch, so that asking costs no time.
"""

from importlib.util import find_spec

PACKAGES = ("torch", "efficientnet_lite_pytorch")  # what requirements-torch.txt brings
MISSING = (
    "Lesson 10 needs PyTorch, which is not installed here: stop JupyterLab and run `python3 course.py lab --torch`."
)


class PyTorchMissing(ModuleNotFoundError):
    """PyTorch is not installed. In a notebook it is shown as one sentence, without a traceback."""

    def __init__(self) -> None:
        super().__init__(MISSING)

    def _render_traceback_(self) -> list[str]:  # IPython asks for this
        return [MISSING]


def installed() -> bool:
    """Return whether all packages of requirements-torch.txt are there. Imports none of them."""
    return all(find_spec(package) is not None for package in PACKAGES)


def require() -> None:
    """Stop a notebook with one sentence, `PyTorchMissing`, if PyTorch is not installed; otherwise do nothing."""
    if not installed():
        raise PyTorchMissing
