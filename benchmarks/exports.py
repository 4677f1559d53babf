"""How fast, how large and how equal are the formats of lesson 11? One model, single images and batches."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import _report
import keras
import numpy as np
from keras import layers

from course_utils import export
from course_utils.datasets import read_solar_cells
from course_utils.embeddings import extract_features
from course_utils.models import Notes, load_model
from course_utils.weights import imagenet_weights

SINGLE, BATCHES = 40, 5
DEPTHS = ("block_6_expand_relu", "block_10_expand_relu", "block_13_expand_relu")
QUICK_DEPTHS = ("block_1_expand_relu", "block_2_expand_relu")  # the shorter the network, the quicker its conversions
# Run in a program of its own: what was imported before would make a start look quick.
FIRST_ANSWER = (
    "import sys, time; start = time.perf_counter(); import numpy as np; from course_utils import models; "
    "runner = models.load_model(sys.argv[1], sys.argv[2] or None); runner.predict(np.zeros((1, *runner.shape))); "
    "print(time.perf_counter() - start)"
)


def network(depths: Sequence[str]) -> tuple[keras.Model, keras.layers.Layer]:
    """Return the network of lesson 11 without its class “no solar cell”, and its head, which is untrained."""
    weights = imagenet_weights("mobilenet_v2")
    base = keras.applications.MobileNetV2(weights=weights, include_top=False, input_shape=(150, 150, 3))
    trunk = keras.Model(base.input, [base.get_layer(name).output for name in depths])
    picture = keras.Input((300, 300, 1), name="picture")
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(layers.AveragePooling2D(2)(picture))
    maps = trunk(layers.Concatenate()([scaled, scaled, scaled]), training=False)
    numbers = layers.Concatenate(name="numbers")([layers.GlobalAveragePooling2D()(one) for one in maps])
    head = layers.Dense(1, activation="sigmoid")
    return keras.Model(picture, head(numbers)), head


def train_head(model: keras.Model, head: keras.layers.Layer, images: np.ndarray, labels: np.ndarray) -> None:
    """Fit the head as lesson 11 does: logistic regression on features that are divided by 0.05 at least."""
    from sklearn.linear_model import LogisticRegression

    body = keras.Model(model.input, model.get_layer("numbers").output)
    numbers = extract_features(body, images, lambda batch: batch)
    mean, spread = numbers.mean(axis=0), np.maximum(numbers.std(axis=0), 0.05)
    regression = LogisticRegression(C=0.003, max_iter=2000).fit((numbers - mean) / spread, labels)
    kernel = regression.coef_[0] / spread
    head.set_weights([kernel[:, None], regression.intercept_ - mean @ kernel])


def megabytes(path: Path) -> float:
    """Return the size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def seconds_to_first_answer(path: Path, engine: str, runs: int) -> float:
    """Return the median time of a fresh program from its first import to its first answer."""
    command = [sys.executable, "-c", FIRST_ANSWER, str(path), engine]
    ended = [subprocess.run(command, cwd=_report.ROOT, capture_output=True, text=True, check=True) for _ in range(runs)]
    return statistics.median(float(run.stdout) for run in ended)


def timed_one_by_one(answer: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray) -> float:
    """Return the median seconds for a picture that comes alone."""
    answer(pictures[:1])
    durations = []
    for number in range(len(pictures)):
        start = time.perf_counter()
        answer(pictures[number : number + 1])
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def measure(quick: bool) -> _report.Result:
    """Export, compare all formats on the test set, then time them."""
    train, test = (read_solar_cells(part, size=300) for part in ("train", "test"))
    model, head = network(QUICK_DEPTHS if quick else DEPTHS)
    train_head(model, head, train.images, train.labels)
    with tempfile.TemporaryDirectory() as scratch:
        return compared(model, Path(scratch), train.images[..., None], test, quick)


def compared(model: keras.Model, folder: Path, examples: np.ndarray, test, quick: bool) -> _report.Result:
    """Write all formats into a folder and measure each."""
    model.save(folder / "m.keras")
    version = export.export_saved_model(model, folder / "m")
    export.export_onnx(model, folder / "m.onnx", Notes(["functional", "defective"]))
    export.export_litert(version, folder / "float.tflite")
    export.export_litert(version, folder / "bytes.tflite", examples[:: max(1, len(examples) // 40)])
    ways = {
        "Keras: model.predict": ("m.keras", "", lambda batch: model.predict(batch, verbose=0)),
        "Keras: model(x)": ("m.keras", "", None),
        "SavedModel in TensorFlow": ("m", "", None),
        "ONNX in OpenCV": ("m.onnx", "opencv", None),
        "ONNX Runtime": ("m.onnx", "", None),
        "LiteRT": ("float.tflite", "", None),
        "LiteRT, eight bits": ("bytes.tflite", "", None),
    }
    pictures = test.images[..., None].astype("float32")
    few = pictures[: 4 if quick else SINGLE]
    expected = model.predict(pictures, verbose=0)[:, 0]
    rows, ms, agree = [], {}, {}
    for name, (file, engine, answer) in ways.items():
        answer = answer or load_model(folder / file, engine or None).predict
        answers = np.concatenate([answer(pictures[start : start + 16])[:, 0] for start in range(0, len(pictures), 16)])
        difference = float(np.abs(answers - expected).max())
        if "eight" not in name and difference > 1e-4:
            raise AssertionError(f"“{name}” gives other probabilities than Keras: up to {difference:.4f} apart.")
        agree[name] = float(np.mean((answers >= 0.5) == (expected >= 0.5)))
        ms[name] = 1000 * timed_one_by_one(answer, few)
        batch = few[:16]
        seconds = _report.median_seconds(lambda answer=answer, batch=batch: answer(batch), 1 if quick else BATCHES)
        rows.append(
            {
                "way": name,
                "ms, one image": ms[name],
                "images per second, 16 at once": len(batch) / seconds,
                "first answer after (s)": seconds_to_first_answer(folder / file, engine, 1 if quick else 3)
                if not (quick and file != "m.onnx")
                else None,
                "MB": megabytes(folder / file),
                "largest difference": difference,
                "same answers (%)": 100 * agree[name],
            }
        )
    return _report.Result(
        title="Exports: one model in six programs",
        question="The model of lesson 11 without its class “no solar cell” (MobileNetV2 to block 13 at 150 px, "
        f"preprocessing inside) answers {len(pictures)} test cells. What does each format cost, and does it give "
        "the same answers?",
        columns={
            "way": "",
            "ms, one image": ",.1f",
            "images per second, 16 at once": ",.0f",
            "first answer after (s)": ".2f",
            "MB": ".1f",
            "largest difference": ".0e",
            "same answers (%)": ".1f",
        },
        rows=rows,
        checks=[
            ("all float formats give the probabilities of Keras, to 0.0001", True),
            (
                "one of them is at least 5 times as fast as `predict` on single images",
                ms["Keras: model.predict"] >= 5 * min(ms.values()),
            ),
            ("eight bits give the same answer for at least 90 % of the cells", agree["LiteRT, eight bits"] >= 0.9),
        ],
        notes=[
            "“First answer” counts from the start of a fresh Python program, imports included, but not Python's own "
            "start. LiteRT answers its images one after the other, also when 16 come at once. Agreement is that of "
            "probabilities (largest difference) and of answers at a threshold of 50 %."
        ],
    )


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
