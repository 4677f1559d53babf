"""Exercises of lesson NN: brightness by hand, as a function, and the shape of an image."""

import numpy as np

from course_utils.exercises.engine import function, quiz, value


@value(
    mistakes=[
        (200, "That is the brightest pixel. Brightness is the mean of all four."),
        (400, "That is their sum. Divide it by their number."),
    ],
    hints=("Add the four numbers up.", "Divide the sum by how many there are."),
    remark="Two images with the same mean can look very different.",
)
def mean_by_hand():
    return (0 + 100 + 100 + 200) / 4


@quiz(
    because="The mean looks at all pixels, the maximum at one.",
    A="One white pixel in a black image gives 255.",
    C="A dark image may hold no white pixel at all.",
)
def q1():
    return "B"


@function(
    inputs=lambda: [(np.array([[0, 255]], np.uint8),), (np.full((3, 4), 51, np.uint8),)],
    hints=("`image.mean()` is the mean of all pixels.", "White is 255 and should become 1: divide by it."),
)
def relative_brightness(image):
    return image.mean() / 255


@relative_brightness.mistake("This is in 0…255. Divide by the value of white.")
def not_divided(image):
    return image.mean()


@relative_brightness.mistake("Every result is 1 if you divide by the brightest pixel of the image itself.")
def divided_by_the_brightest(image):
    return image.mean() / image.max()


@value(
    mistakes=[
        ((640, 480, 3), "Rows come first: (height, width, channels)."),
        ((480, 640), "The channels are missing: a colour image has three axes."),
    ],
    hints=("An array is indexed by row, column, channel.", "Three numbers in a tuple."),
)
def shape():
    return (480, 640, 3)


@quiz(
    because="(0 + 255) / 2 is 127.5. The mean does not see how far the values are from each other.",
    A="The white half is much brighter than grey: it makes up for the black one.",
    B="The black half is much darker than grey: it takes away what the white one adds.",
)
def q2():
    return "C"
