"""The web page of lesson 11, asked as a visitor does: a headless Chromium uploads real files.

Where no Chromium is found, its tests are skipped by name (Debian: ``apt-get install chromium``). The picture in the
README is made by ``COURSE_SCREENSHOT=1 python3 course.py test tests/test_web_page.py``, once lesson 11 has been run.
"""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import keras
import numpy as np
import pytest
from chromium import Tab, chromium_port, needs_chromium  # noqa: F401  (a fixture)
from keras import layers
from PIL import Image

from course_utils import web_page
from course_utils.models import ModelError, Notes, default_model, models_folder, save_notes

ROOT = Path(web_page.__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "web_page.png"


class Visitor(Tab):
    """Somebody who visits the page, with cookies of their own."""

    def __init__(self, port, address, **size):
        ready = "document.querySelector('input[type=file]') !== null && document.querySelector('#message') !== null"
        super().__init__(port, address, ready, **size)

    def upload(self, *files):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        entry = self.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.call("DOM.setFileInputFiles", files=list(map(str, files)), nodeId=entry)

    def message(self):
        """Wait for the sentence above the results, which says that all is done, and return it."""
        text = "document.querySelector('#message').innerText.trim()"
        return self.wait_for(f"/×/.test({text}) && {text}")

    def headings(self):
        return self.ask("[...document.querySelectorAll('.result h2')].map(h => h.innerText).join(' | ')")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose output is known: how bright the image is."""
    folder = tmp_path_factory.mktemp("model")
    entry = keras.Input((20, 20, 1), name="image")
    maps = layers.Conv2D(1, 1, name="maps")(entry)
    head = layers.Dense(1, activation="sigmoid")
    network = keras.Model(entry, head(layers.GlobalAveragePooling2D()(maps)))
    network.get_layer("maps").set_weights([np.full((1, 1, 1, 1), 1 / 255), np.zeros(1)])
    head.set_weights([np.full((1, 1), 8.0), np.full(1, -4.0)])
    network.save(folder / "small.keras")
    save_notes(folder / "small.keras", Notes(["dark", "bright"], 0.9))
    card = "# Model card: How bright?\n\n- **For:** tests.\n- **Not for:** anything\n  else.\n- **Data:** none.\n"
    (folder / "small.md").write_text(card, encoding="utf-8")
    (folder / "small_examples").mkdir()
    Image.new("L", (60, 60), 250).save(folder / "small_examples" / "sunny.png")
    return folder / "small.keras"


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    yield folder
    os.environ.pop("GRADIO_TEMP_DIR") if before is None else os.environ.update(GRADIO_TEMP_DIR=before)


@pytest.fixture(scope="module")
def address(model, uploads):
    page = web_page.build_page(model)
    yield web_page.start(page)
    page.close(verbose=False)


@pytest.fixture
def pictures(tmp_path):
    files = {}
    for name, level in (("night", 20), ("noon", 240), ("dusk", 130)):
        files[name] = tmp_path / f"{name}.png"
        Image.new("L", (60, 60), level).save(files[name])
    return files


@needs_chromium
def test_page_predicts_upload_without_requests(address, port, pictures, uploads):
    tab = Visitor(port, address)
    tab.upload(pictures["noon"])
    assert tab.message() == "1 image: 1 × bright." and tab.headings() == "bright, 97 %"
    tab.wait_for("[...document.querySelectorAll('.result img')].filter(i => i.naturalWidth > 50 && i.alt).length === 2")
    text = tab.ask("document.body.innerText")
    assert "bright\n97 %\ndark\n2 %" in text.replace("\n\n", "\n") and "The model sees the whole image." in text
    outside = [url for url in tab.requests if not url.startswith((address, "data:", "blob:"))]
    assert tab.requests and not outside
    assert any(uploads.rglob("noon.png"))  # where main() removes it at the end


@needs_chromium
def test_page_takes_several_files_and_says_what_it_makes_of_each(address, port, pictures, tmp_path):
    (tmp_path / "holiday.jpg").write_text("This is no image.", encoding="utf-8")
    Image.new("L", (90, 60), 240).save(tmp_path / "wide.png")
    (tmp_path / "large.png").write_bytes(b"\x89PNG" + bytes(25_000_000))
    tab = Visitor(port, address)
    tab.upload(pictures["dusk"], tmp_path / "wide.png", tmp_path / "holiday.jpg", tmp_path / "large.png")
    assert tab.message() == "4 images: 2 × unreadable, 1 × not sure, 1 × bright."
    assert tab.headings() == "Not sure: bright, 51 % | bright, 97 % | ⚠ holiday.jpg | ⚠ large.png"
    text = tab.ask("document.body.innerText")
    assert "The model is not sure enough to decide: ask a person." in text
    assert "The model sees only the bright part: 33 % of the image was cropped." in text
    assert "“holiday.jpg” holds text and not an image" in text and "It has 25 MB, the page takes 20 MB" in text


@needs_chromium
def test_page_says_what_it_leaves_out(address, port, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(web_page, "MOST_FILES", 2)
    tab = Visitor(port, address)
    tab.upload(*pictures.values())
    assert tab.message().endswith("Only the first 2 of 3 files were taken.")
    assert tab.ask("document.querySelectorAll('.result').length") == 2


@needs_chromium
def test_page_shows_card_and_works_by_keyboard_on_a_phone(address, port):
    tab = Visitor(port, address, width=375)
    text = tab.ask("document.body.innerText")
    assert text.startswith("How bright?") and "For: tests." in text and "Not for: anything else." in text
    assert "Below a probability of 90 % it is not sure" in text
    for _ in range(10):  # Tab, until the example has the focus
        tab.press("Tab")
        if tab.ask("document.activeElement.innerText").strip() == "Try sunny":
            break
    tab.press("Enter")
    assert (
        tab.message() == "1 image: 1 × bright." == tab.ask("document.querySelector('[role=status]').innerText.trim()")
    )
    assert "sunny.png" in tab.ask("document.body.innerText")
    assert tab.ask("document.documentElement.scrollWidth") <= 375


@needs_chromium
def test_page_refuses_huge_upload(address, port, tmp_path, uploads):
    (tmp_path / "huge.png").write_bytes(b"\x89PNG" + bytes(80_000_000))
    tab = Visitor(port, address)
    tab.upload(tmp_path / "huge.png")
    text = tab.wait_for("document.body.innerText.match(/exceed the maximum allowed size of [^\\n]*/)?.[0]")
    assert "60.0 M" in text and "huge.png" in text
    assert not any(uploads.rglob("huge.png"))


@needs_chromium
def test_page_serves_two_visitors(address, port, pictures):
    for _ in range(3):  # again and again, so that they really meet
        tabs = {name: Visitor(port, address) for name in ("night", "noon")}
        threads = [threading.Thread(target=tab.upload, args=(pictures[name],)) for name, tab in tabs.items()]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert tabs["night"].message().endswith("× dark.") and tabs["noon"].message().endswith("× bright.")


def test_server_refuses_large_upload(address):
    sent = {"files": ("huge.png", io.BytesIO(bytes(80_000_000)))}
    assert httpx.post(f"{address}gradio_api/upload", files=sent, timeout=600).status_code == 413


def test_server_listens_on_this_computer_only(address):
    assert address.startswith("http://127.0.0.1:")
    html = httpx.get(address).text
    loaded = re.findall(r"(?:<script[^>]* src|<link[^>]* href)=\"([^\"]+)\"", html)
    assert loaded and not [url for url in loaded if url.startswith(("http:", "https:", "//"))]
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_server_refuses_foreign_host(address):
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 400
    assert httpx.get(address.replace("127.0.0.1", "localhost"), timeout=60).status_code == 200


def test_page_starts_behind_a_proxy(model, uploads, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    page = web_page.build_page(model)
    try:
        assert web_page.start(page).startswith("http://127.0.0.1:")
        assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    finally:
        page.close(verbose=False)


def test_introduction_without_card_or_threshold():
    text = web_page._introduction(Path("nowhere/bees.keras"), Notes(["ants", "bees"]))
    assert text.startswith("# bees\n") and "knows 2 classes: ants, bees." in text
    assert "no model card (bees.md)" in text and "cannot say how sure it is" in text


def test_explainer_in_threads(model):
    (explain, _), wrong = web_page.load_explainer(model), []

    def visit(level, label):
        for _ in range(8):
            found, heat, box = explain(np.full((30, 40, 3), level, np.uint8))
            if found.label != label or heat.shape != (440, 440, 3) or box != (5, 0, 35, 30):
                wrong.append(found)

    threads = [threading.Thread(target=visit, args=visitor) for visitor in ((20, "dark"), (240, "bright")) * 2]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong


def test_explainer_follows_formula(model):
    explain, notes = web_page.load_explainer(model)
    found, heat, box = explain(np.full((20, 20, 3), 240, np.uint8))
    assert notes.class_names == ["dark", "bright"] and box == (0, 0, 20, 20)
    assert found.probabilities["bright"] == pytest.approx(1 / (1 + np.exp(4 - 8 * 240 / 255)), abs=1e-4)
    assert found.confident and heat.dtype == np.uint8


def test_overlay_leaves_cold_pixels_alone():
    heat = np.zeros((2, 2), np.float32)
    picture = np.full((20, 20, 1), 100, np.uint8)
    assert np.all(web_page.overlay_heat_map(picture, heat) == 100)
    heat[:, 1] = 3
    result = web_page.overlay_heat_map(picture, heat)
    assert result.shape == (440, 440, 3) and np.all(result[:, :50] == 100)
    assert np.all(result[:, -50:, 0] > 180) and np.all(result[:, -50:, 2] < result[:, -50:, 0])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("smal.keras", r"There is no model .*did you mean “small\.keras”"),
        ("a.onnx", "no .keras file"),
        ("b.keras", "cannot be loaded"),
    ],
)
def test_explainer_refuses_in_one_sentence(tmp_path, name, told):
    (tmp_path / "small.keras").touch()
    if name[1] == ".":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=told):
        web_page.load_explainer(tmp_path / name)


def test_main_without_model_names_lesson(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert web_page.main([]) == 2
    error = capsys.readouterr().err
    assert "run the notebook 11_deployment once" in error and len(error.splitlines()) == 1
    (models_folder() / web_page.MODEL_NAME).touch()
    assert default_model(web_page.MODEL_NAME) == models_folder() / web_page.MODEL_NAME


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_main_runs_until_stopped(model, monkeypatch, capsys, number):
    seen = []

    class Stopped:
        def wait(self):
            seen.append(Path(os.environ["GRADIO_TEMP_DIR"]))
            assert seen[0].is_dir()
            signal.raise_signal(number)

    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    with monkeypatch.context() as patched:
        patched.setattr(web_page.threading, "Event", Stopped)
        patched.setattr(web_page, "start", lambda page, port, browser: f"http://127.0.0.1:{port}/")
        assert web_page.main(["--model", str(model), "--port", "8123"]) == 0
    assert capsys.readouterr().out == "The page is at http://127.0.0.1:8123/ (Ctrl+C ends it).\n"
    assert not seen[0].exists()


def test_main_refuses_taken_port(model, address, monkeypatch, capsys):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    taken = re.search(r":(\d+)/", address)[1]
    assert web_page.main(["--model", str(model), "--port", taken]) == 2
    assert taken in capsys.readouterr().err


@needs_chromium
@pytest.mark.skipif(
    "COURSE_SCREENSHOT" not in os.environ, reason="makes the README's picture, only when it is asked to"
)
def test_screenshot_for_the_readme(port, uploads):
    page = web_page.build_page(default_model(web_page.MODEL_NAME))
    try:
        tab = Visitor(port, web_page.start(page), width=1000, height=1020)
        tab.upload(models_folder() / "solar_cells_examples" / "defective.png")
        tab.message()
        time.sleep(2)  # bars and borders move for a moment
        picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
        picture.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    finally:
        page.close(verbose=False)
    assert PICTURE.stat().st_size < 150_000


def test_import_loads_no_framework():
    code = "import sys; from course_utils import web_page; print({'tensorflow', 'keras', 'gradio'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert ended.stdout == "set()\n" and ended.stderr == ""
