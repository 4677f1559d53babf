"""Exercises of lesson 04: one cell of HOG, one code of LBP, k-NN by hand, and a leak to fix."""

import numpy as np

from course_utils.exercises.engine import function, quiz


def _cells() -> list[tuple]:
    random = np.random.default_rng(4)
    return [
        (np.array([[1.0, 2.0]]), np.array([[10.0, 50.0]])),
        (np.array([[1.0, 2.0, 4.0]]), np.array([[20.0, 39.0, 179.0]])),
        (np.array([[3.0, 5.0], [7.0, 11.0]]), np.array([[-150.0, 180.0], [-10.0, 135.0]])),
        (random.uniform(0, 9, (7, 7)).round(2), random.uniform(-180, 180, (7, 7)).round(1)),
    ]


@function(
    inputs=_cells,
    hints=(
        "First bring all angles into 0…180 with `%`. Then the number of the bin is the angle divided by 20, rounded "
        "down.",
        "`np.bincount(numbers, weights=..., minlength=9)` adds up weights by number. It wants flat arrays: `.ravel()`.",
    ),
    remark="scikit-image does the same for each cell, and then divides each block of cells by its length.",
)
def histogram_of(strength, angle):
    bins = (angle % 180 // 20).astype(int)
    return np.bincount(bins.ravel(), weights=strength.ravel(), minlength=9)


def _with_bins(strength, bins, count=9):
    return np.bincount(np.ravel(bins).astype(int), weights=np.ravel(strength), minlength=count)


@histogram_of.mistake(
    "You count the pixels of each bin. A strong edge is to count more than a weak one: add strengths."
)
def counts_pixels(strength, angle):
    return _with_bins(np.ones_like(strength), angle % 180 // 20)


@histogram_of.mistake(
    "You take the absolute value of negative angles, which makes −150° to 150°. A half turn on from −150° is 30°."
)
def absolute_angles(strength, angle):
    return _with_bins(strength, np.abs(angle) % 180 // 20)


@histogram_of.mistake(
    "You turn 180° into the last bin: cut off at the end instead of starting again at 0°. Opposite directions are one."
)
def clips_the_end(strength, angle):
    half = np.where(angle < 0, angle + 180, angle)
    return _with_bins(strength, np.minimum(half // 20, 8))


@histogram_of.mistake(
    "You round to the nearest bin, so that 10° or 39° go into the next one. Bins begin at 0°, 20°, 40° …: round down."
)
def rounds_to_nearest(strength, angle):
    return _with_bins(strength, np.round(angle % 180 / 20) % 9)


@histogram_of.mistake(
    "You cut the full turn into nine bins of 40°. A half turn is enough, as opposite directions are the same edge."
)
def full_turn(strength, angle):
    return _with_bins(strength, angle % 360 // 40)


@histogram_of.mistake("You leave out the angles below 0°. They are edges too: bring them into 0…180 first.")
def leaves_out_the_negative(strength, angle):
    inside = angle >= 0
    return _with_bins(strength[inside], angle[inside] % 180 // 20)


@histogram_of.mistake("Your numbers add up to 1. The task asks for the strengths themselves: do not normalise.")
def normalises(strength, angle):
    histogram = histogram_of.reference(strength, angle)
    return histogram / histogram.sum()


@histogram_of.mistake("You take the mean strength of each bin. Two edges in one direction count twice: add them up.")
def means(strength, angle):
    bins = angle % 180 // 20
    return histogram_of.reference(strength, angle) / np.maximum(_with_bins(np.ones_like(strength), bins), 1)


@histogram_of.mistake(
    "An angle on the border, such as 20°, belongs to the bin that begins there, not to the one below."
)
def border_below(strength, angle):
    return _with_bins(strength, np.maximum(np.ceil(angle % 180 / 20) - 1, 0))


@histogram_of.mistake(
    "Only one pixel of each bin is counted. With an array of bin numbers, `histogram[bins] += strength` adds once per "
    "bin, not once per pixel: use `np.add.at`, or `np.bincount` with weights."
)
def adds_once(strength, angle):
    histogram = np.zeros(9)
    histogram[(angle % 180 // 20).astype(int)] += strength
    return histogram


@quiz(
    because="A mirror only moves the pixels to other positions, alike for all images, and a distance is a sum over "
    "pixels: the order of its terms does not matter.",
    hints=("Section 4.4 moved the pixels to other positions too, much more wildly.",),
    A="A mirror is an orderly way of shuffling pixel positions. What did the shuffle of section 4.4 do to k-NN?",
    B="The SVM's kernel is made of distances between images. Do they change if all images are mirrored?",
    C="To both of them an image is a list of numbers. Does it matter in which order the list is written, as long as it "
    "is the same for all?",
)
def q1():
    return "D"


def _patches() -> list[tuple]:
    random = np.random.default_rng(5)
    return [
        (np.array([[9, 0, 0], [0, 5, 0], [0, 0, 0]]),),
        (np.array([[0, 0, 9], [0, 5, 0], [0, 0, 0]]),),
        (np.array([[0, 0, 0], [0, 5, 9], [0, 0, 0]]),),
        (np.array([[1, 2, 3], [8, 6, 4], [7, 6, 5]]),),
        (np.full((3, 3), 7),),
        (random.integers(0, 256, (3, 3), dtype=np.uint8),),
    ]


_CLOCKWISE = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


@function(
    inputs=_patches,
    hints=(
        "Write down the eight positions in their order, as (row, column). For each position compare with `patch[1, "
        "1]`.",
        "`patch[[0, 0, 0, 1, 2, 2, 2, 1], [0, 1, 2, 2, 2, 1, 0, 0]]` gives the eight neighbours in order. The weights "
        "are `2 ** np.arange(8)`.",
    ),
    remark="All 256 codes fit into one byte. What order you take does not matter, as long as it is always the same.",
)
def lbp_code(patch):
    neighbours = patch[[0, 0, 0, 1, 2, 2, 2, 1], [0, 1, 2, 2, 2, 1, 0, 0]]
    return int(((neighbours >= patch[1, 1]) * 2 ** np.arange(8)).sum())


def _code(patch, places=_CLOCKWISE, weights=None, brighter=np.greater_equal):
    weights = [2**place for place in range(len(places))] if weights is None else weights
    return int(sum(w for w, place in zip(weights, places, strict=True) if brighter(patch[place], patch[1, 1])))


@lbp_code.mistake("A neighbour as bright as the middle counts too: at least as bright means `>=`.")
def strictly_brighter(patch):
    return _code(patch, brighter=np.greater)


@lbp_code.mistake("You give a 1 to darker neighbours. It belongs to those that are at least as bright as the middle.")
def darker(patch):
    return _code(patch, brighter=np.less)


@lbp_code.mistake("You give a 1 to neighbours that are at most as bright as the middle: it is the other way round.")
def darker_or_equal(patch):
    return _code(patch, brighter=np.less_equal)


@lbp_code.mistake("Your weights run the wrong way: the first neighbour counts 1, the last 128.")
def weights_reversed(patch):
    return _code(patch, weights=[2**place for place in reversed(range(8))])


@lbp_code.mistake("You go round against the clock. From the upper left, the next one is the pixel above the middle.")
def against_the_clock(patch):
    return _code(patch, (_CLOCKWISE[0], *_CLOCKWISE[:0:-1]))


@lbp_code.mistake("You go row by row, as an array is written. After the upper right comes the pixel to the right.")
def row_by_row(patch):
    return _code(patch, [(r, c) for r in range(3) for c in range(3) if (r, c) != (1, 1)])


@lbp_code.mistake("Your code has nine bits: the middle is compared with itself, too. Only its neighbours count.")
def with_the_middle(patch):
    return _code(patch, [(r, c) for r in range(3) for c in range(3)])


@lbp_code.mistake("You start above the middle. The first neighbour is the upper left one.")
def starts_above(patch):
    return _code(patch, (*_CLOCKWISE[1:], _CLOCKWISE[0]))


@lbp_code.mistake("You start at the right, as scikit-image does. Here the first neighbour is the upper left one.")
def starts_right(patch):
    return _code(patch, (*_CLOCKWISE[3:], *_CLOCKWISE[:3]))


@lbp_code.mistake("You count the ones. Each neighbour has a weight of its own: 1, 2, 4, up to 128.")
def counts_ones(patch):
    return _code(patch, weights=[1] * 8)


@lbp_code.mistake("Your weights start at 2: the first neighbour counts 2 to the power of 0, which is 1.")
def weights_doubled(patch):
    return 2 * _code(patch)


@lbp_code.mistake("You return the eight bits. The task asks for one number: give them their weights and add up.")
def only_bits(patch):
    return [int(patch[place] >= patch[1, 1]) for place in _CLOCKWISE]


@lbp_code.mistake(
    "In `uint8` a difference is never negative: 3 − 5 is 254, so `neighbour - middle >= 0` is always true. Compare the "
    "two directly, or convert to int first."
)
def difference_wraps(patch):
    return _code(patch - patch[1, 1], brighter=lambda difference, _: difference >= 0)


def _neighbourhoods() -> list[tuple]:
    random = np.random.default_rng(6)
    close = np.array([[1.0], [-1.1], [1.2], [9.0]])
    line = np.array([[0.0], [1.0], [3.0], [7.0], [8.0]])
    grey = random.integers(0, 256, (30, 4), dtype=np.uint8)
    plane = np.array([[0.0, 5.0], [4.0, 4.0], [-9.0, 0.0], [9.0, 9.0], [-8.0, 8.0]])
    many = random.normal(size=(40, 5))
    return [
        (line, np.array([0, 0, 0, 1, 1]), np.array([0.9]), 1),
        (close, np.array([0, 1, 1, 0]), np.array([0.0]), 3),  # two votes beat the nearest row, also weighted ones
        (line, np.array([0, 2, 2, 1, 1]), np.array([0.3]), 3),
        (line, np.array([3, 1, 0, 1, 3]), np.array([0.4]), 2),  # a tie, and the smaller number is not the nearest
        (line, np.array([0, 0, 5, 9, 2]), np.array([7.2]), 3),  # a tie of three
        (plane, np.array([1, 0, 2, 2, 3]), np.array([0.0, 0.0]), 1),  # 5 away; the other one 8 by city blocks
        (grey, random.integers(0, 4, 30), random.integers(0, 256, 4, dtype=np.uint8), 1),
        (grey, random.integers(0, 4, 30), random.integers(0, 256, 4, dtype=np.uint8), 3),
        (many, random.integers(0, 4, 40), random.normal(size=5), 1),
        (many, random.integers(0, 4, 40), random.normal(size=5), 7),
    ]


@function(
    inputs=_neighbourhoods,
    hints=(
        "Three steps: the distance of `new` to each row, the numbers of the k smallest (`np.argsort`), and a vote.",
        "Convert to float before you subtract. `np.bincount(votes).argmax()` is the most frequent number, and the "
        "smallest of several.",
    ),
    remark="There is nothing to train: the “model” is the training set, and each prediction walks through all of it.",
)
def nearest_class(known, labels, new, k):
    difference = known.astype(float) - new.astype(float)
    distance = np.sqrt((difference**2).sum(axis=1))
    votes = labels[np.argsort(distance)[:k]]
    return int(np.bincount(votes).argmax())


def _vote(labels, distance, k):
    return int(np.bincount(np.asarray(labels)[np.argsort(distance, kind="stable")[:k]]).argmax())


def _distance(known, new):
    return ((known.astype(float) - new.astype(float)) ** 2).sum(axis=1)


@nearest_class.mistake("You subtract in `uint8`, where 10 − 12 is 254 and squares wrap too: convert to float first.")
def wraps(known, labels, new, k):
    difference = known - new
    return _vote(labels, (difference**2).sum(axis=1), k)


@nearest_class.mistake(
    "You subtract in `uint8`, where 10 − 12 is 254. `np.linalg.norm` gets the wrapped numbers: convert to float first."
)
def norm_of_wrapped(known, labels, new, k):
    return _vote(labels, np.linalg.norm(known - new, axis=1), k)


@nearest_class.mistake("Your neighbours vote with the weight 1 / distance. In this task each of the k has one vote.")
def weighted_votes(known, labels, new, k):
    distance = np.sqrt(_distance(known, new))
    nearest = np.argsort(distance)[:k]
    return int(np.bincount(np.asarray(labels)[nearest], weights=1 / distance[nearest]).argmax())


@nearest_class.mistake("You take the k rows that are farthest away: sort the distances upwards.")
def farthest(known, labels, new, k):
    return _vote(labels, -_distance(known, new), k)


@nearest_class.mistake("You look at the nearest row only. The `k` nearest have a vote.")
def only_the_nearest(known, labels, new, k):
    return _vote(labels, _distance(known, new), 1)


@nearest_class.mistake("You return the number of the nearest row. The task asks for its class: look it up in `labels`.")
def row_number(known, labels, new, k):
    return int(np.argmin(_distance(known, new)))


@nearest_class.mistake(
    "You average the classes. They are names, not amounts: between a 0 and a 2 there is no 1. Let them vote."
)
def averages(known, labels, new, k):
    return round(float(np.mean(labels[np.argsort(_distance(known, new))[:k]])))


@nearest_class.mistake(
    "You add up the differences without their squares, so that +3 and −3 cancel: square before you add."
)
def no_squares(known, labels, new, k):
    return _vote(labels, np.abs((known.astype(float) - new.astype(float)).sum(axis=1)), k)


@nearest_class.mistake("This is the distance by city blocks, a sum of absolute differences. Euclid squares them.")
def city_blocks(known, labels, new, k):
    return _vote(labels, np.abs(known.astype(float) - new.astype(float)).sum(axis=1), k)


@nearest_class.mistake(
    "Between classes with equally many votes you take the larger number; the task asks for the smaller one."
)
def larger_in_a_tie(known, labels, new, k):
    counts = np.bincount(labels[np.argsort(_distance(known, new))[:k]])
    return int(np.flatnonzero(counts == counts.max())[-1])


@nearest_class.mistake(
    "Between classes with equally many votes you take the one of the nearest row; the task asks for the smaller number."
)
def nearest_in_a_tie(known, labels, new, k):
    votes = labels[np.argsort(_distance(known, new))[:k]].tolist()
    return max(votes, key=votes.count)


@nearest_class.mistake("You ask one neighbour too many: `[:k]` takes k of them.")
def one_too_many(known, labels, new, k):
    return _vote(labels, _distance(known, new), k + 1)


@nearest_class.mistake(
    "You leave out the nearest row. That is right when a training image looks for neighbours and finds itself; a new "
    "one does not."
)
def skips_the_nearest(known, labels, new, k):
    distance = _distance(known, new)
    return _vote(labels, np.where(distance == distance.min(), np.inf, distance), k)


@quiz(
    because="Ten times as many stored images, about ten times the wait: 150 ms instead of 15.",
    hints=("What does k-NN do when it is trained, and what when it predicts?",),
    A="That is how an SVM or a network behaves, roughly. k-NN does nothing when it is trained; where is the work done?",
    C="To know which one is nearest, it has to look at all of them.",
)
def q2():
    return "B"


def _noise() -> list[tuple]:
    sets = []
    for seed, rows, columns in ((1, 60, 2000), (8, 50, 300), (3, 80, 40)):
        random = np.random.default_rng(seed)
        labels = random.permutation(np.arange(rows) % 2)
        features = random.normal(size=(rows, columns)) * random.uniform(1, 50, columns)
        features[:, :2] += labels[:, np.newaxis] * np.array([60, 1])  # two columns know something
        in_test = np.arange(rows) % 3 == 0
        features[in_test] *= random.uniform(0.2, 3, columns)  # so that the scale of all rows is not that of training
        sets.append((features, labels, in_test))
    return sets


@function(
    inputs=_noise,
    hints=(
        "Which lines of the function with the leak see rows of `in_test` before the last one?",
        "`make_pipeline` with the three steps, `fit` on the rows `~in_test`, `score` on the rows `in_test`: each step "
        "is then fitted on training rows only.",
    ),
    remark="Shorter than with the leak, and right. The pipeline also takes the three steps along to new images.",
    seconds=20.0,
)
def score(features, labels, in_test):
    from sklearn.feature_selection import SelectKBest
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), SelectKBest(k=5), KNeighborsClassifier(3))
    model.fit(features[~in_test], labels[~in_test])
    return model.score(features[in_test], labels[in_test])


def _steps():
    from sklearn.feature_selection import SelectKBest
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    return StandardScaler(), SelectKBest(k=5), KNeighborsClassifier(3)


@score.mistake("The leak is still there: scaling and choosing see the test rows, and choosing sees their labels.")
def still_leaks(features, labels, in_test):
    scale, select, model = _steps()
    chosen = select.fit_transform(scale.fit_transform(features), labels)
    return model.fit(chosen[~in_test], labels[~in_test]).score(chosen[in_test], labels[in_test])


@score.mistake("Scaling is fixed, choosing is not: it still looks at the labels of the test rows.")
def chooses_on_all(features, labels, in_test):
    scale, select, model = _steps()
    chosen = select.fit_transform(scale.fit(features[~in_test]).transform(features), labels)
    return model.fit(chosen[~in_test], labels[~in_test]).score(chosen[in_test], labels[in_test])


@score.mistake("Choosing is fixed, scaling is not: mean and standard deviation still come from all rows.")
def scales_on_all(features, labels, in_test):
    scale, select, model = _steps()
    scaled = scale.fit_transform(features)
    select.fit(scaled[~in_test], labels[~in_test])
    model.fit(select.transform(scaled[~in_test]), labels[~in_test])
    return model.score(select.transform(scaled[in_test]), labels[in_test])


@score.mistake(
    "You fit scaling and choosing a second time, on the test rows: the columns that the model gets there are not those "
    "it has learned from. The test rows are only transformed."
)
def fits_again(features, labels, in_test):
    scale, select, model = _steps()
    chosen = select.fit_transform(scale.fit_transform(features[~in_test]), labels[~in_test])
    model.fit(chosen, labels[~in_test])
    again = select.fit_transform(scale.fit_transform(features[in_test]), labels[in_test])
    return model.score(again, labels[in_test])


@score.mistake(
    "You scale the test rows by their own mean and standard deviation. They are transformed with those of the training "
    "rows."
)
def scales_the_test_rows_anew(features, labels, in_test):
    scale, select, model = _steps()
    chosen = select.fit_transform(scale.fit_transform(features[~in_test]), labels[~in_test])
    model.fit(chosen, labels[~in_test])
    return model.score(select.transform(scale.fit_transform(features[in_test])), labels[in_test])


@score.mistake("You score the rows that the model has learned from. The task asks for the score of the rows `in_test`.")
def scores_training(features, labels, in_test):
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(*_steps()).fit(features[~in_test], labels[~in_test])
    return model.score(features[~in_test], labels[~in_test])


@score.mistake("The model itself learns from all rows, those of the test included: fit it on `~in_test`.")
def learns_from_all(features, labels, in_test):
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*_steps()).fit(features, labels).score(features[in_test], labels[in_test])


@score.mistake("Training and test rows are exchanged: `in_test` marks the rows of the test, `~in_test` the others.")
def exchanged(features, labels, in_test):
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(*_steps()).fit(features[in_test], labels[in_test])
    return model.score(features[~in_test], labels[~in_test])


def _with_steps(features, labels, in_test, steps):
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(*steps).fit(features[~in_test], labels[~in_test])
    return model.score(features[in_test], labels[in_test])


@score.mistake(
    "Your k-NN has its default of 5 neighbours. The function with the leak takes 3: `KNeighborsClassifier(3)`."
)
def default_neighbours(features, labels, in_test):
    from sklearn.neighbors import KNeighborsClassifier

    return _with_steps(features, labels, in_test, (*_steps()[:2], KNeighborsClassifier()))


@score.mistake(
    "`SelectKBest()` selects 10 columns by default. The function with the leak takes five: `SelectKBest(k=5)`."
)
def default_columns(features, labels, in_test):
    from sklearn.feature_selection import SelectKBest

    scale, _, neighbours = _steps()
    return _with_steps(features, labels, in_test, (scale, SelectKBest(), neighbours))


@score.mistake(
    "This is a cross-validation over all rows. The task gives the split: train on `~in_test`, score on `in_test`."
)
def cross_validates(features, labels, in_test):
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    return cross_val_score(make_pipeline(*_steps()), features, labels).mean()


@score.mistake("You train and score on all rows. Train on `~in_test`, and score on `in_test` only.")
def all_rows(features, labels, in_test):
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*_steps()).fit(features, labels).score(features, labels)


@score.mistake(
    "The scaling is missing: the columns here have very different standard deviations, so the largest decide alone."
)
def leaves_out_scaling(features, labels, in_test):
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(*_steps()[1:]).fit(features[~in_test], labels[~in_test])
    return model.score(features[in_test], labels[in_test])


@score.mistake("The choice of five columns is missing: your k-NN listens to all of them.")
def leaves_out_choosing(features, labels, in_test):
    from sklearn.pipeline import make_pipeline

    scale, _, neighbours = _steps()
    model = make_pipeline(scale, neighbours).fit(features[~in_test], labels[~in_test])
    return model.score(features[in_test], labels[in_test])


@quiz(
    because="The row of numbers says of each cell which edges it holds. Moved by one cell, the right numbers are at "
    "the wrong positions.",
    hints=("What does the SVM get: the histograms alone, or the histograms in a fixed order of positions?",),
    A="A shift turns no edge: each keeps its direction. What changes is the cell in which it is counted.",
    C="The set of histograms hardly changes, but their positions in the row of 324 numbers do. Section 4.9 shows what "
    "shifts cost.",
)
def q3():
    return "B"
