"""Exercises of lesson 08: is it real, a range test, warm-up and cosine, a faulty objective, skip connections."""

import math

import numpy as np
from scipy import stats

from course_utils.exercises.engine import function, model, quiz, value


@function(
    inputs=lambda: [
        ([0.80, 0.82], [0.90, 0.94]),
        ([0.90, 0.92, 0.94], [0.91, 0.93, 0.95]),
        ([0.95, 0.97, 0.96, 0.96], [0.90, 0.91, 0.89, 0.90]),
        ([0.5, 0.7, 0.6, 0.8], [0.6, 0.8, 0.7, 0.9]),
        ([0.90, 0.91, 0.92], [0.9168, 0.9268, 0.9368]),  # 2.06 errors: between 2 and the 2.13 of one side
        ([0.90, 0.91, 0.92], [0.919, 0.929, 0.939]),  # 2.33 errors: between one side and both
        ([0.500, 0.504, 0.496, 0.500], [0.505, 0.507, 0.503, 0.505]),
    ],
    hints=(
        "`np.var(scores, ddof=1)` divides by n − 1. Add the two variances, divide by n, take the root.",
        "n = len(first); error = np.sqrt((np.var(first, ddof=1) + …) / n), and the verdict compares abs(gap) with "
        "stats.t.ppf(0.975, 2 * n - 2) * error.",
    ),
    tolerance=1e-6,
    remark="`scipy.stats.ttest_ind(first, second)` tests the same: its p-value is below 0.05 where you say True.",
)
def real(first, second):
    import numpy as np
    from scipy import stats

    n = len(first)
    gap = np.mean(second) - np.mean(first)
    error = np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / n)
    return gap, error, abs(gap) > stats.t.ppf(0.975, 2 * n - 2) * error


def _verdict(first, second, error=None, quantile=0.975, freedom=None, bar=None):
    gap, right_error, _ = real.reference(first, second)
    error = right_error if error is None else error
    bar = stats.t.ppf(quantile, 2 * len(first) - 2 if freedom is None else freedom) if bar is None else bar
    return gap, error, bool(abs(gap) > bar * error)


def _variances(first, second, ddof=1):
    return np.var(first, ddof=ddof) / len(first), np.var(second, ddof=ddof) / len(second)


@real.mistake("The variance is taken with n in the denominator. NumPy does that unless you say `ddof=1`.")
def divides_by_n(first, second):
    return _verdict(first, second, math.sqrt(sum(_variances(first, second, ddof=0))))


@real.mistake("A loss in the other direction is a difference too: compare the size of the gap, without its sign.")
def only_upwards(first, second):
    gap, error, verdict = real.reference(first, second)
    return gap, error, bool(verdict and gap > 0)


@real.mistake("The difference has the wrong sign: it is the second minus the first.")
def first_minus_second(first, second):
    gap, error, verdict = real.reference(first, second)
    return -gap, error, verdict


@real.mistake(
    "You return the difference without its sign. A reader wants to know which of the two is better; leave the sign to "
    "the first number, and drop it only in the comparison."
)
def without_sign(first, second):
    gap, error, verdict = real.reference(first, second)
    return abs(gap), error, verdict


@real.mistake(
    "You did not divide by the number of seeds. That is the standard deviation of a single training; the mean of "
    "several is more certain."
)
def deviation_of_one(first, second):
    return _verdict(first, second, math.sqrt(np.var(first, ddof=1) + np.var(second, ddof=1)))


@real.mistake(
    "You added the two standard errors. Two independent errors partly cancel: add the squares, then take the root."
)
def adds_errors(first, second):
    return _verdict(first, second, sum(map(math.sqrt, _variances(first, second))))


@real.mistake("The square root is missing: you return the square of the standard error.")
def without_root(first, second):
    return _verdict(first, second, sum(_variances(first, second)))


@real.mistake("You divided by √n where the variance is divided by n. The root comes last, over the whole sum.")
def root_of_n(first, second):
    variances = [np.var(scores, ddof=1) / math.sqrt(len(scores)) for scores in (first, second)]
    return _verdict(first, second, math.sqrt(sum(variances)))


@real.mistake(
    "The verdict compares with about two standard errors, for any number of seeds. With few seeds that raises too many "
    "false alarms: take t from `stats.t.ppf(0.975, 2 * n - 2)`."
)
def two_errors(first, second):
    return _verdict(first, second, bar=2)


@real.mistake("You compared the difference with one standard error. It has to be larger than t of them.")
def one_error(first, second):
    return _verdict(first, second, bar=1)


@real.mistake("0.95 leaves 5 % on one side alone. A difference may go either way, so leave 2.5 % on each: 0.975.")
def one_sided(first, second):
    return _verdict(first, second, quantile=0.95)


@real.mistake("The degrees of freedom are n − 1 for each of the two lists, together 2 n − 2.")
def freedom_of_one_list(first, second):
    return _verdict(first, second, freedom=len(first) - 1)


@real.mistake("The third answer is the wrong way round: `True` stands for a difference that is larger than t errors.")
def other_way_round(first, second):
    gap, error, verdict = real.reference(first, second)
    return gap, error, not verdict


def range_curve() -> tuple[np.ndarray, np.ndarray]:
    """Return the range test that is to be read: float (160,) each, learning rates and losses.

    It is drawn by a formula, so that it looks alike on every machine: flat at ln 10, a slope, a lowest point near 0.03,
    a cliff.
    """
    rates = np.geomspace(1e-6, 1, 160)
    height = np.log(10) - 1.75 / (1 + (rates / 0.004) ** -1.3) + (rates / 0.09) ** 2.2
    noise = np.random.default_rng(8).normal(0, 0.02, rates.size)
    return rates, height + noise


def _is_rate_or_exponent(rate) -> bool:
    return not isinstance(rate, bool | str) and math.isfinite(rate) and (rate > 0 or -7 <= rate < 0)


@value(
    rules=[
        (
            _is_rate_or_exponent,
            (0.001, 0.01),
            "One positive number is expected, such as 0.5.",
        ),
        (lambda rate: rate > 0, -2.5, "That is the exponent. Write the rate itself: 10 to that power."),
        (
            lambda rate: rate >= 2e-4,
            1e-5,
            "At this rate the curve is still flat, at ln 10: the steps are too short to change anything within the "
            "time that you have.",
        ),
        (
            lambda rate: rate >= 2e-3,
            5e-4,
            "Here the curve has not fallen far yet. It would train, but slowly: the lowest point is more than ten "
            "times further on.",
        ),
        (
            lambda rate: rate <= 0.05,
            0.3,
            "Here the loss is rising or already worse than that of a network that knows nothing: the steps are too "
            "long.",
        ),
        (
            lambda rate: rate <= 0.012,
            0.03,
            "This is too close to the lowest point. A little further on lies the cliff, and the test came here with "
            "weights that small rates had prepared; fresh ones tolerate less. Go back from the lowest point by a "
            "factor of three to ten.",
        ),
    ],
    hints=(
        "Find the lowest point first. Then go back along the slope, to the left.",
        "The lowest point is near 0.03. Divide by a number between three and ten.",
    ),
    remark="Any rate a factor of three to ten below the lowest point will do as a first guess. Train with two or three "
    "rates around it, several seeds each, and you know more.",
)
def good_rate():
    return 0.005


@quiz(
    because="With eight times as many images in a batch an epoch has an eighth of the steps. Raise the rate (more than "
    "twice, as the curves of section 8.5 say), or give it more epochs.",
    hints=("How many steps does one epoch have before and after? How long may a step be in each case?",),
    A="Section 8.5 shows that a large batch does well at a rate that suits it. Here the rate stayed what it was.",
    C="The other way round: the mean over more images is less noisy. That is why a larger rate suits it.",
    D="Each image is seen as often as before. How much an epoch lets the network memorise does not depend on the "
    "batch.",
)
def q1():
    return "B"


@function(
    inputs=lambda: [
        (0, 0.1, 10, 110),
        (5, 0.1, 10, 110),
        (10, 0.1, 10, 110),
        (60, 0.1, 10, 110),
        (35, 0.1, 10, 110),
        (110, 0.1, 10, 110),
        (130, 0.1, 10, 110),
        (3, 0.02, 4, 24),
        (19, 0.02, 4, 24),
    ],
    hints=(
        "Three cases: before `warmup`, from there to `total`, and after it. In the second, how far along are you, as a "
        "number from 0 to 1?",
        "`(1 + math.cos(math.pi * progress)) / 2` falls from 1 to 0 while `progress` goes from 0 to 1.",
    ),
    remark="A function of this kind goes into `keras.callbacks.LearningRateScheduler` (one call per epoch) or into a "
    "`LearningRateSchedule` (one call per step). Keras' own `CosineDecay` has a `warmup_target` for it.",
)
def warm_cosine(step, peak, warmup, total):
    import math

    if step < warmup:
        return peak * step / warmup
    if step >= total:
        return 0.0
    progress = (step - warmup) / (total - warmup)
    return peak * (1 + math.cos(math.pi * progress)) / 2


def _cosine(progress, peak):
    return peak * (1 + math.cos(math.pi * progress)) / 2


@warm_cosine.mistake(
    "The cosine begins at step 0 instead of step `warmup`: it has already come down a little when it takes over."
)
def cosine_from_zero(step, peak, warmup, total):
    if step < warmup or step >= total:
        return warm_cosine.reference(step, peak, warmup, total)
    return _cosine(step / total, peak)


@warm_cosine.mistake("There is no warm-up: the rate begins at its peak.")
def no_warm_up(step, peak, warmup, total):
    return _cosine(min(step / total, 1), peak)


@warm_cosine.mistake("After step `total` the cosine goes up again. From there on the rate should stay 0.")
def goes_on(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return _cosine((step - warmup) / (total - warmup), peak)


@warm_cosine.mistake("You divide by `total`, but the fall has only `total - warmup` steps: it does not get to 0.")
def divides_by_total(step, peak, warmup, total):
    if step < warmup or step >= total:
        return warm_cosine.reference(step, peak, warmup, total)
    return _cosine((step - warmup) / total, peak)


@warm_cosine.mistake("The fall is a straight line. Half a cosine wave begins and ends gently.")
def straight_line(step, peak, warmup, total):
    if step < warmup or step >= total:
        return warm_cosine.reference(step, peak, warmup, total)
    return peak * (total - step) / (total - warmup)


@warm_cosine.mistake("You took a quarter of a cosine wave: it begins gently but ends abruptly. Half a wave reaches −1.")
def quarter_wave(step, peak, warmup, total):
    if step < warmup or step >= total:
        return warm_cosine.reference(step, peak, warmup, total)
    return peak * math.cos(math.pi / 2 * (step - warmup) / (total - warmup))


@warm_cosine.mistake("The cosine runs from 1 to −1, so your rate becomes negative. Add 1, and divide by 2.")
def bare_cosine(step, peak, warmup, total):
    if step < warmup or step >= total:
        return warm_cosine.reference(step, peak, warmup, total)
    return peak * math.cos(math.pi * (step - warmup) / (total - warmup))


@warm_cosine.mistake("The cosine goes down and up again, a whole wave. Half a wave ends at the bottom: π, not 2 π.")
def whole_wave(step, peak, warmup, total):
    if step < warmup or step >= total:
        return warm_cosine.reference(step, peak, warmup, total)
    return _cosine(2 * (step - warmup) / (total - warmup), peak)


@warm_cosine.mistake("The warm-up is one step ahead: at step 0 the rate should be 0.")
def one_ahead(step, peak, warmup, total):
    return peak * (step + 1) / warmup if step < warmup else warm_cosine.reference(step, peak, warmup, total)


def _numbers(answer):
    return {int(number) for number in answer}


@value(
    rules=[
        (
            lambda answer: len(answer) >= 1 and all(n in range(1, 9) for n in answer),
            5,
            "A set of whole numbers from 1 to 8 is expected, such as `{1, 8}`.",
        ),
        (
            lambda answer: 3 not in answer,
            {2, 3, 5, 7},
            "Line 3 is correct: dropout rates from 0 to 0.7 are worth trying, and a linear scale suits them.",
        ),
        (
            lambda answer: 4 not in answer,
            {4, 5, 7},
            "Line 4 is correct: `fit` only looks at the validation set after each epoch; it does not learn from it.",
        ),
        (
            lambda answer: 6 not in answer,
            {2, 6, 7},
            "Line 6 is correct: to note something down with a trial does no harm. What is noted may do harm.",
        ),
        (
            lambda answer: 8 not in answer,
            {5, 7, 8},
            "Line 8 is correct: any number of trials may be run. What counts is how the winner is judged.",
        ),
        (
            lambda answer: not {1, 7} <= _numbers(answer),
            {1, 2, 5, 7},
            "Lines 1 and 7 contradict each other. If you change both, they contradict each other again: keep one of "
            "the two in your set.",
        ),
        (
            lambda answer: 5 in answer,
            {1, 2},
            "One mistake is still missing: which of the three sets must not be looked at fifty times, and whose score "
            "is reported in the end?",
        ),
        (
            lambda answer: {1, 7} & _numbers(answer),
            {2, 5},
            "One mistake is still missing: what is returned, and which way is it pushed? Two lines do not fit "
            "together.",
        ),
        (
            lambda answer: 2 in answer,
            {5, 7},
            "One mistake is still missing: think of the scale. Out of ten samples, how many rates fall below 0.01?",
        ),
    ],
    hints=(
        "Ask of each line: which images does it look at? Which scale does it sample from? Which way does it push?",
        "One mistake is in how a hyperparameter is sampled, one in which set is measured, one in what the study is "
        "told to do with what it gets.",
    ),
    remark="Lines 1 and 7 contradict each other: the search looks for the largest loss, so you may fix either. "
    "`log=True` belongs in line 2, and line 5 must use the validation set.",
)
def wrong_lines():
    return {2, 5, 7}


@quiz(
    because="A trial that is slow at first is stopped before it can show what it is worth. Give such hyperparameters "
    "time: a longer warm-up, or no pruning.",
    hints=("Draw two learning curves that cross. Which of them does the rule stop?",),
    B="Those look good at the moment when the rule looks. They cost time, but they are not treated unfairly.",
    C="Learning curves cross: with a small rate, or with strong dropout, a network begins slowly and may end higher.",
)
def q2():
    return "A"


def _kernels(network) -> list:
    """Return the kernels of all convolutions wider than 1 × 1, in their order, those in layers of one's own as well."""
    kernels = [weight for weight in network.weights if weight.path.endswith("kernel") and len(weight.shape) == 4]
    return [kernel for kernel in kernels if max(kernel.shape[:2]) > 1]


def _layer_names(network) -> set[str]:
    return {type(operation).__name__ for operation in getattr(network, "operations", network.layers)}


def _responses(network, alive: list[set[int]]) -> list[np.ndarray]:
    """Return the outputs for eight images, once per set of numbers of the convolutions that are not zero.

    The network gets random weights meanwhile, and its own back in the end.
    """
    random = np.random.default_rng(8)
    images = random.uniform(0, 255, (8, 28, 28, 1)).astype("float32")
    kept = network.get_weights()
    kernels = _kernels(network)
    try:
        for weight in network.weights:
            if len(weight.shape) in (2, 4):  # a kernel; means and variances of a normalisation stay as they are
                scale = math.sqrt(2 / np.prod(weight.shape[:-1]))
                weight.assign(random.normal(0, scale, weight.shape))
        values = [kernel.numpy() for kernel in kernels]
        results = []
        for numbers in alive:
            for number, (kernel, value) in enumerate(zip(kernels, values, strict=True)):
                kernel.assign(value if number in numbers else np.zeros_like(value))
            outputs = np.asarray(network(images, training=False), np.float64)
            results.append(outputs - outputs.mean(axis=0))  # what depends on the image
        return results
    finally:
        network.set_weights(kept)


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(one - other).max() > 1e-5 * (1e-3 + np.abs(one).max()))


def _lets_through(network) -> bool:
    """Return whether the output still depends on the image when every convolution but the first gives zeros."""
    (outputs,) = _responses(network, [{0}])
    return _differ(outputs, np.zeros_like(outputs))


def _blocks_of_two(network) -> bool:
    """Return whether the convolutions work in pairs, each of which needs no other pair and both its members."""
    count = len(_kernels(network))
    pairs = [(first, first + 1) for first in range(1, count - 1, 2)]
    off, *results = _responses(network, [{0}, *({0, *numbers} for pair in pairs for numbers in (pair, *zip(pair)))])
    both, first, second = results[::3], results[1::3], results[2::3]
    works = [
        _differ(off, all_on) and not _differ(off, one) and not _differ(off, other)
        for all_on, one, other in zip(both, first, second, strict=True)
    ]
    return count % 2 == 1 and all(works)


def _joined(name: str):
    def network():
        from keras import layers

        return _with_blocks(lambda x, y: getattr(layers, name)()([x, y]))

    return network


def _one_long_skip():
    from keras import layers

    return _with_blocks(lambda x, y: y, last=lambda stem, y: layers.Add()([stem, y]))


@model(
    rules=[
        (
            lambda network: tuple(network.input_shape[1:]) == (28, 28, 1),
            lambda: _with_blocks(_sum, shape=(32, 32, 3)),
            "The network does not take grey digits: begin with `keras.Input((28, 28, 1))`.",
        ),
        (
            lambda network: tuple(network.output_shape[1:]) == (10,),
            lambda: _with_blocks(_sum, outputs=2),
            "The network must end in ten numbers per image.",
        ),
        (
            lambda network: len(_kernels(network)) >= 9,
            lambda: _with_blocks(_sum, blocks=2),
            "Four blocks of two convolutions and one convolution before them make nine convolutions, or more. Yours "
            "has fewer (those of 1 × 1 do not count).",
        ),
        (
            lambda network: "Concatenate" not in _layer_names(network),
            _joined("Concatenate"),
            "You put the two side by side with `Concatenate`. That is another idea (DenseNet): the number of maps "
            "grows with each block. Here they are to be added.",
        ),
        (
            lambda network: not _layer_names(network) & {"Average", "Maximum", "Minimum", "Subtract", "Multiply"},
            _joined("Maximum"),
            "A skip connection adds: use `layers.Add` or `+`, not a mean, a maximum, a difference or a product.",
        ),
        (
            _lets_through,
            lambda: _with_blocks(lambda x, y: y),
            "With all convolutions but the first at zero, the output no longer depends on the image. At least one "
            "block does not add its input to its output: at the sum, is `x` still the input of the block?",
        ),
        (
            _blocks_of_two,
            _one_long_skip,
            "The image gets through, but the convolutions do not work in blocks of two: with all other blocks switched "
            "off, a block should still do its work. Does each sum join a block of exactly two convolutions with the "
            "input of *that* block, not with that of an earlier one?",
        ),
    ],
    hints=(
        '`layers.Add()([x, y])` needs two stacks of maps of one shape: `padding="same"`, and as many filters as maps '
        "came in.",
        "In a loop: y = two convolutions of x, the second without ReLU; then x = ReLU of the sum of x and y.",
    ),
    remark="With a convolution of 1 × 1 in the skip, a block may also change the number of maps or halve their size.",
)
def residual_net():
    import keras
    from keras import layers

    inputs = keras.Input((28, 28, 1))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    for _ in range(4):
        y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        y = layers.Conv2D(16, 3, padding="same")(y)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def _with_blocks(join, blocks: int = 4, outputs: int = 10, shape=(28, 28, 1), last=None):
    import keras
    from keras import layers

    inputs = keras.Input(shape)
    x = stem = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    for _ in range(blocks):
        y = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        y = layers.Conv2D(8, 3, padding="same", activation="relu")(y)
        x = join(x, y)
    x = last(stem, x) if last else x
    return keras.Model(inputs, layers.Dense(outputs)(layers.GlobalAveragePooling2D()(x)))


def _sum(x, y):
    from keras import layers

    return layers.Add()([x, y])


@quiz(
    because="The winner is flattered by being the best of 200, the default is not. New seeds and images that did not "
    "choose put the two on one footing.",
    hints=("One of the two numbers was picked for being large. Which, and by which images?",),
    A="Being measured on the same images does not help: one of them was picked for its score there, out of 200.",
    C="A second search on the same images is flattered in the same way: it finds luck on them as well.",
)
def q3():
    return "B"
