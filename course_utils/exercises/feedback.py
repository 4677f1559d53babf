"""The reply to an answer: the same words in a notebook (HTML) and in a terminal (text)."""

import base64
import contextlib
import html
import io
import re
from dataclasses import dataclass

import numpy as np

LOOKS = {  # status → headline, colour of the bar at the left
    "correct": ("✔ Correct.", "#009E73"),
    "wrong": ("✘ Not yet.", "#D55E00"),
    "not attempted": ("○ Not attempted.", "#999999"),
    "hint": ("→ Hint", "#0072B2"),
    "solution": ("→ Solution", "#0072B2"),
    "note": ("→ Note", "#0072B2"),
}
LARGEST_PICTURE = 1024  # pixels a side: beyond it a picture is not drawn into a reply


@dataclass(frozen=True)
class Feedback:
    """What an exercise says.

    Parameters
    ----------
    status : str
        A key of `LOOKS`; `Exercise.judge` gives "correct", "wrong" or "not attempted".
    text : str
        Plain words; parts in backticks are code.
    code : str
        Python code shown below the words.
    expected, got : ndarray, optional
        Two pictures, (H, W) or (H, W, 3), to be drawn with their difference in a notebook.
    """

    status: str
    text: str
    code: str = ""
    expected: np.ndarray | None = None
    got: np.ndarray | None = None

    def __str__(self) -> str:
        said = f"{LOOKS[self.status][0]} {self.text}".rstrip()
        return f"{said}\n\n{self.code}" if self.code else said

    __repr__ = __str__

    def _repr_html_(self) -> str:
        headline, colour = LOOKS[self.status]
        words = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(self.text)).replace("\n", "<br>")
        code = f"<pre>{html.escape(self.code)}</pre>" if self.code else ""
        return (
            f'<div style="border-left: 5px solid {colour}; padding: 0.3em 0.8em">'
            f"<b>{headline}</b> {words}{code}{self._picture()}</div>"
        )

    def _picture(self) -> str:
        """Return an HTML image of expected, got and difference, or nothing if they cannot be drawn."""
        if self.expected is None or self.got is None:
            return ""
        with contextlib.suppress(Exception):  # whatever a learner's array holds: the words are there
            png = base64.b64encode(draw_comparison(self.expected, self.got)).decode()
            return f'<br><img alt="expected, got and their difference" src="data:image/png;base64,{png}">'
        return ""


def drawable(picture: object) -> bool:
    """Return whether an answer is a picture that can be drawn: (H, W) or (H, W, 3), not tiny and not huge."""
    if not isinstance(picture, np.ndarray) or picture.dtype.kind not in "buif":
        return False
    flat = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    return flat and min(picture.shape[:2]) >= 3 and max(picture.shape[:2]) <= LARGEST_PICTURE


def draw_comparison(expected: np.ndarray, got: np.ndarray) -> bytes:
    """Return a PNG of two pictures and, if they have one shape, of their absolute difference.

    All are drawn in the range of `expected`, so that a picture that is too dark looks too dark.
    """
    from matplotlib.figure import Figure  # no pyplot: the learner's own figures stay as they are

    panels = [("expected", expected), ("got", got)]
    if expected.shape == got.shape:
        panels.append(("difference", np.abs(expected.astype(float) - got.astype(float))))
    low, high = min(0.0, float(expected.min())), max(float(expected.max()), 1e-9)
    figure = Figure(figsize=(2.2 * len(panels), 2.4), dpi=80, layout="constrained")
    for axis, (title, picture) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axis.imshow(np.clip((picture.astype(float) - low) / (high - low), 0, 1), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title)
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()
