"""Exercises of lesson 03: convolution, pooling, ReLU."""

import numpy as np

from course_utils.exercises.engine import function, quiz, value


def _images_to_pad() -> list[tuple]:
    from course_utils.datasets import sample_photo

    small = np.array([[1, 2], [3, 4]], np.uint8)
    grey = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    fractions = np.array([[0.25, 0.5], [0.75, 1]], np.float32)
    four_channels = np.arange(1, 49, dtype=np.uint8).reshape(3, 4, 4)
    colours = sample_photo("cat")[100:160, 150:230]
    # A width of 0 comes last: a slice that ends at -0 is empty.
    return [(small, 1), (grey, 2), (fractions, 1), (four_channels, 1), (colours, 10), (small, 0)]


@function(
    inputs=_images_to_pad,
    dtype=True,
    image=True,
    hints=(
        "`np.pad` takes a pair (before, after) for each axis. How many axes has a grey image, how many a colour one?",
        "Rows and columns get (width, width). The channels, if there are any, get (0, 0).",
    ),
    remark="Channels are no side of the image: whatever moves pixels about leaves the last axis alone.",
)
def pad(image, width):
    around = [(width, width), (width, width), (0, 0)]
    return np.pad(image, around[: image.ndim])


@pad.mistake(
    "The colour image has got new channels: one number for `np.pad` counts for every axis, and channels are one. Only "
    "rows and columns are to grow."
)
def pads_channels(image, width):
    return np.pad(image, width)


@pad.mistake(
    "Your function takes an image for grey unless it has exactly three channels. Some have four (RGBA, with "
    "transparency): ask for the number of axes, `image.ndim`."
)
def only_three_channels(image, width):
    colour = image.ndim == 3 and image.shape[2] == 3
    return np.pad(image, [(width, width), (width, width), (0, 0)] if colour else width)


@pad.mistake(
    "The image has four channels (RGBA), and the last one got lost. Channels, however many there are, stay as they are."
)
def drops_the_fourth(image, width):
    return pad.reference(image[..., :3] if image.ndim == 3 else image, width)


@pad.mistake(
    "You have reversed the order of the channels (RGB to BGR). Padding leaves the pixels themselves as they are."
)
def reverses_channels(image, width):
    return pad.reference(image[..., ::-1] if image.ndim == 3 else image, width)


@pad.mistake("You padded above and on the left only: all four sides get `width` pixels.")
def upper_left_only(image, width):
    return np.pad(image, [(width, 0), (width, 0), (0, 0)][: image.ndim])


@pad.mistake("You padded below and on the right only: all four sides get `width` pixels.")
def one_side(image, width):
    return np.pad(image, [(0, width), (0, width), (0, 0)][: image.ndim])


@pad.mistake(
    "You mirrored the image at its border, as OpenCV does. Here the new pixels are to be black, as in Keras with "
    '`padding="same"`.'
)
def mirrors(image, width):
    return np.pad(image, [(width, width), (width, width), (0, 0)][: image.ndim], mode="reflect")


@pad.mistake(
    "You repeated the outermost pixels of the image. The new pixels are to be black: 0, whatever is beside them."
)
def repeats(image, width):
    return np.pad(image, [(width, width), (width, width), (0, 0)][: image.ndim], mode="edge")


@pad.mistake(
    "You blackened the outermost pixels of the image itself. The black pixels come in addition: height and width grow "
    "by 2 · `width`."
)
def blackens_its_own(image, width):
    framed = image.copy()
    framed[:width] = framed[image.shape[0] - width :] = 0
    framed[:, :width] = framed[:, image.shape[1] - width :] = 0
    return framed


@pad.mistake(
    "Your result is always `uint8`: an image with values in 0…1 loses what comes after the point. Take the dtype of "
    "the image."
)
def always_uint8(image, width):
    return pad.reference(image, width).astype(np.uint8)


@pad.mistake(
    "The pixels are right, but they are float64 now: `np.zeros` makes floats unless you give it a dtype. Take the one "
    "of the image."
)
def as_floats(image, width):
    height, columns = image.shape[:2]
    padded = np.zeros((height + 2 * width, columns + 2 * width, *image.shape[2:]))
    padded[width : width + height, width : width + columns] = image
    return padded


@function(
    inputs=lambda: [
        (6, [(3, 2, 1)]),  # first one with padding: exchanged with a stride, a padding of 0 divides by zero
        (6, [(3, 1, 0)]),
        (28, [(3, 1, 0), (2, 2, 0)]),
        (224, [(7, 2, 3), (3, 2, 1), (3, 1, 1)]),
        (224, [(11, 4, 2), (3, 2, 0)]),  # 54.25 steps: to the nearest is not the same as up
    ],
    hints=(
        "Section 3.4 has the formula for one layer. What comes out of one layer goes into the next.",
        "Loop over the layers. In each round, the formula with the present n gives the new n.",
    ),
    remark="Pooling obeys the same formula: its block is the kernel, and the stride is usually as large.",
)
def side_after(n, stack):
    for kernel, stride, padding in stack:
        n = (n + 2 * padding - kernel) // stride + 1
    return n


@side_after.mistake("You count the padding once, but it is added on both sides of the image.")
def padding_once(n, stack):
    for kernel, stride, padding in stack:
        n = (n + padding - kernel) // stride + 1
    return n


@side_after.mistake("You leave out the padding, which makes the image larger by `padding` on each side.")
def no_padding(n, stack):
    for kernel, stride, _ in stack:
        n = (n - kernel) // stride + 1
    return n


@side_after.mistake("You leave out the stride: divide what the first window leaves by it, and round down.")
def no_stride(n, stack):
    for kernel, _, padding in stack:
        n = n + 2 * padding - kernel + 1
    return n


@side_after.mistake(
    "Brackets are missing: `//` is computed before `+` and `-`, so only the kernel is divided by the stride."
)
def no_brackets(n, stack):
    for kernel, stride, padding in stack:
        n = n + 2 * padding - kernel // stride + 1
    return n


@side_after.mistake("You have exchanged kernel and padding: each layer is listed as (kernel, stride, padding).")
def kernel_and_padding_exchanged(n, stack):
    for padding, stride, kernel in stack:
        n = (n + 2 * padding - kernel) // stride + 1
    return n


@side_after.mistake("You have exchanged kernel and stride: each layer is listed as (kernel, stride, padding).")
def kernel_and_stride_exchanged(n, stack):
    for stride, kernel, padding in stack:
        n = (n + 2 * padding - kernel) // stride + 1
    return n


@side_after.mistake("You have exchanged stride and padding: each layer is listed as (kernel, stride, padding).")
def stride_and_padding_exchanged(n, stack):
    for kernel, padding, stride in stack:
        n = (n + 2 * padding - kernel) // stride + 1
    return n


@side_after.mistake("You count the steps between the windows, not the windows: the first one needs no step.")
def steps_only(n, stack):
    for kernel, stride, padding in stack:
        n = (n + 2 * padding - kernel) // stride
    return n


@side_after.mistake(
    "You round up, as if a last window could hang over the edge. A window has to fit: what is left over is not used."
)
def rounds_up(n, stack):
    for kernel, stride, padding in stack:
        n = -(-(n + 2 * padding - kernel) // stride) + 1
    return n


@side_after.mistake("You round to the nearest whole number: 3.5 becomes 4. What is left over is not used: round down.")
def rounds_to_nearest(n, stack):
    for kernel, stride, padding in stack:
        n = round((n + 2 * padding - kernel) / stride + 1)
    return n


@side_after.mistake(
    "You round the number of steps to the nearest whole number: 111.5 becomes 112. What is left over is not used: "
    "round down."
)
def rounds_steps_to_nearest(n, stack):
    for kernel, stride, padding in stack:
        n = round((n + 2 * padding - kernel) / stride) + 1
    return n


@side_after.mistake(
    "You divide with `/` and never round: this is no whole number of windows. What is left over after the last whole "
    "step is not used."
)
def never_rounds(n, stack):
    for kernel, stride, padding in stack:
        n = (n + 2 * padding - kernel) / stride + 1
    return n


@side_after.mistake("Every layer of yours reads the first image: a layer has to read what the layer before it left.")
def all_from_the_photo(n, stack):
    for kernel, stride, padding in stack:
        side = (n + 2 * padding - kernel) // stride + 1
    return side


@side_after.mistake("Only the first layer counts in your answer: is `return` inside the loop?")
def first_only(n, stack):
    kernel, stride, padding = stack[0]
    return (n + 2 * padding - kernel) // stride + 1


@quiz(
    because="Each kernel has 3·3 numbers for each of 64 maps, and one bias: (3·3·64 + 1) · 128 = 73,856.",
    hints=("How many slices has one kernel of this layer?",),
    A="This is (3·3 + 1) · 128, as if a kernel were flat. It has a slice for each of the 64 maps that it reads.",
    B="This is 3·3·64·128: you left out the biases, one for each kernel.",
    D="The kernel slides: the same numbers serve at every position, so a larger photo needs no more of them.",
)
def q1():
    return "C"


_MAX, _MEAN = [[7, 6], [8, 9]], [[4, 3.25], [4, 5]]


def _are_two_maps(maps) -> bool:
    return np.shape(maps) == (2, 2, 2)


def _same(values, expected) -> bool:
    return np.allclose(np.asarray(values, float), expected)


@value(
    mistakes=[
        (
            (_MEAN, _MAX),
            "The two maps are exchanged: first the one after max pooling, then the one after mean pooling.",
        ),
        ((_MEAN, _MEAN), "Both are means. Max pooling keeps the largest of the four values of a block."),
        ((_MAX, _MAX), "Both are maxima. Mean pooling adds the four values of a block and divides by 4."),
        (
            (_MAX, [[16, 13], [16, 20]]),
            "The maxima are right; your means are sums. Divide each by the four values of its block.",
        ),
        (
            (_MAX, [[4, 3], [4, 5]]),
            "The maxima are right; your means are rounded down. Feature maps hold fractions: 13 / 4 is 3.25.",
        ),
        (
            ([[7, 8], [6, 9]], [[4, 4], [3.25, 5]]),
            "Rows and columns are exchanged: the upper right block belongs at the upper right.",
        ),
        (
            ([[1, 2], [8, 9]], [[1, 2], [8, 9]]),
            "You kept the upper left value of each block. That is a stride of 2 without pooling.",
        ),
    ],
    rules=[
        (
            lambda maps: len(maps) == 2,
            7,
            "The answer has two parts: the map after max pooling and the one after mean pooling.",
        ),
        (
            lambda maps: np.ndim(maps[0]) != 1 or len(maps[0]) != 4,
            ([7, 6, 8, 9], [4, 3.25, 4, 5]),
            "Your maps are flat lists. Pooling keeps rows and columns: two rows of two numbers each, [[a, b], [c, d]].",
        ),
        (
            lambda maps: np.shape(maps[0]) != (3, 3),
            ([[7, 7, 6], [8, 9, 9], [8, 9, 9]], [[4, 4.5, 3.25], [4.5, 5, 6], [4, 4, 5]]),
            "A map of 3 × 3 has blocks that overlap: you moved by 1. The blocks of this pooling lie side by side, with "
            "a stride of 2.",
        ),
        (_are_two_maps, ([[7, 6]], [[4, 3.25]]), "Two maps are expected, each of two rows with two numbers."),
        (
            lambda maps: _same(maps[0], _MAX),
            ([[7, 6], [8, 5]], _MEAN),
            "The map after max pooling is not right: take the largest value of each 2 × 2 block.",
        ),
        (
            lambda maps: _same(maps[1], _MEAN),
            (_MAX, [[4, 3.25], [4, 4]]),
            "The maxima are right, the means are not: add the four values of each 2 × 2 block and divide by 4.",
        ),
    ],
    hints=(
        "Draw a line between the second and the third column, and one between the second and the third row.",
        "The upper left block holds 1, 5, 3 and 7: the largest is 7, the mean is 16 / 4.",
    ),
    remark="With the maximum the lower blocks, 8 and 9, look alike; the mean tells the block with one strong value "
    "(8, 0, 4, 4) from the one that is strong nearly everywhere.",
)
def pooled():
    after_max = [[7, 6], [8, 9]]
    after_mean = [[4, 3.25], [4, 5]]
    return after_max, after_mean


def _are_four_numbers(ways) -> bool:
    return isinstance(ways, list | tuple | np.ndarray) and len(ways) == 4 and all(way == int(way) for way in ways)


@value(
    mistakes=[
        (
            (3, 3, 3, 3),
            "A block is 4 wide, so you expect 3 pixels each way. But the pixel lies inside its block: 3 is the way "
            "left and right together.",
        ),
        (
            (0, 1, 1, 0),
            "This is right for a single pooling. The second one pools the pooled map: how large is its block?",
        ),
        (
            (3, 0, 2, 1),
            "Rows and columns are exchanged. The pixel lies in row 7 and column 10: moving left or right changes the "
            "column, moving up or down the row.",
        ),
        (
            (1, 2, 2, 1),
            "You counted from 1. Rows and columns count from 0: the first block holds 0, 1, 2 and 3.",
        ),
        (
            (2, 1, 0, 3),
            "Up and down are exchanged. Rows count downwards: a pixel that moves up gets a smaller row number.",
        ),
        (
            (1, 2, 3, 0),
            "Left and right are exchanged. A pixel that moves left gets a smaller column number.",
        ),
        (
            (1, 2, 0, 3),
            "Both pairs are exchanged: moving left or up makes the number of the column or row smaller.",
        ),
        (
            (2, 2, 2, 2),
            "Two poolings do not tolerate 2 pixels each way: blocks have fixed positions, and this pixel is nearer to "
            "one edge of its block than to the other.",
        ),
        (
            (10, 5, 7, 8),
            "So far it is to the edges of the map. The result changes as soon as the pixel leaves its block.",
        ),
    ],
    rules=[
        (_are_four_numbers, (3, 3), "Four whole numbers are expected: left, right, up, down."),
        (lambda ways: min(ways) >= 0, (-2, 1, -3, 0), "Give four distances, 0 or more."),
        (
            lambda ways: ways[0] == 2,
            (3, 1, 3, 0),
            "`left` is not right: which columns belong to the block that holds column 10?",
        ),
        (
            lambda ways: ways[1] == 1,
            (2, 2, 3, 1),
            "`right` is not right: which columns belong to the block that holds column 10?",
        ),
        (
            lambda ways: ways[2] == 3,
            (2, 1, 2, 0),
            "`up` is not right: which rows belong to the block that holds row 7?",
        ),
        (
            lambda ways: ways[3] == 0,
            (2, 1, 3, 1),
            "`down` is not right: which rows belong to the block that holds row 7?",
        ),
    ],
    hints=(
        "Pooling twice by 2 × 2 takes the largest value of each 4 × 4 block. Which block holds the pixel?",
        "The block of the pixel holds columns 8 to 11 and rows 4 to 7. How far is the pixel from each edge?",
    ),
    remark="What pooling tolerates depends on where in its block a feature lies: here 3 pixels upwards, none "
    "downwards.",
)
def tolerated():
    left, right = 10 - 8, 11 - 10
    up, down = 7 - 4, 7 - 7
    return left, right, up, down


@quiz(
    because="Flipping in both directions is the same as half a turn. If half a turn leaves a kernel as it is, the flip "
    "changes nothing.",
    hints=("Write 1 to 9 into a kernel, flip it in both directions, and look where the 1 has gone.",),
    A="The Sobel kernel adds up to 0, and section 3.2 showed that SciPy changes the sign of its whole output.",
    C="That is another flip: the diagonal swaps rows and columns. `convolve2d` reverses the order of both.",
    D="SciPy always flips, but a flip need not change anything: think of the box blur.",
)
def q2():
    return "B"


def _images_with_rims() -> list[tuple]:
    from course_utils.datasets import sample_photo

    sobel = np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
    prewitt = np.array([[-1.0, -1, -1], [0, 0, 0], [1, 1, 1]])
    # First outputs of 700 and −88, then of −700 and 88. The large ones come first: an answer that is right but for its
    # dtype would be told to convert before it was ever told to cut at 255.
    steep = np.array([[0, 0, 0], [90, 90, 90], [200, 150, 60], [68, 68, 68]], np.uint8)
    gentle = np.array([[10, 10, 10], [20, 20, 20], [30, 34, 40]], np.uint8)
    coins = sample_photo("coins")[20:80, 125:245]
    return [(steep, sobel), (steep[::-1], sobel), (gentle, prewitt), (coins, sobel)]


@function(
    inputs=_images_with_rims,
    dtype=True,
    image=True,
    hints=(
        "What does `np.abs` get to see at a lower rim? Print the smallest output of `filter2D` before it.",
        "Give OpenCV an output type with negative numbers. Then, in this order: absolute value, cut at 255, convert.",
    ),
    remark="Compute in a type that holds every step between, and go back to `uint8` at the very end.",
)
def rims(image, kernel):
    import cv2

    strength = np.abs(cv2.filter2D(image, cv2.CV_64F, kernel))
    return np.minimum(strength, 255).astype(np.uint8)


@rims.mistake(
    "The lower rims are still missing: something set the negative outputs to 0 before their absolute value was taken. "
    "Trap 1 of section 3.2 names one culprit; cutting to 0…255 or ReLU would be another."
)
def negatives_lost(image, kernel):
    import cv2

    return np.abs(cv2.filter2D(image, -1, kernel))


@rims.mistake(
    "Now all rims are there, but outputs above 255 wrap around: 700 becomes 188. Bring them down to 255 before you "
    "convert to `uint8`."
)
def wraps(image, kernel):
    import cv2

    return np.abs(cv2.filter2D(image, cv2.CV_64F, kernel)).astype(np.int64).astype(np.uint8)


@rims.mistake(
    "Inside everything is right, but at the border you padded with zeros, which makes an edge that is not there. "
    "`filter2D` mirrors the image there unless you tell it otherwise."
)
def zeros_around(image, kernel):
    import cv2

    strength = np.abs(cv2.filter2D(image, cv2.CV_64F, kernel, borderType=cv2.BORDER_CONSTANT))
    return np.minimum(strength, 255).astype(np.uint8)


@rims.mistake(
    "Inside everything is right, but at the border you repeated the outermost pixels. `filter2D` mirrors the image "
    "there (`BORDER_REFLECT_101`)."
)
def border_repeated(image, kernel):
    import cv2

    strength = np.abs(cv2.filter2D(image, cv2.CV_64F, kernel, borderType=cv2.BORDER_REPLICATE))
    return np.minimum(strength, 255).astype(np.uint8)


@rims.mistake(
    "The negative outputs wrap around: −88 becomes 168. Take the absolute value before you convert to `uint8`, and cut "
    "at 255 in between."
)
def converts_first(image, kernel):
    import cv2

    return np.abs(cv2.filter2D(image, cv2.CV_64F, kernel).astype(np.int64).astype(np.uint8))


@rims.mistake(
    "You cut at 255 before you take the absolute value: −700 stays, becomes 700 and wraps. Absolute value first, then "
    "cut."
)
def cuts_first(image, kernel):
    import cv2

    return np.abs(np.minimum(cv2.filter2D(image, cv2.CV_64F, kernel), 255)).astype(np.int64).astype(np.uint8)


@rims.mistake(
    "Only the lower rims are there: you kept the negative outputs and lost the positive ones. The absolute value keeps "
    "both."
)
def lower_only(image, kernel):
    import cv2

    return np.clip(-cv2.filter2D(image, cv2.CV_64F, kernel), 0, 255).astype(np.uint8)


@rims.mistake(
    "Every pixel is 255 or wraps around: `np.maximum(x, 255)` keeps the larger of the two. To cut at 255 take the "
    "smaller, `np.minimum`."
)
def maximum_for_minimum(image, kernel):
    import cv2

    return np.maximum(np.abs(cv2.filter2D(image, cv2.CV_64F, kernel)), 255).astype(np.int64).astype(np.uint8)


@rims.mistake("You have exchanged image and kernel: `filter2D` takes the image first, then `ddepth`, then the kernel.")
def image_and_kernel_exchanged(image, kernel):
    import cv2

    return np.minimum(np.abs(cv2.filter2D(kernel, cv2.CV_64F, image)), 255).astype(np.uint8)


@rims.mistake("Your outputs are those of the Sobel kernel, whatever `kernel` is. Give `kernel` to `filter2D`.")
def always_sobel(image, kernel):
    import cv2

    return cv2.convertScaleAbs(cv2.Sobel(image, cv2.CV_64F, 0, 1))


@rims.mistake(
    "You stretched each image so that its strongest output becomes 255. Then the faint rim of one photo looks like the "
    "strong rim of another: only what exceeds 255 is to change."
)
def stretches(image, kernel):
    import cv2

    strength = np.abs(cv2.filter2D(image, cv2.CV_64F, kernel))
    return (255 * strength / strength.max()).astype(np.uint8)


@quiz(
    because="Convolutions in a row fold into one. Each of the ten adds one pixel on every side: 1 + 2 · 10 = 21.",
    hints=("Section 3.6 folds two 3 × 3 kernels into one. How large is it? How large would it be for three?",),
    B="They fold into one kernel, but a larger one: two 3 × 3 kernels gave 5 × 5 in section 3.6.",
    C="They fold into one kernel, but a smaller one: windows overlap, so each layer adds one pixel on every side, no "
    "more.",
    D="It is often said that ReLU is there for speed. But with nothing in between, ten convolutions fold into one, and "
    "one convolution cannot treat a rim and its negative alike.",
)
def q3():
    return "A"


@quiz(
    because="Each step overshoots the lowest point by more than the one before, as with 1.05 in section 3.8. A smaller "
    "learning rate makes smaller steps.",
    hints=("Section 3.8 shows three learning rates. With which of them does the loss grow?",),
    A="More steps in the wrong direction do not help: once the loss is `nan`, so are the weights.",
    C="Random gradients make the loss jitter. A loss that grows with every step overshoots, whatever the batch is.",
)
def q4():
    return "B"


# Boxes around the six coins of the third row: top, left, bottom, right; measured on the photo, to about 2 pixels.
_COINS = [
    (179, 26, 217, 63),
    (175, 80, 217, 124),
    (179, 135, 217, 174),
    (170, 189, 217, 237),
    (172, 251, 217, 297),
    (156, 315, 218, 380),
]
# Times as strong as elsewhere. Sobel reaches 8, differences of two neighbours 3.5 to 6, lines and slanted kernels 1.
_AT_LEAST = 3


def _outputs(kernel) -> dict[str, float]:
    """Return the mean output of a kernel, after ReLU, on each of the four sides of the coins."""
    import cv2

    from course_utils.datasets import sample_photo

    outputs = np.maximum(cv2.filter2D(sample_photo("coins"), cv2.CV_64F, np.asarray(kernel, float)), 0)
    sides = {"left": [], "right": [], "top": [], "bottom": []}
    for top, left, bottom, right in _COINS:
        # The middle third of each side, where a round rim is nearly straight.
        rows = slice(top + (bottom - top) // 3, bottom - (bottom - top) // 3)
        columns = slice(left + (right - left) // 3, right - (right - left) // 3)
        sides["left"].append(outputs[rows, left - 2 : left + 3].mean())
        sides["right"].append(outputs[rows, right - 3 : right + 2].mean())
        sides["top"].append(outputs[top - 2 : top + 3, columns].mean())
        sides["bottom"].append(outputs[bottom - 3 : bottom + 2, columns].mean())
    return {side: float(np.mean(values)) for side, values in sides.items()}


def _is_kernel(kernel) -> bool:
    values = np.asarray(kernel)
    return values.shape == (3, 3) and values.dtype.kind in "iuf" and bool((np.abs(values) < 1e6).all())


def _adds_up_to_zero(kernel) -> bool:
    return abs(np.sum(kernel)) <= 1e-6 * np.abs(kernel).sum()


def _asks_sideways(kernel) -> bool:
    found = _outputs(kernel)
    return max(found["top"], found["bottom"]) < 2 * max(found["left"], found["right"])


def _takes_a_side(kernel) -> bool:
    weak, strong = sorted([_outputs(kernel)["left"], _outputs(kernel)["right"]])
    return strong > 1.5 * weak


def _takes_the_left(kernel) -> bool:
    return _outputs(kernel)["left"] > _outputs(kernel)["right"]


def _leaves_the_right(kernel) -> bool:
    return _outputs(kernel)["left"] >= _AT_LEAST * _outputs(kernel)["right"]


def _is_upright(kernel) -> bool:
    found = _outputs(kernel)
    return found["left"] >= _AT_LEAST * max(found["top"], found["bottom"])


def _fits_in_uint8(kernel) -> bool:
    return abs(np.clip(kernel, 0, None).sum() - 1) < 0.02  # 0.33 for a third is near enough


@value(
    rules=[
        (_is_kernel, np.array([-1, 0, 1]), "A 3×3 kernel is expected: three rows of three numbers."),
        (
            lambda kernel: np.min(kernel) < 0,
            np.full((3, 3), 1 / 9),
            "No number of yours is negative: such a kernel adds neighbours up, it cannot tell a rim from a bright "
            "surface.",
        ),
        (
            _adds_up_to_zero,
            np.array([[-1, 0, 2], [-1, 0, 2], [-1, 0, 2]]) / 6,
            "Your nine numbers do not add up to 0: the kernel also responds to flat surfaces, where nothing changes, "
            "and the more so the brighter they are.",
        ),
        (
            _asks_sideways,
            np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]]) / 4,
            "Your kernel compares rows: it responds to upper or lower rims. At a left rim the brightness changes from "
            "column to column.",
        ),
        (
            _takes_a_side,
            np.array([[-1, 2, -1], [-1, 2, -1], [-1, 2, -1]]) / 6,
            "Your kernel responds to left and to right rims: to both it gives positive sums. Give the two sides of the "
            "window opposite signs, then ReLU keeps one of the rims.",
        ),
        (
            _takes_the_left,
            np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 4,
            "Your kernel finds the right rims. The coins are bright and the ground is dark: what does a window on a "
            "left rim hold on its left, what on its right?",
        ),
        (
            _leaves_the_right,
            np.array([[-3, 4, -1], [-3, 4, -1], [-3, 4, -1]]) / 12,
            "Your kernel responds to left rims, but not yet three times as strongly as to right ones. Compare pixels "
            "that lie two apart, or use more rows.",
        ),
        (
            _is_upright,
            np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]) / 4,
            "Your kernel finds left rims, but upper or lower ones as well: it is slanted. Where the brightness changes "
            "only from row to row, the sum has to be 0.",
        ),
        (
            _fits_in_uint8,
            np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
            "The rims are the right ones. Now the size of the outputs: where the window holds 255 under your positive "
            "numbers and 0 elsewhere, the sum has to be 255. Multiply all nine numbers by the same factor.",
        ),
    ],
    hints=(
        "At the left rim of a bright coin it gets brighter to the right. Where must the negative numbers be?",
        "Negative numbers in the left column, their opposites in the right one. What must the right column add up to?",
    ),
    remark="Many kernels do it: the more rows are used, the less the noise of single pixels matters.",
)
def left_rims():
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return kernel / 4
