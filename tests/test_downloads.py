"""Datasets against a server on this machine: good archives, wrong ones, none; and two processes at once."""

import hashlib
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from loopback import NOWHERE, sends, serving
from PIL import Image

from course_utils import datasets
from course_utils._setup import downloads
from course_utils._setup.downloads import DownloadError, download

PETS = {
    "PetImages/": b"",  # a folder
    "readme[1].txt": b"read me",
    "MSR-LA - 3467.docx": b"licence",
    "PetImages/Cat/0.jpg": b"a cat" * 3000,
    "PetImages/Cat/Thumbs.db": b"no image",
    "PetImages/Dog/1.jpg": os.urandom(20_000),
}


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


PETS_ZIP = zipped(PETS)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


@pytest.fixture
def expect(monkeypatch):
    """Return a function that makes the course know `content` at `address` under a name."""

    def set_up(address, content=PETS_ZIP, name="cats_vs_dogs", unpacked=1_000_000):
        known = downloads._DATASETS[name]
        known = known._replace(
            url=f"{address}/{known.url.rpartition('/')[2]}",
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            unpacked=unpacked,
        )
        monkeypatch.setitem(downloads._DATASETS, name, known)
        return known

    return set_up


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def nothing_is_left(data):
    return all(name.endswith(".lock") for name in files_in(data))


def test_download_makes_class_folders_and_fetches_once(data, expect, capsys):
    with serving(sends(PETS_ZIP)) as (address, asked):
        expect(address)
        folder = datasets.download("cats_vs_dogs")
        assert download("cats_vs_dogs") == folder
    assert len(asked) == 1
    assert folder == data / "downloads" / "cats_vs_dogs" / "images"
    assert files_in(folder) == {"Cat/0.jpg", "Cat/Thumbs.db", "Dog/1.jpg"}
    assert (folder / "Dog/1.jpg").read_bytes() == PETS["PetImages/Dog/1.jpg"]
    assert (folder.parent / "MSR-LA - 3467.docx").read_bytes() == b"licence"
    assert not list((data / "downloads").glob("*part*"))
    out, err = capsys.readouterr()
    assert out.count("MSR-LA") == 2 and out.count("microsoft.com") == 2  # the licence, each time
    assert err == ""


def test_download_of_flowers_keeps_the_licence_beside_the_images(expect):
    content = tarred({f"flower_photos/{name}": b"x" for name in ("LICENSE.txt", "daisy/1.jpg", "roses/2.jpg")})
    with serving(sends(content)) as (address, _):
        expect(address, content, "flowers")
        folder = download("flowers")
    assert files_in(folder.parent) == {"LICENSE.txt", "images/daisy/1.jpg", "images/roses/2.jpg"}


def cifar_batch(count, seed):
    """Return what a file of CIFAR-10 holds, and the file as Python 2 and its NumPy wrote it."""
    random = np.random.default_rng(seed)
    labels = [int(label) for label in random.integers(0, 10, count)]
    content = {b"data": random.integers(0, 256, (count, 3072), dtype=np.uint8), b"labels": labels}
    written = pickle.dumps(content, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    written, changed = re.subn(rb"(?s)(u1q.)\x89\x88", lambda m: m[1] + b"K\0K\1", written)
    assert changed and b"numpy.core.multiarray" in written
    return content, written


@pytest.mark.filterwarnings("error")
def test_download_of_cifar_writes_png_files(expect):
    batches = {"data_batch_1": cifar_batch(7, 1), "data_batch_2": cifar_batch(4, 2), "test_batch": cifar_batch(5, 3)}
    members = {f"cifar-10-batches-py/{name}": written for name, (_, written) in batches.items()}
    content = tarred(members | {"cifar-10-batches-py/batches.meta": b"x", "cifar-10-batches-py/readme.html": b"<html>"})
    with serving(sends(content)) as (address, _):
        expect(address, content, "cifar10")
        folder = download("cifar10")
    assert files_in(folder.parent) == {f"images/{name}" for name in files_in(folder)}
    assert sorted(path.name for path in folder.iterdir()) == list(downloads._CIFAR_CLASSES)
    assert len(files_in(folder)) == 16
    test = batches["test_batch"][0]
    file = folder / downloads._CIFAR_CLASSES[test[b"labels"][3]] / "test_00003.png"
    assert np.array_equal(np.asarray(Image.open(file)).transpose(2, 0, 1).ravel(), test[b"data"][3])


def test_download_uses_an_archive_put_there_by_hand(data, expect):
    expect(NOWHERE)
    by_hand = data / "downloads" / "kagglecatsanddogs_5340.zip"
    by_hand.parent.mkdir()
    by_hand.write_bytes(PETS_ZIP[:-1])
    with pytest.raises(DownloadError, match=r"5340\.zip is not the file that the course knows: remove it"):
        download("cats_vs_dogs")
    by_hand.write_bytes(PETS_ZIP)
    assert files_in(download("cats_vs_dogs"))
    assert by_hand.exists()


def test_download_refuses_another_hash_and_works_the_next_time(data, expect):
    with serving(sends(PETS_ZIP[:-1] + b"!")) as (address, _):
        expect(address)
        with pytest.raises(DownloadError, match=r"(?s)its SHA-256 differs\): try again later, or put .* by hand\.$"):
            download("cats_vs_dogs")
    assert nothing_is_left(data)
    with serving(sends(PETS_ZIP)) as (address, _):
        expect(address)
        assert files_in(download("cats_vs_dogs"))


def test_download_without_a_network_says_so(data, expect):
    expect(NOWHERE)
    with pytest.raises(DownloadError, match=r"cannot be reached: try again later, or put kaggle.*by hand\.$"):
        download("cats_vs_dogs")
    assert nothing_is_left(data)


def test_download_notices_a_full_disk_before(data, expect):
    expect(NOWHERE, unpacked=10**15)
    with pytest.raises(DownloadError, match=r"needs 1000000\.0 GB on the disk .* are free: make room"):
        download("cats_vs_dogs")
    assert nothing_is_left(data)


def test_download_names_a_disk_that_refuses(data, expect, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads, "_unpack", full)
    with serving(sends(PETS_ZIP)) as (address, _):
        expect(address)
        with pytest.raises(DownloadError, match=r"could not be stored in .* \(No space left on device\): make room"):
            download("cats_vs_dogs")
    assert nothing_is_left(data)


def test_download_refuses_unknown_names():
    with pytest.raises(ValueError, match=r"'dogs' to download: use one of cats_vs_dogs, flowers, cifar10"):
        download("dogs")


IN_A_PROCESS = """
import sys
from course_utils._setup import downloads
known = downloads._DATASETS["cats_vs_dogs"]
url, sha256, size = sys.argv[1:]
downloads._DATASETS["cats_vs_dogs"] = known._replace(url=url, sha256=sha256, size=int(size), unpacked=10**6)
print(downloads.download("cats_vs_dogs"))
print([name for name in ("keras", "IPython") if name in sys.modules])
"""


def test_download_in_two_processes_fetches_once(data, expect):
    with serving(sends(PETS_ZIP)) as (address, asked):
        known = expect(address)
        command = [sys.executable, "-c", IN_A_PROCESS, known.url, known.sha256, str(known.size)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        said = [process.communicate(timeout=600) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert all(out.endswith(b"[]\n") and not err for out, err in said)  # no slow imports, no noise
    assert len(asked) == 1
    assert len(files_in(data / "downloads" / "cats_vs_dogs")) == 5


def test_datasets_known_have_what_a_download_needs():
    assert set(downloads._DATASETS) == {"cats_vs_dogs", "flowers", "cifar10"}
    for known in downloads._DATASETS.values():
        assert known.url.startswith("https://") and known.home.startswith("https://")
        assert len(known.sha256) == 64 and int(known.sha256, 16)
        assert known.size < known.unpacked and known.licence.endswith(".")
