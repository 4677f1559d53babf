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
LARGEST_SIDE = 1024  # pixels: a larger image is not drawn into a reply


@dataclass(frozen=True)
class Feedback:
    """What an exercise says."""

    status: str  # a key of LOOKS
    text: str  # plain words; backticks mark code
    code: str = ""  # Python code shown below the words
    expected: np.ndarray | None = None  # an image, (H, W) or (H, W, 3), to be drawn
    got: np.ndarray | None = None  # another one, drawn beside it

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
            f"<b>{headline}</b> {words}{code}{self._image()}</div>"
        )

    def _image(self) -> str:
        if self.expected is None or self.got is None:
            return ""
        with contextlib.suppress(Exception):  # whatever a learner's array holds: the words are there
            png = base64.b64encode(draw_comparison(self.expected, self.got)).decode()
            return f'<br><img alt="expected, got and their difference" src="data:image/png;base64,{png}">'
        return ""


def drawable(image: object) -> bool:
    """Return whether an answer is an image that can be drawn: (H, W) or (H, W, 3), not tiny and not huge."""
    if not isinstance(image, np.ndarray) or image.dtype.kind not in "buif":
        return False
    flat = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    return flat and min(image.shape[:2]) >= 3 and max(image.shape[:2]) <= LARGEST_SIDE


def draw_comparison(expected: np.ndarray, got: np.ndarray) -> bytes:
    """Return a PNG of two images and, if they have one shape, of their absolute difference.

    All are drawn in the range of `expected`, so that an image that is too dark looks too dark.
    """
    from matplotlib.figure import Figure  # no pyplot: the learner's own figures stay as they are

    panels = {"expected": expected, "got": got}
    if expected.shape == got.shape:
        panels["difference"] = np.abs(expected.astype(float) - got)
    low, high = min(0.0, float(expected.min())), max(float(expected.max()), 1e-9)
    figure = Figure(figsize=(2.2 * len(panels), 2.4), dpi=80, layout="constrained")
    for axis, (title, image) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axis.imshow(np.clip((image.astype(float) - low) / (high - low), 0, 1), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title)
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()
