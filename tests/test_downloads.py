"""Downloads against a server on this machine: good, cut, wrong, slow and malicious; and processes at once."""

import gzip
import hashlib
import io
import os
import pickle
import socket
import stat
import subprocess
import sys
import tarfile
import warnings
import zipfile
from functools import partial
from pathlib import Path

import loopback
import numpy as np
import pytest
from PIL import Image

from course_utils._setup import downloads
from course_utils._setup.downloads import DownloadError, download

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


# --- a server and archives


def serving(answer):
    """Run a server; yield its address and the list of byte ranges it was asked for."""
    return loopback.serving(answer, lambda handler: handler.headers.get("Range"))


def begin(handler, length, status=200, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def sends(content):
    def answer(handler, over):
        begin(handler, len(content))
        handler.wfile.write(content)

    return answer


def breaks_off(content, after, times=1, ranges=True):
    """Answer with `after` bytes and a broken connection `times` times, then with all that is asked for."""
    left = [times]

    def answer(handler, over):
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
        rest = content[start:]
        extra = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        begin(handler, len(rest), 206 if start else 200, **extra)
        left[0] -= 1
        handler.wfile.write(rest[:after] if left[0] >= 0 else rest)
        handler.wfile.flush()
        if left[0] >= 0:
            handler.connection.shutdown(socket.SHUT_RDWR)

    return answer


def zipped(members):
    """Return a zip archive of {name or ZipInfo: bytes}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are two of a name is the point
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members, mode="w:gz"):
    """Return a tar archive of {name or TarInfo: bytes}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


PETS = {
    "PetImages/": b"",  # a folder
    "readme[1].txt": b"read me",
    "MSR-LA - 3467.docx": b"licence",
    "PetImages/Cat/0.jpg": b"a cat" * 3000,
    "PetImages/Cat/Thumbs.db": b"no picture",
    "PetImages/Dog/1.jpg": os.urandom(20_000),  # cannot be compressed, so that a connection can break in it
}
PETS_ZIP = zipped(PETS)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """Use an empty folder for data, and no patience."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    for proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(downloads, "_SILENCE", 0.4)
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    return tmp_path


def known(address, content, name="cats_vs_dogs", file=None, **changes):
    """Let the data set `name` be `content`, served at `address`."""
    usual = downloads._SETS[name]
    changes = {"size": len(content), "unpacked": 1_000_000, "sha256": hashlib.sha256(content).hexdigest()} | changes
    return usual._replace(url=f"{address}/{file or usual.file}", **changes)


@pytest.fixture
def expect(monkeypatch):
    """Return a function that makes the course know `content` at `address` under a name."""

    def set_up(address, content, name="cats_vs_dogs", **more):
        monkeypatch.setitem(downloads._SETS, name, known(address, content, name, **more))

    return set_up


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def nothing_is_left(data):
    """Return whether the folder of downloads holds nothing but an empty lock file."""
    return all(name.endswith(".lock") for name in files_in(data))


# --- what works


def test_a_good_archive_becomes_class_folders_and_is_fetched_once(data, expect, capsys):
    with serving(sends(PETS_ZIP)) as (address, asked):
        expect(address, PETS_ZIP)
        folder = download("cats_vs_dogs")
        assert download("cats_vs_dogs") == folder
    assert len(asked) == 1
    assert folder == data / "downloads" / "cats_vs_dogs" / "pictures"
    assert files_in(folder) == {"Cat/0.jpg", "Cat/Thumbs.db", "Dog/1.jpg"}
    assert (folder / "Dog/1.jpg").read_bytes() == PETS["PetImages/Dog/1.jpg"]
    assert (folder.parent / "MSR-LA - 3467.docx").read_bytes() == b"licence"
    assert not list((data / "downloads").glob("*part*"))
    out, err = capsys.readouterr()
    assert out.count("MSR-LA") == 2 and out.count("microsoft.com") == 2  # the licence, each time
    assert "Downloading data" not in err  # pooch's own announcement


def test_flowers_come_from_a_tar_archive(data, expect):
    folders = [tarfile.TarInfo("flower_photos"), tarfile.TarInfo("flower_photos/daisy")]
    for member in folders:
        member.type = tarfile.DIRTYPE
    content = tarred(
        dict.fromkeys(folders, b"")
        | {"flower_photos/LICENSE.txt": b"CC BY", "flower_photos/daisy/1.jpg": b"d", "flower_photos/roses/2.jpg": b"r"}
    )
    with serving(sends(content)) as (address, _):
        expect(address, content, "flowers")
        folder = download("flowers")
    assert files_in(folder.parent) == {"LICENSE.txt", "pictures/daisy/1.jpg", "pictures/roses/2.jpg"}


def cifar_batch(count, seed, protocol=2):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, 3072), dtype=np.uint8)
    return pixels, {b"data": pixels, b"labels": [int(n) for n in random.integers(0, 10, count)], b"batch_label": b"x"}


def test_cifar_becomes_png_files(data, expect):
    batches = {"data_batch_1": cifar_batch(7, 1), "data_batch_2": cifar_batch(4, 2), "test_batch": cifar_batch(5, 3)}
    members = {f"cifar-10-batches-py/{name}": pickle.dumps(d, protocol=3) for name, (_, d) in batches.items()}
    members["cifar-10-batches-py/readme.html"] = b"<html>"
    members["cifar-10-batches-py/batches.meta"] = b"not needed"
    content = tarred(members)
    with serving(sends(content)) as (address, _):
        expect(address, content, "cifar10")
        folder = download("cifar10")
    assert files_in(folder.parent) == {f"pictures/{name}" for name in files_in(folder)}
    assert sorted(path.name for path in folder.iterdir()) == list(downloads._CIFAR_CLASSES)
    assert len(files_in(folder)) == 16
    pixels, content = batches["test_batch"]
    file = folder / downloads._CIFAR_CLASSES[content[b"labels"][3]] / "test_00003.png"
    red = pixels[3, :1024].reshape(32, 32)
    assert np.array_equal(np.asarray(Image.open(file))[..., 0], red)


def test_an_array_as_python_2_pickled_it_is_read():
    """The batches of CIFAR-10 were written by Python 2, whose NumPy had other module names."""
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    old = pickle.dumps({b"data": array}, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    assert np.array_equal(downloads._ArraysOnly(io.BytesIO(old), encoding="bytes").load()[b"data"], array)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_goes_on_or_starts_over(data, expect, ranges):
    with serving(breaks_off(PETS_ZIP, after=9000, ranges=ranges)) as (address, asked):
        expect(address, PETS_ZIP)
        assert (download("cats_vs_dogs") / "Dog/1.jpg").read_bytes() == PETS["PetImages/Dog/1.jpg"]
    assert asked == [None, "bytes=9000-"]


def test_many_cuts_are_no_reason_to_give_up_as_long_as_something_arrives(data, expect):
    with serving(breaks_off(PETS_ZIP, after=2500, times=7)) as (address, asked):
        expect(address, PETS_ZIP)
        download("cats_vs_dogs")
    assert len(asked) == 8 and asked[7] == "bytes=17500-"


def test_a_slow_server_that_keeps_sending_is_waited_for(data, expect, monkeypatch):
    monkeypatch.setattr(downloads, "_SILENCE", 0.2)

    def answer(handler, over):
        begin(handler, len(PETS_ZIP))
        for start in range(0, len(PETS_ZIP), 4000):
            handler.wfile.write(PETS_ZIP[start : start + 4000])
            over.wait(0.08)

    with serving(answer) as (address, asked):
        expect(address, PETS_ZIP)
        download("cats_vs_dogs")
    assert len(asked) == 1


def test_a_server_without_an_announced_length_may_end_too_soon(data, expect):
    """Then the hash judges; and a server that has nothing beyond what we have says 416."""

    def answer(handler, over):
        if handler.headers.get("Range"):
            begin(handler, 0, 416)
        else:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(PETS_ZIP[:-1])

    assert "not the file that the course knows" in fails(data, expect, answer)

    def all_but_the_end(handler, over):
        if handler.headers.get("Range"):
            begin(handler, 0, 416)
        else:
            begin(handler, len(PETS_ZIP) + 1)
            handler.wfile.write(PETS_ZIP)

    with serving(all_but_the_end) as (address, asked):
        expect(address, PETS_ZIP)
        assert files_in(download("cats_vs_dogs"))
    assert len(asked) == 2


def test_an_archive_put_there_by_hand_needs_no_network(data, expect):
    expect(NOWHERE, PETS_ZIP)
    by_hand = data / "downloads" / "kagglecatsanddogs_5340.zip"
    by_hand.parent.mkdir()
    by_hand.write_bytes(PETS_ZIP[:-1])
    with pytest.raises(DownloadError, match=r"5340\.zip is not the .* that the course knows: remove it"):
        download("cats_vs_dogs")
    by_hand.write_bytes(PETS_ZIP)
    assert files_in(download("cats_vs_dogs"))
    assert by_hand.exists()


IN_A_PROCESS = """
import sys
from course_utils._setup import downloads
known = downloads._SETS["cats_vs_dogs"]
url, sha256, size = sys.argv[1:]
downloads._SETS["cats_vs_dogs"] = known._replace(url=url, sha256=sha256, size=int(size), unpacked=10**6)
print(downloads.download("cats_vs_dogs"))
"""


def test_two_processes_at_once_fetch_it_once(data):
    with serving(sends(PETS_ZIP)) as (address, asked):
        what = known(address, PETS_ZIP)
        command = [sys.executable, "-c", IN_A_PROCESS, what.url, what.sha256, str(what.size)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert len(asked) == 1
    assert len(files_in(data / "downloads" / "cats_vs_dogs")) == 5


# --- what fails


def fails(data, expect, answer, content=PETS_ZIP, **more):
    """Download from a server that gives `answer`; return what the error said, one sentence."""
    with serving(answer) as (address, _):
        expect(address, content, **more)
        with pytest.raises(DownloadError) as caught:
            download("cats_vs_dogs")
    assert nothing_is_left(data)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


def test_a_busy_server_is_asked_again_and_given_up_in_the_end(data, expect):
    calls = []

    def busy(handler, over):
        calls.append(handler)
        begin(handler, 0, 503)

    assert "status 503" in fails(data, expect, busy) and len(calls) == 3

    def busy_once(handler, over):
        calls.append(handler)
        begin(handler, 0, 429) if len(calls) == 4 else sends(PETS_ZIP)(handler, over)

    with serving(busy_once) as (address, asked):
        expect(address, PETS_ZIP)
        assert (download("cats_vs_dogs") / "Cat").is_dir() and len(asked) == 2


def test_another_file_is_refused(data, expect):
    text = fails(data, expect, sends(PETS_ZIP[:-1] + b"!"))
    assert "not the file that the course knows" in text and "deleted" in text


def test_a_server_that_always_breaks_off_is_given_up(data, expect):
    text = fails(data, expect, breaks_off(PETS_ZIP, after=9000, times=99, ranges=False))
    assert "the connection broke after 0.0 of 0.0 MB 3 times" in text and "by hand" in text


def test_a_silent_server_is_given_up_soon(data, expect):
    text = fails(data, expect, lambda handler, over: over.wait(60))
    assert "kept silent for 0.4 seconds" in text


def test_a_server_that_falls_silent_in_the_middle_is_given_up(data, expect):
    def answer(handler, over):
        begin(handler, len(PETS_ZIP))
        handler.wfile.write(PETS_ZIP[:5000])
        over.wait(60)

    assert "kept silent for 0.4 seconds after" in fails(data, expect, answer)


def test_a_server_that_drips_is_given_up(data, expect):
    def answer(handler, over):
        begin(handler, len(PETS_ZIP))
        for byte in PETS_ZIP:
            handler.wfile.write(bytes([byte]))
            if over.wait(0.05):
                return

    assert "kept silent for 0.4 seconds" in fails(data, expect, answer)


def test_a_refusal_and_an_endless_answer_are_named(data, expect):
    assert "status 404" in fails(data, expect, lambda handler, over: begin(handler, 0, 404))

    def endless(handler, over):
        begin(handler, 10**12)
        while not over.is_set():
            handler.wfile.write(bytes(1 << 16))

    assert "sent more than" in fails(data, expect, endless)


def test_without_a_network_one_sentence_says_so(data, expect):
    expect(NOWHERE, PETS_ZIP)
    with pytest.raises(DownloadError, match=r"cannot be reached: try again later, or put kaggle.*by hand\.$"):
        download("cats_vs_dogs")
    assert nothing_is_left(data)


def test_after_a_failure_the_next_call_works(data, expect):
    fails(data, expect, sends(b"wrong"))
    with serving(sends(PETS_ZIP)) as (address, _):
        expect(address, PETS_ZIP)
        assert files_in(download("cats_vs_dogs"))


def test_a_full_disk_is_noticed_before(data, expect, monkeypatch):
    expect(NOWHERE, PETS_ZIP, unpacked=10**15)
    with pytest.raises(DownloadError, match=r"needs 1000000\.0 GB on the disk .* are free: make room"):
        download("cats_vs_dogs")
    assert nothing_is_left(data)


def test_a_disk_that_refuses_is_one_sentence(data, expect, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads, "_archive", full)
    with pytest.raises(DownloadError, match=r"could not be stored in .* \(No space left on device\): make room"):
        download("cats_vs_dogs")


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"'dogs' to download: use one of cats_vs_dogs, flowers, cifar10"):
        download("dogs")


# --- malicious archives


def link(name, target, kind):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zip_link(name):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


def zip_that_lies(claimed, members=1):
    """Return a zip archive whose members unpack to 2 MB each but claim `claimed` bytes each."""
    honest = zipped({f"PetImages/Cat/{number}.jpg": bytes(2_000_000) for number in range(members)})
    return honest.replace((2_000_000).to_bytes(4, "little"), claimed.to_bytes(4, "little"))


class _Bomb(io.RawIOBase):
    """Ten gigabytes of zeros, as a file."""

    left = 10 * 10**9

    def readable(self):
        return True

    def readinto(self, buffer):
        size = min(len(buffer), self.left)
        buffer[:size] = bytes(size)
        self.left -= size
        return size


def tar_bomb(claimed):
    """Return a tar archive of 10 MB that claims and holds `claimed` bytes in one file, for its first 20 MB honestly."""
    member = tarfile.TarInfo("PetImages/Cat/0.jpg")
    member.size = claimed
    return gzip.compress(member.tobuf() + bytes(20_000_000), 1)


HARMLESS = {"PetImages/Cat/0.jpg": b"x"}
MALICIOUS = {
    "zip: up and out": (zipped(HARMLESS | {"../evil.txt": b"x"}), "outside its folder"),
    "zip: up in the middle": (zipped(HARMLESS | {"PetImages/../../../evil.txt": b"x"}), "outside its folder"),
    "zip: Windows' way up": (zipped(HARMLESS | {"..\\evil.txt": b"x"}), "outside its folder"),
    "zip: absolute": (zipped(HARMLESS | {"/tmp_evil/evil.txt": b"x"}), "outside its folder"),
    "zip: a drive": (zipped(HARMLESS | {"C:\\evil.txt": b"x"}), "outside its folder"),
    "zip: symbolic link": (zipped(HARMLESS | {zip_link("PetImages/Cat/1.jpg"): b"/etc/passwd"}), "a link or a device"),
    "zip: claims over 10 GB": (zip_that_lies(2**32 - 2, members=3), "unpacks to more than"),
    "zip: holds more than it claims": (zip_that_lies(1000), "is damaged"),
    "zip: many small ones": (zipped({f"PetImages/Cat/{n}.jpg": bytes(100_000) for n in range(11)}), "unpacks to more"),
    "zip: two of a name": (zipped({zipfile.ZipInfo("PetImages/Cat/0.jpg"): b"y"} | HARMLESS), "two files of the same"),
    "tar: up and out": (tarred(HARMLESS | {"PetImages/../../evil.txt": b"x"}), "outside its folder"),
    "tar: absolute": (tarred(HARMLESS | {"/evil.txt": b"x"}), "outside its folder"),
    "tar: symbolic link": (tarred({link("PetImages/Cat", "/etc", tarfile.SYMTYPE): b""} | HARMLESS), "a link"),
    "tar: hard link": (tarred({link("PetImages/Cat/1.jpg", "/etc/passwd", tarfile.LNKTYPE): b""}), "a link"),
    "tar: device": (tarred({link("PetImages/Cat/1.jpg", "", tarfile.CHRTYPE): b""}), "a link or a device"),
    "tar: claims 10 GB": (tar_bomb(10 * 10**9), "unpacks to more than"),
    "tar: bomb in a header": (
        gzip.compress(link("x", "", tarfile.XHDTYPE).tobuf()[:124] + b"77777777777\0" + bytes(900_000)),
        "is damaged",
    ),
    "tar: not compressed, cut off": (tarred(PETS, "w")[:4000], "is damaged"),
    "no archive": (b"<html>Sorry</html>" * 100, "is damaged"),
}


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_malicious_archive_is_refused_as_a_whole(data, expect, case):
    content, said = MALICIOUS[case]
    assert said in fails(data, expect, sends(content), content)
    assert not list(data.parent.rglob("*evil*"))


def test_a_bomb_of_ten_gigabytes_fills_neither_disk_nor_memory(data, expect, tmp_path, monkeypatch):
    """Members whose headers lie are counted while they are unpacked, not believed."""
    written = []

    def members(archive, limit):
        yield "PetImages/Cat/0.jpg", _Bomb()

    monkeypatch.setattr(downloads, "_zip_members", members)
    original = Path.open

    def watched(self, *arguments, **options):
        written.append(self)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", watched)
    assert "unpacks to more than the 0.001 GB" in fails(data, expect, sends(PETS_ZIP))
    assert any(path.name == "0.jpg" for path in written)


def test_a_tar_of_endless_headers_is_stopped(data, expect, monkeypatch):
    monkeypatch.setattr(downloads, "_MOST_FILES", 5)
    content = tarred({f"PetImages/Cat/{n}.jpg": b"" for n in range(6)})
    assert "holds over 5 files" in fails(data, expect, sends(content), content)
    comments = tarfile.TarInfo("PetImages/Cat/0.jpg")
    comments.pax_headers = {"comment": "x" * 2_000_000}
    content = tarred({comments: b""})
    assert "unpacks to more" in fails(data, expect, sends(content), content)


class _Command:
    def __reduce__(self):
        return os.system, ("echo evil > evil.txt",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps(_Command()), r"asks for \w+\.system"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)}), "labels"),
        (pickle.dumps({b"data": np.zeros((1, 9), np.uint8), b"labels": [1]}), "cannot be read"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}), "labels from 0 to 9"),
        (b"no pickle", "cannot be read"),
    ],
)
def test_a_pickle_gets_no_further_than_arrays(data, expect, monkeypatch, content, said):
    monkeypatch.chdir(data)
    archive = tarred({"cifar-10-batches-py/data_batch_1": content})
    with serving(sends(archive)) as (address, _):
        expect(address, archive, "cifar10")
        with pytest.raises(DownloadError, match=said):
            download("cifar10")
    assert nothing_is_left(data)


# --- what the course knows


def test_what_the_course_knows_has_the_form_it_needs():
    assert set(downloads._SETS) == {"cats_vs_dogs", "flowers", "cifar10"}
    for what in downloads._SETS.values():
        assert what.url.startswith("https://") and what.home.startswith("https://")
        assert len(what.sha256) == 64 and int(what.sha256, 16)
        assert what.size < what.unpacked and what.licence.endswith(".")


def test_the_course_offers_it_where_the_data_sets_are():
    from course_utils import datasets

    assert datasets.download is download
    light = "import sys, course_utils.datasets; print([m for m in ('pooch', 'requests', 'keras') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_places_of_members():
    from pathlib import PurePosixPath

    below = partial(downloads._below, "root")
    assert below(PurePosixPath("root/a/1.jpg")) == PurePosixPath("pictures/a/1.jpg")
    assert below(PurePosixPath("root/LICENSE.txt")) == PurePosixPath("LICENSE.txt")
    assert below(PurePosixPath("readme.txt")) == PurePosixPath("readme.txt")
    assert below(PurePosixPath("other/a/1.jpg")) is None and below(PurePosixPath("root/a/b/1.jpg")) is None
