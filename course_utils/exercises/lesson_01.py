"""Exercises of lesson 01: shapes, fractions, top predictions, sums of them, times, and pixels that wrap around."""

import numpy as np

from course_utils.exercises.engine import function, quiz, value


@value(
    hints=(
        "Two things change from the phone to NumPy: the order of the two sides, and how the colours are counted.",
        "The shape is a tuple of three numbers in parentheses: rows, columns, numbers for each pixel.",
    ),
    remark="That is 36,000,000 numbers, one byte each. A JPEG file is smaller because it is compressed.",
    shape=True,
    mistakes=[
        (
            (4000, 3000, 3),
            "This is the phone's order, width first. An array counts its rows first: how many rows are there?",
        ),
        (
            (3000, 4000),
            "This is an array for a grey image. In colour each pixel holds red, green and blue: one more axis.",
        ),
        (
            (4000, 3000),
            "This is what the phone says. Compare it with the cat's shape in 1.5: what is in another order there, and "
            "what else is there?",
        ),
        (
            (3, 3000, 4000),
            "All three numbers are right, their order is not: here the colours of a pixel are the last axis.",
        ),
        (
            (3000, 4000, 255),
            "255 is the largest value of a number. The last axis says how many numbers each pixel has.",
        ),
        ((3000, 4000, 256), "A number has 256 possible values. The last axis says how many numbers each pixel has."),
        (
            3000 * 4000 * 3,
            "So many numbers the array holds (its `size`). Its shape says how they are arranged: a tuple.",
        ),
    ],
)
def photo_shape():
    return (3000, 4000, 3)


@quiz(
    because="The second run halves what the first one left. Under a new name, `small = photo[::2, ::2]`, the cell "
    "gives the same result as often as you run it.",
    hints=("What does the name `photo` stand for when cell 2 starts for the second time?",),
    A="Python lets you give a name to something else at any time, silently. That is why nothing warns you.",
    B="The second run does not start from the photo that cell 1 loaded: by then `photo` is the smaller image.",
)
def q1():
    return "C"


@function(
    inputs=lambda: [
        (np.array([7]), np.array([7])),
        (np.array([1, 2, 3]), np.array([1, 2, 8])),  # two thirds: a rounded fraction differs
        (np.array([3, 4, 7, 1, 9]), np.array([3, 4, 7, 2, 5])),
        (np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), np.array([0, 1, 2, 7, 4, 5, 6, 3, 8, 9])),
    ],
    hints=(
        "`guesses == labels` compares entry by entry and gives an array of True and False.",
        "True counts as 1 and False as 0, so the mean of that array is the fraction of True.",
    ),
    remark="scikit-learn's `accuracy_score(labels, guesses)` computes the same.",
)
def accuracy(guesses, labels):
    return (guesses == labels).mean()


@accuracy.mistake(
    "You return how many are right. The same number can be good or bad: it depends on how many there were."
)
def count(guesses, labels):
    return (guesses == labels).sum()


@accuracy.mistake("You return percent. A fraction lies between 0 and 1; formatting it as `{fraction:.0%}` comes later.")
def percent(guesses, labels):
    return 100 * (guesses == labels).mean()


@accuracy.mistake(
    "You return the fraction of wrong predictions (the error rate). The task asks for the fraction of right ones."
)
def error_rate(guesses, labels):
    return (guesses != labels).mean()


@accuracy.mistake(
    "You let near numbers count as half right. Digits are names: a 3 read as a 4 is as wrong as a 3 read as a 9."
)
def nearness(guesses, labels):
    return 1 - np.abs(guesses - labels).mean() / 9


@accuracy.mistake(
    "You let a guess that is one off count as right. Digits are names: a 3 read as a 4 is as wrong as a 3 read as a 9."
)
def one_off(guesses, labels):
    return (np.abs(guesses - labels) <= 1).mean()


@accuracy.mistake("You return one True or False: all or nothing. A fraction says how many are right, out of how many.")
def all_right(guesses, labels):
    return (guesses == labels).all()


@accuracy.mistake(
    "Unless all are right, you return 0. If you divide with `//`, which drops what follows the point, use `/`; if you "
    "ask whether all are right, count instead how many are."
)
def whole_division(guesses, labels):
    return (guesses == labels).sum() // len(guesses)


@accuracy.mistake("You divide by a fixed number. Divide by the number of digits: `len(labels)`.")
def of_a_hundred(guesses, labels):
    return (guesses == labels).sum() / 100


@accuracy.mistake(
    "You return the comparison itself: one True or False for each digit. The task asks for one number, the fraction of "
    "True."
)
def comparison_itself(guesses, labels):
    return guesses == labels


@quiz(
    because="Which digits come is chance. In 19 of 20 cases an accuracy of 95 % on 100 images is at most about 4 "
    "points off, on 1,000 images less than 1.5. The lesson on evaluation computes this.",
    hints=("What is the same in both trials, and what is not?",),
    B="The recogniser is the same, the digits are not: among the next hundred are a few more or a few fewer hard ones.",
    C="It learns in `fit` only. `predict` changes nothing, however many digits it sees.",
)
def q2():
    return "A"


@function(
    inputs=lambda: [
        (np.array([0.2, 0.1, 0.0, 0.7]), 1),
        (np.array([0.2, 0.1, 0.0, 0.7]), 2),
        (np.array([0.2, 0.1, 0.0, 0.7]), 4),
        (np.array([0.01, 0.05, 0.02, 0.3, 0.0, 0.36, 0.03, 0.04, 0.15, 0.04]), 3),
        (np.random.default_rng(1).random(1000), 500),  # on some processors `argpartition` sorts a few hundred fully
    ],
    hints=(
        "`np.argsort(probabilities)` gives the indices sorted by their probabilities, the smallest probability first.",
        "Turn that order around with `[::-1]`, then keep the first `k`.",
    ),
    remark="Look at a network's second-best class too: 36 % against 30 % is nearly a tie, and `argmax` does not tell "
    "you.",
)
def top(probabilities, k):
    return np.argsort(probabilities)[::-1][:k]


@top.mistake("These are the right indices, but the least likely of them comes first. `argsort` sorts upwards.")
def upwards(probabilities, k):
    return np.argsort(probabilities)[-k:]


@top.mistake("You return the probabilities themselves. The task asks for their positions: index 3 says “it is a 3”.")
def probabilities_themselves(probabilities, k):
    return np.sort(probabilities)[::-1][:k]


@top.mistake(
    "You return probabilities, the smallest first. The task asks for their indices, the most likely class first."
)
def probabilities_upwards(probabilities, k):
    return np.sort(probabilities)[-k:]


@top.mistake("These are the least likely classes. `argsort` sorts upwards: the likely ones are at its other end.")
def least_likely(probabilities, k):
    return np.argsort(probabilities)[:k]


@top.mistake("You return one index too few: a slice stops before its end, so `[-1:-k:-1]` holds k − 1 entries.")
def one_too_few(probabilities, k):
    return np.argsort(probabilities)[-1:-k:-1]


@top.mistake("You return one index too many: a slice that begins at 0 and ends before `k` already holds k entries.")
def one_too_many(probabilities, k):
    return np.argsort(probabilities)[::-1][: k + 1]


@top.mistake("You return the single best class, whatever `k` is. An array of k indices is expected, also for k = 1.")
def best_only(probabilities, k):
    return np.argmax(probabilities)


@top.mistake("You set the largest entry to 0, but another entry may be 0 as well: it is found twice.")
def found_twice(probabilities, k):
    indices = []
    for _ in range(k):
        indices.append(np.argmax(probabilities))
        probabilities[indices[-1]] = 0
    return np.array(indices)


@top.mistake("`argpartition` brings the k largest together, but it does not sort them.")
def unsorted(probabilities, k):
    return np.argpartition(probabilities, -k)[-k:][::-1]


def _rows() -> list[tuple[np.ndarray]]:
    """Return rows of 1,000 probabilities: dogs at both ends of their range, neighbours outside it, and any."""
    rows = np.zeros((4, 1000))
    rows[0, [151, 200, 268, 600]] = 0.2, 0.1, 0.3, 0.4
    rows[1, [150, 200, 207, 269]] = 0.1, 0.3, 0.2, 0.4
    rows[2, [281, 282, 285]] = 0.2, 0.3, 0.5
    rows[3] = np.random.default_rng(1).dirichlet(np.ones(1000))
    return [(row,) for row in rows]


@function(
    inputs=_rows,
    hints=(
        "A slice picks neighbouring entries: `probabilities[281:286]` are the entries 281 to 285.",
        "The end of a slice is not included. So which end includes 268? Then add the entries up.",
    ),
    remark="The classes exclude each other, so you may add their probabilities. Try it on rows of `of_thousand`.",
)
def any_dog(probabilities):
    return probabilities[151:269].sum()


@any_dog.mistake("Class 268 is missing, because a slice stops before its end: write the end one larger.")
def end_missing(probabilities):
    return probabilities[151:268].sum()


@any_dog.mistake("Class 151 is missing. The start of a slice is included, so it need not be one larger.")
def start_missing(probabilities):
    return probabilities[152:269].sum()


@any_dog.mistake("Your slice lies one class too far to the left: the start is included, the end is not.")
def shifted(probabilities):
    return probabilities[150:268].sum()


@any_dog.mistake("Your slice begins one class too early, at 150. The start of a slice is included.")
def one_too_early(probabilities):
    return probabilities[150:269].sum()


@any_dog.mistake("Your slice contains class 269, a wolf: the end of a slice is not included, and 269 is the right end.")
def one_too_late(probabilities):
    return probabilities[151:270].sum()


@any_dog.mistake(
    "You return the probability of the likeliest breed. “Some dog” is true for every breed, so add all of them up."
)
def likeliest(probabilities):
    return probabilities[151:269].max()


@any_dog.mistake("You return the mean over the breeds. “Some dog” is true for every breed: add, do not divide.")
def mean(probabilities):
    return probabilities[151:269].mean()


@any_dog.mistake("You return the probabilities of all breeds, an array. The task asks for one number, their sum.")
def not_added(probabilities):
    return probabilities[151:269]


@any_dog.mistake("You return True or False. The task asks how probable a dog is: add the probabilities up.")
def yes_or_no(probabilities):
    return 151 <= probabilities.argmax() <= 268


@any_dog.mistake("You add up only the first and the last of the classes. Between them are 116 others.")
def both_ends_only(probabilities):
    return probabilities[[151, 268]].sum()


@quiz(
    because="A network can predict only the classes that it has. “Neither” then works for whatever resembles the "
    "images of that group; about anything else nobody has taught it.",
    hints=("The network divides 100 % among its classes. Which of the three changes what these classes are?",),
    A="In 1.6 the network was more than 95 % sure that the coins are a dog: a limit of 90 % lets them pass. And it "
    "turns away the cats and dogs about which it is less sure.",
    C="That teaches it to tell cats from dogs better. It still has two classes, which divide 100 % between them.",
)
def q3():
    return "B"


@value(
    hints=(
        "How many steps does one pass take, if each step takes 32 digits?",
        "Steps of one pass × passes × seconds of one step. A millisecond is a thousandth of a second.",
    ),
    remark="About three minutes, without a graphics card. Measure one step, then multiply, before you buy or wait.",
    tolerance=0.004,  # 187 and 188 are right as well
    mistakes=[
        (20 * 60_000 * 0.005, "You counted a step for each digit. A step takes 32 digits at once."),
        (20 * 60_000 / 32 * 5, "This is the time in milliseconds. The task asks for seconds."),
        (60_000 / 32 * 0.005, "This is the time of one pass over the digits. How many passes are there?"),
        (20 * 60_000 / 32, "This is the number of steps. How long does each of them take?"),
        (20 * 60_000 / 32 * 0.005 / 60, "This is the time in minutes. The task asks for seconds."),
        (20 * 60_000 * 5, "You counted a step for each digit, and this is milliseconds."),
        (20 * 3500 / 32 * 0.005, "3,500 digits are those of the lesson. Here there are 60,000."),
        (
            (20 * 60, 000 / 32 * 0.005),
            "The comma makes two numbers out of 60,000. In Python write `60_000` or `60000`.",
        ),
        (
            (60, 000 / 32 * 0.005 * 20),
            "The comma makes two numbers, 60 and 0, out of 60,000. In Python write `60_000` or `60000`.",
        ),
    ],
)
def training_time():
    steps = 60_000 / 32
    return 20 * steps * 0.005


def _kept_and_new() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return stored images and a new one, several times; all are uint8 as the digits are.

    No side is shorter than 2 pixels, as OpenCV drops axes of length 1.
    In the last, image 17 is the nearest; image 3 has more equal pixels, image 8 a smaller largest difference.
    """

    def plain(*grey: int) -> np.ndarray:
        return np.repeat(np.array(grey, dtype="uint8"), 4).reshape(-1, 2, 2)

    ten, bright = plain(10)[0], plain(250)[0]
    dark_to_bright = np.array([[[0, 0]] * 2, [[130, 140]] * 2, [[200, 250]] * 2], dtype="uint8")
    rng = np.random.default_rng(1)
    noisy = rng.integers(0, 256, (50, 8, 8))
    many, new = rng.integers(0, 256, (50, 8, 8)), rng.integers(0, 256, (8, 8))
    many[17] = np.clip(new + rng.integers(-20, 21, (8, 8)), 0, 255)
    many[17, 0, 0] = (new[0, 0] + 128) % 256
    many[3] = np.where(np.arange(8) < 4, new, 255 - new)
    many[8] = np.where(new < 155, new + 100, new - 100)
    return [
        (plain(5, 200, 90), ten),
        (plain(90, 150, 200), ten),
        (dark_to_bright, bright),
        (noisy.astype("uint8"), np.clip(noisy[30] + rng.integers(-20, 21, (8, 8)), 0, 255).astype("uint8")),
        (many.astype("uint8"), new.astype("uint8")),
    ]


@function(
    inputs=_kept_and_new,
    hints=(
        "Take two pixels by hand: what does `np.array([5], dtype='uint8') - np.array([10], dtype='uint8')` give, and "
        "what should it give?",
        "`uint8` knows no number below 0. Before you subtract, turn one of the images into a type that does and is "
        "large enough: `stored.astype(...)`.",
    ),
    remark="No error and no warning gave this bug away, only a poor score. Now run `count_right(most_similar)`.",
)
def most_similar(stored, new):
    differences = np.abs(stored.astype(int) - new)
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "The subtraction is still done in `uint8`, where 5 − 10 is 251. What you do afterwards (`abs`, another type) comes "
    "too late."
)
def as_it_was(stored, new):
    differences = np.abs(stored - new)
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "The other way round the same happens, only to other pixels: in `uint8`, 10 − 90 is 176. The type is the trouble."
)
def other_way_round(stored, new):
    differences = np.abs(new - stored)
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "The subtraction and the square are both done in `uint8`, which ends at 255: 20 squared is 144 there, not 400."
)
def squares(stored, new):
    differences = (stored - new) ** 2
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "You chose a larger type without a sign. It has no numbers below 0 either: in `uint16`, 5 − 10 is 65531."
)
def larger_without_sign(stored, new):
    differences = np.abs(stored.astype("uint16") - new)
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake("`int8` has a sign, but it ends at 127: a pixel of 200 becomes −56 in it. Take a larger type.")
def too_small_with_sign(stored, new):
    differences = np.abs(stored.astype("int8") - new)
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "`int8` has a sign, but it ends at 127, for the pixels and for their differences: 100 − (−100) is −56 in it. Take "
    "a larger type."
)
def both_too_small(stored, new):
    differences = np.abs(stored.astype("int8") - new.astype("int8"))
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "Now there are differences below 0, and nothing takes their absolute values: the image with the darkest pixels "
    "wins."
)
def without_abs(stored, new):
    differences = stored.astype(int) - new
    return differences.sum(axis=(1, 2)).argmin()


@most_similar.mistake(
    "You add first and take `abs` afterwards: a pixel that is too bright makes up for one that is too dark, so only "
    "the amounts of ink are compared."
)
def abs_after_the_sum(stored, new):
    differences = stored.astype(int) - new
    return np.abs(differences.sum(axis=(1, 2))).argmin()


@most_similar.mistake("You return the smallest difference. The task asks which of the stored images has it: its index.")
def difference_itself(stored, new):
    differences = np.abs(stored.astype(int) - new)
    return differences.sum(axis=(1, 2)).min()


@most_similar.mistake("You return the index of the largest sum: the least similar image. Take `argmin`.")
def least_similar(stored, new):
    differences = np.abs(stored.astype(int) - new)
    return differences.sum(axis=(1, 2)).argmax()


@most_similar.mistake(
    "Your sum runs over all images at once and is a single number, so its `argmin` is always 0. Name the axes that "
    "disappear, rows and columns: `sum(axis=(1, 2))`."
)
def one_sum_for_all(stored, new):
    differences = np.abs(stored.astype(int) - new)
    return differences.sum().argmin()
