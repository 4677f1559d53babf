"""read_image gives an RGB array of whatever a learner's folder holds, or one clear error; nothing else."""

import base64
import io
import random
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils import images
from course_utils.images import ImageError, data_uri, kept_box, read_image, resize_to_cover

ROOT = Path(__file__).resolve().parent.parent

# Four corners that can be told apart, each a 16 × 16 block so that JPEG keeps them: red green / blue white.
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.kron(np.array([[RED, GREEN, GREEN], [BLUE, WHITE, WHITE]], np.uint8), np.ones((16, 16, 1), np.uint8))


def sample() -> Image.Image:
    return Image.fromarray(CORNERS)  # 48 wide, 32 high


def corners(pixels: np.ndarray) -> list[list[tuple[int, ...]]]:
    """Colours four pixels inside each corner, rounded to 0 or 255."""
    rounded = np.where(pixels > 127, 255, 0)
    return [[tuple(rounded[y, x].tolist()) for x in (4, -5)] for y in (4, -5)]


def check_form(pixels: np.ndarray) -> None:
    assert type(pixels) is np.ndarray and pixels.dtype == np.uint8
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
    assert pixels.flags.c_contiguous and pixels.flags.writeable


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "webp", "tif", "avif", "ppm", "mpo"])
def test_formats(tmp_path, ending):
    sample().save(tmp_path / f"a.{ending}")
    pixels = read_image(tmp_path / f"a.{ending}")
    check_form(pixels)
    assert pixels.shape == (32, 48, 3)
    assert corners(pixels) == [[RED, GREEN], [BLUE, WHITE]]


def test_read_image_ignores_extension(tmp_path):
    folder = tmp_path / "Bilder für später"
    folder.mkdir()
    sample().save(folder / "größe 1.jpg", format="PNG")
    assert np.array_equal(read_image(folder / "größe 1.jpg"), CORNERS)
    assert np.array_equal(read_image(str(folder / "größe 1.jpg")), CORNERS)


def test_read_image_expands_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    sample().save(tmp_path / "a.png")
    assert np.array_equal(read_image("~/a.png"), CORNERS)


# Where the corners of the stored picture (first row: a b, second row: c d) belong, by the EXIF standard:
# 1 rows from the top, columns from the left; 2 right; 3 bottom right; 4 bottom; 5 to 8 with rows and columns swapped.
UPRIGHT = {1: "ab/cd", 2: "ba/dc", 3: "dc/ba", 4: "cd/ab", 5: "ac/bd", 6: "ca/db", 7: "db/ca", 8: "bd/ac"}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[274] = orientation
    sample().save(tmp_path / f"a.{ending}", exif=exif)
    pixels = read_image(tmp_path / f"a.{ending}")
    check_form(pixels)
    assert pixels.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    letter = {"a": RED, "b": GREEN, "c": BLUE, "d": WHITE}
    assert corners(pixels) == [[letter[x] for x in row] for row in UPRIGHT[orientation].split("/")]


def test_broken_exif_is_ignored(tmp_path):
    sample().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\0\0broken")
    assert read_image(tmp_path / "a.jpg").shape == (32, 48, 3)
    sample().save(tmp_path / "b.jpg", exif=b"Exif\0\0no header at all")
    assert read_image(tmp_path / "b.jpg").shape == (32, 48, 3)
    sample().save(tmp_path / "c.png", exif=b"no header at all")
    assert np.array_equal(read_image(tmp_path / "c.png"), CORNERS)


def test_unknown_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[274] = 9
    sample().save(tmp_path / "a.jpg", exif=exif)
    assert corners(read_image(tmp_path / "a.jpg")) == [[RED, GREEN], [BLUE, WHITE]]


def test_cmyk_jpeg(tmp_path):
    # Pure inks: cyan is the opposite of red, magenta of green, yellow of blue; no ink is white. Pillow stores them
    # inverted and with the Adobe mark, as Photoshop does.
    inks = np.array([[(0, 255, 255, 0), (255, 0, 255, 0)], [(255, 255, 0, 0), (0, 0, 0, 0)]], np.uint8)
    inks = np.kron(inks, np.ones((16, 16, 1), np.uint8))
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "a.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    pixels = read_image(tmp_path / "a.jpg")
    check_form(pixels)
    assert corners(pixels) == [[RED, GREEN], [BLUE, WHITE]]


def test_16_bit_grey_is_scaled(tmp_path):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    for ending in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{ending}")
        pixels = read_image(tmp_path / f"a.{ending}")
        check_form(pixels)
        assert pixels[0].tolist() == [[0] * 3, [1] * 3, [128] * 3, [255] * 3]
        Image.fromarray(np.array([[100 * 257, 101 * 257]], np.uint16)).save(tmp_path / f"dark.{ending}")
        assert read_image(tmp_path / f"dark.{ending}")[0, :, 0].tolist() == [100, 101]  # nothing is stretched


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"", packed: bytes | None = None) -> bytes:
    """A PNG file made by hand; `rows` holds each row with a 0 (no filter) before it, `packed` the same compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", packed or zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_16_bit_colour(tmp_path):
    row = struct.pack(">6H", 65535, 0, 128 * 257, 257, 255 * 257, 0)
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, b"\0" + row))
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 0, 128], [1, 255, 0]]]


def test_other_numbers(tmp_path):
    def read(values):
        Image.fromarray(np.array([values])).save(tmp_path / "a.tif")
        pixels = read_image(tmp_path / "a.tif")
        check_form(pixels)
        assert (pixels == pixels[:, :, :1]).all()
        return pixels[0, :, 0].tolist()

    assert read(np.float32([0, 0.2, 1])) == [0, 51, 255]  # 0…1 is multiplied by 255
    assert read(np.float32([0, 51.4, 254])) == [0, 51, 254]  # 0…255 is rounded
    assert read(np.float32([-1, 0, 1])) == [0, 128, 255]  # else the smallest becomes 0, the largest 255
    assert read(np.float32([1000, 1000, 1000])) == [0, 0, 0]  # nothing to stretch
    assert read(np.float32([0, np.nan, np.inf, 1])) == [0, 0, 0, 255]  # no numbers count as 0
    assert read(np.int32([0, 257, 65535])) == [0, 1, 255]  # fits 16 bit
    assert read(np.int32([-100_000, 0, 100_000])) == [0, 128, 255]


def test_16_bit_range_is_of_whole_image(tmp_path):
    tall = np.zeros((600, 4), np.float32)
    tall[-1] = 1000.0  # the last of three strips; all others hold zeros
    tall[300] = 500.0
    Image.fromarray(tall).save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif")
    assert (pixels[300] == 128).all() and (pixels[-1] == 255).all() and (pixels[0] == 0).all()


def test_tall_image_keeps_every_row(tmp_path):
    rows = np.arange(600, dtype=np.uint16)
    tall = np.stack([rows % 256, rows // 256, rows * 0], axis=-1).astype(np.uint8)[:, np.newaxis].repeat(3, axis=1)
    Image.fromarray(tall).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), tall)


def test_transparency_is_blended_with_white(tmp_path):
    # 80 of 255 parts black on white leave 175; half-transparent red is pink
    Image.fromarray(np.array([[(0, 0, 0, 80), (255, 0, 0, 51), (9, 9, 9, 0), (9, 8, 7, 255)]], np.uint8)).save(
        tmp_path / "rgba.png"
    )
    assert read_image(tmp_path / "rgba.png").tolist() == [[[175] * 3, [255, 204, 204], [255] * 3, [9, 8, 7]]]
    Image.fromarray(np.array([[(0, 80), (100, 255), (7, 0)]], np.uint8), mode="LA").save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png").tolist() == [[[175] * 3, [100] * 3, [255] * 3]]


def test_palette(tmp_path):
    paletted = Image.new("P", (2, 1))
    paletted.putpalette([10, 20, 30, 200, 100, 50])
    paletted.putpixel((1, 0), 1)
    paletted.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    paletted.save(tmp_path / "t.png", transparency=1)
    assert read_image(tmp_path / "t.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]
    paletted.save(tmp_path / "g.gif", transparency=1)
    assert read_image(tmp_path / "g.gif").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_1_bit_and_grey(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[0] * 3, [255] * 3]]
    Image.fromarray(np.array([[7, 250]], np.uint8)).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").tolist() == [[[7] * 3, [250] * 3]]


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tif"])
def test_first_frame_of_several(tmp_path, ending):
    later = [Image.new("RGB", (48, 32), "black"), Image.new("RGB", (48, 32), "yellow")]
    sample().save(tmp_path / f"a.{ending}", save_all=True, append_images=later)
    assert corners(read_image(tmp_path / f"a.{ending}")) == [[RED, GREEN], [BLUE, WHITE]]


# --- another size ---


def test_resize_to_cover_crops_centre_and_keeps_range():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = [255, 0, 0]
    assert np.array_equal(resize_to_cover(image, (20, 20)), image[:, 20:40])
    assert np.array_equal(resize_to_cover(image, (20, 20, 3)), image[:, 20:40])
    assert kept_box(image.shape, (20, 20)) == (20, 0, 40, 20) and kept_box((200, 60), (10, 30)) == (0, 90, 60, 110)
    grey = resize_to_cover(image, (20, 20, 1))
    assert grey.shape == (20, 20, 1) and grey.dtype == np.uint8 and set(grey.flat) == {76}  # 0.299 · 255
    assert resize_to_cover(image, (10, 30)).shape == (10, 30, 3)
    assert resize_to_cover(image[..., 0], (10, 10)).shape == (10, 10)
    assert resize_to_cover(image[..., 0], (10, 10, 3)).shape == (10, 10, 3)


# --- what cannot be read ---


def refused(path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


def test_path_of_no_image(tmp_path):
    sample().save(tmp_path / "Cat.JPG", format="JPEG")
    assert "is a folder" in refused(tmp_path)
    message = refused(tmp_path / "cat.jpeg")
    assert str(tmp_path / "cat.jpeg") in message and "did you mean “Cat.JPG”?" in message
    assert "no file" in refused(tmp_path / "dog.png") and "did you mean" not in refused(tmp_path / "dog.png")
    assert "no file" in refused(tmp_path / "nowhere" / "dog.png")
    assert "no file" in refused("a\0b/c.png")
    assert refused("x" * 5000 + ".png")
    assert "home" in refused("~nobody-has-this-name/a.png") or "no file" in refused("~nobody-has-this-name/a.png")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_device_is_refused():
    assert "not an ordinary file" in refused("/dev/null")


def test_file_without_permission(tmp_path, monkeypatch):
    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    sample().save(tmp_path / "a.png")
    monkeypatch.setattr(Path, "open", locked)
    assert "cannot be opened (Permission denied)" in refused(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        ("Grüße, no picture\n".encode() * 500, "holds text"),
        (b"<!DOCTYPE html><html>not found</html>", "holds text"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%PDF-1.7\n\x00\xff", "PDF"),
        (b"\0\0\0\x20ftypheic\0\0\0\0mif1", "HEIC photo"),
        (b"\x89PNG\r\n\x1a\n\0\0", "damaged or cut off"),
        (bytes(range(256)), "not an image in a known format"),
    ],
)
def test_content_of_no_image(tmp_path, content, reason):
    (tmp_path / "holiday.jpg").write_bytes(content)
    message = refused(tmp_path / "holiday.jpg")
    assert "holiday.jpg" in message and reason in message


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "webp", "tif", "avif", "ppm"])
def test_cut_off(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{ending}")
    whole = (tmp_path / f"a.{ending}").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(whole[: len(whole) // 2])
    message = refused(tmp_path / f"a.{ending}")
    assert f"a.{ending}" in message and ("cut off" in message or "known format" in message)


def test_memory_error_is_named(tmp_path, monkeypatch):
    def full(_):
        raise MemoryError

    sample().save(tmp_path / "a.png")
    monkeypatch.setattr(images, "_to_rgb", full)
    assert "does not fit into the free memory" in refused(tmp_path / "a.png")


def test_huge_image_takes_no_memory(tmp_path):
    # 50,000 × 50,000 one-bit pixels in a small file: 100 white rows, packed once and repeated.
    rows = (b"\0" + b"\xff" * 6250) * 100
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(500):
        checksum = zlib.adler32(rows, checksum)
    stream = b"\x78\xda" + packed * 500 + packer.flush() + struct.pack(">I", checksum)
    (tmp_path / "bomb.png").write_bytes(png(50_000, 50_000, 1, 0, packed=stream))
    (tmp_path / "large.png").write_bytes(png(10_001, 7_000, 8, 2))
    assert "large.png” has more than 70 million pixels" in refused(tmp_path / "large.png")
    code = """
import sys
from pathlib import Path
import psutil
from course_utils.images import ImageError, read_image
before = psutil.Process().memory_info().rss
for name in sys.argv[1:]:
    try:
        read_image(name)
    except ImageError as error:
        print(error)
print((psutil.Process().memory_info().rss - before) // 1_000_000)
try:  # not ru_maxrss: it also counts what the process that started this one had taken
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) // 1000)
except OSError:  # not Linux
    print(0)
"""
    command = [sys.executable, "-X", "utf8", "-W", "error", "-c", code]
    command += [str(tmp_path / "bomb.png"), str(tmp_path / "large.png")]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=ROOT, timeout=600)
    assert run.stderr == "" and run.returncode == 0
    bomb_says, large_says, growth, peak = run.stdout.splitlines()
    assert "bomb.png” has more than 70 million pixels" in bomb_says and "large.png” has more than 70" in large_says
    assert int(growth) < 50  # megabytes
    assert int(peak) < 250


def all_samples() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    grey = sample().convert("L")
    kinds = {
        "jpeg": (sample(), "JPEG", {"exif": exif}),
        "progressive": (sample(), "JPEG", {"progressive": True}),
        "cmyk": (sample().convert("CMYK"), "JPEG", {}),
        "png": (sample(), "PNG", {"exif": exif}),
        "palette": (sample().quantize(4), "PNG", {"transparency": 0}),
        "16 bit": (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG", {}),
        "gif": (sample(), "GIF", {"save_all": True, "append_images": [sample().rotate(180)]}),
        "bmp": (sample(), "BMP", {}),
        "webp": (sample(), "WEBP", {"exif": exif}),
        "tiff": (sample(), "TIFF", {"exif": exif}),
        "lzw": (sample(), "TIFF", {"compression": "tiff_lzw"}),
        "fax": (sample().convert("1"), "TIFF", {"compression": "group4"}),
        "float": (Image.fromarray(np.asarray(grey, np.float32)), "TIFF", {}),
        "avif": (sample(), "AVIF", {}),
        "ppm": (sample(), "PPM", {}),
    }
    files = {}
    for name, (image, kind, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, format=kind, **options)
        files[name] = buffer.getvalue()
    return files


def test_damaged_files_give_image_or_error(tmp_path, capfd, recwarn):
    dice = random.Random(2024)
    outcomes = {"image": 0, "error": 0}
    for name, whole in all_samples().items():
        for attempt in range(40):
            data = bytearray(whole)
            if attempt % 2:
                data = data[: dice.randrange(len(data))]
            else:
                for _ in range(dice.choice([1, 3, 10])):  # half of the hits in the header, where they hurt most
                    end = len(data) if dice.random() < 0.5 else min(len(data), 150)
                    data[dice.randrange(end)] = dice.randrange(256)
            file = tmp_path / "damaged"
            file.write_bytes(data)
            try:
                pixels = read_image(file)
            except ImageError as error:
                assert str(file) in str(error), name
                outcomes["error"] += 1
            else:
                check_form(pixels)
                outcomes["image"] += 1
    assert outcomes["image"] > 50 and outcomes["error"] > 200
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_silent_stderr_ends(capfd):
    import os

    with pytest.raises(KeyError), images.silent_stderr():
        os.write(2, b"noise")
        raise KeyError
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_silent_stderr_without_stream(monkeypatch):
    def none(_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(images.os, "dup", none)
    with images.silent_stderr():
        pass


def test_read_image_in_threads(tmp_path, capfd):
    sample().save(tmp_path / "a.tif")
    results = []
    threads = [threading.Thread(target=lambda: results.append(read_image(tmp_path / "a.tif"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all(np.array_equal(result, CORNERS) for result in results)


def test_data_uri_holds_small_jpeg():
    kind, content = data_uri(np.full((100, 50, 1), 200, np.uint8), 40).split(",")
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert kind == "data:image/jpeg;base64" and image.size == (20, 40) and image.getpixel((9, 9)) == (200, 200, 200)
