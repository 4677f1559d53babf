"""Strokes become digits in MNIST's form, and the pad answers to a mouse: in a real browser, where there is one."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from chromium import Tab, chromium_port, needs_chromium  # noqa: F401  (a fixture)

from course_utils import draw
from course_utils.datasets import digits
from course_utils.draw import PAD, draw_digit, show_drawing, strokes_to_digit

ROOT = Path(draw.__file__).resolve().parent.parent
SEVEN = [[(80, 60), (200, 60), (130, 230)]]
ONE = [[(150, 40), (140, 230)]]
ZERO = [[(140 + 60 * np.cos(a), 140 + 90 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 40)]]


def centre_of_mass(image):
    return [(image * axis).sum() / image.sum() for axis in np.mgrid[:28, :28]]


@pytest.mark.parametrize("strokes", [SEVEN, ONE, ZERO, [[(3, 270), (9, 275)]], [[(20, 20)]]])
def test_drawing_has_the_form_of_mnist(strokes):
    image = strokes_to_digit(strokes)
    assert image.shape == (28, 28) and image.dtype == np.uint8
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 60) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
    assert np.abs(np.subtract(centre_of_mass(image), 13.5)).max() < 0.6
    assert image.max() > 200 > 0 == image[0, 0]


@pytest.mark.parametrize("strokes", [SEVEN, ONE, ZERO])
def test_size_and_position_on_the_pad_do_not_matter(strokes):
    small = [[(x / 3 + 150, y / 3 + 20) for x, y in stroke] for stroke in strokes]
    difference = strokes_to_digit(small).astype(int) - strokes_to_digit(strokes)
    assert np.abs(difference).mean() < 3
    rows = np.flatnonzero(strokes_to_digit(strokes).max(axis=1) > 60)
    assert 19 <= np.ptp(rows) + 1 <= 21  # the box of 20 pixels is filled


def test_pen_is_as_thick_as_in_mnist():
    train = digits().train
    for digit, strokes in {0: ZERO, 1: ONE, 7: SEVEN}.items():
        usual = train.images[train.labels == digit].mean(axis=(1, 2))
        low, high = np.quantile(usual, [0.1, 0.9])
        assert low < strokes_to_digit(strokes).mean() < high


@pytest.mark.parametrize("strokes", [[], [[]]])
def test_nothing_drawn_is_black(strokes):
    assert strokes_to_digit(strokes).shape == (28, 28) and not strokes_to_digit(strokes).any()


def test_figure_shows_drawing_image_and_bars():
    show_drawing(SEVEN, lambda image: np.eye(10)[7])
    pad, seen, bars = plt.gcf().axes
    assert len(pad.lines) == 1
    assert np.array_equal(seen.images[0].get_array(), strokes_to_digit(SEVEN))
    assert [bar.get_height() for bar in bars.patches].index(100) == 7
    plt.close("all")


def test_pad_says_one_sentence_where_no_kernel_runs():
    pad = draw_digit(lambda image: np.full(10, 0.1))
    assert isinstance(pad, ipywidgets.Widget) and repr(pad) == "Digit pad: run this cell to use it."


def test_wrong_predict_fails_at_once():
    with pytest.raises(ValueError, match="zip"):
        draw_digit(lambda image: np.zeros(9))


CELL = """
from sklearn.neighbors import KNeighborsClassifier
from course_utils.datasets import digits
from course_utils.draw import draw_digit
train = digits().train
neighbours = KNeighborsClassifier(5).fit(train.images.reshape(len(train.images), -1), train.labels)
draw_digit(lambda image: neighbours.predict_proba(image.reshape(1, -1))[0])
"""


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab with a notebook that holds a pad; return its address."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.strip())])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "pad.ipynb")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", "--port-retries=50"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}
    ) as running:
        for line in running.stderr:
            if "http://127.0.0.1:" in line:
                yield line[line.index("http://127.0.0.1:") :].strip().rstrip("/") + "/tree/pad.ipynb"
                break
        running.terminate()


@needs_chromium
def test_digit_drawn_with_the_mouse_is_read(lab, port):
    tab = Tab(port, lab, "document.querySelector('.jp-CodeCell .cm-content') !== null")
    tab.wait_for("document.body.innerText.includes('Python 3 (ipykernel) | Idle')")
    box = "(e => { const r = e.getBoundingClientRect(); return [r.x, r.y, r.width] })"
    out = "document.querySelector('.jp-OutputArea')"

    def mouse(kind, x, y, buttons=1):
        tab.call(
            "Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, button="left", buttons=buttons, clickCount=1
        )

    def click(x, y):
        mouse("Pressed", x + 12, y + 8)
        mouse("Released", x + 12, y + 8, 0)

    def stroke(points):
        x, y, width = tab.wait_for(f"(c => c && {box}(c))({out}.querySelector('canvas'))")
        assert width == PAD
        mouse("Pressed", x + points[0][0], y + points[0][1])
        for start, end in itertools.pairwise(points):
            for part in np.linspace(0.1, 1, 10):
                mouse("Moved", *np.add((x, y), (1 - part) * np.array(start) + part * np.array(end)).tolist())
        mouse("Released", x + points[-1][0], y + points[-1][1], 0)

    click(*tab.ask(f"{box}(document.querySelector('.jp-CodeCell .cm-content'))")[:2])
    for kind in ("rawKeyDown", "keyUp"):  # Shift + Enter
        tab.call("Input.dispatchKeyEvent", type=kind, modifiers=8, key="Enter", code="Enter", windowsVirtualKeyCode=13)
    tab.wait_for(f"{out}?.innerText.includes('Draw a digit')")
    time.sleep(1)  # the pad has just been laid out
    for strokes, digit in ((SEVEN, 7), (ONE, 1)):
        stroke(strokes[0])
        tab.wait_for(f"{out}.innerText.includes('{digit}: ')")
        click(*tab.ask(f"{box}([...{out}.querySelectorAll('button')].find(b => b.innerText.includes('Clear')))")[:2])
        tab.wait_for(f"{out}.innerText.includes('Draw a digit')")
