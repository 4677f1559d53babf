"""Data sets from the network, for whoever has one: fetched once, checked, unpacked with care.

`download` is meant to be called as ``course_utils.datasets.download``. Lesson 12 names it; no lesson and no test of the
course needs it.
"""

import gzip
import io
import pickle
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from course_utils._setup.storage import data_folder, prepared_once

_SILENCE = 20.0  # seconds without an answer, or with hardly a byte, after which a server counts as unreachable
_SLOWEST = 1000  # bytes a second; less than that, for _SILENCE seconds, counts as silence
_ATTEMPTS = 3  # in a row that bring nothing new
_PASSING = (429, 500, 502, 503, 504)  # what a server says when it is busy: worth another attempt
_PAUSE = 1.0  # seconds before the second attempt, twice that before the third
_CHUNK = 1 << 18
_MOST_FILES = 200_000


class DownloadError(RuntimeError):
    """A data set that could not be had; the message is one sentence that says why and what to do."""


class _DataSet(NamedTuple):
    """What the course knows of a data set before it asks for it."""

    url: str
    sha256: str
    size: int  # bytes of the archive
    unpacked: int  # bytes that may come out of it, at most; anything beyond is not what we know
    place: Callable[[PurePosixPath], PurePosixPath | None]  # where a member belongs; None leaves it out
    finish: Callable[[Path], None]  # turns what was unpacked into class folders
    licence: str
    home: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


def download(name: str) -> Path:
    """Fetch a public data set once and return its folder of class folders.

    The archive is compared with a hash that the course knows, so that nobody can slip in another one; a connection
    that breaks is taken up where it broke, if the server can do that; what is unpacked cannot leave its folder. All of
    it happens beside the final place, so that a data set is there whole or not at all. A second call only returns the
    folder. Prints the licence.

    Parameters
    ----------
    name : {"cats_vs_dogs", "flowers", "cifar10"}
        ``"cats_vs_dogs"``: 25,000 photos as people took them, 0.8 GB, some of which are broken; ``"flowers"``: 3,670
        photos of five kinds, 0.2 GB; ``"cifar10"``: 60,000 pictures of 32 × 32 pixels in ten classes, 0.2 GB, as PNG
        files whose names begin with ``train`` or ``test``, the part they belong to in publications.

    Returns
    -------
    Path
        ``data/downloads/NAME/pictures``, ready for `audit.audit_folder` and `datasets.from_folder`. What came with
        the pictures, such as a licence, lies beside it.

    Raises
    ------
    ValueError
        If the course knows no data set of that name.
    DownloadError
        If there is no network, the server fails or keeps silent, the disk is too full, or the file is not the one
        that the course knows. An archive that you put into ``data/downloads`` by hand is used without a network.

    Notes
    -----
    Lesson 12, section 12.5.
    """
    if name not in _SETS:
        raise ValueError(f"The course has no data set called {name!r} to download: use one of {', '.join(_SETS)}.")
    known = _SETS[name]
    target = _folder() / name
    try:
        with prepared_once(target) as work:
            if work is not None:
                archive = _archive(name, known, work.parent)
                work.mkdir()
                _unpack(archive, work, known)
                known.finish(work)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DownloadError(f"“{name}” could not be stored in {target.parent} ({reason}): make room there.") from error
    print(f"{name}, licence: {known.licence} Home: {known.home}")
    return target / "pictures"


def _folder() -> Path:
    return data_folder() / "downloads"


# --- the archive


def _archive(name: str, known: _DataSet, scratch: Path) -> Path:
    """Return the archive: the one that somebody put there by hand, or else a fresh one in `scratch`."""
    import pooch

    by_hand = _folder() / known.file
    if by_hand.is_file():
        if pooch.file_hash(str(by_hand)) != known.sha256:
            raise DownloadError(f"{by_hand} is not the {known.file} that the course knows: remove it and try again.")
        return by_hand
    needed = known.size + known.unpacked
    if (free := shutil.disk_usage(scratch).free) < needed:
        raise DownloadError(
            f"“{name}” needs {needed / 1e9:.1f} GB on the disk while it is unpacked, but {free / 1e9:.1f} GB are free: "
            "make room, or set COURSE_DATA to a folder on another disk."
        )
    way_out = f"try again later, or put {known.file} into {_folder()} by hand"
    try:
        with _quiet(pooch.get_logger()):
            fetch = partial(_fetch, name=name, size=known.size)
            return Path(pooch.retrieve(known.url, f"sha256:{known.sha256}", known.file, scratch, downloader=fetch))
    except _FetchError as error:
        raise DownloadError(f"“{name}” could not be downloaded, because {error}: {way_out}.") from error
    except ValueError as error:  # pooch compares the hash before it lets anyone see the file
        raise DownloadError(
            f"“{name}” was downloaded, but it is not the file that the course knows (its SHA-256 differs), so it was "
            f"deleted: {way_out}."
        ) from error


class _FetchError(Exception):
    """Why a server did not deliver, as the middle of a sentence."""


@contextmanager
def _quiet(logger: Any) -> Iterator[None]:
    """Keep pooch from announcing each download: we show a progress bar."""
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _fetch(url: str, output_file: str, _pooch: Any, *, name: str, size: int) -> None:
    """Fetch `url` into an existing empty file, going on where a connection broke; called by pooch."""
    import requests
    import urllib3

    file, longest, failures = Path(output_file), 0, 0
    with tqdm(desc=name, total=size, unit="B", unit_scale=True) as bar:
        while True:
            try:
                _append(url, file, size, bar)
                return
            # Two layers, two families of errors: requests until the answer begins, urllib3 after that.
            except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError) as error:
                status = getattr(getattr(error, "response", None), "status_code", None)
                said = f"the server answered with status {status}"
                if status is not None and status not in _PASSING:
                    raise _FetchError(said) from error
                arrived = file.stat().st_size
                failures = failures + 1 if arrived <= longest else 0
                longest = max(longest, arrived)
                if failures == _ATTEMPTS:
                    raise _FetchError(_why(error, arrived, size) if status is None else said) from error
                time.sleep(_PAUSE * failures)


def _append(url: str, file: Path, size: int, bar: tqdm) -> None:
    """Ask for the bytes of `url` that `file` lacks, and append them; start over if the server sends all of them."""
    import requests

    have = file.stat().st_size
    headers = {"Accept-Encoding": "identity", "User-Agent": "course-utils (image recognition course)"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=_SILENCE) as answer:
        if answer.status_code == 416:  # it has no bytes beyond what we have: the hash will judge
            return
        answer.raise_for_status()
        if answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            mode = "ab"
        else:
            mode, have = "wb", 0
        bar.n = have
        with file.open(mode) as stream:
            _copy_while_it_flows(answer.raw, stream, size - have, bar)


def _copy_while_it_flows(answer: Any, stream: BinaryIO, size: int, bar: tqdm) -> None:
    """Copy what arrives, as it arrives; raise where hardly anything does, or far more than `size` bytes."""
    total = mark = 0
    since = time.monotonic()
    while piece := answer.read1(_CHUNK, decode_content=False):
        stream.write(piece)
        bar.update(len(piece))
        total += len(piece)
        if total > size + _CHUNK:
            raise _FetchError(f"the server sent more than the {size / 1e6:,.0f} MB that were expected")
        if (now := time.monotonic()) - since > _SILENCE:
            if total - mark < _SLOWEST * _SILENCE:
                raise TimeoutError
            mark, since = total, now


def _why(error: Exception, arrived: int, size: int) -> str:
    """Say in plain words why a download failed; the same words on every system."""
    silent = ("ReadTimeout", "ConnectTimeout", "TimeoutError")
    while error is not None and "Timeout" not in type(error).__name__ and error.__cause__ is not None:
        error = error.__cause__
    part = f" after {arrived / 1e6:,.1f} of {size / 1e6:,.1f} MB" if arrived else ""
    if type(error).__name__.startswith(silent):
        return f"the server kept silent for {_SILENCE:g} seconds{part}"
    return f"the connection broke{part} {_ATTEMPTS} times" if arrived else "the server cannot be reached"


# --- what is in it


def _unpack(archive: Path, folder: Path, known: _DataSet) -> None:
    """Write the wanted members of a zip or tar archive into `folder`, and nothing anywhere else.

    The archive has the right hash, so its author is known; this is the second lock on the door. Names that lead out of
    the folder, links, devices and archives that swell beyond what is expected are refused as a whole.
    """
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    left = known.unpacked
    try:
        for number, (name, content) in enumerate(
            tqdm(members(archive, known.unpacked), desc="unpacking", unit="file", delay=2), start=1
        ):
            path = _harmless(name)
            if number > _MOST_FILES:
                raise DownloadError(f"{archive.name} holds over {_MOST_FILES:,} files, which is not expected: refused.")
            place = known.place(path)
            if place is None or content is None:
                continue
            file = folder / place
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as stream:
                while piece := content.read(_CHUNK):
                    left -= len(piece)
                    if left < 0:
                        raise _too_large(archive, known.unpacked)
                    stream.write(piece)
    except DownloadError:
        raise
    # A RuntimeError is what zipfile raises for a member that wants a password.
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, RuntimeError) as error:
        raise DownloadError(f"{archive.name} is damaged ({error}): remove it and download it again.") from error
    except FileExistsError as error:
        raise DownloadError(f"{archive.name} holds two files of the same name: it was refused as a whole.") from error


def _too_large(archive: Path, limit: int) -> DownloadError:
    return DownloadError(
        f"{archive.name} unpacks to more than the {limit / 1e9:.2g} GB that are expected: it was refused as a whole."
    )


def _harmless(name: str) -> PurePosixPath:
    """Return the path of a member, or refuse one that leads out of the folder it is unpacked into."""
    path = PurePosixPath(name.replace("\\", "/"))  # Windows programs write such names
    if path.is_absolute() or not path.parts or ".." in path.parts or ":" in name or "\0" in name:
        raise DownloadError(f"The archive holds a file that would lie outside its folder, {name!r}: it was refused.")
    return path


def _no_link(name: str) -> DownloadError:
    return DownloadError(f"The archive holds a link or a device instead of a file, {name!r}: it was refused.")


def _zip_members(archive: Path, limit: int) -> Iterator[tuple[str, BinaryIO | None]]:
    """Yield name and content of each member; the content of a folder is None."""
    with zipfile.ZipFile(archive) as file:
        if sum(member.file_size for member in file.infolist()) > limit:  # what the headers claim; others may lie
            raise _too_large(archive, limit)
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_link(member.filename)
            if member.is_dir():
                yield member.filename, None
            else:
                with file.open(member) as content:
                    yield member.filename, content


def _tar_members(archive: Path, limit: int) -> Iterator[tuple[str, BinaryIO | None]]:
    """Yield name and content of each member, reading the archive once from front to end."""
    with archive.open("rb") as start:
        zipped = start.read(2) == b"\x1f\x8b"
    with gzip.open(archive) if zipped else archive.open("rb") as raw:
        # Headers may be as large as they claim too, so everything that comes out of the archive counts.
        counted = _Counted(raw, limit + 1024 * _MOST_FILES, partial(_too_large, archive, limit))
        with tarfile.open(fileobj=counted, mode="r|") as file:
            for member in file:
                if member.size > limit:
                    raise _too_large(archive, limit)
                if not member.isfile() and not member.isdir():
                    raise _no_link(member.name)
                yield member.name, file.extractfile(member)


class _Counted(io.RawIOBase):
    """A stream that ends in an error once it has given more bytes than allowed."""

    def __init__(self, stream: BinaryIO, limit: int, error: Callable[[], Exception]) -> None:
        self.stream, self.left, self.error = stream, limit, error

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise self.error()
        return data


# --- from what was unpacked to class folders


def _below(root: str, path: PurePosixPath) -> PurePosixPath | None:
    """Put ``root/class/file`` into ``pictures/class/file``, and files that lie further up beside ``pictures``."""
    parts = path.parts[1:] if path.parts[0] == root else path.parts
    if len(parts) == 2 and path.parts[0] == root:
        return PurePosixPath("pictures", *parts)
    return PurePosixPath(parts[0]) if len(parts) == 1 else None


def _batches(path: PurePosixPath) -> PurePosixPath | None:
    """Keep the six files of CIFAR-10 that hold pictures."""
    return PurePosixPath("batches", path.name) if path.name.startswith(("data_batch_", "test_batch")) else None


def _nothing(folder: Path) -> None:
    """Leave what was unpacked as it is."""


class _ArraysOnly(pickle.Unpickler):
    """Reads a pickle that holds arrays, bytes, numbers and containers of them, and refuses every other name.

    A pickle is a program. An array needs three names of NumPy to come back to life; whatever else a pickle asks for
    could be a command for this computer.
    """

    _names: ClassVar = {
        ("multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three, or refuse."""
        short = "multiarray" if module in ("numpy.core.multiarray", "numpy._core.multiarray") else module
        if (short, name) not in self._names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._names[short, name]


_CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _cifar_pictures(folder: Path) -> None:
    """Turn the batches of CIFAR-10 into PNG files in class folders."""
    for label in _CIFAR_CLASSES:
        (folder / "pictures" / label).mkdir(parents=True)
    for batch in tqdm(sorted((folder / "batches").iterdir()), desc="writing pictures", unit="batch", delay=2):
        pixels, labels = _cifar_batch(batch)
        part = "test" if batch.name.startswith("test") else f"train{batch.name[-1]}"

        def write(number: int, pixels=pixels, labels=labels, part=part) -> None:
            file = folder / "pictures" / _CIFAR_CLASSES[labels[number]] / f"{part}_{number:05d}.png"
            Image.fromarray(pixels[number]).save(file)

        with ThreadPoolExecutor() as pool:
            list(pool.map(write, range(len(labels))))
    shutil.rmtree(folder / "batches")


def _cifar_batch(batch: Path) -> tuple[np.ndarray, list[int]]:
    """Return the pictures uint8 (n, 32, 32, 3) and labels of one file of CIFAR-10."""
    try:
        with batch.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
        pixels, labels = content[b"data"], [int(label) for label in content[b"labels"]]
        pixels = np.ascontiguousarray(pixels.reshape(len(labels), 3, 32, 32).transpose(0, 2, 3, 1))
        fits = pixels.dtype == np.uint8 and all(0 <= label < 10 for label in labels)
    # A damaged or hostile pickle fails in whatever it was made to fail in.
    except Exception as error:
        raise DownloadError(f"{batch.name} of CIFAR-10 cannot be read ({error}): remove it and try again.") from error
    if not fits:
        raise DownloadError(f"{batch.name} of CIFAR-10 does not hold pictures with labels from 0 to 9.")
    return pixels, labels


# The hashes are those that Keras (CIFAR-10) and TensorFlow Datasets (flowers) compare with. For cats vs dogs no large
# project publishes one: three public programs that use the file agree on this one.
_SETS = {
    "cats_vs_dogs": _DataSet(
        url="https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
        sha256="b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        size=824_887_076,
        unpacked=1_500_000_000,
        place=partial(_below, "PetImages"),
        finish=_nothing,
        licence="Microsoft's own. Read “MSR-LA - 3467.docx” beside the pictures before you use or pass them on.",
        home="https://www.microsoft.com/en-us/download/details.aspx?id=54765",
    ),
    "flowers": _DataSet(
        url="https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
        sha256="4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
        size=228_813_984,
        unpacked=500_000_000,
        place=partial(_below, "flower_photos"),
        finish=_nothing,
        licence="CC BY 2.0; LICENSE.txt beside the pictures names the photographers, whom you must credit.",
        home="https://www.tensorflow.org/datasets/catalog/tf_flowers",
    ),
    "cifar10": _DataSet(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        size=170_498_071,
        unpacked=500_000_000,
        place=_batches,
        finish=_cifar_pictures,
        licence="none is stated. Cite A. Krizhevsky: Learning multiple layers of features from tiny images, 2009.",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
}
