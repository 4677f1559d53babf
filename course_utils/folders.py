"""Walk folders of images, with one sub-folder per class or without."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from course_utils.images import ImageError, did_you_mean, read_image, resize_to_cover

if TYPE_CHECKING:
    from course_utils.live import LiveLine

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".ppm", ".heic")

T = TypeVar("T")


class ClassFolders(NamedTuple):
    """The files of a folder with one sub-folder per class, as `list_class_folders` finds them."""

    root: Path
    class_names: list[str]
    files: list[Path]  # by class, then sorted as text
    labels: list[int]  # one per file, index into class_names
    outside: list[Path]  # files directly in the root, which belong to no class


class ImageFolder(NamedTuple):
    """Images read by `from_folder`, with the names of their classes and what could not be read."""

    images: np.ndarray  # uint8 (n, height, width, 3)
    labels: np.ndarray  # int64 (n,), index into class_names
    class_names: list[str]
    files: list[Path]  # one per image
    skipped: list[tuple[Path, str]]  # file and reason


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder and below it, sorted as text, without hidden ones and ``__MACOSX`` folders."""
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not _ignored(name)]
        found += [file for name in names if not _ignored(name) and (file := Path(place) / name).is_file()]
    return sorted(found)


def list_class_folders(path: str | Path) -> ClassFolders:
    """List the files of each class folder; class names sort as text, as in Keras: 1, 10, 2.

    Raises ValueError if the folder is missing or has fewer than two class folders.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ValueError(f"There is no folder “{root}”{did_you_mean(root)}: check the path.")
    if not root.is_dir():
        raise ValueError(f"“{root}” is a file: pass the folder that holds one sub-folder per class.")
    entries = sorted((entry for entry in root.iterdir() if not _ignored(entry.name)), key=lambda entry: entry.name)
    class_folders = [entry for entry in entries if entry.is_dir()]
    outside = [entry for entry in entries if entry.is_file()]
    if len(class_folders) < 2:
        raise ValueError(_why_not_classes(root, class_folders, outside))
    found = [(label, file) for label, folder in enumerate(class_folders) for file in files_below(folder)]
    names = [folder.name for folder in class_folders]
    return ClassFolders(root, names, [file for _, file in found], [label for label, _ in found], outside)


def from_folder(path: str | Path, size: tuple[int, int] = (160, 160)) -> ImageFolder:
    """Read a folder of your own images: one sub-folder per class, images of any format and size in it.

    Each image is brought to `size` (height, width) by `resize_to_cover`. Images in folders below a class folder count
    for that class. Hidden files are ignored; every other file that is not read is listed in `skipped` with the reason.

    Raises
    ------
    ValueError
        If the folder is missing, has fewer than two class folders, a class without a readable image, or would need
        more than 1 GB of memory.
    """
    height, width = size
    if min(height, width) < 1:
        raise ValueError(f"An image cannot have the size {height} × {width}: pass (height, width), both at least 1.")
    found = list_class_folders(path)
    gigabytes = len(found.files) * height * width * 3 / 1e9
    if gigabytes > 1:
        what = f"The {len(found.files)} files of “{found.root}” take {gigabytes:.1f} GB at {height} × {width} pixels"
        advice = "pass a smaller size or fewer images, or use keras.utils.image_dataset_from_directory"
        raise ValueError(f"{what}: {advice}.")
    from course_utils.live import LiveLine  # IPython takes half a second, which the command line need not wait for

    images = np.empty((len(found.files), height, width, 3), np.uint8)
    labels, files = [], []
    skipped = [(file, "lies outside the class folders") for file in found.outside]
    line = LiveLine(f"{len(found.files):,} files of {len(found.class_names)} classes")  # no path: it may be temporary
    for label, file in counted(zip(found.labels, found.files, strict=True), line):
        try:
            images[len(files)] = resize_to_cover(read_image(file), size)
        except ImageError as error:
            skipped.append((file, str(error)))
            continue
        labels.append(label)
        files.append(file)
    for label, name in enumerate(found.class_names):
        if label not in labels:
            folder = found.root / name
            reason = next((f": {why}" for file, why in skipped if folder in file.parents), ", it is empty")
            raise ValueError(f"The class folder “{folder}” has no readable image{reason}; fill or remove it.")
    return ImageFolder(images[: len(files)], np.array(labels, np.int64), found.class_names, files, skipped)


def find_images(paths: Sequence[str | Path]) -> tuple[list[Path], list[str]]:
    """Return the image files that some paths stand for, and one sentence per path that stands for none.

    Of a folder, the files in it and below count whose extension is among `IMAGE_EXTENSIONS`, sorted as text. A file
    that is named itself counts whatever its extension.
    """
    files, problems = [], []
    for path in (Path(p).expanduser() for p in paths):
        if path.is_dir():
            found = [file for file in files_below(path) if file.name.lower().endswith(IMAGE_EXTENSIONS)]
            files += found
            if not found:
                problems.append(f"The folder “{path}” holds no images ({', '.join(IMAGE_EXTENSIONS)}): check the path.")
        elif path.exists():
            files.append(path)
        else:
            problems.append(f"There is no file or folder “{path}”{did_you_mean(path)}: check the path.")
    return files, problems


def counted(items: Iterable[T], line: "LiveLine") -> Iterator[T]:
    """Pass items on; twice a second `line` says how many have been, and it rests in the end."""
    last = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - last > 0.5:
            line.update(f"{number:,} read")
            last = time.monotonic()
        yield item
    line.rest()


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _why_not_classes(root: Path, class_folders: list[Path], outside: list[Path]) -> str:
    """Say why a folder with fewer than two class folders cannot be read, and what the reader probably wants."""
    if class_folders:
        (inner,) = class_folders
        if sum(entry.is_dir() and not _ignored(entry.name) for entry in inner.iterdir()) >= 2:
            return f"“{root}” holds only the folder “{inner.name}”, which holds the classes: pass “{inner}”."
        return f"“{root}” has only one class folder, “{inner.name}”: add a second class to tell it from."
    if outside:
        advice = "make one sub-folder per class and move the images into them"
        return f"“{root}” holds {len(outside)} file(s) directly but no class folder: {advice}."
    return f"“{root}” is empty: make one sub-folder per class and put images into them."
