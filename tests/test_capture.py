"""Images of one's own: what the widgets and the download give, with and without person, camera and network."""

import datetime
import io
import subprocess
import sys
from pathlib import Path

import cv2
import ipywidgets as widgets
import numpy as np
import pytest
from loopback import sends, serving
from PIL import Image

from course_utils import capture
from course_utils._setup.fetch import Limits
from course_utils.datasets import sample_photo

ROOT = Path(__file__).resolve().parent.parent
FALLBACK = np.full((5, 6, 3), 7, np.uint8)
PHOTO = np.kron(np.array([[(255, 0, 0), (0, 0, 255)]], np.uint8), np.ones((600, 300, 1), np.uint8))  # red, blue


def as_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


@pytest.fixture
def shown(monkeypatch):
    """The boxes that were displayed."""
    boxes = []
    monkeypatch.setattr(capture, "display", boxes.append)
    return boxes


def upload(button: widgets.FileUpload, name: str, content: bytes) -> None:
    """Do what the browser does when somebody has chosen a file."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    file = {"name": name, "type": "", "size": len(content), "last_modified": moment, "content": memoryview(content)}
    button.value = [file]


# --- upload ---


def test_upload_image_gives_the_fallback_until_an_image_comes(shown):
    current = capture.upload_image(FALLBACK)
    button, line, preview = shown[0].children[0].children
    assert current() is FALLBACK
    assert line.value == "The bundled image is used until you choose one."
    assert preview.layout.display == "none" and not preview.value

    upload(button, "me.png", as_png(PHOTO))
    assert np.array_equal(current(), PHOTO)
    assert line.value == "“me.png” is used from now on: run the cells below again."
    assert preview.layout.display is None
    assert Image.open(io.BytesIO(preview.value)).size == (400, 400)  # a small copy for the browser


def test_upload_image_says_why_a_file_is_no_image(shown):
    current = capture.upload_image("cat")
    button, line, _ = shown[0].children[0].children
    assert np.array_equal(current(), sample_photo("cat"))
    upload(button, "<b>notes</b>.txt", b"hello")
    assert np.array_equal(current(), sample_photo("cat"))
    assert "“&lt;b&gt;notes&lt;/b&gt;.txt” holds text" in line.value and "last image stays" in line.value
    button.value = ()  # as when somebody clears it
    assert np.array_equal(current(), sample_photo("cat"))


def test_fallback_of_unknown_name_is_an_error_at_once(shown):
    for function in (capture.upload_image, capture.take_photo):
        with pytest.raises(ValueError, match="no sample photo called 'dog'"):
            function("dog")
    with pytest.raises(ValueError, match="no sample photo called 'dog'"):
        capture.download_image("", "dog")


# --- camera ---


class Camera:
    """Stands in for cv2.VideoCapture; counts what is opened and released."""

    opened = released = 0
    frames: tuple = ()
    exists = True

    def __init__(self, number):
        type(self).opened += 1
        self.left = list(self.frames)

    def isOpened(self):
        return self.exists

    def read(self):
        frame = self.left.pop(0) if self.left else None
        if isinstance(frame, Exception):
            raise frame
        return frame is not None, frame

    def release(self):
        type(self).released += 1


@pytest.fixture
def camera(monkeypatch):
    kind = type("TestCamera", (Camera,), {})
    monkeypatch.setattr(capture.cv2, "VideoCapture", kind)
    return kind


def test_take_photo_switches_the_camera_on_only_at_a_click(shown, camera):
    current = capture.take_photo(FALLBACK)
    assert current() is FALLBACK
    assert camera.opened == 0


def test_take_photo_gives_the_last_warm_up_frame_as_rgb(shown, camera):
    dark = np.zeros_like(PHOTO)
    camera.frames = (dark, dark, PHOTO[..., ::-1])  # OpenCV gives BGR
    current = capture.take_photo(FALLBACK)
    button, line, preview = shown[0].children[0].children
    button.click()
    assert np.array_equal(current(), PHOTO) and current().flags.c_contiguous
    assert "Your photo is used" in line.value and preview.value
    assert camera.opened == camera.released == 1


@pytest.mark.parametrize("trouble", ["none there", "no frame", "driver fails"])
def test_take_photo_without_a_camera_leaves_the_fallback(shown, camera, trouble):
    camera.exists = trouble != "none there"
    camera.frames = (cv2.error("driver"),) if trouble == "driver fails" else ()
    current = capture.take_photo(FALLBACK)
    button, line, _ = shown[0].children[0].children
    button.click()
    assert current() is FALLBACK
    assert line.value == "No camera answers on the computer that runs this notebook: the last image stays."
    assert camera.opened == camera.released == 1


def test_camera_that_does_not_exist_makes_no_noise():
    code = "from course_utils import capture; assert capture._photograph(97) is None"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=600)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# --- download ---


def answers(handler, over):
    """Be a server with a few files."""
    body = as_png(PHOTO)
    bodies = {
        "/cat.png": body,
        "/sch%C3%B6nes%20Bild.png": body,
        "/page.png": b"<html>please log in</html>",
        "/half.png": body[: len(body) // 2],
        "/large.png": bytes(5000),
    }
    if handler.path == "/hang.png":
        over.wait(120)
    elif handler.path in bodies:
        sends(bodies[handler.path])(handler, over)
    else:
        sends(b"", status=404)(handler, over)


@pytest.fixture(scope="module")
def address():
    with pytest.MonkeyPatch.context() as patch, serving(answers) as (url, _):
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield url


@pytest.mark.parametrize("path", ["/cat.png", "/schönes Bild.png", "/cat.png \n"])
def test_download_image(address, capsys, path):
    assert np.array_equal(capture.download_image(address + path, FALLBACK), PHOTO)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "limits", "reason"),
    [
        ("/missing.png", {}, "because the server answered with status 404: here is the bundled image instead."),
        ("/page.png", {}, "holds text"),
        ("/half.png", {}, "damaged or cut off"),
        ("/hang.png", {"silence": 0.3}, "because hardly anything arrived for 0.3 seconds: here is"),
        ("/hang.png", {"longest": 0.3}, "because it was not finished after 0.3 seconds: here is"),
        ("/large.png", {"size": 4000}, "because more than 0 MB arrived: here is"),
    ],
)
def test_download_image_that_fails_gives_the_fallback_and_one_line(address, capsys, monkeypatch, path, limits, reason):
    patient = Limits(capture._LIMITS.size, silence=60, longest=60)
    monkeypatch.setattr(capture, "_LIMITS", patient._replace(**limits))
    assert capture.download_image(address + path, FALLBACK) is FALLBACK
    out, err = capsys.readouterr()
    assert reason in out and out.endswith("ere is the bundled image instead.\n")  # Here or here
    assert out.count("\n") == 1 and not err


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "No address was given."),
        ("C:/pictures/cat.jpg", "does not start with http:// or https://"),
        ("file:///etc/hostname", "does not start with http:// or https://"),
        ("http://", "the address is not valid"),
        ("http://[::1/cat.png", "the address is not valid"),
        ("http://127.0.0.1:1/cat.png", "the server cannot be reached"),
        ("https://name.invalid/cat.png", "the server cannot be reached"),
    ],
)
def test_download_image_from_nowhere(capsys, url, reason):
    fallback = capture.download_image(url, "coffee")
    assert np.array_equal(fallback, sample_photo("coffee"))
    out, err = capsys.readouterr()
    assert reason in out and out.count("\n") == 1 and not err
