"""Exercises of lesson 02: read, shrink, rescale and split images, and order the steps of a pipeline."""

import atexit
import tempfile
from pathlib import Path

import numpy as np

from course_utils.exercises.engine import function, quiz, value


@quiz(
    because="The sum is computed in `uint8` first: 300 − 256 = 44, and 44 needs no clipping. Clip while the numbers "
    "are still in a wider type, and go back to `uint8` last.",
    hints=("Python works from the inside out. What does `np.clip` get to see?",),
    A="`np.clip` never sees 300: by the time it looks, the sum has been computed, in the type of the image.",
    C="NumPy raises an error only if the number that you add does not fit into `uint8` by itself, such as 300. A sum "
    "that does not fit silently wraps around.",
)
def q1():
    return "B"


def _image_files() -> list[tuple[str]]:
    """Write four images that readers disagree on, and return their paths; they stay until Python ends."""
    from PIL import Image

    from course_utils.datasets import sample_photo

    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    cat = sample_photo("cat")[60:160, 100:250]
    tall = sample_photo("cat")[40:200, 120:220]  # so that not every upright image is wide
    coins = sample_photo("coins")[10:90, 20:140]
    low = np.minimum(coins.astype(np.uint16) + 60, 255)  # the lower byte: another image than the upper one
    images = {  # PNG files: decoders of JPEG may differ by one grey level
        "colour.png": (cat, 1),
        "lies_on_its_side.png": (np.rot90(cat), 6),  # to be turned clockwise by 90°
        "stands_on_its_head.png": (tall[::-1, ::-1], 3),  # to be turned by 180°
        "grey_16_bits.png": (coins.astype(np.uint16) * 256 + low, 1),  # divided by 256 or by 257, each gives `coins`
    }
    for name, (pixels, orientation) in images.items():
        note = Image.Exif()
        note[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(pixels)).save(Path(folder.name) / name, exif=note)
    return [(str(Path(folder.name) / name),) for name in images]


@function(
    inputs=_image_files,
    dtype=True,
    image=True,
    hints=(
        "For each of the three kinds of file, ask what `cv2.imread` and what Pillow makes of it. One of these two gets "
        "everything right but one thing.",
        "`cv2.imread` turns the image upright and gives `uint8` with three channels, in the order BGR. Section 2.3 "
        "names a second argument that changes the order.",
    ),
    remark='With Pillow, `ImageOps.exif_transpose(image).convert("RGB")` reads the photos, but 16-bit grey comes out '
    "white. The course's `read_image` knows all these files, and transparent ones too.",
)
def read_upright(path):
    import cv2

    return cv2.imread(path, cv2.IMREAD_COLOR_RGB)


@read_upright.mistake("The cat is upright but blue: `cv2.imread` gives the channels as blue, green, red.")
def blue(path):
    import cv2

    return cv2.imread(path)


@read_upright.mistake(
    "`COLOR_BGR2RGB` is made for `cv2.cvtColor`. For `cv2.imread` the same number means something else: its own "
    "constants begin with `IMREAD_`."
)
def constant_of_another_function(path):
    import cv2

    return cv2.imread(path, cv2.COLOR_BGR2RGB)


@read_upright.mistake(
    "Colours and range are right, but the photos of the phone lie as the sensor saw them: your reader ignores the "
    "note. `cv2.imread` obeys it unless told otherwise; for Pillow `ImageOps` has a function."
)
def ignores_the_note(path):
    import cv2

    return cv2.imread(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


@read_upright.mistake(
    "You get None. Either `return` is missing, or `cv2.imread` found no file: pass it `path`, without quotes."
)
def nothing(path):
    return None


@read_upright.mistake(
    "The colours are right, but this reader ignores the note about the orientation; for Pillow, `ImageOps` has a "
    "function. Then look at the scan: it is white, because numbers above 255 were cut off instead of being scaled."
)
def lying(path):
    from PIL import Image

    return np.array(Image.open(path).convert("RGB"))


@read_upright.mistake(
    "Colours and orientation are right. The 16-bit image is white: its numbers go up to 65535, and they were cut off "
    "at 255 instead of being scaled down."
)
def white(path):
    from PIL import Image, ImageOps

    return np.array(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


@read_upright.mistake(
    "You return what the file holds. The photos of the phone lie as the sensor saw them, and the scan has 16 bits and "
    "no channels."
)
def as_stored(path):
    from PIL import Image

    return np.array(Image.open(path))


@read_upright.mistake(
    "The photos are right. The scan still has 16 bits and no channels: `exif_transpose` turns an image, and changes "
    "nothing else."
)
def upright_as_stored(path):
    from PIL import Image, ImageOps

    return np.array(ImageOps.exif_transpose(Image.open(path)))


@read_upright.mistake(
    "`IMREAD_UNCHANGED` means it: nothing is changed, so nothing is turned upright, 16 bits stay 16 bits, and grey "
    "stays without channels. And the order is still BGR."
)
def unchanged(path):
    import cv2

    return cv2.imread(path, cv2.IMREAD_UNCHANGED)


@read_upright.mistake(
    "`plt.imread` gives floats in 0…1 for PNG files, lets turned images lie, and gives no channels for grey ones."
)
def floats(path):
    import matplotlib.pyplot as plt

    return plt.imread(path)


@read_upright.mistake(
    "The image is mirrored and still blue: you reversed the columns. The channels are the last axis: `[..., ::-1]`."
)
def reversed_columns(path):
    import cv2

    return cv2.imread(path)[:, ::-1]


@read_upright.mistake("The image has four channels (RGBA): drop the last one, or convert to RGB instead of RGBA.")
def four_channels(path):
    return np.dstack([read_upright.reference(path), np.full(read_upright.reference(path).shape[:2], 255, np.uint8)])


@read_upright.mistake("You reversed the rows. The channels are the last axis: `[..., ::-1]`.")
def reversed_rows(path):
    import cv2

    return cv2.imread(path)[::-1]


def _upright(path: str, convert) -> np.ndarray:
    """Return an image upright, with three channels; `convert` turns the scan into what is stacked."""
    from PIL import Image, ImageOps

    pixels = np.array(ImageOps.exif_transpose(Image.open(path)))
    return pixels if pixels.ndim == 3 else np.stack([convert(pixels)] * 3, axis=-1)


@read_upright.mistake(
    "The scan is upright and has three channels, but its numbers still go up to 65535. Divide by 257, then "
    "`.astype(np.uint8)`."
)
def unscaled(path):
    return _upright(path, lambda scan: scan)


@read_upright.mistake(
    '`astype("uint8")` keeps the remainder after 256 and drops the rest. Scale first: 65535 must become 255.'
)
def remainder(path):
    return _upright(path, lambda scan: scan.astype("uint8"))


@read_upright.mistake(
    "You stretched the scan so that its brightest pixel became 255. Divide by 257 (65535 / 255), whatever the image "
    "holds."
)
def stretched(path):
    return _upright(path, lambda scan: (scan / scan.max() * 255).astype(np.uint8))


@read_upright.mistake("65535 / 256 rounds to 256, which does not fit. Divide by 257, or use `// 256`.")
def rounded_up(path):
    return _upright(path, lambda scan: (scan / 256).round().astype(np.uint8))


def _images_to_shrink() -> list[tuple[np.ndarray, int]]:
    """Return images whose sides shrink by whole factors: nothing depends on how a size is rounded."""
    from course_utils.datasets import sample_photo

    stripes = np.zeros((6, 12), np.uint8)
    stripes[:, ::3] = 240  # every third column is bright: a mean of 80
    brick, cat = sample_photo("brick")[:240, :360], sample_photo("cat")[:, :450]
    return [(stripes, 4), (stripes.T.copy(), 4), (brick, 60), (cat, 75)]


@function(
    inputs=_images_to_shrink,
    dtype=True,
    image=True,
    tolerance=1,  # a grey level: not everyone rounds a mean as OpenCV does
    hints=(
        "One bug is in the order of the two numbers of the size, the other in what the call leaves out. Section 2.7 "
        "shows both.",
        "`cv2.resize` wants (width, height). And its `interpolation` must be the one that takes the mean of all pixels "
        "that it replaces.",
    ),
    remark="In your own work, test such a step with a wide image, a round thing and a fine pattern.",
)
def shrink(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return cv2.resize(image, (round(columns * scale), round(rows * scale)), interpolation=cv2.INTER_AREA)


@shrink.mistake("Both bugs are still in it: the shape of what comes out is wrong, and so is its pattern.")
def as_it_was(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return cv2.resize(image, (round(rows * scale), round(columns * scale)))


@shrink.mistake(
    "The shape is right now. What is left is the invented pattern: by default `cv2.resize` looks at the nearest two "
    "pixels on each axis and skips the others. (If you did ask for another interpolation: pass it by its name, "
    "`interpolation=…`. The third position in the call belongs to something else.)"
)
def skips(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return cv2.resize(image, (round(columns * scale), round(rows * scale)))


@shrink.mistake(
    "The shape is right now. But cubic interpolation skips pixels as the default does: it looks at four on each axis, "
    "however many it has to replace."
)
def cubic(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return cv2.resize(image, (round(columns * scale), round(rows * scale)), interpolation=cv2.INTER_CUBIC)


@shrink.mistake(
    "The shape is right now. But of each block of pixels you keep one and drop the others: that is no mean."
)
def nearest(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return cv2.resize(image, (round(columns * scale), round(rows * scale)), interpolation=cv2.INTER_NEAREST)


@shrink.mistake(
    "The invented pattern is gone. The shape is still wrong: a wide image comes out tall. Which of the two numbers "
    "does `cv2.resize` want first?"
)
def still_tall(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return cv2.resize(image, (round(rows * scale), round(columns * scale)), interpolation=cv2.INTER_AREA)


@shrink.mistake(
    "You make every image square, so circles become ellipses. Only the longer side is to be `side` pixels long."
)
def squashes(image, side):
    import cv2

    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


@shrink.mistake("With `min` you bring the shorter side to `side` pixels, and the longer one is longer than that.")
def shorter_side(image, side):
    import cv2

    rows, columns = image.shape[:2]
    scale = side / min(rows, columns)
    return cv2.resize(image, (round(columns * scale), round(rows * scale)), interpolation=cv2.INTER_AREA)


@shrink.mistake("The shape is right, and Pillow averages too, but with other weights. The task asks for `cv2.resize`.")
def with_pillow(image, side):
    from PIL import Image

    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    return np.array(Image.fromarray(image).resize((round(columns * scale), round(rows * scale))))


def _photos_to_convert() -> list[tuple[np.ndarray]]:
    from course_utils.datasets import sample_photo

    extremes = np.array([[[0, 0, 0], [255, 255, 255]], [[255, 0, 0], [10, 128, 200]]], np.uint8)
    return [(extremes,), (sample_photo("cat")[60:120, 100:190],)]


@function(
    inputs=_photos_to_convert,
    tolerance=1e-4,
    hints=(
        "0 must become −1 and 255 must become 1. So 127.5, in the middle, becomes 0.",
        "Divide by 127.5, subtract 1, and add an axis in front: `[np.newaxis]`.",
    ),
    remark="`keras.applications.mobilenet_v2.preprocess_input` computes the same. As a layer of the model, "
    "`Rescaling(1 / 127.5, offset=-1)` is saved with it.",
)
def to_network(photo):
    return (photo.astype("float32") / 127.5 - 1)[np.newaxis]


@to_network.mistake(
    "The shape is right, but bright pixels come out dark: `photo * 2` is computed in `uint8` and wraps around. Divide "
    "first, which makes floats."
)
def doubled(photo):
    return (photo * np.uint8(2) / 255 - 1)[np.newaxis]


@to_network.mistake(
    "`photo - 127` wraps around in `uint8`: change the type to `float32` first, and the middle is 127.5."
)
def shifted_127(photo):
    return ((photo - np.uint8(127)) / 127.5)[np.newaxis]


@to_network.mistake(
    "`photo - 128` wraps around in `uint8`: change the type to `float32` first, and the middle is 127.5."
)
def shifted_128(photo):
    return ((photo - np.uint8(128)) / 128)[np.newaxis]


@to_network.mistake("The range is 0…1, which is what many networks want, but not this one: it wants −1…1.")
def from_zero(photo):
    return (photo / 255)[np.newaxis]


@to_network.mistake("The range is right, but the batch axis is missing: the shape must begin with 1.")
def without_batch(photo):
    return photo / 127.5 - 1


@to_network.mistake(
    "The range is 0…1 and the batch axis is missing: this network wants −1…1 and a shape that begins with 1."
)
def from_zero_without_batch(photo):
    return photo / 255


@to_network.mistake("Nearly: 255 becomes more than 1. The middle of 0…255 is 127.5, not 127.")
def with_127(photo):
    return (photo / 127 - 1)[np.newaxis]


@to_network.mistake("Nearly: 255 does not quite become 1. The middle of 0…255 is 127.5, not 128.")
def with_128(photo):
    return (photo / 128 - 1)[np.newaxis]


@to_network.mistake(
    "You brought the photo to mean 0 and standard deviation 1. MobileNetV2 wants the fixed range −1…1, whatever the "
    "photo holds."
)
def standardised(photo):
    return ((photo - photo.mean()) / photo.std())[np.newaxis]


@to_network.mistake("You subtracted the mean of ImageNet and exchanged the channels: that is what VGG16 wants.")
def for_vgg(photo):
    channel_means = [103.939, 116.779, 123.68]
    return (photo[..., ::-1].astype("float32") - channel_means)[np.newaxis]


@quiz(
    because="A mirrored left hand is a right hand: the image changes its class and keeps its label.",
    hints=("Do to your own left hand what each of the three does to the image.",),
    A="A left hand that is turned stays a left hand, and people do not hold their hands upright to the degree.",
    C="A left hand in a darker room is a left hand. Light will vary at inference, so it should vary in training.",
)
def q2():
    return "B"


_CELLS = [12, 8, 14, 6, 10, 12, 8, 12, 6, 10, 12, 10]  # of the modules 1 to 12
_DEFECTIVE = [1, 1, 4, 2, 2, 3, 3, 0, 0, 1, 6, 7]
modules = np.repeat(np.arange(1, 13), _CELLS)
defective = np.concatenate([np.arange(cells) < bad for cells, bad in zip(_CELLS, _DEFECTIVE, strict=True)])


def _says_yes_or_no(mask) -> bool:
    values = np.asarray(mask)
    return values.shape == modules.shape and bool(np.isin(values, [0, 1]).all())


def _cuts_no_module(mask) -> bool:
    return not set(modules[np.asarray(mask)]) & set(modules[~np.asarray(mask)])


def _has_the_right_classes(mask) -> bool:
    return abs(defective[np.asarray(mask)].mean() - defective.mean()) <= 0.05


@value(
    rules=[
        (
            _says_yes_or_no,
            [3, 4, 5],
            "A mask is expected: for each of the 120 cells True (test set) or False (training set). A comparison such "
            "as `modules == 3` makes one.",
        ),
        (
            lambda mask: np.asarray(mask).dtype == bool,
            np.isin(modules, [3, 4, 5]).astype(int),
            "These are numbers. Turn them into True and False: `np.asarray(…).astype(bool)`.",
        ),
        (
            np.any,
            np.isin(modules, {3, 4, 5}),
            "No cell is in the test set: the mask is False everywhere. `np.isin` wants a list of numbers, such as `[1, "
            "2]`, not a set and not text.",
        ),
        (
            _cuts_no_module,
            np.random.default_rng(0).random(120) < 0.25,
            "At least one module has cells on both sides. If you assign single cells, at random or by their position, "
            "the test set gets siblings of training cells: decide for each module as a whole.",
        ),
        (
            lambda mask: not 0.7 <= np.mean(mask) <= 0.8,
            ~np.isin(modules, [3, 4, 5]),
            "The two sets are exchanged: True stands for the test set, which is the small one.",
        ),
        (
            lambda mask: 0.2 <= np.mean(mask) <= 0.3,
            np.isin(modules, [2, 4, 7]),
            "No module is cut in two, but the test set must hold 20 to 30 % of all cells: 24 to 36 of them.",
        ),
        (
            lambda mask: len(set(modules[np.asarray(mask)])) >= 3,
            np.isin(modules, [3, 6]),
            "The size is right, but fewer than three modules make up the test set. Cells of one module resemble each "
            "other: a score on them says little about the next module.",
        ),
        (
            _has_the_right_classes,
            modules >= 10,
            "No module is cut in two, and the size is right. But among all cells 25 % are defective, and in your test "
            "set the percentage is more than five points away from that. Exchange a module for another one.",
        ),
    ],
    hints=(
        "First choose modules from the table, with pencil and paper: three or four of them, some with many defective "
        "cells and some with few. Then say it in Python.",
        "`np.isin(modules, [1, 2])` is True for the cells of the modules 1 and 2. Which list of modules has about 30 "
        "cells, 7 or 8 of them defective?",
    ),
    remark="Many lists are right. For large tables scikit-learn's `StratifiedGroupKFold` looks for one: it keeps "
    "groups together, and the proportions of the classes as equal as it can. Check them all the same.",
)
def in_test():
    return np.isin(modules, [3, 4, 5])


@quiz(
    because="Some images are black, others far above 1: `RandomBrightness` expects 0…255 unless you write "
    "`value_range=(0, 1)`. Look at a batch as the network gets it, after every step, before you look for a cause "
    "elsewhere.",
    hints=("What is different now, and how could you see it?",),
    A="Augmentation makes training slower. But more epochs help only if one can still see what is in the images: look "
    "at them first.",
    B="The learning rate was good until the images changed: look at the images first.",
)
def q3():
    return "C"


_STEPS = ["decode", "augment", "cache", "batch", "shuffle", "resize", "prefetch"]


def _in_order(*names: str):
    """Return a rule: whether these steps come one after the other, with any others between them."""

    def holds(given) -> bool:
        positions = [list(given).index(name) for name in names]
        return positions == sorted(positions)

    return holds


def _decodes_first(given) -> bool:
    return all(_in_order("decode", name)(given) for name in ("resize", "augment", "cache", "batch"))


@value(
    rules=[
        (
            lambda given: not isinstance(given, set | dict) and sorted(given) == sorted(_STEPS),
            ["decode", "cache", "shuffle", "batch", "augment", "prefetch"],
            "Write a list with each of the seven names once, spelled as in the task and in quotes.",
        ),
        (
            _decodes_first,
            ["cache", "decode", "resize", "shuffle", "batch", "augment", "prefetch"],
            "Before `decode` there are only names of files. The steps that work on pixels come after it, and so does "
            "`cache`: it is to keep pixels.",
        ),
        (
            _in_order("cache", "augment"),
            ["decode", "resize", "augment", "cache", "shuffle", "batch", "prefetch"],
            "`augment` stands before `cache`: the variants of the first epoch are kept, and every later epoch repeats "
            "them.",
        ),
        (
            _in_order("cache", "shuffle"),
            ["decode", "resize", "shuffle", "cache", "batch", "augment", "prefetch"],
            "`shuffle` stands before `cache`: the order of the first epoch is kept, and every later epoch repeats it.",
        ),
        (
            _in_order("resize", "cache"),
            ["decode", "cache", "resize", "shuffle", "batch", "augment", "prefetch"],
            "You keep the photos at full size: 36 MB each, 36 GB for all, and the computer has 16 GB. Resize first; "
            "the result is the same in every epoch.",
        ),
        (
            _in_order("shuffle", "batch"),
            ["decode", "resize", "cache", "batch", "shuffle", "augment", "prefetch"],
            "`batch` stands before `shuffle`: then whole batches are shuffled, and the same photos always stay "
            "together.",
        ),
        (
            lambda given: list(given)[-1] == "prefetch",
            ["decode", "resize", "cache", "prefetch", "shuffle", "batch", "augment"],
            "`prefetch` prepares what the steps before it give. What comes after it, the network has to wait for.",
        ),
    ],
    hints=(
        "Sort the steps into two kinds: those that give the same for a photo in every epoch, and those that are to "
        "give something new. `cache` stands between them.",
        "Before `cache`: from a name to a small image. After it: mix single images, then pack them. What must come "
        "last, so that the network never waits?",
    ),
    remark="`augment` may also stand before `batch`: the result is as good, only slower. For validation leave out "
    "`augment` and `shuffle`.",
)
def steps():
    return ["decode", "resize", "cache", "shuffle", "batch", "augment", "prefetch"]
