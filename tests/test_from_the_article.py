"""docs/from_the_article.md: its blocks run in their order, as pasted, and every step leads to a lesson."""

import linecache
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from_the_article.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the blocks have defined at the end; a block that fails is named by its heading."""
    plt.switch_backend("agg")
    found = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reader"))
        for title, text in SECTIONS.items():
            for number, source in enumerate(CODE.findall(text), 1):
                place = f"docs/from_the_article.md, section “{title}”, block {number}"
                linecache.cache[place] = (len(source), None, source.splitlines(True), place)  # TensorFlow reads lambdas
                try:
                    exec(compile(source, place, "exec"), found)
                except Exception as error:
                    pytest.fail(f"{place} fails: {type(error).__name__}: {error}")
        yield found
    plt.close("all")


def test_blocks_do_what_the_page_says(names):
    accuracy = (names["predicted"] == names["true_labels"]).mean()
    assert accuracy > 0.9 and len(names["true_labels"]) == 32
    assert names["class_names"] == ["brick", "grass"] and names["label"] == 1 and names["probability"] > 0.5
    assert names["history"].history["val_accuracy"][-1] > 0.9
    assert names["best"] > 0.8 and names["tuned"].count_params() < 10_000
    assert names["article_network"]((224, 224)).count_params() > 20e6
    assert names["normalised"].dtype == "float32" and names["normalised"].max() <= 1


def test_quirks_are_as_the_page_says(names):
    cv2, np, legacy, Old = (names[name] for name in ("cv2", "np", "legacy", "Old"))
    assert Old is legacy.ImageDataGenerator
    assert np.abs(names["sheared"] - names["one"]).mean() < 1  # `shear_range=0.2` does next to nothing
    assert names["changing"]
    assert cv2.add(names["four"], names["ten"]).ravel().tolist() == [260] * 4
    assert names["accurate"].max() <= 1 < 2 * names["fast"].mean()
    assert [axis.images[0].get_clim() for axis in names["axes"]] == [(0, names["dark"].max()), (0, 255)]


def test_what_the_page_prints(names, capsys):
    """The two lines that compare epochs, run again: `tf.image` repeats itself, a Keras layer does not."""
    (source,) = (block for block in CODE.findall(TEXT) if "random_flip_left_right" in block)
    exec(source, names)
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()] == ["True", "False"]


def test_layers_fill_as_the_table_says(names):
    layers = names["keras"].layers
    moving = [layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1), layers.RandomZoom(0.1)]
    assert {layer.fill_mode for layer in moving} == {"reflect"}
    for name in re.findall(r"`(R[a-z]+[A-Z]\w+|Rescaling|Normalization)\(", TEXT):
        assert hasattr(layers, name), name


def test_every_block_is_run():
    assert TEXT.count("```") == 2 * len(CODE.findall(TEXT))


@pytest.mark.parametrize("title", SECTIONS)
def test_step_leads_to_a_lesson(title):
    last = SECTIONS[title].strip().split("\n\n")[-1]
    assert last.startswith("Lesson: ")


def test_links_lead_to_notebooks_and_sections_that_are_there():
    for number, target, rest in re.findall(r"\[(\d\d)[^]]*\]\(([^)]+)\)([^[|\n]*)", TEXT):
        notebook = (PAGE.parent / target).resolve()
        assert notebook.is_file() and notebook.name.startswith(number)
        for section in re.findall(r"\d+\.\d+", rest):
            lesson = PAGE.parent.parent / "lessons" / f"{notebook.stem}.md"
            assert f"\n## {section} " in lesson.read_text(encoding="utf-8"), f"{lesson.name} has no section {section}"


def test_page_names_nobody():
    assert not re.findall(r"https?://\S+", TEXT)
