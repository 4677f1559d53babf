"""Section 5.6 of lesson 05, “The article's program”, runs on another folder when its one line is changed."""

import re

import build_notebooks as build
import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

(LESSON,) = (path for path in build.lesson_files() if path.stem.startswith("05"))
LINE = re.compile(r"^folder = .*$", re.MULTILINE)


def program() -> list[str]:
    """Return the sources of the imports and of the section's code cells."""
    cells = jupytext.read(LESSON).cells
    heads = [next(iter(re.findall(r"^## (.*)", cell.source, re.MULTILINE)), "") for cell in cells]
    start = next(number for number, head in enumerate(heads) if "article's program" in head)
    end = next(number for number in range(start + 1, len(cells)) if heads[number])
    imports = next(cell for cell in cells if cell.cell_type == "code")
    return [cell.source for cell in [imports, *cells[start:end]] if cell.cell_type == "code"]


def fill(folder, count):
    """Write two classes of odd sizes, one reddish and one bluish, some grey-level noise on each."""
    random = np.random.default_rng(0)
    for name, colour in (("rose", (200, 60, 70)), ("sky", (80, 120, 220))):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            size = (*random.integers(40, 200, 2), 3)
            pixels = np.clip(random.normal(colour, 30, size), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.{'png' if number % 3 else 'jpg'}")


@pytest.mark.parametrize("layout", ["classes", "train and test", "train and val"])
def test_program_runs_on_another_folder(layout, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_STRICT", "1")
    if layout == "classes":
        fill(tmp_path, 40)
        (tmp_path / "rose" / "broken.jpg").write_bytes(b"\xff\xd8 no more than this")  # large collections have some
        Image.new("L", (50, 70), 30).save(tmp_path / "sky" / "grey.png")
    else:
        fill(tmp_path / "train", 32)
        fill(tmp_path / layout.split()[-1], 8)
    cells = program()
    assert sum(len(LINE.findall(source)) for source in cells) == 1, "one line names the folder"
    namespace = {"__name__": "__main__"}
    for source in cells:
        exec(LINE.sub(f"folder = Path({str(tmp_path)!r})", source), namespace)
    plt.close("all")
    assert namespace["class_names"] == ["rose", "sky"]
    assert namespace["photo_model"].output_shape == (None, 2)
    assert len(namespace["truth"]) == len(namespace["named"]) >= 15
    truth = namespace["Path"](namespace["file"]).parent.name
    assert (
        f"the network names the file · measured {truth}, " in capsys.readouterr().out
    )  # the name of one file, and its probability
