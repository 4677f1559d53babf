"""Take a trained network to where it is used: write it in other formats, run each of them, keep it for later.

Lesson 11 does each step by hand first; this module repeats it. Importing it loads no framework: what a format needs is
imported when it is used, so that a program which only runs an ONNX file starts quickly.
"""

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from filelock import FileLock

from course_utils._setup.storage import data_folder
from course_utils.images import did_you_mean, silent_stderr

if TYPE_CHECKING:
    import keras


class ExportError(ValueError):
    """A model file that cannot be used; the message says why and what to do."""


class Notes(NamedTuple):
    """What a model file does not say of itself, kept with it."""

    class_names: list[str]  # in the order of the outputs
    sure_from: float = 0.0  # an answer with a lower probability counts as “I don't know”


class Runner(NamedTuple):
    """A model in any format, ready to answer, as `load` returns it."""

    answer: Callable[[np.ndarray], np.ndarray]  # (n, H, W, channels) in 0…255 → float32 (n, outputs)
    shape: tuple[int, int, int]  # height, width and channels of the pictures that it takes
    notes: Notes  # “class 0”, “class 1” … and always sure, if nothing is kept with the file


def models_folder() -> Path:
    """Return the folder where lessons keep finished models: ``models`` in the folder of the prepared data."""
    folder = data_folder() / "models"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def conversion(what: str) -> Iterator[None]:
    """Keep a converter's talk off the page while a block runs, and show in one line what is being made.

    Converters report each of their steps, on three ways: as warnings, through a logger, and from compiled code straight
    to the error stream. What goes wrong is raised all the same.

    Parameters
    ----------
    what : str
        Such as the name of the file; stays on the page when the block ends.
    """
    from course_utils.live import LiveLine  # IPython takes half a second, which the command line need not wait for

    line = LiveLine(what)
    line.update("being converted …")
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in ("tf2onnx", "tensorflow", "absl")}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), silent_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, before in loggers.items():
            logger.setLevel(before)
        line.rest()


def for_use(model: "keras.Model") -> "keras.Model":
    """Return the model as it is to be exported: in inference mode whatever layers it has.

    Parameters
    ----------
    model : keras.Model
        With one input. Name its input layer: exported files call their input by this name.

    Returns
    -------
    keras.Model
        It shares its weights with `model`.

    Notes
    -----
    Lesson 11, section 11.3: a Random* layer inside of a model makes an exported file answer differently each time,
    because Keras exports a plain call, and that leaves such a layer in training mode.
    """
    import keras

    entry = keras.Input(model.input_shape[1:], name=model.inputs[0].name, dtype=model.inputs[0].dtype)
    wrapped = keras.Model(entry, model(entry, training=False))
    # Keras refuses to export a model that was never called.
    wrapped(np.zeros((1, *model.input_shape[1:]), model.inputs[0].dtype), training=False)
    return wrapped


def export_saved_model(model: "keras.Model", folder: Path) -> Path:
    """Write a model as a SavedModel in the layout that TensorFlow Serving expects.

    Parameters
    ----------
    model : keras.Model
        See `for_use`, which is applied.
    folder : Path
        The folder named after the model; it will hold a sub-folder ``1``, the version.

    Returns
    -------
    Path
        The sub-folder with the SavedModel.

    Notes
    -----
    Lesson 11, section 11.3.
    """
    version = Path(folder) / "1"
    with conversion(f"{version.parent.name}/{version.name}"):
        for_use(model).export(version, verbose=False)
    return version


def export_onnx(model: "keras.Model", file: Path, notes: Notes) -> Path:
    """Write a model as an ONNX file that carries its class names.

    Parameters
    ----------
    model : keras.Model
        See `for_use`, which is applied.
    file : Path
        Ends in ``.onnx``.
    notes : Notes
        Go into the metadata of the file, where `load_notes` finds them.

    Returns
    -------
    Path
        The file.

    Notes
    -----
    Lesson 11, section 11.3.
    """
    import onnx

    with conversion(Path(file).name):
        for_use(model).export(file, format="onnx", verbose=False)
    graph = onnx.load(file)
    onnx.helper.set_model_props(graph, _as_text(notes))
    onnx.save(graph, file)
    return Path(file)


def export_litert(saved_model: Path, file: Path, examples: np.ndarray | None = None) -> Path:
    """Write a SavedModel as a LiteRT file, in float or, given examples, with 8-bit integers throughout.

    Parameters
    ----------
    saved_model : Path
        As `export_saved_model` returns it.
    file : Path
        Ends in ``.tflite``.
    examples : ndarray, optional
        (n, H, W, channels) in 0…255, pictures as the model will meet them, from the training part. They show the
        converter which numbers occur between the layers. The file then takes uint8 and gives uint8.

    Returns
    -------
    Path
        The file.

    Notes
    -----
    Lesson 11, sections 11.3 and 11.5.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([picture[None].astype(np.float32)] for picture in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    with conversion(Path(file).name):
        content = converter.convert()
    Path(file).write_bytes(content)
    return Path(file)


def load(path: Path | str, engine: str | None = None) -> Runner:
    """Load a model in any of the formats of lesson 11, ready to answer.

    Parameters
    ----------
    path : Path or str
        A ``.keras``, ``.onnx`` or ``.tflite`` file, or the folder of a SavedModel, or of its versions.
    engine : str, optional
        ``"opencv"`` runs an ONNX file with OpenCV instead of ONNX Runtime.

    Returns
    -------
    Runner
        `answer` takes (n, H, W, channels) in 0…255, of any type of number, and returns float32 (n, outputs). It is
        not meant to be called by two threads at once. The notes come from the metadata of an ONNX file, and else from
        the ``.json`` file of the same name beside the model.

    Raises
    ------
    ExportError
        If there is no such file, it is in no format known here or damaged, or its notes name another number of classes
        than it has.

    Notes
    -----
    Lesson 11, section 11.4.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ExportError(f"There is no model “{path}”{did_you_mean(path)}: check the path.")
    loaders = {".keras": _load_keras, ".onnx": _load_onnx, ".tflite": _load_litert, "folder": _load_saved_model}
    kind = "folder" if path.is_dir() else path.suffix
    if kind not in loaders:
        known = ", ".join(list(loaders)[:-1])
        raise ExportError(f"“{path}” is in no format that is known here: pass a file that ends in {known}.")
    loader = _load_opencv if kind == ".onnx" and engine == "opencv" else loaders[kind]
    try:
        runner = loader(path)
    except ExportError:
        raise
    except Exception as error:  # each library has errors of its own for a damaged file
        raise ExportError(f"“{path}” cannot be loaded as a model ({_first_line(error)}): export it again.") from error
    sides = [isinstance(side, Integral) and side > 0 for side in runner.shape]
    if len(sides) != 3 or not all(sides) or runner.shape[2] not in (1, 3):
        raise ExportError(
            f"“{path}” takes pictures of the shape {tuple(runner.shape)}: export it for a fixed height and width, with "
            "1 or 3 channels at the end."
        )
    return runner


def save_notes(path: Path, notes: Notes) -> Path:
    """Write notes beside a model file, under the same name with the ending ``.json``; return that file."""
    file = Path(path).with_suffix(".json")
    file.write_text(json.dumps(_as_text(notes), indent=1) + "\n", encoding="utf-8", newline="\n")
    return file


def read_notes(path: Path | str, outputs: int, kept: dict[str, str] | None = None) -> Notes:
    """Return what is known of a model's answers.

    Parameters
    ----------
    path : Path or str
        The model file; the ``.json`` file of the same name beside it is read.
    outputs : int
        How many numbers the model gives a picture. One number is the probability of the second of two classes.
    kept : dict, optional
        What the model file itself says, in place of the file beside it.

    Returns
    -------
    Notes
        If nothing is known, the classes are called “class 0”, “class 1” and so on, and every answer is sure.

    Raises
    ------
    ExportError
        If the notes cannot be read, or name another number of classes than the model has.
    """
    beside = Path(path).with_suffix(".json")
    try:
        if kept is None:
            kept = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
        kept = dict(kept)
        names = [str(name) for name in json.loads(kept["class_names"])] if "class_names" in kept else None
        notes = Notes(names, float(kept.get("sure_from", 0))) if names else None
    except (ValueError, TypeError) as error:
        raise ExportError(f"The notes of “{path}” are damaged ({_first_line(error)}): write them again.") from error
    classes = max(2, outputs)
    if notes is None:
        return Notes([f"class {number}" for number in range(classes)])
    if len(notes.class_names) != classes:
        raise ExportError(
            f"“{path}” answers for {classes} classes, but {len(notes.class_names)} names are kept with it: write them "
            "again."
        )
    return notes


def publish(results: Sequence[Path], folder: Path | None = None) -> list[Path]:
    """Copy finished files and folders to where they are used, each whole or not at all, over what was there before.

    Parameters
    ----------
    results : sequence of Path
        Such as a model and its notes, or the folder of a SavedModel.
    folder : Path, optional
        By default `models_folder`.

    Returns
    -------
    list of Path
        The new files and folders.

    Notes
    -----
    Lesson 11, section 11.9.
    """
    folder = models_folder() if folder is None else Path(folder)
    published = []
    with FileLock(folder / ".publish.lock"), tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as scratch:
        for result in map(Path, results):
            copy, target = Path(scratch) / result.name, folder / result.name
            if result.is_dir():
                shutil.copytree(result, copy)
                if target.exists():  # a folder cannot be replaced in one step as a file can
                    target.rename(Path(scratch) / f"{result.name}.old")
            else:
                shutil.copy(result, copy)
            published.append(copy.replace(target))
    return published


def both_classes(answers: np.ndarray) -> np.ndarray:
    """Return probabilities with a column a class: a single output p becomes (1 − p, p).

    Parameters
    ----------
    answers : ndarray
        (n, outputs), as `Runner.answer` gives them.

    Returns
    -------
    ndarray
        float64 (n, max(2, outputs)), each row with the sum 1.

    Raises
    ------
    ExportError
        If these are no probabilities (logits, for example).
    """
    answers = np.asarray(answers, np.float64)
    if answers.shape[1] == 1:
        answers = np.concatenate([1 - answers, answers], axis=1)
    sums = answers.sum(axis=1, keepdims=True)
    if not (np.all(answers >= -0.01) and np.all(np.abs(sums - 1) < 0.05)):  # the steps of 8-bit files leave room
        raise ExportError("The model gives no probabilities: let it end in a sigmoid or a softmax.")
    return answers.clip(0) / answers.clip(0).sum(axis=1, keepdims=True)


def _as_text(notes: Notes) -> dict[str, str]:
    return {"class_names": json.dumps(list(notes.class_names)), "sure_from": f"{notes.sure_from:g}"}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")[:200]


def _load_keras(path: Path) -> Runner:
    import keras

    model = keras.saving.load_model(path, compile=False)

    def answer(batch: np.ndarray) -> np.ndarray:
        return np.asarray(model(np.asarray(batch, np.float32), training=False))

    return Runner(answer, tuple(model.input_shape[1:]), read_notes(path, model.output_shape[-1]))


def _load_saved_model(path: Path) -> Runner:
    import tensorflow as tf

    versions = sorted((p for p in path.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    inner = path if (path / "saved_model.pb").is_file() or not versions else versions[-1]
    if not (inner / "saved_model.pb").is_file():
        raise ExportError(f"The folder “{path}” holds no SavedModel: pass the one with the file saved_model.pb.")
    loaded = tf.saved_model.load(str(inner))
    signature = loaded.signatures["serving_default"]
    ((name, entry),) = signature.structured_input_signature[1].items()
    ((_, exit_),) = signature.structured_outputs.items()

    def answer(batch: np.ndarray, _kept_alive: object = loaded) -> np.ndarray:  # the signature alone need not
        (result,) = signature(**{name: tf.constant(np.asarray(batch), entry.dtype)}).values()
        return result.numpy()

    return Runner(answer, tuple(entry.shape[1:]), read_notes(path, exit_.shape[-1]))


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()

    def answer(batch: np.ndarray) -> np.ndarray:
        return session.run(None, {entry.name: np.asarray(batch, np.float32)})[0]

    kept = session.get_modelmeta().custom_metadata_map
    return Runner(answer, tuple(entry.shape[1:]), read_notes(path, session.get_outputs()[0].shape[-1], kept))


def _load_opencv(path: Path) -> Runner:
    import cv2
    import onnx

    model = onnx.load(path)
    shape, exit_shape = (
        [int(n.dim_value) for n in entry.type.tensor_type.shape.dim[1:]]
        for entry in (model.graph.input[0], model.graph.output[0])
    )
    kept = {item.key: item.value for item in model.metadata_props}
    network = cv2.dnn.readNetFromONNX(str(path))

    def answer(batch: np.ndarray) -> np.ndarray:
        network.setInput(np.ascontiguousarray(batch, np.float32))
        return network.forward().copy()

    return Runner(answer, tuple(shape), read_notes(path, exit_shape[-1], kept))


def _load_litert(path: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    with silent_stderr():
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(batch: np.ndarray) -> np.ndarray:
        rows = []
        for picture in np.asarray(batch, np.float32):
            interpreter.set_tensor(entry["index"], _quantised(picture[None], entry))
            interpreter.invoke()
            rows.append(_as_float(interpreter.get_tensor(exit_["index"]), exit_))
        return np.concatenate(rows)

    return Runner(answer, tuple(int(n) for n in entry["shape"][1:]), read_notes(path, int(exit_["shape"][-1])))


def _quantised(values: np.ndarray, details: dict) -> np.ndarray:
    """Return numbers as the integers that stand for them in a LiteRT file, or as they are in a float file."""
    kind = details["dtype"]
    if not np.issubdtype(kind, np.integer):
        return values.astype(kind)
    scale, zero = details["quantization"]
    info = np.iinfo(kind)
    return np.rint(values / scale + zero).clip(info.min, info.max).astype(kind)


def _as_float(values: np.ndarray, details: dict) -> np.ndarray:
    """Return the numbers that the integers of a LiteRT file stand for."""
    if not np.issubdtype(details["dtype"], np.integer):
        return values.astype(np.float32)
    scale, zero = details["quantization"]
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32)
