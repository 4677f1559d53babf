"""Exercises of lesson 07: scores, recall per class, size of a test set, a leak, a threshold, calibration."""

import math

import numpy as np

from course_utils.exercises.engine import function, quiz, value


@function(
    inputs=lambda: [(30, 10, 20), (8, 2, 8), (50, 0, 50), (0, 7, 5), (0, 0, 9), (0, 0, 0), (4, 0, 0), (1, 99, 1)],
    hints=(
        "Precision divides by the number of alarms, recall by the defective cells. Which counts add up to each?",
        "Before each division look whether the divisor is 0. F1 is 2 × precision × recall / (precision + recall).",
    ),
    remark="scikit-learn does the same with `zero_division=0`; without it, it warns and gives 0 too.",
)
def scores(found, false_alarm, missed):
    precision = found / (found + false_alarm) if found + false_alarm else 0.0
    recall = found / (found + missed) if found + missed else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1


def _scores(found, false_alarm, missed, mean):
    precision, recall, _ = scores.reference(found, false_alarm, missed)
    return precision, recall, mean(precision, recall)


@scores.mistake("Precision and recall are exchanged: precision divides by the alarms, recall by the defective cells.")
def exchanged(found, false_alarm, missed):
    precision, recall, f1 = scores.reference(found, false_alarm, missed)
    return recall, precision, f1


@scores.mistake("Your F1 is the plain mean of precision and recall. F1 is the harmonic one, near the lower of the two.")
def plain_mean(found, false_alarm, missed):
    return _scores(found, false_alarm, missed, lambda p, r: (p + r) / 2)


@scores.mistake("Your F1 lacks the factor 2: with precision = recall = 1 it would be one half.")
def without_two(found, false_alarm, missed):
    return _scores(found, false_alarm, missed, lambda p, r: p * r / (p + r) if p + r else 0.0)


@scores.mistake("Your F1 is the product of precision and recall. Divide twice the product by their sum.")
def product(found, false_alarm, missed):
    return _scores(found, false_alarm, missed, lambda p, r: p * r)


@scores.mistake("Where there is nothing to divide by, you give 1. The task asks for 0 there.")
def one_for_nothing(found, false_alarm, missed):
    precision = found / (found + false_alarm) if found + false_alarm else 1.0
    recall = found / (found + missed) if found + missed else 1.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 1.0


@scores.mistake("You divide by all three counts together. That is neither the number of alarms nor of defective cells.")
def by_all(found, false_alarm, missed):
    total = found + false_alarm + missed
    fraction = found / total if total else 0.0
    return fraction, fraction, fraction


@scores.mistake("These are percentages. Give fractions between 0 and 1.")
def percentages(found, false_alarm, missed):
    return tuple(100 * number for number in scores.reference(found, false_alarm, missed))


@function(
    inputs=lambda: [
        (np.array([[8, 2], [1, 4]]),),
        (np.array([[5, 0, 0], [2, 2, 1], [0, 6, 2]]),),
        (np.array([[90, 10, 0], [0, 10, 0], [5, 5, 10]]),),
        (np.array([[1, 0, 0, 3], [0, 7, 0, 0], [2, 2, 4, 0], [0, 0, 9, 1]]),),
    ],
    hints=(
        "The images of one class fill one row. What fraction of that row lies on the diagonal?",
        "`np.diag(matrix)` gives the diagonal, `matrix.sum(axis=1)` the sum of each row.",
    ),
    remark="Their mean is the balanced accuracy. The same with the sums of the columns is precision.",
)
def recall_per_class(matrix):
    return np.diag(matrix) / matrix.sum(axis=1)


@recall_per_class.mistake("You divide by the sums of the columns. That is precision; recall divides by the rows.")
def by_columns(matrix):
    return np.diag(matrix) / matrix.sum(axis=0)


@recall_per_class.mistake("You divide by all images. Recall divides by the images of the class: the sum of its row.")
def by_all_images(matrix):
    return np.diag(matrix) / matrix.sum()


@recall_per_class.mistake("That is one number, the mean. The task asks for one recall per class.")
def mean_recall(matrix):
    return float(np.mean(recall_per_class.reference(matrix)))


@recall_per_class.mistake("That is one number, the accuracy. The task asks for one recall per class.")
def accuracy_instead(matrix):
    return float(np.trace(matrix) / matrix.sum())


@recall_per_class.mistake("These are percentages. Give fractions between 0 and 1.")
def recall_in_percent(matrix):
    return 100 * recall_per_class.reference(matrix)


@recall_per_class.mistake("These are counts. Divide each by the number of images of its class.")
def only_the_diagonal(matrix):
    return np.diag(matrix)


@recall_per_class.mistake("That is what each class misses. Recall is the fraction that is found.")
def missed_fraction(matrix):
    return 1 - recall_per_class.reference(matrix)


@quiz(
    because="A program that always says “no tumour” is right for 99 % and finds none. Compared with that, 98.5 % is "
    "less than ignoring the scan. It can still be worth having if it finds tumours, so ask for its recall.",
    hints=("What does a program score that predicts the same for every image?",),
    A="1.5 % of mistakes sounds little. But how many mistakes does a program make that never looks at an image?",
    B="A larger test set would pin the 98.5 % down more closely. It would not say what the number is worth.",
    D="Nothing here points to a leak. The number can be honest, and still worthless.",
)
def q1():
    return "C"


@function(
    inputs=lambda: [(0.8, 2), (0.5, 5), (0.95, 1.5), (0.9, 1), (0.99, 4), (0.7, 10)],
    hints=(
        "Solve 1.96 · √(p(1 − p)/n) = width for n. Mind that the width is given in points: 2 points are 0.02.",
        "n = p(1 − p) · (1.96 / width)². The task asks for a whole number, and one image too few is too wide: "
        "`np.ceil`.",
    ),
    remark="Half the width needs four times the images. And that is for independent ones: siblings count for less.",
)
def pictures_needed(share, points):
    width = points / 100
    return int(np.ceil(share * (1 - share) * (1.96 / width) ** 2))


@pictures_needed.mistake("You rounded down or to the nearest: with one image too few it is too wide. Round up.")
def rounded_down(share, points):
    return math.floor(share * (1 - share) * (1.96 / (points / 100)) ** 2)


@pictures_needed.mistake(
    "You took 2 instead of 1.96. As a rule of thumb that will do; the task asks for the exact factor."
)
def two_for_196(share, points):
    return math.ceil(share * (1 - share) * (2 / (points / 100)) ** 2)


@pictures_needed.mistake("A number of images is whole: round up, with `np.ceil`.")
def unrounded(share, points):
    return share * (1 - share) * (1.96 / (points / 100)) ** 2


@pictures_needed.mistake("You left out the 1.96: one standard error covers only about 2 of 3 cases, not 19 of 20.")
def without_196(share, points):
    return math.ceil(share * (1 - share) / (points / 100) ** 2)


@pictures_needed.mistake("You took the points as a fraction: 2 points are 0.02, not 2.")
def points_as_share(share, points):
    return math.ceil(share * (1 - share) * (1.96 / points) ** 2)


@pictures_needed.mistake("The square is missing: n stands under a root, so half the width takes four times the images.")
def without_square(share, points):
    return math.ceil(share * (1 - share) * 1.96 / (points / 100))


@pictures_needed.mistake("The root stays: you took √(p(1 − p)) times the square. Squaring both sides removes the root.")
def keeps_the_root(share, points):
    return math.ceil(math.sqrt(share * (1 - share)) * (1.96 / (points / 100)) ** 2)


@pictures_needed.mistake("You took p = 0.5 whatever `share` is: that is the worst case. `share` is given.")
def worst_case(share, points):
    return math.ceil(0.25 * (1.96 / (points / 100)) ** 2)


@pictures_needed.mistake("You halved the width: “± 2 points” is 2 to each side, and so is 1.96 standard errors.")
def half_the_width(share, points):
    return math.ceil(share * (1 - share) * (1.96 / (points / 200)) ** 2)


@quiz(
    because="Thirty patients are thirty pieces of evidence, however many slices each has. Resample patients.",
    hints=("What would be new if you could repeat the test: other slices of these patients, or other patients?",),
    A="More samples make the ends of the interval steadier, not truer: each sample still treats siblings as "
    "independent.",
    C="The formula also takes the 6,000 slices for independent ones, so it is just as narrow.",
    D="Whether the split leaks is another question. Here the patients are new, and the interval is still too narrow.",
)
def q2():
    return "B"


def _is_lines(answer) -> bool:
    return len(answer) > 0 and all(number == int(number) and 1 <= number <= 8 for number in answer)


@value(
    rules=[
        (_is_lines, {"1", "7"}, "A set of line numbers is expected, such as {4, 5}: whole numbers from 1 to 8."),
        (
            lambda lines: len(set(lines)) < 7,
            {1, 2, 3, 4, 5, 6, 7, 8},
            "Not every line is at fault. Name only lines that use what they must not know, or split wrongly.",
        ),
        (
            lambda lines: 4 not in lines,
            {1, 2, 4, 7},
            "Line 4 is sound: the model learns from the training rows only. What it is given was prepared before.",
        ),
        (
            lambda lines: 5 not in lines,
            {2, 5, 7},
            "Line 5 is sound: asking a model for the probabilities of test cells is what a test is for.",
        ),
        (
            lambda lines: 6 not in lines,
            {1, 2, 6, 7},
            "Line 6 is sound: it only writes down which thresholds may be tried.",
        ),
        (
            lambda lines: 1 in lines,
            {2, 7},
            "One is missing among the first three lines: what does the scaler learn from, and what must it not have "
            "seen?",
        ),
        (
            lambda lines: 2 in lines or 3 in lines,
            {1, 7},
            "One is missing: how do lines 2 and 3 split the cells? Remember the modules.",
        ),
        (
            lambda lines: 7 in lines or 8 in lines,
            {1, 2},
            "One is missing after line 5: something is chosen there. On which cells?",
        ),
    ],
    hints=(
        "For each line ask: does it use a test cell to decide anything? And: do training and test share modules?",
        "One line is at fault before the split, one of the two lines of the split, and one where something is chosen.",
    ),
    remark="The scaler belongs in a pipeline, the split goes by module, the threshold is chosen on validation.",
)
def leaks():
    return {1, 2, 7}


def _cells_for_threshold(seed, count):
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.4).astype(int)
    return np.round(np.clip(0.3 * labels + 0.7 * random.random(count), 0, 1), 1), labels


@function(
    inputs=lambda: [
        (np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 1, 0, 1]), 5, 1, [0.1, 0.3, 0.5, 0.7]),
        (np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 1, 0, 1]), 1, 5, [0.1, 0.3, 0.5, 0.7]),
        (np.array([0.3, 0.5]), np.array([0, 1]), 1, 1, [0.3, 0.5, 0.7]),
        (np.array([0.1, 0.9, 0.2]), np.array([0, 1, 0]), 3, 2, [0.25, 0.5, 0.75]),
        (np.array([0.1, 0.9, 0.2]), np.array([0, 1, 0]), 3, 2, [0.75, 0.25, 0.5]),
        (np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.3]), np.array([0, 0, 0, 0, 0, 1]), 2, 1, [0.25, 0.35, 0.65]),
        (*_cells_for_threshold(1, 40), 4, 1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        (*_cells_for_threshold(2, 40), 1, 3, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
    ],
    hints=(
        "For one threshold: which cells raise an alarm, which of them are false, which defective ones are missed?",
        "Write the cost of one threshold as a function, then go through the candidates and keep the cheapest; of "
        "equally cheap ones the lowest.",
    ),
    remark="`TunedThresholdClassifierCV` of scikit-learn does this for a model (section 7.16).",
)
def choose_threshold(probabilities, labels, missed, false_alarm, candidates):
    def cost(threshold):
        alarm = probabilities >= threshold
        return missed * np.sum(~alarm & (labels == 1)) + false_alarm * np.sum(alarm & (labels == 0))

    return min(sorted(candidates), key=cost)


@choose_threshold.mistake("The two costs are exchanged: `missed` belongs to defective cells without an alarm.")
def costs_exchanged(probabilities, labels, missed, false_alarm, candidates):
    return choose_threshold.reference(probabilities, labels, false_alarm, missed, candidates)


@choose_threshold.mistake("You take the dearest threshold: look for the lowest cost.")
def dearest(probabilities, labels, missed, false_alarm, candidates):
    def cost(threshold):
        alarm = probabilities >= threshold
        return missed * np.sum(~alarm & (labels == 1)) + false_alarm * np.sum(alarm & (labels == 0))

    return max(sorted(candidates), key=cost)


@choose_threshold.mistake("A probability equal to the threshold raises an alarm: `>=`, not `>`.")
def strictly_above(probabilities, labels, missed, false_alarm, candidates):
    return choose_threshold.reference(probabilities - 1e-9, labels, missed, false_alarm, candidates)


@choose_threshold.mistake("You take the highest of equally cheap thresholds. The task asks for the lowest.")
def highest_of_equals(probabilities, labels, missed, false_alarm, candidates):
    def cost(threshold):
        alarm = probabilities >= threshold
        return missed * np.sum(~alarm & (labels == 1)) + false_alarm * np.sum(alarm & (labels == 0))

    return min(sorted(candidates, reverse=True), key=cost)


@choose_threshold.mistake("You take the first in the list of equally cheap thresholds. The task asks for the lowest.")
def first_of_equals(probabilities, labels, missed, false_alarm, candidates):
    def cost(threshold):
        alarm = probabilities >= threshold
        return missed * np.sum(~alarm & (labels == 1)) + false_alarm * np.sum(alarm & (labels == 0))

    return min(candidates, key=cost)


@choose_threshold.mistake("You count mistakes and leave out what they cost: the two kinds have two prices.")
def counts_mistakes(probabilities, labels, missed, false_alarm, candidates):
    return choose_threshold.reference(probabilities, labels, 1, 1, candidates)


@choose_threshold.mistake("You return the lowest cost. The task asks for the threshold that has it.")
def cost_itself(probabilities, labels, missed, false_alarm, candidates):
    best = choose_threshold.reference(probabilities, labels, missed, false_alarm, candidates)
    alarm = probabilities >= best
    return missed * np.sum(~alarm & (labels == 1)) + false_alarm * np.sum(alarm & (labels == 0))


@choose_threshold.mistake("You return a position in the list. The task asks for the threshold at that position.")
def position(probabilities, labels, missed, false_alarm, candidates):
    return candidates.index(choose_threshold.reference(probabilities, labels, missed, false_alarm, candidates))


@choose_threshold.mistake(
    "You weigh rates: missed ones of the defective cells, false alarms of the functional ones. The bill counts cells."
)
def rates(probabilities, labels, missed, false_alarm, candidates):
    positives, negatives = np.sum(labels == 1), np.sum(labels == 0)
    return choose_threshold.reference(probabilities, labels, missed / positives, false_alarm / negatives, candidates)


@choose_threshold.mistake(
    "That is the candidate nearest to false_alarm / (false_alarm + missed). The formula trusts the percentages; here "
    "the labels decide."
)
def formula(probabilities, labels, missed, false_alarm, candidates):
    return min(sorted(candidates), key=lambda threshold: abs(threshold - false_alarm / (false_alarm + missed)))


@quiz(
    because="With 1 positive in 1,000, a rate of 5 % false alarms is fifty of them for each true one. Precision shows "
    "it, the ROC curve divides it away.",
    hints=("Think of 100,000 images: how many alarms are true, how many false?",),
    A="0.97 says how well positives are ranked above negatives. How many alarms are false depends on how many "
    "negatives there are.",
    B="The area does not change with the proportion of positives: it compares pairs of one positive and one negative.",
    D="Accuracy says even less here: a detector that never raises an alarm has 99.9 %.",
)
def q3():
    return "C"


def _bins(probabilities, bins):
    return np.minimum((probabilities * bins).astype(int), bins - 1)


@function(
    inputs=lambda: [
        (np.array([0.1, 0.3, 0.9, 0.7]), np.array([0, 1, 1, 1]), 2),
        (np.array([0.1, 0.1, 0.1, 0.9]), np.array([0, 0, 0, 0]), 2),
        (np.array([0.05, 0.95, 1.0, 0.6]), np.array([0, 1, 0, 1]), 5),
        (np.array([0.5, 0.6, 0.3, 0.1]), np.array([1, 0, 0, 0]), 2),
        (np.array([0.8, 0.7, 0.2, 0.3, 0.9, 0.6]), np.array([0, 1, 1, 0, 0, 1]), 2),
        (np.random.default_rng(7).random(50), np.random.default_rng(8).integers(0, 2, 50), 10),
    ],
    hints=(
        "`np.minimum((probabilities * bins).astype(int), bins - 1)` gives the number of each image's bin; 1.0 goes "
        "into the last.",
        "For each bin with images: their fraction of all images times |mean probability − mean label|. Add these up.",
    ),
    remark="On few images even a calibrated model has an error above zero: compare it with that floor.",
)
def calibration_error(probabilities, labels, bins):
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    error = 0.0
    for number in np.unique(place):
        inside = place == number
        error += inside.mean() * abs(probabilities[inside].mean() - labels[inside].mean())
    return float(error)


def _gaps(probabilities, labels, bins):
    place = _bins(probabilities, bins)
    insides = [place == number for number in np.unique(place)]
    return [(inside.mean(), probabilities[inside].mean() - labels[inside].mean()) for inside in insides]


@calibration_error.mistake("Each of your bins counts the same. A bin counts by its fraction of the images.")
def unweighted(probabilities, labels, bins):
    return float(np.mean([abs(gap) for _, gap in _gaps(probabilities, labels, bins)]))


@calibration_error.mistake("You divide by the number of all bins. A bin counts by its fraction of the images.")
def over_all_bins(probabilities, labels, bins):
    return float(sum(abs(gap) for _, gap in _gaps(probabilities, labels, bins)) / bins)


@calibration_error.mistake("Without the absolute value, bins that say too much make up for bins that say too little.")
def without_absolute(probabilities, labels, bins):
    return float(sum(fraction * gap for fraction, gap in _gaps(probabilities, labels, bins)))


@calibration_error.mistake("You took the absolute value at the end, of the sum. Take it in each bin, before adding.")
def absolute_of_the_sum(probabilities, labels, bins):
    return abs(without_absolute(probabilities, labels, bins))


@calibration_error.mistake("You left out the bins: that is the mean distance of each label from its probability.")
def without_bins(probabilities, labels, bins):
    return float(np.mean(np.abs(probabilities - labels)))


@calibration_error.mistake("You compare with the middle of each bin. Compare with the mean of the probabilities in it.")
def middle_of_the_bin(probabilities, labels, bins):
    place = _bins(probabilities, bins)
    return float(sum((place == n).mean() * abs((n + 0.5) / bins - labels[place == n].mean()) for n in np.unique(place)))


@calibration_error.mistake("A probability on a border counts for the upper bin. You put it into the lower one.")
def border_below(probabilities, labels, bins):
    place = np.maximum(np.ceil(probabilities * bins).astype(int) - 1, 0)
    insides = [place == number for number in np.unique(place)]
    return float(sum(i.mean() * abs(probabilities[i].mean() - labels[i].mean()) for i in insides))


@calibration_error.mistake("You weigh with numbers of images. Divide by the number of all images at the end.")
def not_divided(probabilities, labels, bins):
    return float(sum(fraction * len(labels) * abs(gap) for fraction, gap in _gaps(probabilities, labels, bins)))


@calibration_error.mistake("You square the gaps. The task asks for the distance itself, without a sign.")
def squared(probabilities, labels, bins):
    return float(sum(fraction * gap**2 for fraction, gap in _gaps(probabilities, labels, bins)))


@calibration_error.mistake("You take the largest gap. That is another measure (maximum calibration error).")
def largest_gap(probabilities, labels, bins):
    return float(max(abs(gap) for _, gap in _gaps(probabilities, labels, bins)))


@calibration_error.mistake("A probability of exactly 1 falls out of your bins. It belongs in the last one.")
def one_falls_out(probabilities, labels, bins):
    place = (probabilities * bins).astype(int)
    insides = [place == number for number in range(bins)]
    return float(sum(i.mean() * abs(probabilities[i].mean() - labels[i].mean()) for i in insides if i.any()))


@quiz(
    because="A map that looks the same without anything learned was not made by what was learned; it may just trace "
    "edges or bright regions of the image.",
    hints=("What has a network with random weights learned about cracks?",),
    B="That the two agree is no good sign: one of them knows nothing.",
    C="A finer map of this kind would still be the same for a network that knows nothing.",
    D="Saturation makes maps empty or undefined. It does not make two networks draw the same.",
)
def q4():
    return "A"
