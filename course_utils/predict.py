"""Ask a finished model about pictures: ``python -m course_utils.predict PICTURE_OR_FOLDER``.

Lesson 11, section 11.10, uses it. With an ONNX file it starts in well under a second, because no framework is loaded.
"""

import argparse
import csv
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

import course_utils  # noqa: F401  (before TensorFlow, which a .keras file needs)
from course_utils.export import ExportError, Notes, Runner, both_classes, load, models_folder
from course_utils.images import ImageError, did_you_mean, read_image

BATCH = 16  # pictures in memory at a time
MODEL_NAME = "solar_cells.onnx"
_PATIENCE_S = 2  # so long a user waits without a progress bar
PICTURE_NAMES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".ppm", ".heic")


class Prediction(NamedTuple):
    """What a model says of one picture."""

    file: Path
    label: str  # the most probable class
    probability: float  # of that class, 0…1
    sure: bool  # whether the probability reaches what the model's notes ask for
    probabilities: dict[str, float]  # of every class


def default_model(name: str = MODEL_NAME) -> Path:
    """Return the file of the model that is asked if none is named: the one of lesson 11.

    Parameters
    ----------
    name : str
        In which of the formats that the lesson keeps: this command reads the ONNX file, the web page the .keras file.

    Raises
    ------
    ExportError
        If lesson 11 has not been run yet.
    """
    file = models_folder() / name
    if not file.is_file():
        raise ExportError(
            "There is no model yet: run the notebook 11_deployment once, which trains one and keeps it "
            f"(as {name}), or name a model of your own with --model FILE."
        )
    return file


def fitted(picture: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Bring a picture to the size and the channels that a model takes, as training did.

    Shrunk or enlarged with antialiasing until it covers the size, its aspect ratio kept, and what sticks out cut off
    evenly on both sides: the same as `course_utils.datasets.from_folder`. The numbers stay 0…255; scaling is the
    model's own business.

    Parameters
    ----------
    picture : ndarray
        uint8 (H, W, 3) RGB, as `course_utils.images.read_image` returns it.
    shape : (int, int, int)
        Height, width and channels (1 or 3) of the model's input.

    Returns
    -------
    ndarray
        uint8 of that shape.

    Notes
    -----
    Lesson 11, section 11.7.
    """
    height, width, channels = shape
    image = Image.fromarray(picture)
    if channels == 1:
        image = image.convert("L")
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape)


def judged(file: Path, probabilities: np.ndarray, notes: Notes) -> Prediction:
    """Return what a row of probabilities, one for each class, says of a picture."""
    best = int(np.argmax(probabilities))
    each = {name: float(value) for name, value in zip(notes.class_names, probabilities, strict=True)}
    return Prediction(
        file, notes.class_names[best], float(probabilities[best]), bool(probabilities[best] >= notes.sure_from), each
    )


def predict_files(
    files: Iterable[Path], model: Runner, complain: Callable[[Path, str], None], batch_size: int = BATCH
) -> Iterator[Prediction]:
    """Ask a model about files, in their order, with one batch of pictures in memory at a time.

    Parameters
    ----------
    files : iterable of Path
        Picture files.
    model : Runner
        As `course_utils.export.load` returns it.
    complain : callable
        Called with each file that cannot be read and a sentence that says why; the others are answered.
    batch_size : int
        Pictures that the model gets at once.

    Yields
    ------
    Prediction
    """

    def pictures() -> Iterator[tuple[Path, np.ndarray]]:
        for file in files:
            try:
                yield file, fitted(read_image(file), model.shape)
            except ImageError as error:
                complain(file, str(error))

    waiting = pictures()
    while batch := list(itertools.islice(waiting, batch_size)):
        answers = both_classes(model.answer(np.stack([picture for _, picture in batch])))
        for (file, _), row in zip(batch, answers, strict=True):
            yield judged(file, row, model.notes)


def find_pictures(places: Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """Return all picture files that some paths stand for, and a sentence for each path that stands for none.

    Of a folder, the files in it and below count whose name ends like that of a picture, sorted as text, hidden ones
    left out. A file that is named itself counts whatever its name is.

    Parameters
    ----------
    places : sequence of str or Path
        Files and folders.

    Returns
    -------
    files, problems : list of Path, list of str
    """
    files, problems = [], []
    for place in (Path(p).expanduser() for p in places):
        if not place.is_dir():
            if place.exists():
                files.append(place)
            else:
                problems.append(f"There is no file or folder “{place}”{did_you_mean(place)}: check the path.")
            continue
        found = []
        for folder, inner, names in os.walk(place):
            inner[:] = [name for name in inner if not name.startswith(".") and name != "__MACOSX"]
            found += [Path(folder) / n for n in names if not n.startswith(".") and n.lower().endswith(PICTURE_NAMES)]
        if not found:
            problems.append(f"The folder “{place}” holds no pictures ({', '.join(PICTURE_NAMES)}): check the path.")
        files += sorted(found)
    return files, problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 if a file could not be answered, 2 if there is no model."""
    parser = argparse.ArgumentParser(
        prog="python -m course_utils.predict", description="Say what a finished model sees in pictures."
    )
    parser.add_argument("places", nargs="+", metavar="PICTURE_OR_FOLDER")
    parser.add_argument(
        "--model", metavar="FILE", help=".onnx, .tflite or .keras file, or a SavedModel; by default lesson 11's"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON list with the probabilities of all classes")
    form.add_argument("--csv", action="store_true", help="a table with a column for each class")
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a file name may hold letters that the terminal cannot write
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        model = load(options.model or default_model())
        return _answer(options, model)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (such as `head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that closing the stream does not fail too
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _answer(options: argparse.Namespace, model: Runner) -> int:
    """Write an answer for each picture to stdout and a line for each problem to stderr."""
    from tqdm import tqdm

    files, problems = find_pictures(options.places)
    # On a terminal after two seconds; a bar in a log file would be noise.
    bar = tqdm(total=len(files), unit="picture", delay=_PATIENCE_S, leave=False, disable=not sys.stderr.isatty())
    start, failed = time.monotonic(), 0

    def make_room() -> None:
        if time.monotonic() - start > _PATIENCE_S:  # before, there is no bar whose line an answer could end up in
            bar.clear()

    def complain(file: Path | None, sentence: str) -> None:
        nonlocal failed
        failed += 1
        make_room()
        print(_printable(sentence), file=sys.stderr)
        bar.update(file is not None)

    for sentence in problems:
        complain(None, sentence)
    write = _as_json if options.json else _as_csv if options.csv else _as_lines

    def counted() -> Iterator[Prediction]:
        for prediction in predict_files(files, model, complain):
            make_room()
            yield prediction
            bar.update()

    with bar:
        answers = counted()
        first = next(answers, None)  # a model that gives no probabilities fails here, before anything is written
        write(itertools.chain([] if first is None else [first], answers), model.notes.class_names)
    sys.stdout.flush()
    return 1 if failed else 0


def _printable(text: object) -> str:
    """Return a text without what could move a terminal's cursor or forge a line: file names may hold anything."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


def _as_lines(predictions: Iterable[Prediction], _: list[str]) -> None:
    for one in predictions:
        doubt = "" if one.sure else "  (unsure: ask a person)"
        print(f"{_printable(one.file)}  {one.label}  {100 * one.probability:.0f} %{doubt}")


def _as_json(predictions: Iterable[Prediction], _: list[str]) -> None:
    """Write one list with an object a line, so that neither this program nor its reader must hold all of it."""
    print("[", end="")
    for number, one in enumerate(predictions):
        fields = one._asdict() | {"file": str(one.file)}
        print("," * bool(number) + "\n" + json.dumps(fields), end="")
    print("\n]")


def _as_csv(predictions: Iterable[Prediction], names: list[str]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "label", "probability", "sure", *names])
    for one in predictions:
        numbers = [f"{one.probability:.6f}", one.sure, *(f"{one.probabilities[name]:.6f}" for name in names)]
        table.writerow([one.file, one.label, *numbers])


if __name__ == "__main__":
    sys.exit(main())
