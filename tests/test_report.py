"""The report: one file that asks nobody for anything, shows what it was given, and takes no text for a command."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from course_utils import report as report_module
from course_utils.audit import audit_folder
from course_utils.report import write_report

EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>\'&'


class Page(html.parser.HTMLParser):
    """What a browser would make of the file: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def example(count=30, classes=3, wrong=(), seed=1, size=(40, 60)):
    """Return the arguments of a report: `count` images, those in `wrong` predicted as the next class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    said = labels.copy()
    said[list(wrong)] = (labels[list(wrong)] + 1) % classes
    probabilities = np.full((count, classes), 0.1 / (classes - 1))
    probabilities[np.arange(count), said] = 0.9 - 0.001 * np.arange(count)
    return {
        "title": "Cat or dog?",
        "class_names": [f"class {name}" for name in "abcdefghijklmnopqrstuvwxyz"[:classes]],
        "images": random.integers(0, 256, (count, *size, 3), dtype=np.uint8),
        "labels": labels,
        "probabilities": probabilities,
    }


def read(tmp_path, **arguments) -> Page:
    return Page(write_report(tmp_path / "report.html", **arguments).read_text(encoding="utf-8"))


def test_report_is_one_file_without_requests(tmp_path):
    path = write_report(tmp_path / "new" / "report.html", **example())
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"https?:|//|@import|url\(", _without_data(text))
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "a", "form"}
    (policy,) = (m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert path.stat().st_size < 1_000_000


def _without_data(text: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)


def test_report_shrinks_images(tmp_path):
    page = read(tmp_path, **example(size=(400, 300)))
    shown = [Image.open(io.BytesIO(base64.b64decode(i["src"].partition(",")[2]))) for i in page.all("img")]
    assert {image.size for image in shown} == {(120, 160)}
    assert read(tmp_path, **example() | {"images": np.zeros((30, 8, 8), np.uint8)}).all("img")  # grey ones too


def test_report_confusion_matrix_counts(tmp_path):
    page = read(tmp_path, **example(count=30, wrong=(0, 3, 4)))
    table = page.text[page.text.index("Confusion matrix") : page.text.index("Mistakes")]
    numbers = [int(number) for number in re.findall(r"(?<![\w.])(\d+)(?! ?%)(?![\w.])", table)]
    assert numbers == [
        8,
        2,
        0,
        0,
        9,
        1,
        0,
        0,
        10,
    ]  # by hand: 0 and 3 are a, predicted b; 4 is b, predicted c
    assert re.findall(r"(\d+) %", table) == ["80", "90", "100"]


def test_report_mistakes_worst_first(tmp_path):
    names = [f"folder/{number}.jpg" for number in range(30)]
    page = read(tmp_path, **example(wrong=(3, 7, 20)), files=names)
    shown = page.text[page.text.index("Mistakes") : page.text.index("Examples")]
    assert "3 of 30 predictions are wrong." in shown
    assert re.findall(r"folder/\d+\.jpg", shown) == ["folder/3.jpg", "folder/7.jpg", "folder/20.jpg"]
    assert re.search(r"class b\s*, *\s*90 %\s+true class: class a", shown)


def test_report_shows_worst_of_many_mistakes(tmp_path):
    page = read(tmp_path, **example(count=40, wrong=range(40)))
    assert "40 of 40 predictions are wrong; here are the 12 worst." in page.text
    assert len([e for e in page.all("span") if e.get("class") == "wrong"]) == 12


def test_report_without_mistakes_shows_least_confident(tmp_path):
    page = read(tmp_path, **example())
    shown = page.text[page.text.index("Least confident") : page.text.index("Examples")]
    assert "No prediction on these images is wrong." in shown
    assert re.findall(r"image \d+", shown) == [f"image {number}" for number in (30, 29, 28, 27, 26, 25)]


def test_report_escapes_text(tmp_path):
    arguments = example(wrong=(0, 1))
    page = read(
        tmp_path,
        **arguments | {"class_names": [EVIL, "b", "c"], "title": EVIL},
        files=[EVIL] * 30,
        notes={EVIL: EVIL},
    )
    assert not page.all("script")
    assert all(image["src"].startswith("data:") and set(image) == {"src", "alt"} for image in page.all("img"))
    assert EVIL in {image["alt"] for image in page.all("img")}
    assert page.text.count(EVIL) >= 7


def test_report_takes_names_that_are_no_text(tmp_path):
    page = read(tmp_path, **example(), files=["\udcff.jpg"] * 30)
    assert "?.jpg" in page.text


def test_report_shows_notes_and_audit(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        Image.effect_noise((80, 80), 50).save(tmp_path / "pets" / label / "<b>1.png")
    (tmp_path / "pets" / "cat" / "x.jpg").write_text("no image")
    audit = audit_folder(tmp_path / "pets")
    page = read(tmp_path, **example(), notes={"split": "by day"}, audit=audit)
    for text in (
        "lose more than a tenth",
        "by day",
        "cat 1 · dog 1",
        "1 file cannot be read: cat/x.jpg holds text",
        "cat (1), dog (1)",
    ):
        assert text in page.text
    assert {item["class"] for item in page.all("li")} <= {"error", "warning", "info"} and page.all("li")
    assert read(tmp_path, **example(), audit=audit._replace(findings=[])).text.count("nothing to fix.") == 1
    assert "Use, making and limits" not in read(tmp_path, **example()).text


def test_report_lists_confusions_of_many_classes(tmp_path):
    page = read(tmp_path, **example(count=52, classes=26, wrong=(0, 26, 1)))
    table = page.text[page.text.index("Confusion matrix") : page.text.index("Mistakes")]
    assert table.index("class a") < table.index("class b") and "26" not in table
    assert [text.strip() for text in page.texts if text.strip() in "12"].count("2") >= 1
    assert len(page.all("img")) <= 40


def test_report_names_class_without_test_image(tmp_path):
    arguments = example(count=20, classes=2)
    arguments["class_names"].append("class z")
    arguments["probabilities"] = np.hstack([arguments["probabilities"], np.zeros((20, 1))])
    assert "no images" in read(tmp_path, **arguments).text


def test_report_replaces_older_one_whole(tmp_path, monkeypatch):
    path = write_report(tmp_path / "report.html", **example())
    before = path.read_bytes()
    monkeypatch.setattr(report_module, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"would have 0\.\d MB, more than the 0\.001 MB"):
        write_report(path, **example(seed=2))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    assert write_report(path, **example(seed=2)).read_bytes() != before
    assert len(list(tmp_path.iterdir())) == 1


def test_report_is_reproducible(tmp_path):
    one, two = (write_report(tmp_path / f"{n}.html", **example()).read_bytes() for n in "ab")
    assert one == two


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": np.zeros((30, 8, 8, 3))}, "type float64: pass at least one, as uint8"),
        ({"images": np.zeros((0, 8, 8, 3), np.uint8)}, "pass at least one"),
        ({"labels": np.zeros(29, int)}, r"labels of shape \(29,\)"),
        ({"files": ["a"]}, "1 file names"),
        ({"class_names": ["a", "b"]}, "for 2 classes: pass one label"),
        ({"sources": np.zeros(29)}, r"sources of shape \(29,\): pass one for each"),
        ({"min_confidence": 1.5}, "min_confidence is 1.5: it must be a probability"),
        ({"labels": np.full(30, 3)}, r"not among 0 … 2"),
    ],
)
def test_report_refuses_what_does_not_fit(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        write_report(tmp_path / "report.html", **example() | change)
    assert not list(tmp_path.iterdir())


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_report_begins_with_percentage_interval_and_simplest_rule(tmp_path, monkeypatch):
    class Day(report_module.date):
        @classmethod
        def today(cls):
            return cls(2026, 3, 1)

    monkeypatch.setattr(report_module, "date", Day)
    arguments = example(wrong=(3, 7, 20)) | {"labels": np.arange(30) % 2}
    said = words(read(tmp_path, **arguments))
    right = int((arguments["probabilities"].argmax(axis=1) == arguments["labels"]).sum())
    assert "Report of 1 March 2026 · 30 test images · 3 classes" in said
    assert (
        f"{right} of 30 test images, which the model had not seen, are classified correctly: {100 * right / 30:.0f} %"
        in said
    )
    assert "always “class a”, is right for 50 %" in said and "person" not in said and "resampled" not in said


def test_report_resamples_sources_where_there_are_some(tmp_path):
    arguments = example(wrong=range(6))
    groups = np.arange(30) // 6
    alone, grouped = (words(read(tmp_path, **arguments, sources=of)) for of in (np.arange(30), groups))
    low, high = report_module.bootstrap_interval(np.mean, np.arange(30) > 5, groups=groups)
    assert f"95 % interval, sources resampled: {100 * low:.0f} % to {100 * high:.0f} %" in grouped
    assert "resampled" not in alone and alone != grouped
    clean = words(read(tmp_path, **example(), sources=groups))
    assert f"100 % (95 % interval: {100 * 0.05 ** (1 / 5):.0f} % to 100 %)" in clean  # five sources


def test_report_says_what_the_threshold_does(tmp_path):
    arguments = example(wrong=(29,))  # the probabilities fall from 0.9 by 0.001 an image
    said = words(read(tmp_path, **arguments, min_confidence=0.8805))
    assert (
        "below 88 % is passed on to a person. That happens to 10 of 30 test images. Of the other 20, 20 are correct"
        in said
    )
    assert "true class: class c passed on to a person" in said
    assert "Of the other 0, 0 are correct." in words(read(tmp_path, **arguments, min_confidence=1))


def test_report_counts_what_is_cropped(tmp_path):
    for name, size in {"cat/1": (80, 80), "cat/2": (80, 85), "dog/1": (80, 120), "dog/2": (150, 80)}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.effect_noise(size, 50).save(tmp_path / f"{name}.png")
    said = words(read(tmp_path, **example(size=(40, 40)), audit=audit_folder(tmp_path)))
    assert "covers 40 × 40 pixels, and what juts out is cropped. 2 images of 4 lose more than a tenth" in said
