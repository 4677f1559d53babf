"""One line of progress, in a notebook or in a terminal, that leaves no trace in the stored output."""

import shutil
import sys
import time

_PATIENCE = 2.0  # seconds before a terminal shows the line
_TICK = 0.1  # seconds between two texts in a terminal, at least


class LiveLine:
    """A line that changes while work goes on and says in the end what it said in the beginning, `resting`.

    So the stored output of a notebook cell is the same after every run, which the notebook tests need. In a terminal
    the line appears on stderr after 2 s and is wiped in the end; where stderr is a file, nothing is written.
    With ``notebook=False`` nothing appears in a notebook, whose stored output must not depend on work done once.
    """

    def __init__(self, resting: str, notebook: bool = True) -> None:
        self.resting = resting
        self._handle = None
        if notebook and in_notebook():
            from IPython.display import display

            self._handle = display({"text/plain": resting}, raw=True, display_id=True)
        self._in_terminal = not in_notebook() and sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + _PATIENCE
        self._written = 0

    def update(self, text: str) -> None:
        """Put `text` behind the resting line."""
        if self._handle is not None:
            self._handle.update({"text/plain": f"{self.resting} · {text}"}, raw=True)
        elif self._in_terminal and time.monotonic() >= self._next:
            self._next = time.monotonic() + _TICK
            self._write(f"{self.resting} · {text}")

    def rest(self) -> None:
        """Go back to the resting line; in a terminal, to an empty one."""
        if self._handle is not None:
            self._handle.update({"text/plain": self.resting}, raw=True)
        elif self._written:
            self._write("")

    def __enter__(self) -> "LiveLine":
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def _write(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        # The cursor goes back to the start, so that whatever is printed next stands where the line stood.
        print(f"\r{text.ljust(self._written)}\r", end="", file=sys.stderr, flush=True)
        self._written = len(text)


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook. Imports nothing: a kernel has imported IPython already."""
    ipython = sys.modules.get("IPython")
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None  # a terminal's shell has no kernel
