"""Exercises of lesson 12: a hash, connected near duplicates, what flatters a score, how much a clean test proves."""

import math

import numpy as np

from course_utils.exercises.engine import function, quiz, value


def _pixels(seed, rows=9, columns=8):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns), dtype=np.uint8)


def _some_levels(seed):
    """Return few grey levels, so that neighbours are often equal."""
    return (_pixels(seed) // 64 * 60).astype(np.uint8)


@function(
    inputs=lambda: [
        (np.repeat(np.arange(9, dtype=np.uint8)[:, None] * 20, 8, axis=1),),
        (np.repeat(np.arange(9, dtype=np.uint8)[::-1, None] * 20, 8, axis=1),),
        (_some_levels(1),),
        (_pixels(2),),
    ],
    hints=(
        "Two slices of the same array: all rows but the first, and all rows but the last.",
        "`small[1:]` holds for each pixel the one below it in `small[:-1]`. Compare them; do not subtract: these are "
        "uint8.",
    ),
    remark="`imagehash.dhash_vertical` computes this. Both directions together make a hash of 128 bits.",
    dtype=True,
)
def downward_bits(small):
    return small[1:] > small[:-1]


@downward_bits.mistake("You compare with the right neighbour, as section 12.2 did. The task asks for the pixel below.")
def rightward(small):
    return small[:, 1:] > small[:, :-1]


@downward_bits.mistake("Your bits are the other way round: True is where the pixel below is brighter, not darker.")
def upside_down(small):
    return small[1:] < small[:-1]


@downward_bits.mistake("Equal pixels count as brighter in your bits. Only a really brighter one does.")
def or_equal(small):
    return small[1:] >= small[:-1]


@downward_bits.mistake(
    "You subtract uint8 numbers. 20 − 30 is 246 there and not −10, so every difference but 0 looks positive. Compare "
    "instead of subtracting (lesson 02)."
)
def wraps(small):
    return (small[1:] - small[:-1]) > 0


@downward_bits.mistake("You compare each pixel with the mean. That is another hash, the average hash.")
def average_hash(small):
    return (small > small.mean())[:8]


@downward_bits.mistake("You give the differences. A hash keeps only the sign: True where the pixel below is brighter.")
def differences(small):
    return small[1:].astype(int) - small[:-1]


@downward_bits.mistake(
    "The bits are right, but they are numbers. The task asks for Booleans, as the comparison itself gives them."
)
def numbers(small):
    return (small[1:] > small[:-1]).astype(int)


@quiz(
    because="Mirrored before the split, an image and its twin often land on different sides. Split first, then vary "
    "the training set only. (The audit sees mirrored twins.)",
    hints=("Where can an image and its mirror image be after the shuffle?",),
    A="Twice the images would help if they were new ones, from new sources. And a fall from 12 to 3 % mistakes is more "
    "than such a doubling gives.",
    C="That is what mirroring is for, and it may even be so. But this test cannot show it, because its images have "
    "twins in the training set.",
    D="The test set has hundreds of images: nine points are far outside an interval of that size.",
)
def q1():
    return "B"


def _reach(pairs, count):
    """Return the solution in another way than the reference: pass on the lowest number until nothing changes."""
    lowest = list(range(count))
    for _ in range(count):
        for one, other in pairs:
            lowest[one] = lowest[other] = min(lowest[one], lowest[other])
    return lowest


@function(
    inputs=lambda: [
        ([(0, 1)], 3),
        ([(0, 3), (3, 4)], 6),
        ([(1, 2), (0, 1)], 3),
        ([(2, 3), (0, 1), (1, 3)], 5),
        ([(5, 4), (4, 3), (3, 2), (2, 1), (1, 0)], 7),
        ([(0, 4), (1, 5), (2, 6), (4, 5), (6, 7)], 9),
        ([], 3),
        ([(1, 1), (2, 1), (1, 2)], 4),
        ([(2, 1), (1, 4), (0, 2)], 5),
    ],
    hints=(
        "Begin with `[0, 1, 2, …]`: each image is its own group. A pair makes two groups one. What changes then?",
        "For a pair, take the group numbers of both and the lower of the two; give it to *every* image that has either "
        "of the two numbers.",
    ),
    remark="Twenty thousand images need something faster: `scipy.sparse.csgraph.connected_components`, which the audit "
    "uses.",
)
def group_of_each(pairs, count):
    group = list(range(count))
    for one, other in pairs:
        lower, upper = sorted((group[one], group[other]))
        group = [lower if number == upper else number for number in group]
    return group


@group_of_each.mistake(
    "You only change the two images of a pair. All others that were in either group must come along, or the chain is "
    "cut."
)
def only_the_two(pairs, count):
    group = list(range(count))
    for one, other in pairs:
        group[one] = group[other] = min(group[one], group[other])
    return group


@group_of_each.mistake(
    "Your loop goes through the pairs once forward and once back. A chain can need more: go on until nothing changes."
)
def forward_and_back(pairs, count):
    group = list(range(count))
    for one, other in [*pairs, *reversed(pairs)]:
        group[one] = group[other] = min(group[one], group[other])
    return group


@group_of_each.mistake("You change the second image of a pair only: in (1, 2), (0, 1) the image 1 brings 2 along.")
def second_follows_first(pairs, count):
    group = list(range(count))
    for one, other in pairs:
        group[other] = group[one]
    return group


@group_of_each.mistake("You only look at direct partners. What is reached over a third image belongs to it as well.")
def direct_partners(pairs, count):
    group = list(range(count))
    for one, other in pairs:
        group[one], group[other] = min(group[one], other), min(group[other], one)
    return group


@group_of_each.mistake("You number the groups 0, 1, 2, … The task asks for the lowest number of an image in the group.")
def numbered(pairs, count):
    lowest = _reach(pairs, count)
    return [sorted(set(lowest)).index(number) for number in lowest]


@group_of_each.mistake("You give the highest number in each group. The task asks for the lowest.")
def highest(pairs, count):
    lowest = _reach(pairs, count)
    return [max(n for n in range(count) if lowest[n] == number) for number in lowest]


@group_of_each.mistake("You return the groups themselves. The task asks for a list with one number for each image.")
def groups(pairs, count):
    lowest = _reach(pairs, count)
    return [[n for n in range(count) if lowest[n] == number] for number in sorted(set(lowest))]


@value(
    rules=[
        (
            lambda answer: len(answer) > 0 and all(letter in tuple("ABCDEF") for letter in answer),
            {2, 5},
            'A set of letters is expected, such as {"A", "F"}, each from A to F.',
        ),
        (
            lambda answer: "A" not in answer,
            {"A", "B", "E"},
            "A stops a training with an error, or the files are left out. Neither makes a score better.",
        ),
        (
            lambda answer: "C" not in answer,
            {"B", "C", "E"},
            "C works against the score: the same image with two labels is wrong at least once, whatever the model "
            "says.",
        ),
        (
            lambda answer: "D" not in answer,
            {"B", "D", "E"},
            "D costs points where a reader ignores the note: images on their side are harder. It flatters nothing.",
        ),
        (
            lambda answer: "F" not in answer,
            {"B", "E", "F"},
            "F changes nothing: what is not used is neither learned nor tested.",
        ),
        (
            lambda answer: "B" in answer,
            {"E"},
            "One is missing: where may the second of two equal files be after a random split?",
        ),
        (
            lambda answer: "E" in answer,
            {"B"},
            "One is missing: think of a model that looks at sharpness and shape instead of birds. Would the test "
            "notice? Would new birds?",
        ),
    ],
    hints=(
        "Ask of each finding: could it help a model on these test images, without helping on new birds?",
        "Two of the six. One concerns single images and the split, the other all images, and no split can fix it.",
    ),
    remark="B goes away with a split by source. E does not: all sets have it. There only other images help.",
)
def flattering():
    return {"B", "E"}


@quiz(
    because="Eight patients are eight pieces of evidence: 0.05 to the power of 1/8 is 0.69.",
    hints=("What would be new if you repeated the test: other images of these patients, or other patients?",),
    A="The bootstrap resamples eight patients without a mistake, and so never meets one. That says nothing about the "
    "ninth.",
    B="That would hold for 200 patients. Images of one patient fall together.",
    D="There is one: ask how bad a model may be and still pass such a test now and then.",
)
def q2():
    return "C"


@function(
    inputs=lambda: [(0.5, 0.5), (0.9, 0.05), (0.5, 0.05), (0.95, 0.05), (0.99, 0.01), (0.8, 0.2), (0.99, 0.2)],
    hints=(
        "A model that is right for exactly `share` of all sources passes n of them with what probability? That must be "
        "at most `risk`.",
        "share ** n ≤ risk. Take logarithms, and mind that log(share) is negative; or simply count n upwards.",
    ),
    remark="For 0.9 and 0.05 that is 29 sources, for 0.99 it is 299: each nine costs ten times the sources. And one "
    "mistake among them makes it more.",
)
def sources_needed(share, risk):
    number = 1
    while share**number > risk:
        number += 1
    return number


@sources_needed.mistake("You rounded down or to the nearest: with one source too few the risk is above `risk`.")
def rounded_down(share, risk):
    return math.floor(math.log(risk) / math.log(share))


@sources_needed.mistake(
    "Sometimes one source too many: a model may pass in *at most* `risk` of all cases, so equal is enough."
)
def strictly_below(share, risk):
    number = 1
    while share**number >= risk:
        number += 1
    return number


@sources_needed.mistake("A number of sources is whole: round up.")
def unrounded(share, risk):
    return math.log(risk) / math.log(share)


@sources_needed.mistake(
    "That is the rule of thumb 3 / (1 − share), which holds for a risk of 5 % and a `share` near 1. The task asks for "
    "the exact number, for any risk."
)
def rule_of_three(share, risk):
    return math.ceil(3 / (1 - share))


@sources_needed.mistake(
    "You exchanged the two: `share` is what is right for a source, `risk` how seldom such a model may pass."
)
def exchanged(share, risk):
    return math.ceil(math.log(share) / math.log(risk))


@sources_needed.mistake(
    "You took 1 − share: the probability to go wrong, n times in a row. Passing means to be right n times in a row."
)
def wrong_in_a_row(share, risk):
    return math.ceil(math.log(risk) / math.log(1 - share))


@sources_needed.mistake("You took 1 − risk. A worse model may pass in at most `risk` of all cases.")
def sure_instead_of_risk(share, risk):
    return math.ceil(math.log(1 - risk) / math.log(share))


@quiz(
    because="An interval that reaches below zero says: perhaps nothing. Then the simpler model has the better reasons.",
    hints=("What does an interval of a gain say that reaches from below zero to above it?",),
    B="Expected from 60 images. The interval says that the same numbers also fit a loss of 3 points.",
    C="Then the test set has chosen, and can no longer judge (lesson 07).",
    D="The best of ten is partly the luckiest of ten (lesson 08).",
)
def q3():
    return "A"
