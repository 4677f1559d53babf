"""Three detectors of lesson 09 on the same scenes: how good, how many evaluations, how many milliseconds?"""

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
CODE_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?::[a-z]+:[^\n]*\n+)*(.*?)^```$", re.MULTILINE | re.DOTALL)
DETECTORS = {
    "sliding window over a pyramid": ("by_sliding", "classifiers"),
    "proposed regions (felzenszwalb)": ("by_regions", "classifiers"),
    "one pass over a grid": ("by_grid", "grids"),
}
SCENES = 300
QUICK_SCENES = {"train": 40, "validation": 24, "test": 24}  # all ten digits in each


def code_of_the_lesson() -> list[str]:
    """Return the code cells that build the detectors: the first one, the scenes of 9.5, and sections 9.7 to 9.9.

    So the benchmark measures what the lesson teaches, also after the lesson has changed.
    """
    text = LESSON.read_text(encoding="utf-8")
    before, _, rest = text.partition("\n## 9.7 ")
    middle, found, _ = rest.partition("\n## 9.10 ")
    needed = CODE_CELL.findall(before)
    imports = [line for cell in needed for line in cell.splitlines() if re.match(r"(import|from) ", line)]
    scenes = [cell for cell in needed if "def make_scenes(" in cell]
    if not found or len(scenes) != 1:
        raise LookupError(f"{LESSON.name} has no sections 9.7 to 9.10, or no make_scenes(): look what changed.")
    return ["\n".join(imports), *scenes, *CODE_CELL.findall(middle)]


def trained(quick: bool) -> tuple[dict, float]:
    """Run the cells of the lesson, and return what they define and how long the grid was trained, in seconds.

    A quick try has few scenes, and trains without graphs: tracing them takes longer than its few steps.
    """
    original, compiled = scenes_module.digit_scenes, keras.Model.compile

    def fewer_scenes(split: str, count: int, *size: int, **options: object) -> scenes_module.Scenes:
        return original(split, min(count, QUICK_SCENES[split]) if quick else count, *size, **options)

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
            if "grids = [" in cell:
                seconds = time.perf_counter() - start
            # What the lesson verifies holds for its own scenes; claims are not the subject here.
            names["verify"] = lambda *claim, **measured: None
    finally:
        plt.show, scenes_module.digit_scenes, keras.Model.compile = shown, original, compiled
    return names, seconds


def measure(quick: bool) -> _report.Result:
    """Train as the lesson does, then ask each detector about the same new scenes, one image at a time."""
    names, training = trained(quick)
    count = 3 if quick else SCENES
    scenes = scenes_module.digit_scenes("test", count, 64, seed=1, digits_per_image=(1, 3), clutter=1)  # new ones
    rows = []
    for title, (function, networks) in DETECTORS.items():
        detector = functools.partial(names[function], names[networks][0])  # those of the first seed
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
                "evaluations per image": float(np.mean(questions)),
                "ms per image": 1000 * statistics.median(seconds),
            }
        )
    sliding, _, grid = rows
    return _report.Result(
        title="Object detection: three detectors, the same scenes",
        question=f"{len(scenes.images)} new scenes of 64 × 64 pixels with {sum(map(len, scenes.boxes)):,} digits on "
        "brick, grass and gravel. How good are the three detectors of lesson 09, and what does an image cost?",
        columns={
            "detector": "",
            "mAP": ".3f",
            "mAP, as VOC counts": ".3f",
            "mAP at IoU 0.75": ".3f",
            "AP of the 1": ".2f",
            "evaluations per image": ",.0f",
            "ms per image": ",.1f",
        },
        rows=rows,
        checks=[
            ("the grid reaches an mAP of at least 0.5", grid["mAP"] >= 0.5),
            ("three grids were trained in under 60 s", training < 60),
            ("the sliding window evaluates over 200 windows", sliding["evaluations per image"] > 200),
            ("and takes longer than the grid", sliding["ms per image"] > grid["ms per image"]),
        ],
        notes=[
            "mAP is at an IoU of 0.5 from the step curve as it is; VOC (since 2010) takes the highest precision to the "
            "right instead. Boxes of the sliding window are squares, and a square around a 1 is a bad box.",
            "An evaluation is one window or image that goes through a network; those of an image go as one batch. "
            "Times are those of one image at a time, the median over all. The networks are those of the first seed. "
            f"Training three grids, from the backbones of the classifiers, took {training:.0f} s.",
        ],
    )


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
