"""Draw a digit with the mouse, and see what a network makes of it while you draw: lesson 05."""

import time
from collections.abc import Callable, Sequence

import cv2
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from ipycanvas import Canvas

from course_utils.plots import Explorer

Strokes = Sequence[Sequence[tuple[float, float]]]  # of each stroke its points (x, y) on the pad, y downwards
PAD = 280  # pixels of the screen
_WIDTH = 2.4  # of a pen in MNIST, in pixels of its images


def strokes_to_digit(strokes: Strokes) -> np.ndarray:
    """Return strokes as MNIST has its digits: uint8 (28, 28), white on black, black for no stroke.

    They are fitted into 20 × 20 pixels *before* they are drawn, so that size and position on the pad do not matter;
    then the centre of mass is moved to the middle. After Y. LeCun et al., as in `datasets.digits`.
    """
    fine = 10  # drawn ten times as large, then averaged: grey edges as in MNIST
    image = np.zeros((28 * fine, 28 * fine), np.uint8)
    if points := [point for stroke in strokes for point in stroke]:
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        zoom = (20 - _WIDTH) * fine / max(*(high - low), PAD / 7)  # a dot stays a dot
        for stroke in filter(len, strokes):
            line = ((np.array(stroke) - (low + high) / 2) * zoom + 14 * fine).round().astype(int).tolist()
            for start, end in zip(line, [*line[1:], line[-1]], strict=True):
                cv2.line(image, start, end, 255, round(_WIDTH * fine), cv2.LINE_AA)
        rows, columns = np.nonzero(image > 127)
        move = np.array([[1, 0, 14 * fine - columns.mean()], [0, 1, 14 * fine - rows.mean()]])
        image = cv2.warpAffine(image, move, image.shape)
    return cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)


def show_drawing(strokes: Strokes, predict: Callable[[np.ndarray], np.ndarray]) -> None:
    """Show what was drawn, what the network gets, and its ten probabilities; `predict` as in `draw_digit`."""
    image = strokes_to_digit(strokes)
    _, (pad, seen, bars) = plt.subplots(1, 3, figsize=(11, 3.3), width_ratios=[1, 1, 1.5])
    for axis, shown, title in ((pad, np.zeros((PAD, PAD)), "drawn"), (seen, image, "28 × 28, as the network gets it")):
        axis.imshow(shown, cmap="gray", vmin=0, vmax=255)
        axis.set(title=title, xticks=[], yticks=[])
    for stroke in strokes:
        pad.plot(*np.transpose(stroke), color="white", linewidth=9, solid_capstyle="round", solid_joinstyle="round")
    bars.bar(range(10), 100 * np.asarray(predict(image)))
    bars.set(title="prediction", xlabel="digit", ylabel="probability in %", xticks=range(10), ylim=(0, 105))


def draw_digit(predict: Callable[[np.ndarray], np.ndarray]) -> ipywidgets.Widget:
    """Return a pad to draw on, beside it the image that the network gets and its probabilities, which follow the mouse.

    `predict` takes an image, uint8 (28, 28), and returns ten probabilities. It is tried at once, on a black image.
    """
    strokes: list[list[tuple[float, float]]] = []
    held, last = False, 0.0  # whether the button is down; when the last prediction was made
    pad = Canvas(width=PAD, height=PAD)
    seen = ipywidgets.Image(format="png", width=PAD // 2, height=PAD // 2)
    bars = [ipywidgets.FloatProgress(max=1, description=str(n), layout={"width": "230px"}) for n in range(10)]
    line, clear = ipywidgets.HTML(), ipywidgets.Button(description="Clear", icon="eraser")

    def read() -> None:
        nonlocal last
        image = strokes_to_digit(strokes)
        seen.value = cv2.imencode(".png", np.kron(image, np.ones((5, 5), np.uint8)))[1].tobytes()
        probabilities = np.asarray(predict(image), np.float64)
        for bar, probability in zip(bars, probabilities, strict=True):
            bar.value = probability if strokes else 0
        best = f"<b>{probabilities.argmax()}</b>: {probabilities.max():.0%}"
        line.value = best if strokes else "Draw a digit with the mouse."
        last = time.monotonic()

    def draw(x: float, y: float, begin: bool = False) -> None:
        nonlocal held
        if begin:
            held = True
            strokes.append([(x, y)])
        if held:
            pad.stroke_line(*strokes[-1][-1], x, y)
            strokes[-1].append((x, y))
            if time.monotonic() - last > 0.2:  # seconds
                read()

    def lift(*_: float) -> None:
        nonlocal held
        held = False
        read()

    def restart(_: object = None) -> None:
        strokes.clear()
        pad.fill_rect(0, 0, PAD, PAD)  # black
        pad.line_width, pad.line_cap, pad.stroke_style = 22, "round", "white"
        read()

    pad.on_mouse_down(lambda x, y: draw(x, y, begin=True))
    pad.on_mouse_move(draw)
    for leave in (pad.on_mouse_up, pad.on_mouse_out):
        leave(lift)
    clear.on_click(restart)
    pad.on_client_ready(restart)
    restart()
    stiff = {"flex": "0 0 auto"}  # a narrow page must not shrink the pad
    columns = [ipywidgets.VBox(column, layout=stiff) for column in ([pad, clear], [line, seen], bars)]
    return Explorer("Digit pad", columns)
