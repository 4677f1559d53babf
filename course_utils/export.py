"""Write a trained network in other formats, and publish it: `course_utils.models` loads what this module writes."""

import gc
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from course_utils.images import silent_stderr
from course_utils.live import LiveLine
from course_utils.models import Notes, models_folder

if TYPE_CHECKING:
    import keras


@contextmanager
def quiet_conversion(name: str) -> Iterator[None]:
    """Silence a converter's warnings, loggers and compiled code while a block runs, and show its `name` in one line."""
    line = LiveLine(name)
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


def inference_model(model: "keras.Model") -> "keras.Model":
    """Return the model in inference mode, whatever layers it has (one input, shared weights), ready to be exported.

    Keras exports a plain call, which leaves a Random* layer in training mode: its predictions would vary.
    """
    import keras

    entry = keras.Input(model.input_shape[1:], name=model.inputs[0].name, dtype=model.inputs[0].dtype)
    wrapped = keras.Model(entry, model(entry, training=False))
    # Keras refuses to export a model that was never called.
    wrapped(np.zeros((1, *model.input_shape[1:]), model.inputs[0].dtype), training=False)
    return wrapped


def export_saved_model(model: "keras.Model", folder: Path) -> Path:
    """Write a model as TensorFlow Serving expects it, one sub-folder per version, and return ``folder/1``."""
    version = Path(folder) / "1"
    with quiet_conversion(f"{version.parent.name}/1"):
        inference_model(model).export(version, verbose=False)
    return version


def export_onnx(model: "keras.Model", file: Path, notes: Notes) -> Path:
    """Write a model as an ONNX file with its notes in the metadata, and return the file, which ends in ``.onnx``."""
    import onnx

    metadata = notes.as_metadata()  # notes that cannot be right are refused before anything is written
    with quiet_conversion(Path(file).name):
        inference_model(model).export(file, format="onnx", verbose=False)
    graph = onnx.load(file)
    onnx.helper.set_model_props(graph, metadata)
    onnx.save(graph, file)
    gc.collect()  # tf2onnx leaves half a gigabyte in circles
    return Path(file)


def export_litert(saved_model: Path, file: Path, representative_images: np.ndarray | None = None) -> Path:
    """Write a SavedModel as a ``.tflite`` file, with floats or, given images, with 8-bit integers, and return it.

    `representative_images`, (n, H, W, channels) in 0…255 from the training set, show the converter which numbers occur
    between the layers. The file then takes uint8 and returns uint8.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if representative_images is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None].astype(np.float32)] for image in representative_images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    with quiet_conversion(Path(file).name):
        content = converter.convert()
    Path(file).write_bytes(content)
    return Path(file)


def publish(results: Sequence[Path], folder: Path | None = None) -> list[Path]:
    """Copy finished files and folders to where they are used, and return the copies.

    Each is there whole or not at all, and replaces what was there before. By default they go to `models_folder`.
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
