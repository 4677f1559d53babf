"""Exercises of lesson 09: box formats, flipped boxes, counting windows, hits, average precision."""

import numpy as np

from course_utils.exercises.engine import function, quiz, value


@function(
    inputs=lambda: [
        ((0, 0, 50, 20), 100, 200),
        ((10, 20, 40, 30), 100, 100),
        ((5, 8, 35, 21), 100, 100),
        ((170, 66, 110, 108), 512, 512),
        ((0, 0, 640, 480), 480, 640),
        ((600, 8, 32, 64), 480, 640),
    ],
    hints=(
        "The centre lies half a width right of the corner, and half a height below it.",
        "Divide what runs across (centre x, width) by the image's width, what runs down by its height.",
    ),
    remark="Draw the boxes after each conversion: swapped sides show at once on an image, and in no loss.",
)
def to_yolo(box, picture_height, picture_width):
    x, y, width, height = box
    centre_x, centre_y = x + width / 2, y + height / 2
    return centre_x / picture_width, centre_y / picture_height, width / picture_width, height / picture_height


@to_yolo.mistake("You divide across by the height and down by the width. x and widths belong to the image's width.")
def swapped_sides(box, picture_height, picture_width):
    return to_yolo.reference(box, picture_width, picture_height)


@to_yolo.mistake(
    "Your first two numbers are those of the corner. The task asks for the centre, half a width and height away."
)
def corner_kept(box, picture_height, picture_width):
    x, y, width, height = box
    return x / picture_width, y / picture_height, width / picture_width, height / picture_height


@to_yolo.mistake("The centre is right, but in pixels. The task asks for fractions of the image, all four.")
def in_pixels(box, picture_height, picture_width):
    x, y, width, height = box
    return x + width / 2, y + height / 2, width, height


@to_yolo.mistake("You read the last two numbers as a second corner. In COCO's format they are width and height.")
def read_as_corners(box, picture_height, picture_width):
    x1, y1, x2, y2 = box
    centre = (x1 + x2) / 2 / picture_width, (y1 + y2) / 2 / picture_height
    return *centre, (x2 - x1) / picture_width, (y2 - y1) / picture_height


@to_yolo.mistake("You return two corners. The task asks for the centre, then width and height.")
def gives_corners(box, picture_height, picture_width):
    x, y, width, height = box
    return x / picture_width, y / picture_height, (x + width) / picture_width, (y + height) / picture_height


@to_yolo.mistake("You added the whole width and height to the corner: that is the other corner. Halve them.")
def whole_instead_of_half(box, picture_height, picture_width):
    x, y, width, height = box
    end = (x + width) / picture_width, (y + height) / picture_height
    return *end, width / picture_width, height / picture_height


@to_yolo.mistake("These are percentages. YOLO's files hold fractions between 0 and 1.")
def percentages(box, picture_height, picture_width):
    return tuple(100 * number for number in to_yolo.reference(box, picture_height, picture_width))


@to_yolo.mistake("You halve with `//`, which cuts off half a pixel. A centre may lie between two pixels: use `/`.")
def whole_pixels(box, picture_height, picture_width):
    x, y, width, height = box
    centre = (x + width // 2) / picture_width, (y + height // 2) / picture_height
    return *centre, width / picture_width, height / picture_height


@to_yolo.mistake("Width and height are halved too. Only the way to the centre is half of them; the size stays whole.")
def halved_size(box, picture_height, picture_width):
    x, y, width, height = to_yolo.reference(box, picture_height, picture_width)
    return x, y, width / 2, height / 2


@function(
    inputs=lambda: [
        (np.array([[10, 20, 30, 60]]), 100),
        (np.array([[0, 0, 96, 40]]), 96),
        (np.array([[0, 5, 20, 25], [60, 10, 75, 90], [33, 1, 44, 2]]), 80),
    ],
    hints=(
        "Take a box near the left border. Where is it in the mirrored image, and which edge is now the left one?",
        "A place x goes to width − x. So the new x1 is width minus the old x2; y1 and y2 stay.",
    ),
    remark="Rotation and zoom need the same care. Keras' layers do it if you tell them the format of the boxes.",
)
def flip_boxes(boxes, width):
    x1, y1, x2, y2 = boxes.T
    return np.stack([width - x2, y1, width - x1, y2], axis=1)


@flip_boxes.mistake("You return the boxes unchanged: the image is mirrored, so its boxes must be, too.")
def boxes_forgotten(boxes, width):
    return boxes


@flip_boxes.mistake("Your boxes end before they begin: the old right edge becomes the new left edge, so swap the two.")
def ends_before_it_begins(boxes, width):
    return np.array([[width - x1, y1, width - x2, y2] for x1, y1, x2, y2 in boxes])


@flip_boxes.mistake("You mirrored up and down. The image is mirrored left and right: y1 and y2 stay.")
def upside_down(boxes, width):
    return np.array([[x1, width - y2, x2, width - y1] for x1, y1, x2, y2 in boxes])


@flip_boxes.mistake(
    "Your boxes are one pixel too far to the left. Corners count from the outer edge of the first pixel, so a place x "
    "goes to width − x, not to width − 1 − x."
)
def minus_one(boxes, width):
    return np.array([[width - 1 - x2, y1, width - 1 - x1, y2] for x1, y1, x2, y2 in boxes])


@flip_boxes.mistake("You read the last two numbers as width and height. These boxes are corners: (x1, y1, x2, y2).")
def flipped_as_sizes(boxes, width):
    return np.array([[width - x - w, y, w, h] for x, y, w, h in boxes])


@flip_boxes.mistake(
    "You moved the left edge to width − x1 and kept the size: the box lies one box too far to the right."
)
def left_edge_only(boxes, width):
    return np.array([[width - x1, y1, width - x1 + x2 - x1, y2] for x1, y1, x2, y2 in boxes])


@quiz(
    because="The cat's box is the intersection, the large box the union: 1/4. A generous box is not a good box.",
    hints=("How many cat boxes fit into the reported one? What do both share, what do they cover together?",),
    A="That asks how much of the cat is covered. IoU also counts what the box covers outside the cat.",
    B="Twice as wide and twice as high is how many times the area?",
    D="Edges do not enter. IoU compares areas: what both share, and what they cover together.",
)
def q1():
    return "C"


@function(
    inputs=lambda: [
        (10, 10, 10, 1),
        (10, 12, 10, 1),
        (12, 10, 10, 2),
        (20, 20, 10, 1),
        (21, 31, 10, 5),
        (23, 41, 10, 1),
        (64, 96, 16, 4),
        (9, 30, 10, 1),
        (480, 640, 25, 2),
    ],
    hints=(
        "On 12 pixels, a window of 10 fits at 0, 1 and 2. How many positions is that for any length, and for steps of "
        "2?",
        "One copy gives ((height − window) // stride + 1) · ((width − window) // stride + 1). Loop while it fits.",
    ),
    remark="The largest copy has most of the windows; all smaller ones together add only a third of it, or less.",
)
def count_windows(height, width, window, stride):
    total = 0
    while min(height, width) >= window:
        total += ((height - window) // stride + 1) * ((width - window) // stride + 1)
        height, width = height // 2, width // 2
    return total


def _count(height, width, positions, fits, pyramid=True):
    """Count windows with another number of positions along a side, or another rule for when the window fits."""
    total = 0
    while fits(height, width):
        total += positions(height) * positions(width)
        if not pyramid:
            break
        height, width = height // 2, width // 2
    return total


@count_windows.mistake(
    "One position is missing in each direction: a window as large as the image fits once, not never."
)
def without_one(height, width, window, stride):
    return _count(height, width, lambda side: (side - window) // stride, lambda h, w: min(h, w) >= window)


@count_windows.mistake("You count the largest copy only. The smaller ones have windows too.")
def no_pyramid(height, width, window, stride):
    return _count(
        height, width, lambda side: (side - window) // stride + 1, lambda h, w: min(h, w) >= window, pyramid=False
    )


@count_windows.mistake("You stop too early: a copy that is exactly as large as the window still holds one.")
def stops_early(height, width, window, stride):
    return _count(height, width, lambda side: (side - window) // stride + 1, lambda h, w: min(h, w) > window)


@count_windows.mistake(
    "You let the window move by its own width, side by side. It moves by `stride`, so windows overlap."
)
def side_by_side(height, width, window, stride):
    return _count(height, width, lambda side: side // window, lambda h, w: min(h, w) >= window)


@count_windows.mistake("The stride is missing: you count a window at every pixel.")
def every_pixel(height, width, window, stride):
    return _count(height, width, lambda side: side - window + 1, lambda h, w: min(h, w) >= window)


@count_windows.mistake(
    "You divide the whole side by the stride. A window must lie inside: subtract its size before you divide."
)
def sticks_out(height, width, window, stride):
    return _count(height, width, lambda side: side // stride, lambda h, w: min(h, w) >= window)


@count_windows.mistake("You add the positions down and across. Each row of positions has all the columns: multiply.")
def added(height, width, window, stride):
    total = 0
    while min(height, width) >= window:
        total += (height - window) // stride + 1 + (width - window) // stride + 1
        height, width = height // 2, width // 2
    return total


@count_windows.mistake("You round half the side up. The copies are rounded down: `//` does that.")
def rounded_up(height, width, window, stride):
    total = 0
    while min(height, width) >= window:
        total += ((height - window) // stride + 1) * ((width - window) // stride + 1)
        height, width = (height + 1) // 2, (width + 1) // 2
    return total


@count_windows.mistake("You go on while one side is long enough. The window must fit in both directions.")
def one_side_is_enough(height, width, window, stride):
    positions = lambda side: (side - window) // stride + 1  # noqa: E731
    return _count(height, width, positions, lambda h, w: max(h, w) >= window)


@quiz(
    because="The boxes are there, and suppression takes true neighbours for duplicates. Raise its limit, and watch the "
    "real duplicates come back: in a crowd no limit is wholly right.",
    hints=("Which step do the boxes not survive?",),
    A="The boxes had good scores already. What suppression deletes does not come back with another score threshold.",
    C="A lower limit deletes more. Too many people are deleted already.",
    D="The network finds everybody, because there is a box on every person. They are lost afterwards.",
)
def q2():
    return "B"


@function(
    inputs=lambda: [
        ([[0.8]], 0.5),
        ([[0.8], [0.7]], 0.5),
        ([[0.5, 0.1], [0.4, 0.6]], 0.5),
        ([[0.2, 0.3], [0.9, 0.0]], 0.5),
        ([[0.9, 0.6], [0.8, 0.7], [0.7, 0.2]], 0.5),
        ([[0.6, 0.7], [0.8, 0.0]], 0.5),
        ([[0.6, 0.0], [0.9, 0.0], [0.0, 0.55]], 0.5),
        ([[0.7, 0.0, 0.1], [0.0, 0.8, 0.0], [0.72, 0.0, 0.74], [0.0, 0.9, 0.6]], 0.75),
    ],
    hints=(
        "Keep a list (or a set) of the objects that are still free. A report may only take one of those.",
        "For each row: among the free columns find the one with the largest IoU. If that is at least the threshold, it "
        "is a hit, and the column is no longer free.",
    ),
    remark="So does COCO. PASCAL VOC looks at the best object only: if that is taken, it is a false alarm.",
)
def find_hits(overlaps, threshold):
    free = list(range(len(overlaps[0])))
    hits = []
    for row in overlaps:
        best = max(free, key=lambda thing: row[thing], default=None)
        hit = best is not None and row[best] >= threshold
        if hit:
            free.remove(best)
        hits.append(hit)
    return hits


@find_hits.mistake("An object is hit twice. A second report of it is a false alarm, however well it lies.")
def again_and_again(overlaps, threshold):
    return [max(row) >= threshold for row in overlaps]


@find_hits.mistake("“At least” the threshold: an IoU equal to it is a hit.")
def strictly_above(overlaps, threshold):
    return find_hits.reference(overlaps, threshold + 1e-9)


@find_hits.mistake(
    "You look only at the object that a report overlaps most, taken or not. If it is taken, the next free one counts."
)
def only_the_best(overlaps, threshold):
    taken, hits = set(), []
    for row in overlaps:
        best = max(range(len(row)), key=lambda thing: row[thing])
        hits.append(row[best] >= threshold and best not in taken)
        if hits[-1]:
            taken.add(best)
    return hits


@find_hits.mistake(
    "You let each object choose the report that overlaps it most. The score decides: better reports come first."
)
def objects_choose(overlaps, threshold):
    hits = [False] * len(overlaps)
    for thing in range(len(overlaps[0])):
        best = max(range(len(overlaps)), key=lambda row: overlaps[row][thing])
        if overlaps[best][thing] >= threshold:
            hits[best] = True
    return hits


@find_hits.mistake("A report takes the first free object above the threshold. It takes the one that it overlaps most.")
def first_that_fits(overlaps, threshold):
    free, hits = list(range(len(overlaps[0]))), []
    for row in overlaps:
        fitting = [thing for thing in free if row[thing] >= threshold]
        hits.append(bool(fitting))
        if fitting:
            free.remove(fitting[0])
    return hits


@find_hits.mistake("You mark an object as taken even by a report that misses it. Only a hit takes an object.")
def taken_by_misses(overlaps, threshold):
    free, hits = list(range(len(overlaps[0]))), []
    for row in overlaps:
        best = max(free, key=lambda thing: row[thing], default=None)
        hits.append(best is not None and row[best] >= threshold)
        if best is not None:
            free.remove(best)
    return hits


@find_hits.mistake(
    "You return the number of hits. The task asks for a list: True or False for each report, in their order."
)
def only_the_number(overlaps, threshold):
    return sum(find_hits.reference(overlaps, threshold))


@value(
    tolerance=2e-3,
    hints=(
        "Write down the precision after each of the three hits: how many hits so far, out of how many reports so far?",
        "Add up these three precisions and divide by the number of cats that there are.",
    ),
    remark="Two cats were never found; the false alarms at the end of the list cost nothing: AP is about order.",
    mistakes=[
        (
            (1 + 2 / 3 + 3 / 4) / 3,
            "You divided by the three hits. Two cats were never found: divide by all five, as in section 9.6.",
        ),
        (
            (1 + 3 / 4 + 3 / 4) / 5,
            "You took the highest precision to the right (PASCAL VOC). The task asks for the step curve as it is.",
        ),
        ((1 + 2 / 3 + 3 / 4) / 7, "You divided by the seven reports. The average runs over the objects, five cats."),
        (
            (1 + 1 / 2 + 2 / 3 + 3 / 4 + 3 / 5 + 3 / 6 + 3 / 7) / 7,
            "You averaged the precision after every report. Only the rows with a hit count, divided by the five cats.",
        ),
        (3 / 7, "That is the precision of the whole list, at one threshold. AP takes the precision at every hit."),
        (3 / 5, "That is the recall: three of five cats. AP also asks in which order they were found."),
        (100 * (1 + 2 / 3 + 3 / 4) / 5, "This is a percentage. Give a number between 0 and 1."),
        (1 + 2 / 3 + 3 / 4, "You added the three precisions. Divide the sum by the number of cats."),
    ],
)
def cats():
    return (1 / 1 + 2 / 3 + 3 / 4) / 5


@quiz(
    because="A licence is part of the choice of a detector. And look at the licence of the weights and of the training "
    "images too.",
    hints=("What does the table in section 9.11 say about Ultralytics?",),
    A="Open source means that you may use it under conditions. Those of AGPL-3.0 reach far.",
    C="Open-source licences allow commercial use. This one asks for something in return.",
    D="That is the very case for which AGPL-3.0 was written: use over a network counts as well.",
)
def q3():
    return "B"
