"""How many images per second does the pipeline of lesson 02 deliver? And a plain loop, and decoding alone?"""

import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import _report
import keras
import numpy as np
import tensorflow as tf

from course_utils import datasets

LESSON = _report.ROOT / "lessons" / "02_preprocessing.md"
CODE_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BATCH = 32  # as in the lesson


def code_of_the_lesson(cells: Path) -> dict[str, Callable]:
    """Run the cells of section 2.11 that define `decode`, `augment` and `pipeline`, and return what they define.

    So the benchmark times what the lesson teaches, also after the lesson has changed. `cells` is the folder of photos.
    """
    sources = CODE_CELL.findall(LESSON.read_text(encoding="utf-8"))
    names = {"keras": keras, "np": np, "tf": tf, "cells": cells}
    for function in ("decode", "pipeline"):
        found = [source for source in sources if re.search(rf"^def {function}\(", source, re.MULTILINE)]
        if len(found) != 1:
            raise LookupError(
                f"{LESSON.name} defines {function}() in {len(found)} cells, not in one: look what changed."
            )
        exec(found[0], names)
    return names


def seconds_for(batches: Iterable, count: int) -> float:
    """Go through batches once and return the time; they must hold `count` pictures in all."""
    start = time.perf_counter()
    seen = sum(len(images) for images, _ in batches)
    seconds = time.perf_counter() - start
    if seen != count:
        raise AssertionError(f"{seen} pictures came, not {count}.")
    return seconds


def measure(quick: bool) -> _report.Result:
    """Check that loop and pipeline give the same images, then time one epoch of the training set in each way."""
    return timed(datasets.solar_cells(), runs=1 if quick else 3)


def timed(cells: Path, runs: int) -> _report.Result:
    """Measure everything on the photos of a folder, each way so many times."""
    lesson = code_of_the_lesson(cells)
    decode, augment, pipeline = lesson["decode"], lesson["augment"], lesson["pipeline"]
    files = [str(file) for file in sorted((cells / "train").glob("*/*.png"))]
    labels = [int(Path(file).parent.name == "defective") for file in files]
    pairs = list(zip(files, labels, strict=True))
    listed = tf.data.Dataset.from_tensor_slices((files, labels))

    def plain_loop(change: bool) -> Iterator:
        mixed = np.random.default_rng(1).permutation(len(pairs))
        for start in range(0, len(pairs), BATCH):
            decoded = [decode(*pairs[number]) for number in mixed[start : start + BATCH]]
            images = tf.stack([image for image, _ in decoded])
            yield (augment(images, training=True) if change else images), tf.stack([label for _, label in decoded])

    def decoding(parallel: int | None) -> tf.data.Dataset:
        options = tf.data.Options()
        options.experimental_optimization.map_parallelization = False  # or tf.data makes a plain map parallel by itself
        return listed.map(decode, num_parallel_calls=parallel).batch(BATCH).with_options(options)

    compare_with_loop(pipeline("validation", training=False), decode, cells / "validation")
    ready = {training: pipeline("train", training=training) for training in (True, False)}
    streams = {
        "plain Python loop: decode, batch, augment": lambda: plain_loop(change=True),
        "the lesson's pipeline, first epoch": lambda: pipeline("train", training=True),
        "the lesson's pipeline, later epochs": lambda: ready[True],
        "decoding alone, plain Python loop": lambda: plain_loop(change=False),
        "decoding alone, tf.data, one at a time": lambda: decoding(None),
        "decoding alone, tf.data in parallel: the limit of a first epoch": lambda: decoding(tf.data.AUTOTUNE),
        "from the cache, not augmented: the limit of later epochs": lambda: ready[False],
    }
    speeds = {}
    for name, stream in streams.items():
        # The first run is not counted: it fills the cache, and it brings the files into the system's memory.
        seconds = [seconds_for(stream(), len(files)) for _ in range(runs + 1)]
        speeds[name] = len(files) / statistics.median(seconds[1:])
    loop, first, later, _, _, limit, _ = speeds.values()
    return _report.Result(
        title="Pipeline: images per second",
        question=f"{len(files):,} training photos of solar cells (PNG, 300 × 300) become augmented batches of {BATCH} "
        "at 160 × 160. What does the `tf.data` pipeline of lesson 02, section 2.11, gain over a plain loop, and what "
        "would decoding alone allow?",
        columns={"way": "", "images per second": ",.0f", "times the plain loop": ".1f"},
        rows=[
            {"way": name, "images per second": speed, "times the plain loop": speed / loop}
            for name, speed in speeds.items()
        ],
        checks=[
            ("pipeline and plain loop decode the same images, number by number", True),
            ("the lesson's pipeline is faster than the plain loop in the first epoch", first > loop),
            ("in later epochs it is at least twice as fast as in the first", later > 2 * first),
            ("in later epochs it is faster than decoding could ever be, because it does not decode", later > limit),
        ],
        notes=[
            "“Decoding” is to read the file, decode it and shrink it to 160 pixels. The files were in the system's "
            "memory already: from a slow disk the first epoch takes longer, the later ones do not."
        ],
    )


def compare_with_loop(batches: tf.data.Dataset, decode: Callable, folder: Path) -> None:
    """Raise if the pipeline's pictures or labels are not those that `decode` gives file by file."""
    files = sorted(folder.glob("*/*.png"))
    images, labels = (np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator(), strict=True))
    expected = np.stack([decode(str(file), 0)[0] for file in files])
    if not np.array_equal(images, expected) or labels.tolist() != [f.parent.name == "defective" for f in files]:
        raise AssertionError("The pipeline gives other pictures or labels than a plain loop over the files.")


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
