"""Pictures of one's own: what the widgets and the download give, with and without person, camera and network."""

import datetime
import io
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

from course_utils import capture
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


def test_upload_gives_the_fallback_until_a_picture_comes(shown):
    current = capture.upload_image(FALLBACK)
    button, line, preview = shown[0].children
    assert current() is FALLBACK
    assert line.value == "The bundled picture is used until you choose one."
    assert preview.layout.display == "none" and not preview.value

    upload(button, "me.png", as_png(PHOTO))
    assert np.array_equal(current(), PHOTO)
    assert line.value == "“me.png” is used from now on: run the cells below again."
    assert preview.layout.display is None
    assert Image.open(io.BytesIO(preview.value)).size == (400, 400)  # a small copy for the browser


def test_upload_of_something_else_keeps_the_picture_and_says_why(shown):
    current = capture.upload_image("cat")
    button, line, _ = shown[0].children
    assert np.array_equal(current(), sample_photo("cat"))
    upload(button, "<b>notes</b>.txt", b"hello")
    assert np.array_equal(current(), sample_photo("cat"))
    assert "“&lt;b&gt;notes&lt;/b&gt;.txt” holds text" in line.value and "last picture stays" in line.value
    button.value = ()  # as when somebody clears it
    assert np.array_equal(current(), sample_photo("cat"))


def test_unknown_fallback_is_an_error_at_once(shown):
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


def test_running_the_cell_never_switches_the_camera_on(shown, camera):
    current = capture.take_photo(FALLBACK)
    assert current() is FALLBACK
    assert camera.opened == 0


def test_click_takes_the_last_of_the_warm_up_frames_as_rgb(shown, camera):
    dark = np.zeros_like(PHOTO)
    camera.frames = (dark, dark, PHOTO[..., ::-1])  # OpenCV gives BGR
    current = capture.take_photo(FALLBACK)
    button, line, preview = shown[0].children
    button.click()
    assert np.array_equal(current(), PHOTO) and current().flags.c_contiguous
    assert "Your photo is used" in line.value and preview.value
    assert camera.opened == camera.released == 1


@pytest.mark.parametrize("trouble", ["none there", "no frame", "driver fails"])
def test_camera_that_gives_nothing_leaves_the_fallback(shown, camera, trouble):
    camera.exists = trouble != "none there"
    camera.frames = (cv2.error("driver"),) if trouble == "driver fails" else ()
    current = capture.take_photo(FALLBACK)
    button, line, _ = shown[0].children
    button.click()
    assert current() is FALLBACK
    assert line.value == "No camera answers on the computer that runs this notebook: the last picture stays."
    assert camera.opened == camera.released == 1


def test_a_camera_that_does_not_exist_makes_no_noise_and_takes_no_time():
    code = """
import time
from course_utils import capture
start = time.monotonic()
assert capture._photograph(97) is None
assert time.monotonic() - start < 10
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# --- download ---


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        body = as_png(PHOTO)
        if self.path == "/missing.png":
            self.send_error(404)
            return
        if self.path == "/hang.png":
            time.sleep(1.0)
            return
        self.send_response(200)
        self.end_headers()
        if self.path in ("/cat.png", "/sch%C3%B6nes%20Bild.png"):
            self.wfile.write(body)
        elif self.path == "/page.png":
            self.wfile.write(b"<html>please log in</html>")
        elif self.path == "/half.png":
            self.wfile.write(body[: len(body) // 2])
        elif self.path == "/large.png":
            self.wfile.write(bytes(5000))
        elif self.path == "/drip.png":
            for _ in range(40):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.handle_error = lambda *_: None  # a client that hangs up is what some tests do
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/cat.png", "/schönes Bild.png", "/cat.png \n"])
def test_download(address, capsys, path):
    assert np.array_equal(capture.download_image(address + path, FALLBACK), PHOTO)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing.png", "The server refused with status 404: here is the bundled picture instead."),
        ("/page.png", "holds text and not an image"),
        ("/half.png", "damaged or cut off"),
    ],
)
def test_download_that_fails_gives_the_fallback_and_one_line(address, capsys, path, reason):
    assert capture.download_image(address + path, FALLBACK) is FALLBACK
    out, err = capsys.readouterr()
    assert reason in out and out.endswith("ere is the bundled picture instead.\n")  # Here or here
    assert out.count("\n") == 1 and not err


@pytest.mark.parametrize("path", ["/hang.png", "/drip.png"])
def test_slow_server_is_given_up(address, capsys, monkeypatch, path):
    monkeypatch.setattr(capture, "_TIMEOUT", 0.3)
    monkeypatch.setattr(capture, "_LONGEST", 0.5)
    start = time.monotonic()
    assert capture.download_image(address + path, FALLBACK) is FALLBACK
    assert time.monotonic() - start < 1.5
    assert capsys.readouterr().out == "The server took too long: here is the bundled picture instead.\n"


def test_large_file_is_given_up(address, capsys, monkeypatch):
    monkeypatch.setattr(capture, "_MOST_BYTES", 4000)
    assert capture.download_image(address + "/large.png", FALLBACK) is FALLBACK
    assert "larger than" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "No address was given."),
        ("C:/pictures/cat.jpg", "does not start with http:// or https://"),
        ("file:///etc/hostname", "does not start with http:// or https://"),
        ("http://", "The server cannot be reached"),
        ("http://[::1/cat.png", "The server cannot be reached"),
        ("http://127.0.0.1:1/cat.png", "The server cannot be reached"),
        ("https://name.invalid/cat.png", "The server cannot be reached"),
    ],
)
def test_address_that_leads_nowhere(capsys, url, reason):
    fallback = capture.download_image(url, "coffee")
    assert np.array_equal(fallback, sample_photo("coffee"))
    out, err = capsys.readouterr()
    assert reason in out and out.count("\n") == 1 and not err
