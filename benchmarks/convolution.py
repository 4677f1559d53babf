"""How much faster than loops are windows in NumPy, OpenCV and Keras? One kernel over a colour photo of 512 × 512."""

import sys
from collections.abc import Callable

import _report
import cv2
import keras
import numpy as np

from course_utils.convolution import correlate
from course_utils.datasets import sample_photo


def loops(photo: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Multiply and add with Python alone, number by number."""
    photo, kernel = photo.tolist(), kernel.tolist()  # lists: taking one number out of an array costs more
    rows, columns = len(photo) - len(kernel) + 1, len(photo[0]) - len(kernel[0]) + 1
    answers = []
    for row in range(rows):
        line = []
        for column in range(columns):
            total = 0.0
            for pixels, weights in zip(photo[row : row + len(kernel)], kernel, strict=True):
                for pixel, weight in zip(pixels[column : column + len(weights)], weights, strict=True):
                    for value, factor in zip(pixel, weight, strict=True):
                        total += value * factor
            line.append(total)
        answers.append(line)
    return np.array(answers)


def loops_over_windows(photo: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Loop over the windows, as lesson 03 does it; what is inside a window is left to NumPy."""
    height, width = kernel.shape[:2]
    rows, columns = photo.shape[0] - height + 1, photo.shape[1] - width + 1
    answers = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            answers[row, column] = (photo[row : row + height, column : column + width] * kernel).sum()
    return answers


def opencv(photo: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Let OpenCV filter each channel with its slice of the kernel; cut off the border, which it invents."""
    maps = [
        cv2.filter2D(channel, cv2.CV_64F, np.ascontiguousarray(kernel[..., number]))
        for number, channel in enumerate(cv2.split(photo))
    ]
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    return sum(maps)[top:-top, left:-left]


def with_keras(kernel: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that lets a Keras layer with this kernel answer, in float32 as Keras computes."""
    layer = keras.layers.Conv2D(1, kernel.shape[:2], use_bias=False)
    layer.build((None, None, None, kernel.shape[2]))
    layer.set_weights([kernel[..., None]])
    return lambda photo, _: layer(photo[None].astype("float32")).numpy()[0, :, :, 0]


def measure(quick: bool) -> _report.Result:
    """Check that all ways give the same numbers, then time them."""
    photo = sample_photo("astronaut")
    if quick:
        photo = photo[:48, :48]
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3))
    ways = {
        "loops over every number": loops,
        "loops over the windows (lesson 03)": loops_over_windows,
        "course_utils: sliding_window_view": correlate,
        "OpenCV: cv2.filter2D": opencv,
        "Keras: Conv2D": with_keras(kernel),
    }
    expected = loops(photo, kernel)
    largest = abs(expected).max()
    for name, way in ways.items():
        answers = way(photo, kernel)
        if answers.shape != expected.shape or abs(answers - expected).max() > 1e-5 * largest:
            raise AssertionError(f"“{name}” gives other numbers than the loops.")

    python_loops = (loops, loops_over_windows)
    seconds = {
        name: _report.median_seconds(lambda way=way: way(photo, kernel), 3 if way in python_loops else 21)
        for name, way in ways.items()
    }
    loop = min(seconds[name] for name, way in ways.items() if way in python_loops)
    times = {name: loop / duration for name, duration in seconds.items()}
    height, width, channels = photo.shape
    return _report.Result(
        title="Convolution: five ways, one result",
        question=f"A 3 × 3 × {channels} kernel reads a photo of {height} × {width} × {channels} (uint8) and gives a "
        "map. How much faster than loops are the ways of lesson 03?",
        columns={"way": "", "time (ms)": ",.2f", "times as fast as loops": ",.1f"},
        rows=[{"way": name, "time (ms)": 1000 * seconds[name], "times as fast as loops": times[name]} for name in ways],
        checks=[
            ("all five give the same map, to a hundred-thousandth (Keras computes in float32)", True),
            (
                "the course's NumPy version is at least 100 times as fast as the faster of the two loops",
                times["course_utils: sliding_window_view"] >= 100,
            ),
        ],
        notes=[
            "“Times as fast” counts from the faster of the two loops. The arithmetic is the same everywhere. What "
            "differs is how often Python itself takes a step: once a number, once a window, or once in all."
        ],
    )


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
