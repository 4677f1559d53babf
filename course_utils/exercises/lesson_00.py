"""Exercises of lesson 00: slices, axes, wrap-around, masks, and what a slice shares with its array."""

import numpy as np

from course_utils.exercises.engine import function, quiz


def _colours(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a colour image of random values, (height, width, 3), uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@function(
    inputs=lambda: [(np.arange(12, dtype=np.uint8).reshape(2, 2, 3),), (_colours(3, 4),), (_colours(5, 5),)],
    hints=(
        "Rows are axis 0, columns are axis 1. Left and right swap if the order of the columns turns around.",
        "`::-1` as a slice turns an axis around; `:` leaves one as it is.",
    ),
    remark="`np.fliplr(image)` does the same. No pixel was copied: the result is a view of the image.",
    image=True,
)
def mirrored(image):
    return image[:, ::-1]


@mirrored.mistake("Your image is upside down: you turned axis 0, the rows, around. Left and right are columns.")
def upside_down(image):
    return image[::-1]


@mirrored.mistake("You turned around both rows and columns. That is a rotation by half a turn; turn the columns only.")
def half_a_turn(image):
    return image[::-1, ::-1]


@mirrored.mistake("You turned the channels around: red and blue have swapped places. The columns are axis 1.")
def channels_swapped(image):
    return image[..., ::-1]


@mirrored.mistake(
    "You exchanged rows and columns. The image keeps its shape; only the order of the columns turns around."
)
def transposed(image):
    return image.transpose(1, 0, 2)


@mirrored.mistake("The image is unchanged: `::1` steps forwards. A step of −1 goes backwards.")
def unchanged(image):
    return image[:, ::1]


@quiz(
    because="`None` adds an axis of length 1, `::2` keeps every second of 300 rows, `:` keeps the 451 columns, and the "
    "number 0 picks one channel, so that axis is gone.",
    hints=(
        "Go through the four entries from left to right. Which adds an axis, which shortens one, which removes one?",
    ),
    A="`None` stands for a new axis of length 1, in front. Without it this would be right.",
    C="A single number picks one channel, and its axis disappears; `0:1` would keep it with length 1.",
    D="`::2` is the first slice after `None`, so it applies to the rows, not to the columns.",
)
def q1():
    return "B"


@function(
    inputs=lambda: [
        (np.array([[[0, 10, 200], [100, 30, 100]]], np.uint8),),
        (_colours(2, 3),),
        (_colours(4, 4, 1),),
    ],
    hints=(
        "`axis` names the axes that disappear. Which of rows, columns and channels should be left?",
        "Rows are axis 0 and columns axis 1; a tuple such as `axis=(1, 2)` names two axes at once.",
    ),
    remark="A photo with a colour cast shows it here: one of the three numbers is much larger than the others.",
)
def channel_means(image):
    return image.mean(axis=(0, 1))


@channel_means.mistake("This is one number for the whole image. Name the axes over which the mean is taken: `axis=…`.")
def one_number(image):
    return image.mean()


@channel_means.mistake(
    "This is a grey image: one mean per pixel. `axis` names what disappears, and here the channels should stay."
)
def per_pixel(image):
    return image.mean(axis=2)


@channel_means.mistake("Only the rows have disappeared: there is one mean per column and channel. Name both axes.")
def rows_only(image):
    return image.mean(axis=0)


@channel_means.mistake("Only the columns have disappeared: there is one mean per row and channel. Name both axes.")
def columns_only(image):
    return image.mean(axis=1)


@channel_means.mistake("There is one mean per row: you averaged over columns and channels. The channels should stay.")
def per_row(image):
    return image.mean(axis=(1, 2))


@channel_means.mistake("You return sums. The mean divides them by the number of pixels.")
def sums(image):
    return image.sum(axis=(0, 1))


@channel_means.mistake("You return medians, the values in the middle. The mean is the sum divided by the number.")
def medians(image):
    return np.median(image, axis=(0, 1))


@channel_means.mistake("You return the brightest value per channel. The task asks for the mean.")
def brightest(image):
    return image.max(axis=(0, 1))


@quiz(
    because="A slice is a view: a second name for the same memory. `cat[90:140].copy()` would be an image of its own.",
    hints=("Does a slice copy the numbers?",),
    A="A slice copies nothing. `band` and `cat` share the memory of these 50 rows.",
    C="An assignment with `[:]` writes into the array; `band = 0` would only give the name to something else.",
)
def q2():
    return "B"


@function(
    inputs=lambda: [
        (np.array([[10, 100], [200, 250]], np.uint8), 60),
        (np.array([[0, 255, 128]], np.uint8), 0),
        (np.random.default_rng(2).integers(0, 256, (4, 5, 3)).astype(np.uint8), 200),
    ],
    hints=(
        "`uint8` has no room above 255. Change the type before you add: `image.astype(int)`.",
        "Then limit the values with `np.clip(…, 0, 255)`, and change the type back: `.astype(np.uint8)`.",
    ),
    remark="OpenCV's `cv2.add` limits in the same way; NumPy's `+` wraps around and says nothing.",
    dtype=True,
)
def brighter(image, amount):
    return np.clip(image.astype(int) + amount, 0, 255).astype(np.uint8)


@brighter.mistake(
    "Values have wrapped around before they were limited: in `uint8`, 250 + 60 is 54. Change the type before you add, "
    "and limit before you change it back."
)
def wrapped(image, amount):
    return image + np.uint8(amount)


@brighter.mistake("Values above 255 are left. Limit them with `np.clip`, then change the type back to `uint8`.")
def too_large(image, amount):
    return image.astype(int) + amount


@brighter.mistake("The values are right, but the type is not that of an image: end with `.astype(np.uint8)`.")
def wrong_type(image, amount):
    return np.clip(image.astype(int) + amount, 0, 255)


@brighter.mistake("You multiplied. The task asks to add the same amount to every value.")
def multiplied(image, amount):
    return np.clip(image.astype(int) * amount, 0, 255).astype(np.uint8)


@quiz(
    because="Shapes are compared from the right: 3 with 3, 451 with 1, 300 with 1. An axis of length 1, or one that is "
    "missing on the left, is repeated.",
    hints=("Write both shapes below each other, flush right. Each pair must be equal, or one of the two must be 1.",),
    A="From the right, 3 meets 451, and neither is 1. With `mask[:, :, None]`, shape (300, 451, 1), it works.",
    B="From the right, 3 meets 300, and neither is 1. With `column[:, None, None]`, shape (300, 1, 1), it works.",
)
def q3():
    return "C"


def _batches() -> list[tuple[np.ndarray, int]]:
    """Return batches of grey images, and limits of which some are met exactly."""
    small = np.array([[[10, 200], [100, 250]], [[0, 0], [0, 101]], [[255, 255], [255, 255]]], np.uint8)
    many = np.random.default_rng(3).integers(0, 256, (4, 3, 5)).astype(np.uint8)
    return [(small, 100), (many, 128), (many[:1], int(many[0, 0, 0]))]


@function(
    inputs=_batches,
    hints=(
        "`images > limit` is a mask: True or False per pixel. True counts as 1, so the mean of a mask is a fraction.",
        "Which axes should disappear, if one number per image is to be left? The images are axis 0.",
    ),
    remark="One line, no loop, for 3 images or for 3,000.",
)
def bright_fractions(images, limit):
    return (images > limit).mean(axis=(1, 2))


@bright_fractions.mistake("This is one number for the whole batch. Name the axes that should disappear: `axis=…`.")
def whole_batch(images, limit):
    return (images > limit).mean()


@bright_fractions.mistake(
    "The images have disappeared (axis 0), the pixels are left. One number per image: rows and columns must disappear."
)
def over_images(images, limit):
    return (images > limit).mean(axis=0)


@bright_fractions.mistake(
    "You count the bright pixels. The fraction divides by their number: take the mean of the mask."
)
def counts(images, limit):
    return (images > limit).sum(axis=(1, 2))


@bright_fractions.mistake("You divide by the number of pixels of the whole batch. Divide by those of one image.")
def of_all_pixels(images, limit):
    return (images > limit).sum(axis=(1, 2)) / images.size


@bright_fractions.mistake("`len(images)` is the number of images. Divide by the number of pixels of one image.")
def per_image_count(images, limit):
    return (images > limit).sum(axis=(1, 2)) / len(images)


@bright_fractions.mistake(
    "This is the mean brightness. The task asks how many pixels are above the limit: first compare."
)
def mean_brightness(images, limit):
    return images.mean(axis=(1, 2))


@bright_fractions.mistake("Here pixels that equal the limit count as bright. The task asks for those above it: `>`.")
def limit_included(images, limit):
    return (images >= limit).mean(axis=(1, 2))


@bright_fractions.mistake("This is the fraction of dark pixels. Turn the comparison around.")
def dark_fractions(images, limit):
    return (images < limit).mean(axis=(1, 2))


@bright_fractions.mistake(
    "This is the mean brightness of the bright pixels (the others as 0). The task asks how many they are: the mean of "
    "the mask itself."
)
def brightness_of_bright(images, limit):
    return (images * (images > limit)).mean(axis=(1, 2))


@bright_fractions.mistake("You return percent. A fraction lies between 0 and 1.")
def in_percent(images, limit):
    return 100 * (images > limit).mean(axis=(1, 2))


@bright_fractions.mistake(
    "Only one axis has disappeared: there is one fraction per image and column or row. Name both."
)
def one_axis(images, limit):
    return (images > limit).mean(axis=1)
