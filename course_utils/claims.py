"""Statements that a lesson makes, checked while the lesson runs, and the numbers behind them."""

import os
import re

from course_utils.live import in_notebook

ADVICE = (
    "  If you changed something above, you have just found something out. If you changed nothing, run the notebook "
    "from the top."
)


def verify(claim: str, holds: bool, measured: str = "") -> None:
    """Print ✔, the claim and what was measured if it holds; otherwise ✘ in a notebook that somebody works in.

    Parameters
    ----------
    claim : str
        One sentence, as a learner would read it.
    holds : bool
        What was measured, compared with what the sentence says: a truth value, or an array of one.
    measured : str
        The number behind the claim, with its unit, such as ``f"{accuracy:.1%}"``. Tests do not compare it.

    Raises
    ------
    AssertionError
        If the claim does not hold in a script or where the environment variable ``COURSE_STRICT`` is set.
    TypeError
        If `holds` is not a single truth value: a forgotten comparison must not pass as true.
    """
    value = holds.item() if getattr(holds, "size", 0) == 1 else holds  # a NumPy truth value becomes Python's
    if not isinstance(value, bool):
        raise TypeError(
            f"verify needs one True or False for “{claim}”, but got {type(holds).__name__}: "
            "compare it with something first, and use .all() or .any() on an array."
        )
    line = claim + _behind(measured)
    if value:
        print(f"✔ {line}")
    elif in_notebook() and not os.environ.get("COURSE_STRICT"):  # which builds and tests set
        print(f"✘ Not so in this run: {line}\n{ADVICE}")
    else:
        raise AssertionError(f"Not so in this run: {line}")


def print_measured(what: str, value: str) -> None:
    """Print a number, with its unit, that differs a little between computers; tests compare only `what`."""
    print(what + _behind(value))


def _behind(measured: str) -> str:
    """Return what follows a sentence; tests/sanitize.cfg cuts it off before outputs are compared."""
    return f" · measured {re.sub(r'(?<=[0-9])%', ' %', measured)}" if measured else ""
