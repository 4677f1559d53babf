"""Three detectors of lesson 09 on the same scenes: how good, how many questions to a network, how many milliseconds?"""

import contextlib
import functools
import io
import re
import statistics
import sys
import time

import _report
import keras
import matplotlib.pyplot as plt
import numpy as np

from course_utils import scenes as scenes_module
from course_utils.detection import average_precisions

LESSON = _report.ROOT / "lessons" / "09_object_detection.md"
CODE_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?::tags:[^\n]*\n+)?(.*?)^```$", re.MULTILINE | re.DOTALL)
DETECTORS = {
    "sliding window over a pyramid": "by_sliding",
    "proposed regions (felzenszwalb)": "by_regions",
    "one pass over a grid": "by_grid",
}
SCENES = 300
QUICK_SCENES = {"train": 40, "validation": 8, "test": 8}  # all ten digits in each


def code_of_the_lesson() -> list[str]:
    """Return the code cells that build the detectors: the first one, what 9.4 defines, and sections 9.5 to 9.7.

    So the benchmark measures what the lesson teaches, also after the lesson has changed.
    """
    text = LESSON.read_text(encoding="utf-8")
    before, _, rest = text.partition("\n## 9.5 ")
    middle, found, _ = rest.partition("\n## 9.8 ")
    needed = CODE_CELL.findall(before)
    imports = [line for cell in needed for line in cell.splitlines() if re.match(r"(import|from) ", line)]
    windows = [cell for cell in needed if "def cut_windows(" in cell]
    if not found or len(windows) != 1:
        raise LookupError(f"{LESSON.name} has no sections 9.5 to 9.8, or no cut_windows(): look what changed.")
    return ["\n".join(imports), *windows, *CODE_CELL.findall(middle)]


def trained(quick: bool) -> tuple[dict, float]:
    """Run the cells of the lesson, and return what they define and how long the grid was trained, in seconds.

    A quick try has few scenes, and trains without graphs: tracing them takes longer than its few steps.
    """
    original, compiled = scenes_module.digit_scenes, keras.Model.compile

    def fewer_scenes(split: str, count: int, **options: object) -> scenes_module.Scenes:
        return original(split, min(count, QUICK_SCENES[split]) if quick else count, **options)

    names: dict = {}
    seconds = 0.0
    plt.switch_backend("agg")
    shown, plt.show = plt.show, lambda: plt.close("all")
    scenes_module.digit_scenes = fewer_scenes
    keras.Model.compile = functools.partialmethod(compiled, run_eagerly=quick)
    try:
        for cell in code_of_the_lesson():
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                exec(cell, names)
            if "train_network(detector" in cell:
                seconds = time.perf_counter() - start
            # What the lesson verifies holds for its own scenes; claims are not the subject here.
            names["verify"] = lambda claim, holds: None
    finally:
        plt.show, scenes_module.digit_scenes, keras.Model.compile = shown, original, compiled
    return names, seconds


def measure(quick: bool) -> _report.Result:
    """Train as the lesson does, then ask each detector about the same new scenes, one picture at a time."""
    names, training = trained(quick)
    scenes = scenes_module.digit_scenes("test", 3 if quick else SCENES, seed=1)  # others than those of the lesson
    rows = []
    for title, function in DETECTORS.items():
        detector = names[function]
        detector(scenes.images[0])  # the first call is slower
        found, questions, seconds = [], [], []
        for image in scenes.images:
            start = time.perf_counter()
            said, asked = detector(image)
            seconds.append(time.perf_counter() - start)
            found.append(said)
            questions.append(asked)
        plain = average_precisions(found, scenes.boxes, scenes.labels)
        strict = average_precisions(found, scenes.boxes, scenes.labels, threshold=0.75)
        voc = average_precisions(found, scenes.boxes, scenes.labels, interpolated=True)
        rows.append(
            {
                "detector": title,
                "mAP": float(np.mean(list(plain.values()))),
                "mAP, as VOC counts": float(np.mean(list(voc.values()))),
                "mAP at IoU 0.75": float(np.mean(list(strict.values()))),
                "AP of the 1": plain.get(1),
                "questions a picture": float(np.mean(questions)),
                "ms a picture": 1000 * statistics.median(seconds),
            }
        )
    sliding, _, grid = rows
    return _report.Result(
        title="Object detection: three detectors, the same scenes",
        question=f"{len(scenes.images)} new scenes of 96 × 96 pixels with {sum(map(len, scenes.boxes)):,} digits on "
        "brick, grass and gravel. How good are the three detectors of lesson 09, and what does a picture cost?",
        columns={
            "detector": "",
            "mAP": ".3f",
            "mAP, as VOC counts": ".3f",
            "mAP at IoU 0.75": ".3f",
            "AP of the 1": ".2f",
            "questions a picture": ",.0f",
            "ms a picture": ",.1f",
        },
        rows=rows,
        checks=[
            ("the grid reaches an mAP of at least 0.75", grid["mAP"] >= 0.75),
            ("it was trained in under 60 s", training < 60),
            ("the sliding window asks over 1,000 times as often", sliding["questions a picture"] > 1000),
            ("and takes at least three times as long", sliding["ms a picture"] >= 3 * grid["ms a picture"]),
        ],
        notes=[
            "mAP is at an IoU of 0.5 from the step curve as it is; VOC (since 2010) takes the highest precision to the "
            "right instead. Boxes of the sliding window are squares, and a square around a 1 is a bad box.",
            "A question is one window or picture that goes through a network; those of a picture go as one batch. "
            "Times are those of one picture at a time, the median over all. Training the grid, from the body of the "
            f"classifier, took {training:.0f} s.",
        ],
    )


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
