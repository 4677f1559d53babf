"""Load a finished model in any format, with its class names, and turn its outputs into predictions.

Importing this loads no framework: each format's library is imported when it is needed, so that a program which only
runs an ONNX file starts quickly.
"""

import json
from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from course_utils._setup.storage import data_folder
from course_utils.images import did_you_mean, silent_stderr

if TYPE_CHECKING:
    import keras


class ModelError(ValueError):
    """A model that cannot be used; the message says why and what to do."""


class Notes(NamedTuple):
    """What a model file does not say of itself, stored with it."""

    class_names: list[str]  # in the order of the outputs
    min_confidence: float = 0.0  # a prediction with a lower probability counts as “I don't know”; 0: none was chosen

    def as_metadata(self) -> dict[str, str]:
        """Return the notes as an ONNX file or a JSON file stores them; raise `ModelError` if they cannot be right."""
        self.check()
        return {"class_names": json.dumps(list(self.class_names)), "min_confidence": f"{self.min_confidence:g}"}

    def check(self) -> None:
        """Raise `ModelError` if two classes share a name or the confidence is no probability."""
        if len(set(self.class_names)) < len(self.class_names):
            raise ModelError(f"Two classes share a name in {list(self.class_names)}: give each class its own.")
        if not 0 <= self.min_confidence <= 1:  # neither is NaN
            raise ModelError(f"min_confidence is {self.min_confidence:g}: it must be a probability, from 0 to 1.")


class Runner(NamedTuple):
    """A model in any format, ready to predict, as `load_model` returns it."""

    predict: Callable[[np.ndarray], np.ndarray]  # (n, H, W, channels) in 0…255 → float32 (n, outputs)
    shape: tuple[int, int, int]  # height, width and channels of the images that it takes
    notes: Notes
    keras_model: "keras.Model | None" = None  # with its layers, if it was a .keras file


class Prediction(NamedTuple):
    """What a model predicts for one image."""

    file: Path
    label: str  # the most probable class
    probability: float  # of that class, 0…1
    confident: bool | None  # whether the probability reaches the model's min_confidence; None if it has none
    probabilities: dict[str, float]  # of every class


def models_folder() -> Path:
    """Return the folder where lessons store finished models: ``models`` in the folder of the prepared data."""
    folder = data_folder() / "models"
    folder.mkdir(exist_ok=True)
    return folder


def default_model(name: str = "solar_cells.onnx") -> Path:
    """Return the file of lesson 11's model; raise `ModelError` if the lesson has not been run yet."""
    file = models_folder() / name
    if not file.is_file():
        raise ModelError(
            "There is no model yet: run the notebook 11_deployment once, which trains one and stores it "
            f"(as {name}), or choose your own with --model FILE."
        )
    return file


def load_model(path: Path | str, engine: str | None = None) -> Runner:
    """Load a ``.keras``, ``.onnx`` or ``.tflite`` file, or the folder of a SavedModel or of its versions.

    The engine ``"opencv"`` runs an ONNX file with OpenCV instead of ONNX Runtime. The notes come from the metadata of
    an ONNX file, and else from the `notes_file`. `predict` takes numbers of any type, from one thread at a time.

    Raises
    ------
    ModelError
        If there is no such file, its format is unknown, it is damaged, or its notes do not fit it.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ModelError(f"There is no model “{path}”{did_you_mean(path)}: check the path.")
    load = _load_saved_model if path.is_dir() else _LOADERS.get(path.suffix)
    if load is None:
        raise ModelError(f"“{path}” is in no known format: pass a file that ends in {', '.join(_LOADERS)}.")
    try:
        runner = _load_opencv(path) if load is _load_onnx and engine == "opencv" else load(path)
    except ModelError:
        raise
    except Exception as error:  # each library has errors of its own for a damaged file
        raise ModelError(f"“{path}” cannot be loaded as a model ({_first_line(error)}): export it again.") from error
    sides = [side for side in runner.shape if isinstance(side, Integral) and side > 0]  # open ones: None, text or −1
    if not len(sides) == len(runner.shape) == 3 or sides[2] not in (1, 3):
        advice = "export it for a fixed height and width, with 1 or 3 channels at the end"
        raise ModelError(f"“{path}” takes images of the shape {tuple(runner.shape)}: {advice}.")
    return runner


def notes_file(path: Path | str) -> Path:
    """Return where a model's notes lie: ``m.json`` beside ``m.keras``, ``m.v1.json`` beside a folder ``m.v1``."""
    path = Path(path)
    return path.with_name((path.stem if path.suffix in _LOADERS else path.name) + ".json")


def save_notes(path: Path | str, notes: Notes) -> Path:
    """Write notes beside a model file, in the file that `notes_file` names, and return it."""
    file = notes_file(path)
    file.write_text(json.dumps(notes.as_metadata(), indent=1) + "\n", encoding="utf-8", newline="\n")
    return file


def read_notes(path: Path | str, outputs: int, metadata: Mapping[str, str] | None = None) -> Notes:
    """Return the notes of a model; without any, the classes are called “class 0”, “class 1” and so on.

    They come from `metadata`, if given, and else from the `notes_file`. A model with one output per image has two
    classes: it is the probability of the second. Raises `ModelError` if the notes are damaged or do not fit.
    """
    classes, beside = max(2, outputs), notes_file(path)
    try:
        if metadata is None:
            metadata = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
        metadata = dict(metadata)
        names = json.loads(metadata.get("class_names", "[]")) or [f"class {number}" for number in range(classes)]
        if not isinstance(names, list):
            raise TypeError("class_names is no list")
        notes = Notes([str(name) for name in names], float(metadata.get("min_confidence", 0)))
        notes.check()
    except (ValueError, TypeError) as error:
        raise ModelError(f"The notes of “{path}” are damaged ({_first_line(error)}): write them again.") from error
    if len(notes.class_names) != classes:
        names = f"{len(notes.class_names)} names are stored with it"
        raise ModelError(f"“{path}” has {classes} classes, but {names}: write its notes again.")
    return notes


def as_two_columns(outputs: np.ndarray) -> np.ndarray:
    """Return probabilities (n, classes) with the sum 1 from outputs (n, outputs); a single output p becomes (1 − p, p).

    Raises `ModelError` if these are no probabilities (logits, for example).
    """
    outputs = np.asarray(outputs, np.float64)
    if outputs.shape[1] == 1:
        outputs = np.concatenate([1 - outputs, outputs], axis=1)
    sums = outputs.sum(axis=1, keepdims=True)
    if not (np.all(outputs >= -0.01) and np.all(np.abs(sums - 1) < 0.05)):  # the steps of 8-bit files leave room
        raise ModelError("The model returns no probabilities: let it end in a sigmoid or a softmax.")
    return outputs.clip(0) / outputs.clip(0).sum(axis=1, keepdims=True)


def to_prediction(file: Path, probabilities: np.ndarray, notes: Notes) -> Prediction:
    """Return the prediction for one image from its row of probabilities, one per class."""
    best = int(np.argmax(probabilities))
    top = float(probabilities[best])
    each = {name: float(value) for name, value in zip(notes.class_names, probabilities, strict=True)}
    confident = top >= notes.min_confidence if notes.min_confidence else None
    return Prediction(file, notes.class_names[best], top, confident, each)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")[:200]


def _load_keras(path: Path) -> Runner:
    import keras

    model = keras.saving.load_model(path, compile=False)

    def predict(batch: np.ndarray) -> np.ndarray:
        return np.asarray(model(np.asarray(batch, np.float32), training=False))

    return Runner(predict, tuple(model.input_shape[1:]), read_notes(path, model.output_shape[-1]), model)


def _load_saved_model(path: Path) -> Runner:
    import tensorflow as tf

    versions = [int(inner.name) for inner in path.iterdir() if inner.name.isdigit()]
    inner = path / str(max(versions)) if versions else path
    if not (inner / "saved_model.pb").is_file():
        raise ModelError(f"The folder “{path}” holds no SavedModel: pass the one with the file saved_model.pb.")
    loaded = tf.saved_model.load(str(inner))
    signature = loaded.signatures["serving_default"]
    ((name, entry),) = signature.structured_input_signature[1].items()
    ((_, exit_),) = signature.structured_outputs.items()

    def predict(batch: np.ndarray, _kept_alive: object = loaded) -> np.ndarray:  # the signature alone need not
        (result,) = signature(**{name: tf.constant(np.asarray(batch), entry.dtype)}).values()
        return result.numpy()

    return Runner(predict, tuple(entry.shape[1:]), read_notes(path, exit_.shape[-1]))


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()

    def predict(batch: np.ndarray) -> np.ndarray:
        return session.run(None, {entry.name: np.asarray(batch, np.float32)})[0]

    metadata = session.get_modelmeta().custom_metadata_map
    return Runner(predict, tuple(entry.shape[1:]), read_notes(path, session.get_outputs()[0].shape[-1], metadata))


def _load_opencv(path: Path) -> Runner:
    import cv2

    network = cv2.dnn.readNetFromONNX(str(path))

    def predict(batch: np.ndarray) -> np.ndarray:
        network.setInput(np.ascontiguousarray(batch, np.float32))
        return network.forward().copy()

    return _load_onnx(path)._replace(predict=predict)  # which knows the shape and the notes


def _load_litert(path: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    with silent_stderr():
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(batch: np.ndarray) -> np.ndarray:
        rows = []
        for image in np.asarray(batch, np.float32):
            interpreter.set_tensor(entry["index"], _quantised(image[None], entry))
            interpreter.invoke()
            rows.append(_as_float(interpreter.get_tensor(exit_["index"]), exit_))
        return np.concatenate(rows)

    return Runner(predict, tuple(int(n) for n in entry["shape"][1:]), read_notes(path, int(exit_["shape"][-1])))


_LOADERS = {".keras": _load_keras, ".onnx": _load_onnx, ".tflite": _load_litert}


def _quantised(values: np.ndarray, details: dict) -> np.ndarray:
    """Return numbers as the integers that stand for them in a LiteRT file, or as they are in a float file."""
    kind = details["dtype"]
    if np.issubdtype(kind, np.integer):
        scale, zero = details["quantization"]
        values = np.rint(values / scale + zero).clip(np.iinfo(kind).min, np.iinfo(kind).max)
    return values.astype(kind)


def _as_float(values: np.ndarray, details: dict) -> np.ndarray:
    """Return the numbers that the integers of a LiteRT file stand for."""
    values = values.astype(np.float32)
    if not np.issubdtype(details["dtype"], np.integer):
        return values
    scale, zero = details["quantization"]
    return ((values - zero) * scale).astype(np.float32)
