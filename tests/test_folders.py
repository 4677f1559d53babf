"""Folders: what is read, what is skipped and ignored, progress, and one sentence for each kind of wrong folder."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils.folders import counted, files_below, find_images, from_folder, list_class_folders


def put(path: Path, colour=(255, 0, 0), size=(40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def test_from_folder_reads_formats_and_lists_skipped(tmp_path):
    put(tmp_path / "cat" / "b.png")
    put(tmp_path / "cat" / "a.webp")
    put(tmp_path / "cat" / "deeper" / "c.tif")
    put(tmp_path / "dog" / "d.bmp", (0, 0, 255))
    (tmp_path / "dog" / "notes.txt").write_text("not an image")
    put(tmp_path / "loose.png")
    put(tmp_path / "cat" / ".hidden.png")
    put(tmp_path / "cat" / ".thumbnails" / "x.png")
    put(tmp_path / "__MACOSX" / "cat" / "x.png")
    put(tmp_path / ".git" / "x.png")

    result = from_folder(str(tmp_path), size=(20, 30))
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
    assert from_folder(tmp_path).class_names == ["1", "10", "2"]
    assert from_folder(tmp_path).images.shape == (3, 160, 160, 3)


def test_from_folder_crops_centre(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10, 0], wide[:, 10:20, 1], wide[:, 20:, 2] = 255, 255, 255  # red, green, blue squares in a row
    put(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(wide).save(tmp_path / "a" / "x.png")
    assert (from_folder(tmp_path, size=(10, 10)).images[0] == (0, 255, 0)).all()  # only green is left


def test_from_folder_shrinks_with_antialiasing(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255  # thinner than the result can show: must become an even grey, half of 255
    put(tmp_path / "b" / "x.png")
    (tmp_path / "a").mkdir()
    Image.fromarray(stripes).save(tmp_path / "a" / "x.png")
    shrunk = from_folder(tmp_path, size=(8, 8)).images[0].astype(int)
    assert abs(shrunk - 127.5).max() < 12


def test_from_folder_says_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        from_folder(tmp_path / "nothing")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match="did you mean “pictures”"):
        from_folder(tmp_path / "picures")
    with pytest.raises(ValueError, match="is empty"):
        from_folder(tmp_path / "pictures")
    file = put(tmp_path / "pictures" / "x.png")
    with pytest.raises(ValueError, match="is a file: pass the folder"):
        from_folder(file)
    with pytest.raises(ValueError, match=r"1 file\(s\) directly but no class folder"):
        from_folder(tmp_path / "pictures")
    put(tmp_path / "pictures" / "cat" / "x.png")
    with pytest.raises(ValueError, match="only one class folder, “cat”"):
        from_folder(tmp_path / "pictures")
    put(tmp_path / "nested" / "pets" / "cat" / "x.png")
    (tmp_path / "nested" / "pets" / "dog").mkdir()
    with pytest.raises(ValueError, match=r"which holds the classes: pass “.*pets”"):
        from_folder(tmp_path / "nested")
    with pytest.raises(ValueError, match=r"The class “dog” of .* has no readable image, it is empty"):
        from_folder(tmp_path / "nested" / "pets")
    (tmp_path / "nested" / "pets" / "dog" / "x.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"The class “dog” of .* has no readable image: .*0 bytes"):
        from_folder(tmp_path / "nested" / "pets")
    with pytest.raises(ValueError, match="size 0 × 160"):
        from_folder(tmp_path / "nested" / "pets", size=(0, 160))
    # 2 pictures × 20,000 × 10,000 pixels × 3 bytes = 1.2 GB
    with pytest.raises(ValueError, match=r"2 files.*1\.2 GB.*smaller size"):
        from_folder(tmp_path / "nested" / "pets", size=(20_000, 10_000))


def test_class_folders_are_listed_in_order(tmp_path):
    for name in ("b/2.png", "b/10.png", "a/x.txt", "loose.png", ".hidden/x.png"):
        put(tmp_path / name) if name.endswith("png") else put(tmp_path / "a" / "x.png").rename(tmp_path / name)
    found = list_class_folders(tmp_path)
    assert found.class_names == ["a", "b"] and found.labels == [0, 1, 1]
    assert found.files == [tmp_path / "a" / "x.txt", tmp_path / "b" / "10.png", tmp_path / "b" / "2.png"]
    assert found.outside == [tmp_path / "loose.png"]


def test_find_images_takes_folders_and_files(tmp_path):
    named = put(tmp_path / "named.png").rename(tmp_path / "named.data")
    inside = [put(tmp_path / "inbox" / name) for name in ("a.PNG", "b/c.jpg")]
    put(tmp_path / "inbox" / "__MACOSX" / "a.png")
    put(tmp_path / "inbox" / ".hidden.png")
    (tmp_path / "inbox" / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    files, problems = find_images([named, tmp_path / "inbox", tmp_path / "empty", tmp_path / "inbix"])
    assert files == [named, *inside]
    assert "empty” holds no images (.jpg, " in problems[0]
    assert "no file or folder" in problems[1] and "did you mean “inbox”" in problems[1]
    assert len(problems) == 2 and files_below(tmp_path / "inbox") == [*inside, tmp_path / "inbox" / "notes.txt"]


def test_from_folder_shows_progress_in_one_line(tmp_path, monkeypatch, capsys):
    put(tmp_path / "pets" / "cat" / "x.png")
    put(tmp_path / "pets" / "dog" / "x.png")
    said = []

    class Line:
        def __init__(self, resting):
            said.append(resting)

        def update(self, text):
            said.append(text)

        def rest(self):
            said.append("rest")

    monkeypatch.setattr("course_utils.live.LiveLine", Line)
    from_folder(tmp_path / "pets")
    assert said == ["2 files of 2 classes", "rest"] and capsys.readouterr() == ("", "")
    clock = iter(range(100))
    monkeypatch.setattr("course_utils.folders.time.monotonic", lambda: next(clock))
    assert list(counted("abc", Line("letters"))) == ["a", "b", "c"]
    assert said[2:] == ["letters", "0 read", "1 read", "2 read", "rest"]


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "VALID", "test"), ("training", "validation", "testing")])
def test_sets_are_recognised(tmp_path, names):
    for part in names:
        for name in ("bee", "ant"):
            put(tmp_path / part / name / "x.png")
    put(tmp_path / names[0] / "loose.png")
    read = from_folder(tmp_path, (8, 8))
    sets = ["train", "validation", "test"][: len(names)]
    assert read.class_names == ["ant", "bee"] and read.labels.tolist() == [0, 1] * len(names)
    assert read.sets.tolist() == [part for part in sets for _ in range(2)]
    assert [file.relative_to(tmp_path).parts[0] for file in read.files] == [part for part in names for _ in range(2)]
    assert read.skipped == [(tmp_path / names[0] / "loose.png", "lies outside the class folders")]


def test_one_set_alone_is_recognised(tmp_path):
    for name in ("train/ant/x.png", "train/bee/x.png", "test/x.png"):  # test images without labels
        put(tmp_path / name)
    found = list_class_folders(tmp_path)
    assert found.class_names == ["ant", "bee"] and found.sets == ["train", "train"]
    assert found.outside == [tmp_path / "test" / "x.png"]


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train/day1/x.png", "train/day2/x.png", "bus/x.png", "tram/x.png"):
        put(tmp_path / name)
    found = list_class_folders(tmp_path)
    assert found.class_names == ["bus", "train", "tram"] and set(found.sets) == {""} and not found.outside


def test_sets_say_what_is_wrong(tmp_path):
    for part in ("train", "val"):
        put(tmp_path / part / "x.png")
    with pytest.raises(ValueError, match="holds “train” and “val”, which are names of sets, not of classes"):
        from_folder(tmp_path)
    for name in ("train/ant", "train/bee", "val/ant", "val/Bee"):
        put(tmp_path / name / "x.png")
    with pytest.raises(ValueError, match="the class “Bee” is in validation but not in train: rename or add"):
        from_folder(tmp_path)
    put(tmp_path / "valid" / "ant" / "x.png")
    with pytest.raises(ValueError, match=r"“val” and “valid” in .* both name the validation set: keep one"):
        from_folder(tmp_path)
    put(tmp_path / "other" / "train" / "ant" / "x.png")
    with pytest.raises(ValueError, match="only one class folder, “ant”"):
        from_folder(tmp_path / "other")
