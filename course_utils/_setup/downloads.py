"""Datasets from the network: fetched once, compared with a known hash, unpacked into class folders."""

import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from course_utils._setup.fetch import FetchError, Limits, fetch
from course_utils._setup.storage import data_folder, prepared_once
from course_utils.live import LiveLine


class DownloadError(RuntimeError):
    """A dataset could not be downloaded; the message is one sentence that says why and what to do."""


def download(name: str) -> Path:
    """Fetch a public dataset once, print its licence, and return its folder of class folders.

    An archive that you put into ``data/downloads`` by hand is used without a network. The folder is
    ``data/downloads/NAME/images``; what came with the images, such as a licence, lies beside it.

    Parameters
    ----------
    name : {"cats_vs_dogs", "flowers", "cifar10"}
        25,000 photos (0.8 GB), some of which are broken files; 3,670 photos of five classes (0.2 GB); 60,000 images of
        32 × 32 pixels in ten classes (0.2 GB) as PNG files, whose names begin with ``train`` or ``test``, their split.

    Raises
    ------
    ValueError
        If the course knows no dataset of that name.
    DownloadError
        If there is no network, the server fails, the disk is too full, or the archive has another SHA-256.
    """
    if name not in _DATASETS:
        raise ValueError(f"The course has no dataset called {name!r} to download: use one of {', '.join(_DATASETS)}.")
    known = _DATASETS[name]
    target = data_folder() / "downloads" / name
    try:
        with prepared_once(target) as work:
            if work is not None:
                with LiveLine(f"download of {name}") as line:
                    archive = _archive(name, known, work.parent, line)
                    line.update("unpacking (a minute or so) …")
                    _unpack(archive, work)
                    finish = _write_cifar if name == "cifar10" else _keep_folders
                    finish(work / known.root, work)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DownloadError(f"“{name}” could not be stored in {target.parent} ({reason}): make room there.") from error
    print(f"{name}, licence: {known.licence} Home: {known.home}")
    return target / "images"


def _archive(name: str, known: "_Dataset", scratch: Path, line: LiveLine) -> Path:
    """Return the archive: the one that somebody put into the folder by hand, or else a new one in `scratch`."""
    import pooch

    by_hand = data_folder() / "downloads" / known.url.rpartition("/")[2]
    if by_hand.is_file():
        if pooch.file_hash(str(by_hand)) != known.sha256:
            raise DownloadError(f"{by_hand} is not the file that the course knows: remove it and try again.")
        return by_hand
    needed = known.size + known.unpacked
    if (free := shutil.disk_usage(scratch).free) < needed:
        raise DownloadError(
            f"“{name}” needs {needed / 1e9:.1f} GB on the disk while it is unpacked, but {free / 1e9:.1f} GB are free: "
            "make room, or set COURSE_DATA to a folder on another disk."
        )
    archive = scratch / by_hand.name
    way_out = f"try again later, or put {archive.name} into {by_hand.parent} by hand"
    try:
        fetch(known.url, archive, Limits(size=known.size + 1_000_000), line, known.size)
    except FetchError as error:
        raise DownloadError(f"“{name}” could not be downloaded, because {error}: {way_out}.") from error
    if pooch.file_hash(str(archive)) != known.sha256:
        raise DownloadError(
            f"“{name}” was downloaded, but is not the file that the course knows (its SHA-256 differs): {way_out}."
        )
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive whose hash is right, so that its author and its contents are known."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder)
    else:
        with tarfile.open(archive) as tarred:
            # As an attribute, because extractall does not know the argument before Python 3.11.4.
            tarred.extraction_filter = getattr(tarfile, "data_filter", None)
            tarred.extractall(folder)


def _keep_folders(root: Path, folder: Path) -> None:
    """Call `root` ``images``, and put files that lie beside the class folders, such as a licence, beside it."""
    for entry in sorted(root.rename(folder / "images").iterdir()):
        if entry.is_file():
            entry.rename(folder / entry.name)


_CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _write_cifar(root: Path, folder: Path) -> None:
    """Turn the six files of CIFAR-10 into PNG files in class folders."""
    for label in _CIFAR_CLASSES:
        (folder / "images" / label).mkdir(parents=True)
    for batch in sorted([*root.glob("data_batch_*"), root / "test_batch"]):
        with batch.open("rb") as file:
            # A pickle is a program. The hash of the archive is right, so it is the one that its authors wrote.
            content = pickle.load(file, encoding="bytes")
        images = content[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        split = "test" if batch.name == "test_batch" else f"train{batch.name[-1]}"
        for number, (image, label) in enumerate(zip(images, content[b"labels"], strict=True)):
            file = folder / "images" / _CIFAR_CLASSES[label] / f"{split}_{number:05d}.png"
            Image.fromarray(np.ascontiguousarray(image)).save(file)
    shutil.rmtree(root)


class _Dataset(NamedTuple):
    url: str
    sha256: str
    size: int  # bytes of the archive
    unpacked: int  # bytes of what is in it, at most
    root: str  # the folder in the archive
    licence: str
    home: str


# The hashes are those that Keras (CIFAR-10) and TensorFlow Datasets (flowers) compare with. For cats vs dogs no large
# project publishes one: three public programs that use the file agree on this one.
_DATASETS = {
    "cats_vs_dogs": _Dataset(
        url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
        sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        size=824_887_076,
        unpacked=1_500_000_000,
        root="PetImages",
        licence="Microsoft's own. Read “MSR-LA - 3467.docx” beside the images before you use or pass them on.",
        home="https://www.microsoft.com/en-us/download/details.aspx?id=54765",
    ),
    "flowers": _Dataset(
        url="https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
        sha256="4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
        size=228_813_984,
        unpacked=500_000_000,
        root="flower_photos",
        licence="CC BY 2.0; LICENSE.txt beside the images names the photographers, whom you must credit.",
        home="https://www.tensorflow.org/datasets/catalog/tf_flowers",
    ),
    "cifar10": _Dataset(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        size=170_498_071,
        unpacked=500_000_000,
        root="cifar-10-batches-py",
        licence="none is stated. Cite A. Krizhevsky: Learning multiple layers of features from tiny images, 2009.",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
}
