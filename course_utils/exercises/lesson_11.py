"""Exercises of lesson 11: numbers in eight bits, a frame made ready for a model, when to pass an image on."""

import numpy as np

from course_utils.exercises.engine import function, quiz


@function(
    inputs=lambda: [
        (np.array([0.0, 1.0, -1.0]), 0.5, 0),
        (np.array([0.0, 0.9, 2.6]), 1.0, 3),
        (np.array([0.74, -0.76]), 0.5, -10),
        (np.array([-100.0, 100.0, 300.0]), 0.5, 0),
        (np.array([[0.0, 2.0], [5.9, 6.1]]), 0.0235, -128),
        (np.array([700.0, -900.0, 12.0]), 2.0, 5),
        (np.array([6.2, -6.2]), 0.1, 66),
    ],
    dtype=True,
    hints=(
        "Turn the formula round: which q belongs to an x? Then round, and only then cut off.",
        "`np.clip(np.round(…), -128, 127)`, and `.astype(np.int8)` at the very end: a number outside −128…127 would "
        "wrap around.",
    ),
    remark="The way back is `step * (q - zero)`. What was cut off or rounded away does not come back.",
)
def quantise(values, step, zero):
    whole = np.round(values / step + zero)
    return np.clip(whole, -128, 127).astype(np.int8)


def _whole(values, step, zero):
    return np.round(np.asarray(values) / step + zero)


@quantise.mistake("Numbers outside −128…127 wrap around in your result: cut them off before they become `int8`.")
def wraps(values, step, zero):
    return _whole(values, step, zero).astype(np.int64).astype(np.int8)


@quantise.mistake("You cut the decimals off. To the nearest whole number: `np.round` first.")
def truncates(values, step, zero):
    return np.clip(np.asarray(values) / step + zero, -128, 127).astype(np.int8)


@quantise.mistake("You round down. The task asks for the nearest whole number: `np.round`.")
def rounds_down(values, step, zero):
    return np.clip(np.floor(np.asarray(values) / step + zero), -128, 127).astype(np.int8)


@quantise.mistake("The zero point has the wrong sign: from x = s (q − z) follows q = x / s + z.")
def minus_zero(values, step, zero):
    return quantise.reference(values, step, -zero)


@quantise.mistake("You divide the zero point by the step as well. It is counted in steps already: add it afterwards.")
def zero_divided(values, step, zero):
    return np.clip(np.round((np.asarray(values) + zero) / step), -128, 127).astype(np.int8)


@quantise.mistake("You cut off before you add the zero point. The ends −128…127 are those of the finished number.")
def cut_too_early(values, step, zero):
    return np.clip(np.clip(np.round(np.asarray(values) / step), -128, 127) + zero, -128, 127).astype(np.int8)


@quantise.mistake("You left out the zero point.")
def without_zero(values, step, zero):
    return quantise.reference(values, step, 0)


@quantise.mistake("You multiply by the step. The step says how much one q is worth: divide by it.")
def multiplies(values, step, zero):
    return np.clip(np.round(np.asarray(values) * step + zero), -128, 127).astype(np.int8)


@quantise.mistake("You return the values after the way there and back. The task asks for the whole numbers q.")
def there_and_back(values, step, zero):
    return step * (quantise.reference(values, step, zero).astype(float) - zero)


@quantise.mistake("The numbers are right, the type is not: `.astype(np.int8)` makes bytes of them.")
def not_bytes(values, step, zero):
    return np.clip(_whole(values, step, zero), -128, 127)


@quantise.mistake("You cut off at 0 and 255: that is `uint8`. `int8` goes from −128 to 127.")
def unsigned(values, step, zero):
    return np.clip(_whole(values, step, zero), 0, 255).astype(np.uint8)


@quiz(
    because="A random layer is switched on by a plain call, and an export records a plain call. `predict` switches it "
    "off, and so does the wrapper.",
    hints=("What does `predict` do that a plain call does not?",),
    A="A seed makes runs repeatable. Within one run the layer still draws new random numbers for each call.",
    C="The exporter records the same plain call. With some random layers the ONNX file cannot even be loaded.",
    D="What varies is not the model but a layer that changes the image before the model sees it.",
)
def q1():
    return "B"


def _frames() -> list[tuple[np.ndarray]]:
    random = np.random.default_rng(11)
    pure = np.zeros((1, 3, 3), np.uint8)
    pure[0, [0, 1, 2], [0, 1, 2]] = 255  # a blue, a green and a red pixel
    return [(pure,), (np.full((2, 2, 3), 200, np.uint8),), (random.integers(0, 256, (3, 4, 3), dtype=np.uint8),)]


@function(
    inputs=_frames,
    shape=True,
    dtype=True,
    tolerance=1e-4,
    hints=(
        "`frame[..., 2]` is red here. The weights go to the channels by their order in the frame.",
        "`frame @ np.array([0.114, 0.587, 0.299])` makes grey; `[None, ..., None]` adds the two axes; "
        '`.astype("float32")` sets the type.',
    ),
    remark="Nothing divides by 255: this model does that itself.",
)
def ready_for_model(frame):
    grey = frame @ np.array([0.114, 0.587, 0.299])
    return grey[None, ..., None].astype("float32")


def _as_batch(grey):
    return np.asarray(grey)[None, ..., None].astype("float32")


@ready_for_model.mistake("Blue and red are exchanged: OpenCV's first channel is blue, and blue weighs 0.114.")
def takes_rgb(frame):
    return _as_batch(frame @ np.array([0.299, 0.587, 0.114]))


@ready_for_model.mistake("You divide by 255. This model scales inside: give it 0…255.")
def divides(frame):
    return ready_for_model.reference(frame) / np.float32(255)


@ready_for_model.mistake("You take the plain mean of the channels. The eye, and the formula, weigh green most.")
def plain_mean(frame):
    return _as_batch(frame.mean(axis=2))


@ready_for_model.mistake("The axis of the batch is missing in front: a model takes several images, even if it is one.")
def without_batch(frame):
    return ready_for_model.reference(frame)[0]


@ready_for_model.mistake("The axis of the channel is missing at the end: (1, height, width, 1).")
def without_channel(frame):
    return ready_for_model.reference(frame)[..., 0]


@ready_for_model.mistake("The numbers are right; the type must be `float32`. NumPy computes in float64.")
def double(frame):
    return (frame @ np.array([0.114, 0.587, 0.299]))[None, ..., None]


@ready_for_model.mistake("You rounded to whole numbers. The model takes fractions, and the task says not to round.")
def rounded(frame):
    return np.round(ready_for_model.reference(frame))


@ready_for_model.mistake("You go to −1…1. This model scales inside: give it 0…255.")
def to_minus_one(frame):
    return ready_for_model.reference(frame) / np.float32(127.5) - np.float32(1)


@quiz(
    because="64 images take 440 ms more than one, so one image takes about 7 ms. The other 50 are a price for the "
    "call, whatever is in it.",
    hints=("Suppose each call costs a fixed time and each image another. Which two numbers fit both measurements?",),
    A="With 7 ms per image, 64 of them take about 450 ms: no miracle is needed, only a fixed cost for each call.",
    C="A fixed cost for each call is paid once, however many images the call holds.",
)
def q2():
    return "B"


def _many(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    confidence = np.round(0.5 + 0.5 * random.random(count), 2)
    return confidence, random.random(count) < confidence


_TEN = [0.5, 0.6, 0.7, 0.8, 0.9]


@function(
    inputs=lambda: [
        (np.array([0.9, 0.8, 0.6, 0.55]), np.array([True, True, False, True]), [0.5, 0.6, 0.7], 0.9),
        (np.array([0.9, 0.8, 0.7, 0.55]), np.array([True, True, True, False]), [0.5, 0.6, 0.7], 0.75),
        (np.array([0.9, 0.7, 0.6]), np.array([True, True, False]), [0.5, 0.7, 0.8], 1.0),
        (np.array([0.9, 0.8, 0.6]), np.array([False, True, True]), [0.5, 0.7, 0.85], 0.9),
        (np.array([0.6, 0.7]), np.array([False, False]), [0.5, 0.9], 0.8),
        (np.array([0.95, 0.85, 0.75, 0.65]), np.array([True, False, True, True]), [0.6, 0.7, 0.8, 0.9], 0.7),
        (*_many(1, 60), _TEN, 0.8),
        (*_many(2, 80), _TEN, 0.85),
    ],
    hints=(
        "For one threshold: `sure = confidence >= threshold`. What fraction of `right[sure]` is true, and what if none "
        "is sure?",
        "Go through the candidates in their order and return at the first that reaches the wish; `return None, 0.0` "
        "behind the loop.",
    ),
    remark="Choose on validation. The test set then tells how it went on other images; if it comes out much better, as "
    "in 11.8, promise the smaller number.",
)
def pass_on(confidence, right, candidates, wanted):
    for threshold in candidates:
        sure = confidence >= threshold
        if sure.any() and right[sure].mean() >= wanted:
            return threshold, float(sure.mean())
    return None, 0.0


def _search(confidence, right, candidates, good):
    for threshold in candidates:
        sure = confidence >= threshold
        if sure.any() and good(sure, threshold):
            return threshold, float(sure.mean())
    return None, 0.0


@pass_on.mistake(
    "A prediction is given from the threshold on: `>=`. You leave out images that are exactly as sure as it."
)
def strictly_above(confidence, right, candidates, wanted):
    for threshold in candidates:
        sure = confidence > threshold
        if sure.any() and right[sure].mean() >= wanted:
            return threshold, float(sure.mean())
    return None, 0.0


@pass_on.mistake(
    "You count the right predictions among all images. The task asks for their fraction among the predictions given."
)
def among_all(confidence, right, candidates, wanted):
    return _search(confidence, right, candidates, lambda sure, _: np.sum(right & sure) / len(right) >= wanted)


@pass_on.mistake(
    "You take the threshold with the highest accuracy. The lowest that reaches the wish gives more predictions."
)
def most_accurate(confidence, right, candidates, wanted):
    scores = [(right[confidence >= t].mean() if (confidence >= t).any() else -1.0) for t in candidates]
    best = int(np.argmax(scores))
    if scores[best] < wanted:
        return None, 0.0
    return candidates[best], float((confidence >= candidates[best]).mean())


@pass_on.mistake("You take the highest threshold that reaches the wish. The lowest one gives more predictions.")
def highest(confidence, right, candidates, wanted):
    return _search(confidence, right, list(candidates)[::-1], lambda sure, _: right[sure].mean() >= wanted)


@pass_on.mistake("The second number should be a fraction of the images, 0…1. You return how many there are.")
def number_of_answers(confidence, right, candidates, wanted):
    threshold, _ = pass_on.reference(confidence, right, candidates, wanted)
    return threshold, (0 if threshold is None else int(np.sum(confidence >= threshold)))


@pass_on.mistake(
    "The second number should be the fraction of images with a prediction. You return how many of the predictions are "
    "right."
)
def accuracy_instead(confidence, right, candidates, wanted):
    threshold, _ = pass_on.reference(confidence, right, candidates, wanted)
    return threshold, (0.0 if threshold is None else float(right[confidence >= threshold].mean()))


@pass_on.mistake(
    "The second number should be the fraction of images with a prediction. You return the fraction passed on."
)
def fraction_passed_on(confidence, right, candidates, wanted):
    threshold, fraction = pass_on.reference(confidence, right, candidates, wanted)
    return threshold, (0.0 if threshold is None else 1 - fraction)


@pass_on.mistake("“At least the fraction wanted” includes that fraction itself: `>=`.")
def more_than_wanted(confidence, right, candidates, wanted):
    return _search(confidence, right, candidates, lambda sure, _: right[sure].mean() > wanted)


@quiz(
    because="The interval is the answer: it says what the data exclude, which is more than “significant” or not.",
    hints=("Which statements would be false if the truth were one point lost?",),
    A="Two points is what these cells gave. With other modules it could as well have been a loss of two.",
    C="The interval reaches down to two points lost. “Not shown to be worse” is not “at least as good”.",
    D="An interval that holds zero still says how large a loss can be at most. The reader of the card needs that.",
)
def q3():
    return "B"


@quiz(
    because="The two classes are all it knows, so it must choose one. Features far away from the training set make the "
    "sum of weighted features large, and then the probability is near 0 or 1.",
    hints=("Which features of a pizza lie far away from those of skin? What do they do to a weighted sum?",),
    A="The probability does not measure resemblance. In 11.2 flowers, digits and faces all got such percentages.",
    B="A well-trained model can do the same: nothing in its training says what to do far away from the training set.",
    D="Strangers often get a higher probability than real images. A higher threshold refuses the wrong ones first.",
)
def q4():
    return "C"
