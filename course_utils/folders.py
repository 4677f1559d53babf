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

SETS = {  # the name of a folder, in small letters → which set it holds
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
ORDER = ("train", "validation", "test")

T = TypeVar("T")


class ClassFolders(NamedTuple):
    """The files of a folder with one sub-folder per class, as `list_class_folders` finds them."""

    root: Path
    class_names: list[str]
    files: list[Path]  # by set, then by class, then sorted as text
    labels: list[int]  # one per file, index into class_names
    outside: list[Path]  # files that lie in no class folder
    sets: list[str]  # one per file: "train", "validation" or "test", or "" if the folder is not divided into sets
    unequal: list[str]  # a sentence per class that some sets have and others have not


class ImageFolder(NamedTuple):
    """Images read by `from_folder`, with the names of their classes and what could not be read."""

    images: np.ndarray  # uint8 (n, height, width, 3)
    labels: np.ndarray  # int64 (n,), index into class_names
    class_names: list[str]
    files: list[Path]  # one per image
    skipped: list[tuple[Path, str]]  # file and reason
    sets: np.ndarray  # str (n,): "train", "validation" or "test", or "" if the folder is not divided into sets


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder and below it, sorted as text, without hidden ones and ``__MACOSX`` folders."""
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not _ignored(name)]
        found += [file for name in names if not _ignored(name) and (file := Path(place) / name).is_file()]
    return sorted(found)


def list_class_folders(path: str | Path) -> ClassFolders:
    """List the files of each class folder; class names sort as text, as in Keras: 1, 10, 2.

    If the folder is divided into sets, as in ``train/cat``, ``val/cat`` (names as in `SETS`, in any case), the class
    folders of all sets count, and `sets` says where each file lies. Raises ValueError if the folder is missing, has
    fewer than two class folders, two folders for one set, or folders named as sets that hold no class folders.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ValueError(f"There is no folder “{root}”{did_you_mean(root)}: check the path.")
    if not root.is_dir():
        raise ValueError(f"“{root}” is a file: pass the folder that holds one sub-folder per class.")
    folders, outside = _entries(root)
    parts = _set_folders(root, folders) or {"": root}
    if "" not in parts:
        outside += [file for folder in folders if folder not in parts.values() for file in files_below(folder)]
    inside = {name: _entries(folder) for name, folder in parts.items()}
    names = sorted({folder.name for class_folders, _ in inside.values() for folder in class_folders})
    if "" not in parts:
        outside += [file for _, loose in inside.values() for file in loose]
    if len(names) < 2:
        raise ValueError(
            _why_not_classes(*((root, folders, outside) if "" in parts else (root, [root / names[0]], [])))
        )
    found = [
        (file, names.index(folder.name), part)
        for part, (class_folders, _) in inside.items()
        for folder in class_folders
        for file in files_below(folder)
    ]
    unequal = []
    for name in names:
        have = [
            part for part, (class_folders, _) in inside.items() if name in {folder.name for folder in class_folders}
        ]
        if lack := [part for part in inside if part not in have]:
            unequal.append(f"the class “{name}” is in {' and '.join(have)} but not in {' and '.join(lack)}")
    files, labels, sets = (list(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    return ClassFolders(root, names, files, labels, outside, sets, unequal)


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files directly in a folder, sorted as text, without hidden ones."""
    entries = sorted((entry for entry in folder.iterdir() if not _ignored(entry.name)), key=lambda entry: entry.name)
    return [entry for entry in entries if entry.is_dir()], [entry for entry in entries if entry.is_file()]


def _set_folders(root: Path, folders: list[Path]) -> dict[str, Path]:
    """Return set → folder, in the order train, validation, test, or nothing if these folders are classes."""
    named = [folder for folder in folders if folder.name.lower() in SETS]
    others = len(folders) - len(named)
    divided = [folder for folder in named if _entries(folder)[0]]
    if len(divided) < 2 and (others or not named):
        return {}  # “train” beside “bus” is a class
    if not divided:
        if len({SETS[folder.name.lower()] for folder in named}) < 2:
            return {}
        listed = " and ".join(f"“{folder.name}”" for folder in named)
        raise ValueError(
            f"“{root}” holds {listed}, which are names of sets, not of classes: make a sub-folder per class in each."
        )
    found: dict[str, Path] = {}
    for folder in divided:
        name = SETS[folder.name.lower()]
        if name in found:
            raise ValueError(
                f"“{found[name].name}” and “{folder.name}” in “{root}” both name the {name} set: keep one."
            )
        found[name] = folder
    return {name: found[name] for name in ORDER if name in found}


def from_folder(path: str | Path, size: tuple[int, int] = (160, 160)) -> ImageFolder:
    """Read a folder of your own images: one sub-folder per class, images of any format and size in it.

    Each image is brought to `size` (height, width) by `resize_to_cover`. Images in folders below a class folder count
    for that class. A folder that is divided into sets (``train/cat``, ``val/cat`` …) is read whole; `sets` has the set
    of each image. Hidden files are ignored; every other file that is not read is listed in `skipped` with the reason.

    Raises
    ------
    ValueError
        If the folder is missing, has fewer than two class folders, a class without a readable image, a class that not
        every set has, or would need more than 1 GB of memory.
    """
    height, width = size
    if min(height, width) < 1:
        raise ValueError(f"An image cannot have the size {height} × {width}: pass (height, width), both at least 1.")
    found = list_class_folders(path)
    if found.unequal:
        raise ValueError(f"In “{found.root}” {found.unequal[0]}: rename or add the folder, or read one set alone.")
    gigabytes = len(found.files) * height * width * 3 / 1e9
    if gigabytes > 1:
        what = f"The {len(found.files)} files of “{found.root}” take {gigabytes:.1f} GB at {height} × {width} pixels"
        advice = "pass a smaller size or fewer images, or use keras.utils.image_dataset_from_directory"
        raise ValueError(f"{what}: {advice}.")
    from course_utils.live import LiveLine  # IPython takes half a second, which the command line need not wait for

    images = np.empty((len(found.files), height, width, 3), np.uint8)
    labels, files, sets = [], [], []
    skipped = [(file, "lies outside the class folders") for file in found.outside]
    division = f", divided into {', '.join(dict.fromkeys(found.sets))}" if any(found.sets) else ""
    # No path: it may be temporary.
    line = LiveLine(f"{len(found.files):,} files of {len(found.class_names)} classes{division}")
    for label, file, part in counted(zip(found.labels, found.files, found.sets, strict=True), line):
        try:
            images[len(files)] = resize_to_cover(read_image(file), size)
        except ImageError as error:
            skipped.append((file, str(error)))
            continue
        labels.append(label)
        files.append(file)
        sets.append(part)
    for label, name in enumerate(found.class_names):
        if label not in labels:
            reason = next((f": {why}" for file, why in skipped if name in file.parts[:-1]), ", it is empty")
            raise ValueError(f"The class “{name}” of “{found.root}” has no readable image{reason}; fill or remove it.")
    labels = np.array(labels, np.int64)
    return ImageFolder(images[: len(files)], labels, found.class_names, files, skipped, np.array(sets, str))


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
        if inner.is_dir() and sum(entry.is_dir() and not _ignored(entry.name) for entry in inner.iterdir()) >= 2:
            return f"“{root}” holds only the folder “{inner.name}”, which holds the classes: pass “{inner}”."
        return f"“{root}” has only one class folder, “{inner.name}”: add a second class to tell it from."
    if outside:
        advice = "make one sub-folder per class and move the images into them"
        return f"“{root}” holds {len(outside)} file(s) directly but no class folder: {advice}."
    return f"“{root}” is empty: make one sub-folder per class and put images into them."
