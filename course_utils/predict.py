"""Classify images with a finished model: ``python -m course_utils.predict IMAGE_OR_FOLDER``.

With an ONNX file it starts in well under a second, because no framework is loaded.
"""

import argparse
import csv
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

import course_utils  # noqa: F401  (before TensorFlow, which a .keras file needs)
from course_utils.folders import find_images
from course_utils.images import ImageError, read_image, resize_to_cover
from course_utils.live import LiveLine
from course_utils.models import ModelError, Prediction, Runner, as_two_columns, default_model, load_model, to_prediction

BATCH = 16  # images in memory at a time


def predict_files(files: Iterable[Path], model: Runner, on_error: Callable[[Path, str], None]) -> Iterator[Prediction]:
    """Yield a prediction per file, in their order, with one batch of images in memory at a time.

    `on_error` is called with each file that cannot be read and a sentence that says why; the others are predicted.
    """

    def readable() -> Iterator[tuple[Path, np.ndarray]]:
        for file in files:
            try:
                yield file, resize_to_cover(read_image(file), model.shape)
            except ImageError as error:
                on_error(file, str(error))

    waiting = readable()
    while batch := list(itertools.islice(waiting, BATCH)):
        probabilities = as_two_columns(model.predict(np.stack([image for _, image in batch])))
        for (file, _), row in zip(batch, probabilities, strict=True):
            yield to_prediction(file, row, model.notes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 if a file could not be read, 2 if there is no model."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.predict", description="Classify images with a finished model."
    )
    parser.add_argument("paths", nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument(
        "--model", metavar="FILE", help=".onnx, .tflite or .keras file, or a SavedModel; by default lesson 11's"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON list with the probabilities of all classes")
    form.add_argument("--csv", action="store_true", help="a table with one column per class")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a file name may hold letters that the terminal cannot write
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _predict_all(options, load_model(options.model or default_model()))
    except ModelError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (such as `head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that closing the stream does not fail too
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _predict_all(options: argparse.Namespace, model: Runner) -> int:
    """Write a prediction per image to stdout and a line per problem to stderr."""
    files, problems = find_images(options.paths)
    for sentence in problems:
        print(_printable(sentence), file=sys.stderr)
    write = _as_json if options.json else _as_csv if options.csv else _as_lines
    line, lines_show_progress = LiveLine("images", notebook=False), sys.stdout.isatty()
    with line:

        def report(file: Path, sentence: str) -> None:
            problems.append(sentence)
            line.rest()
            print(_printable(sentence), file=sys.stderr)

        def counted() -> Iterator[Prediction]:
            for number, prediction in enumerate(predict_files(files, model, report), 1):
                yield prediction
                if not lines_show_progress:  # where each image prints its line, that is progress enough
                    line.update(f"{number:,} of {len(files):,}")

        predictions = counted()
        first = next(predictions, None)  # a model without probabilities fails here, before anything is written
        write(itertools.chain([] if first is None else [first], predictions), model.notes.class_names)
    sys.stdout.flush()
    return 1 if problems else 0


def _printable(text: object) -> str:
    """Return a text without what could move a terminal's cursor or forge a line: file names may hold anything."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


def _as_lines(predictions: Iterable[Prediction], _: list[str]) -> None:
    for one in predictions:
        doubt = "  (unsure: ask a person)" if one.confident is False else ""
        print(f"{_printable(one.file)}  {one.label}  {100 * one.probability:.0f} %{doubt}")


def _as_json(predictions: Iterable[Prediction], _: list[str]) -> None:
    """Write one list with one object per line, so that neither this program nor its reader must hold all of it."""
    print("[", end="")
    for number, one in enumerate(predictions):
        fields = one._asdict() | {"file": str(one.file)}
        print("," * bool(number) + "\n" + json.dumps(fields), end="")
    print("\n]")


def _as_csv(predictions: Iterable[Prediction], names: list[str]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "label", "probability", "confident", *names])
    for one in predictions:
        numbers = [f"{one.probability:.6f}", one.confident, *(f"{one.probabilities[name]:.6f}" for name in names)]
        table.writerow([one.file, one.label, *numbers])


if __name__ == "__main__":
    sys.exit(main())
