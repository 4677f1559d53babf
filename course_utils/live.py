"""One line of progress in a notebook that leaves no trace in the stored output."""

from IPython import get_ipython
from IPython.display import display


class LiveLine:
    """A line that changes while work goes on and says in the end what it said in the beginning.

    So a learner sees progress, and the stored output of a cell is the same after every run, which the notebook tests
    need. Outside Jupyter nothing appears.

    Parameters
    ----------
    resting : str
        What the line says at the beginning and in the end.
    """

    def __init__(self, resting: str) -> None:
        self.resting = resting
        # An IPython shell without a kernel is a terminal, which cannot change what it has printed.
        in_jupyter = getattr(get_ipython(), "kernel", None) is not None
        self._handle = display({"text/plain": resting}, raw=True, display_id=True) if in_jupyter else None

    def update(self, text: str) -> None:
        """Put `text` behind the resting line."""
        if self._handle is not None:
            self._handle.update({"text/plain": f"{self.resting} · {text}"}, raw=True)

    def rest(self) -> None:
        """Go back to the resting line."""
        if self._handle is not None:
            self._handle.update({"text/plain": self.resting}, raw=True)
