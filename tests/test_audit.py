"""The audit of a folder: each fault that can be planted is named, nothing sound is accused, groups are connected."""

import io
import shutil
import warnings
from pathlib import Path

import imagehash
import networkx
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from course_utils import audit as audit_module
from course_utils.audit import Audit, audit_folder, sources, split_by_source
from course_utils.datasets import sample_photo, texture_folder
from course_utils.folders import from_folder


def photo(seed: int, size=(96, 96)) -> Image.Image:
    """Return a picture of random blobs, unlike that of any other seed."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    noise = random.normal(0, 6, (*picture.size[::-1], 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def save(picture: Image.Image, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder without a fault: two classes of 24 pictures each."""
    folder = tmp_path_factory.mktemp("sound")
    for label, name in enumerate(("cat", "dog")):
        for number in range(24):
            save(photo(100 * label + number), folder / name / f"{name}_{number:02d}.png")
    return folder


@pytest.fixture
def folder(sound, tmp_path) -> Path:
    """A copy of the sound folder, to plant faults in."""
    shutil.copytree(sound, tmp_path / "pets")
    return tmp_path / "pets"


def findings(found: Audit) -> dict[str, tuple[str, ...]]:
    """Return what an audit says, with the files that each finding concerns."""
    return {f"{f.level}: {f.message}": f.files for f in found.findings}


def the_one(found: Audit) -> tuple[str, tuple[str, ...]]:
    (finding,) = findings(found).items()
    return finding


# --- what is sound


def test_audit_leaves_warning_filters_alone(sound):
    before = warnings.filters
    for _ in range(3):
        audit_folder(sound)
        assert warnings.filters is before


def test_audit_of_sound_folder_is_empty(sound):
    found = audit_folder(str(sound))
    assert found.findings == [] and found.duplicates == [] and found.near_duplicates == []
    assert str(found) == "48 images in 2 classes: cat 24 · dog 24\n✔ nothing to fix"
    assert found.labels.tolist() == [0] * 24 + [1] * 24 and found.labels.dtype == np.int64
    assert found.groups.tolist() == list(range(48)) and found.groups.dtype == np.int64
    assert found.sizes.shape == (48, 2) and (found.sizes == 96).all()


def test_audit_has_order_of_from_folder(folder):
    save(photo(7), folder / "cat" / "deeper" / "x.webp")
    save(photo(8), folder / "cat" / ".hidden.png")
    (folder / "dog" / "broken.jpg").write_bytes(b"")
    read, found = from_folder(folder, (8, 8)), audit_folder(folder)
    assert [found.folder / name for name in found.names] == read.files
    assert found.labels.tolist() == read.labels.tolist() and found.class_names == read.class_names


def test_audit_changes_nothing(folder):
    save(photo(0), folder / "cat" / "copy.png")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    audit_folder(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


# --- faults, one by one


def test_audit_names_unreadable_files(folder):
    (folder / "cat" / "page.jpg").write_text("<html>404</html>")
    (folder / "dog" / "empty.png").write_bytes(b"")
    (folder / "dog" / "half.png").write_bytes((folder / "dog" / "dog_00.png").read_bytes()[:2000])
    found = audit_folder(folder)
    what, files = the_one(found)
    assert files == ("cat/page.jpg", "dog/empty.png", "dog/half.png")
    assert what.startswith("error: 3 files cannot be read: cat/page.jpg holds text and not an image")
    assert "dog/empty.png is empty (0 bytes), dog/half.png is damaged" in what
    assert [name for name, _ in found.unreadable] == list(files)
    assert str(folder) not in str(found)


def test_audit_names_file_without_permission(folder, monkeypatch):
    original = Path.read_bytes

    def refuse(path):
        if path.name == "dog_00.png":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    what, files = the_one(audit_folder(folder))
    assert files == ("dog/dog_00.png",) and "cannot be opened (Permission denied)" in what


def test_audit_finds_equal_files(folder):
    for number in (1, 2):
        shutil.copy(folder / "cat" / "cat_03.png", folder / "cat" / f"z{number}.png")
    found = audit_folder(folder)
    what, files = the_one(found)
    assert what.startswith("error: 1 image occurs more than once: cat/cat_03.png = cat/z1.png = cat/z2")
    assert files == ("cat/cat_03.png", "cat/z1.png", "cat/z2.png")
    assert found.duplicates == [(3, 24, 25)] and found.near_duplicates == []
    assert found.groups[3] == found.groups[24] == found.groups[25] and len(set(found.groups)) == 48


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("smaller.png", lambda p: p.resize((70, 70))),
        ("larger.png", lambda p: p.resize((200, 200), Image.Resampling.BICUBIC)),
        ("saved.jpg", lambda p: p),
        ("brighter.png", lambda p: ImageEnhance.Brightness(p).enhance(1.15)),
        ("grey.png", lambda p: p.convert("L")),
        ("mirrored.png", lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        ("upside.png", lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
        ("turned.png", lambda p: p.rotate(90)),
        ("half.png", lambda p: p.rotate(180)),
        ("other.png", lambda p: p.transpose(Image.Transpose.TRANSVERSE)),
    ],
)
def test_audit_finds_near_duplicates(folder, name, change):
    save(change(photo(11)), folder / "cat" / name, **({"quality": 30} if name.endswith("jpg") else {}))
    found = audit_folder(folder)
    what, files = the_one(found)
    assert set(files) == {"cat/cat_11.png", f"cat/{name}"}
    assert what.startswith("warning: 1 pair looks alike")
    posed = name in ("mirrored.png", "upside.png", "turned.png", "half.png", "other.png")
    assert ("(1 mirrored or rotated)" in what) == posed
    assert len(set(found.groups)) == 48 and len(found.near_duplicates) == 1


def test_audit_finds_image_in_two_classes(folder):
    shutil.copy(folder / "cat" / "cat_05.png", folder / "dog" / "cat.png")
    save(photo(6).resize((80, 80)), folder / "dog" / "kitten.png")
    assert findings(audit_folder(folder)) == {
        "error: 1 image occurs in two classes: cat/cat_05.png = dog/cat.png": ("cat/cat_05.png", "dog/cat.png"),
        "warning: 1 pair looks alike in two classes: cat/cat_06.png ≈ dog/kitten.png": (
            "cat/cat_06.png",
            "dog/kitten.png",
        ),
    }


def test_audit_warns_of_chained_near_duplicates(folder):
    base = np.asarray(photo(40)).astype(int)
    for number in range(22):
        noise = np.random.default_rng(number).normal(0, 3, base.shape)
        save(Image.fromarray((base + noise).clip(0, 255).astype(np.uint8)), folder / "cat" / f"x{number}.png")
    found = audit_folder(folder)
    assert "! near duplicates connect 22 images, one by one, to one group" in str(found)
    assert len(set(sources(found))) == 49 and len(set(sources(found, near_duplicates=False))) == 70
    shutil.copy(folder / "dog" / "dog_01.png", folder / "dog" / "dog_copy.png")
    assert len(set(sources(audit_folder(folder), near_duplicates=False))) == 70  # equal files are always joined


def test_audit_plain_images_are_no_duplicates(folder):
    for number, level in enumerate((0, 100, 255)):
        save(Image.new("RGB", (96, 96), (level,) * 3), folder / "cat" / f"plain{number}.png")
    found = audit_folder(folder)
    what, files = the_one(found)
    assert what.startswith("warning: 3 images are of one colour: cat/plain0.png, cat/plain1.png, cat/plain2.png")
    assert len(files) == 3 and found.near_duplicates == []


def test_audit_compares_thumbnails_after_hashes(folder):
    """A hash is coarse: two drawings whose coarse waves agree differ in what the thumbnail still shows."""
    base = photo(50).convert("L").resize((32, 32))
    other = np.asarray(base).astype(int) + 90 * (np.indices((32, 32)).sum(axis=0) % 2) - 45  # the finest checks
    other = Image.fromarray(other.clip(0, 255).astype(np.uint8))
    assert imagehash.phash(base) - imagehash.phash(other) <= audit_module.NEAR_BITS
    save(base.resize((96, 96), Image.Resampling.NEAREST), folder / "cat" / "a.png")
    save(other.resize((96, 96), Image.Resampling.NEAREST), folder / "cat" / "b.png")
    assert audit_folder(folder).near_duplicates == []


def test_audit_names_small_and_uneven_classes(folder):
    for number in range(5):
        save(photo(300 + number), folder / "owl" / f"{number}.png")
    (folder / "yak").mkdir()
    for number in range(80):
        save(photo(400 + number), folder / "cat" / f"more{number}.png")
    found = findings(audit_folder(folder))
    assert list(found) == [
        "error: 2 classes have fewer than 20 images: owl (5), yak (0)",
        "warning: “cat” has 4.3 times as many images as “dog”",
    ]


def test_audit_names_exif_orientation(folder):
    note = Image.Exif()
    note[0x0112] = 6
    save(photo(60, (120, 90)), folder / "dog" / "phone.jpg", exif=note, quality=95)
    found = audit_folder(folder)
    what, files = the_one(found)
    assert what == "warning: 1 image is upright only by its EXIF orientation: dog/phone.jpg"
    assert files == ("dog/phone.jpg",)
    assert found.sizes[found.names.index("dog/phone.jpg")].tolist() == [120, 90]
    assert "rotate it and save it" in str(found)


def test_audit_names_small_and_long_images(folder):
    save(photo(70, (40, 60)), folder / "cat" / "icon.png")
    save(photo(71, (90, 400)), folder / "dog" / "long.png")
    save(photo(72, (500, 100)), folder / "dog" / "wide.png")
    found = audit_folder(folder)
    assert list(findings(found).items()) == [
        ("warning: 1 image is shorter than 64 pixels on a side: cat/icon.png", ("cat/icon.png",)),
        (
            "warning: 2 images are over 3 times as long as wide: dog/long.png, dog/wide.png",
            ("dog/long.png", "dog/wide.png"),
        ),
    ]
    assert "crop them to what matters" in str(found)


def test_audit_names_shortcut_by_size(sound, tmp_path):
    for path in sorted(sound.rglob("*.png")):
        picture = Image.open(path)
        target = tmp_path / "pets" / path.parent.name / path.name
        save(picture.resize((90, 90)) if path.parent.name == "dog" else picture, target)
    what, _ = the_one(audit_folder(tmp_path / "pets"))
    assert what == "warning: height, width and format alone give away the class of 100% of the images"


def test_audit_names_ignored_files(folder):
    save(photo(80), folder / "cat" / "a.webp")
    save(photo(81), folder / "cat" / "b.tif")
    (folder / "list.csv").write_text("a,b")
    assert list(findings(audit_folder(folder)).items()) == [
        (
            "info: Keras' own loader ignores 2 images: cat/a.webp, cat/b.tif",
            ("cat/a.webp", "cat/b.tif"),
        ),
        ("info: 1 file outside the class folders will not be used: list.csv", ("list.csv",)),
    ]


def test_audit_accepts_damaged_metadata(folder, monkeypatch):
    def broken(*_):
        raise SyntaxError("no EXIF")

    monkeypatch.setattr(Image.Image, "getexif", broken)
    assert audit_folder(folder).findings == []


def test_audit_sorts_findings_and_cuts_lists(folder):
    save(photo(80), folder / "cat" / "new.webp")
    for number in range(5):
        save(photo(90 + number, (30, 30)), folder / "dog" / f"icon{number}.png")
    (folder / "cat" / "broken.png").write_bytes(b"")
    found = audit_folder(folder)
    assert [finding.level for finding in found.findings] == ["error", "warning", "info"]
    assert "dog/icon0.png, dog/icon1.png, dog/icon2.png and 2 more" in found.findings[1].message
    assert [line[0] for line in str(found).splitlines()] == ["5", "✘", " ", "!", " ", "·", " "]


def test_audit_compares_across_blocks(tmp_path):
    """More than one block of rows: the twins stand in different ones."""
    for number in range(300):
        picture = Image.new("L", (32, 32))
        draw = ImageDraw.Draw(picture)
        for x, y, level in np.random.default_rng(number).integers(0, 256, (12, 3)):
            draw.rectangle((x % 32, y % 32, x % 32 + 9, y % 32 + 9), fill=int(level))
        save(picture, tmp_path / "a" / f"{number:03d}.png")
    save(Image.open(tmp_path / "a" / "010.png").resize((64, 64)), tmp_path / "a" / "290x.png")
    save(photo(1), tmp_path / "b" / "x.png")
    found = audit_folder(tmp_path)
    assert ("a/010.png", "a/290x.png") in {tuple(found.names[n] for n in pair) for pair in found.near_duplicates}


# --- the folder itself


def test_audit_refuses_what_is_no_folder_of_classes(tmp_path, sound):
    with pytest.raises(ValueError, match=r"There is no folder “.*nothing”: check"):
        audit_folder(tmp_path / "nothing")
    with pytest.raises(ValueError, match="did you mean “pets”"):
        (tmp_path / "pets").mkdir()
        audit_folder(tmp_path / "petz")
    with pytest.raises(ValueError, match="is a file: pass"):
        audit_folder(sound / "cat" / "cat_00.png")
    with pytest.raises(ValueError, match="file\\(s\\) directly but no class folder"):
        audit_folder(sound / "cat")


def test_audit_of_classes_without_readable_image(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.png").write_bytes(b"")
    found = audit_folder(tmp_path)
    assert str(found).startswith("0 images in 2 classes: a 0 · b 0\n✘ 1 file cannot be read: b/x.png is empty")
    assert found.groups.shape == (0,) and found.sizes.shape == (0, 2)
    assert sources(found).shape == (0,)


# --- sources


def by_networkx(count, *key_lists):
    graph = networkx.Graph()
    graph.add_nodes_from(range(count))
    for keys in key_lists:
        for key in set(keys):
            members = [n for n in range(count) if keys[n] == key]
            graph.add_edges_from((members[0], other) for other in members)
    return {frozenset(group) for group in networkx.connected_components(graph)}


def as_sets(groups):
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def test_sources_join_near_duplicates_and_rule(folder):
    save(photo(3).resize((80, 80)), folder / "cat" / "cat_99.png")  # looks like cat_03
    save(photo(103).rotate(90), folder / "cat" / "dog_98.png")  # looks like dog_03, across classes
    found = audit_folder(folder)

    def rule(path):
        return path.stem.partition("_")[2][0]  # the tens: cat_03 and dog_07 share a source

    assert as_sets(sources(found)) == by_networkx(50, found.groups.tolist())
    joined = sources(found, rule)
    keys = [rule(Path(name)) for name in found.names]
    assert as_sets(joined) == by_networkx(50, found.groups.tolist(), keys) and joined.dtype == np.int64
    assert len(set(joined)) < len(set(keys))  # 9 is joined to 0 by what cat_99 looks like
    assert joined[0] == 0 and sorted(set(joined.tolist())) == list(range(joined.max() + 1))


def test_sources_rule_gets_relative_paths(sound):
    asked = []
    sources(audit_folder(sound), lambda path: asked.append(path) or path.parent.name)
    assert asked[0] == Path("cat/cat_00.png") and len(asked) == 48


def test_textures_come_in_regions(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    folder = texture_folder()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert texture_folder() == folder and len(before) == 192
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before
    found = audit_folder(folder)
    assert found.class_names == ["brick", "grass", "gravel"] and not found.unreadable and not found.duplicates
    regions = sources(found, lambda path: path.stem.rpartition("_")[0])
    assert len(set(regions)) == 48 and (np.bincount(regions) == 4).all()
    # Two crops of different regions of one photo share no pixel: each lies inside of its own 128 × 128.
    for name in ("brick-00_0", "brick-15_3", "gravel-07_2"):
        kind, _, rest = name.partition("-")
        region = int(rest[:2])
        with Image.open(folder / kind / f"{name}.png") as crop:
            crop = np.asarray(crop)
        top, left = 128 * (region // 4), 128 * (region % 4)
        tile = sample_photo(kind)[top : top + 128, left : left + 128]
        windows = np.lib.stride_tricks.sliding_window_view(tile, (96, 96))
        assert crop.shape == (96, 96) and (windows == crop).all(axis=(2, 3)).any()


def test_audit_hashes_what_it_decodes(sound):
    """What is looked at is what is hashed: the file is not opened a second time, when it may have changed."""
    file = sound / "cat" / "cat_00.png"
    looked = audit_module._inspect(sound, file)
    assert looked.hashes[0] == int(str(imagehash.phash(Image.open(io.BytesIO(file.read_bytes())))), 16)


# --- sets


@pytest.fixture
def divided(sound, tmp_path) -> Path:
    """The sound folder, divided into train, val and test: 12, 6 and 6 images of each class."""
    for file in sound.glob("*/*.png"):
        number = int(file.stem[-2:])
        part = "train" if number < 12 else "val" if number < 18 else "test"
        target = tmp_path / "sets" / part / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return tmp_path / "sets"


def test_audit_recognises_sets(divided):
    found = audit_folder(divided)
    first = "48 images in 2 classes: cat 24 · dog 24\ndivided into sets: train 24 · validation 12 · test 12"
    assert str(found) == f"{first}\n✔ nothing to fix"
    rows = split_by_source(found, sources(found))
    assert [set(found.sets[of]) for of in rows] == [{"train"}, {"validation"}, {"test"}]
    assert sorted(np.concatenate(rows)) == list(range(48))


def test_audit_finds_leaks_between_sets(divided):
    shutil.copy(divided / "train/cat/cat_00.png", divided / "test/cat/copy.png")
    save(photo(101).resize((80, 80)), divided / "val/dog/smaller.png")
    found = audit_folder(divided)
    assert findings(found) == {
        "error: 1 image occurs in two sets: train/cat/cat_00.png = test/cat/copy.png": (
            "train/cat/cat_00.png",
            "test/cat/copy.png",
        ),
        "warning: 1 pair looks alike in two sets: train/dog/dog_01.png ≈ val/dog/smaller.png": (
            "train/dog/dog_01.png",
            "val/dog/smaller.png",
        ),
    }
    with pytest.raises(ValueError, match=r"The train set and the validation set share 1 source, .*dog_01.*smaller"):
        split_by_source(found, sources(found))


def test_audit_names_classes_that_differ_between_sets(divided):
    (divided / "val" / "dog").rename(divided / "val" / "Dog")
    said = list(findings(audit_folder(divided)))
    assert "error: the class “dog” is in train and test but not in validation" in said
    assert "error: the class “Dog” is in validation but not in train and test" in said


# --- the split


def test_split_cuts_what_is_missing_out_of_the_training_set(divided):
    shutil.rmtree(divided / "test")
    found = audit_folder(divided)
    train, validation, test = split_by_source(found, sources(found))
    assert set(found.sets[validation]) == {"validation"} and set(found.sets[np.r_[train, test]]) == {"train"}
    assert 4 <= len(test) <= 6 and sorted(np.r_[train, validation, test]) == list(range(36))


def test_split_keeps_sources_together(sound):
    found = audit_folder(sound)
    source = sources(found, lambda path: path.stem[:-1] + str(int(path.stem[-1]) // 2))  # ten to fifteen sources
    rows = split_by_source(found, source)
    held = [set(source[of]) for of in rows]
    assert not (held[0] & held[1] or held[0] & held[2] or held[1] & held[2])
    assert sorted(np.concatenate(rows)) == list(range(48))
    assert all(set(found.labels[of]) == {0, 1} for of in rows)


def test_split_names_the_class_with_too_few_sources(sound):
    found = audit_folder(sound)
    rule = lambda path: path.stem if path.parent.name == "cat" else path.stem[:5]  # noqa: E731  (dog_0, dog_1, dog_2)
    with pytest.raises(ValueError, match="The class “dog” has 3 sources, too few to split: it needs 5 or more"):
        split_by_source(found, sources(found, rule))


def test_sources_say_what_is_wrong_with_a_rule(sound):
    found = audit_folder(sound)
    with pytest.raises(ValueError, match=r"The rule fails for “cat/cat_00.png” \(IndexError: .*: rename the file or"):
        sources(found, lambda path: path.stem.split("_")[7])
    with pytest.raises(ValueError, match=r"The rule gives all 48 images the same source, '\.png', so nothing can be"):
        sources(found, lambda path: path.suffix)
