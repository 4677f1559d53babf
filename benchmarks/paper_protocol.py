"""How good are frozen ImageNet features on the solar cells, judged as the paper judges, and judged by module?

The paper's protocol (S. Deitsch et al., Solar Energy 185, 2019): a random 75/25 split, stratified by defect
probability and type; a cell counts as defective above 0.5; here the mean over 20 such splits. It puts cells of one
solar module on both sides. The same models are therefore also judged with whole modules held out.

What was looked at, how often: depths, picture sizes, views, C and weights were chosen by cross-validation within the
training and validation sets of the course's split by module (2,012 cells, 34 modules), where about 300 combinations
were compared. The splits that give the table's numbers contain those cells too, so its choices are not wholly free of
them. This table was made twice: the first time the best model, without 160 px and VGG16, had 88.3 % at random and
81.8 % by module; after that, more was tried on the 2,012 cells and about 50 combinations by module on all cells,
none of which was chosen for it. The course's test set (10 modules) took no part in any choice; it was scored a few
times, to see why it is so much harder than the rest (whole modules get the wrong offset).

Everything is computed again: no features are kept from an earlier run.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import _report
import cv2
import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from course_utils.datasets import Cells, read_solar_cells
from course_utils.embeddings import extract_features, pooled_features_model
from course_utils.weights import imagenet_weights

BLOCKS = (6, 7, 8, 9, 10, 11, 12, 13)  # of MobileNetV2; of each we take the widened maps, `block_6_expand_relu` …
LAST = 17  # our name for `out_relu`
FINAL = "· · features weighted by their correlation"
PUBLISHED_SVM, PUBLISHED_CNN = 0.8244, 0.8842  # accuracy in the paper
C = 10  # of the SVM
UNSURE_WEIGHT = 0.3  # of a cell whose probability is 1/3 or 2/3
COLUMNS = {
    "features of a cell": "",
    "random %": ".2f",
    "± random": ".1f",
    "F1 random": ".3f",
    "by module %": ".2f",
    "± by module": ".1f",
    "F1 by module": ".3f",
    "AUC by module": ".3f",
}
QUESTION = """\
How good are frozen ImageNet features on the 2,624 solar cells? *random* is the paper's protocol: 75/25, stratified by
probability and type, defective above 0.5, mean over 20 splits. *by module* holds out whole modules, a quarter at a
time, three times over. % is accuracy; ± its standard deviation from test set to test set; F1 is that of the defective
cells."""
NOTES = (
    "Features: mean and maximum of the maps of MobileNetV2 at 224 px; depth 6 is `block_6_expand_relu`, last is "
    f"`out_relu`. Classifier: an SVM with a Gaussian kernel and C = {C} on scaled features. A row with one more dot "
    "than a row above it changes one thing in that row. *Four views*: the features are averaged over the cell as it "
    "is, turned by 180°, and mirrored at either diagonal. *Beside it*: depths 6, 10, 13 at 160 px (four flips) and "
    "VGG16's blocks 3 and 5 at 160 px. *Weighted*: each feature is multiplied by the root of its absolute correlation "
    "with the label in the training set.",
    "What was looked at: about 300 combinations were compared by cross-validation within the training and validation "
    "sets of the course's split (2,012 cells, 34 modules). Depths, views, sizes, C and weights were chosen there. The "
    "splits of this table contain those cells, so its choices are not wholly free of them. This table was made twice; "
    "the first time its best model, without 160 px and VGG16, had 88.3 % at random and 81.8 % by module.",
)


class Model(NamedTuple):
    """One row of the table: what the SVM gets and how it is trained."""

    name: str
    sources: Sequence[tuple[np.ndarray, float]]  # features (n, numbers a cell), and their share in the distance
    c: float = C
    balanced: bool = False  # weigh the classes by their frequency
    unsure: float = 1.0  # weight in training of cells of which the experts were not sure
    weighted: bool = False  # weigh each feature by its correlation with the label


class Scores(NamedTuple):
    """What one model reaches in one protocol."""

    accuracy: float
    spread: float  # standard deviation of the accuracy over the test sets
    f1: float
    auc: float


def random_splits(cells: Cells, turns: int) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Yield the paper's splits, one a turn: 75/25, stratified by probability and type."""
    kinds = [f"{kind} {probability:.2f}" for kind, probability in zip(cells.types, cells.probabilities, strict=True)]
    splitter = StratifiedShuffleSplit(turns, test_size=0.25, random_state=1)
    for train, test in splitter.split(kinds, kinds):
        yield [(train, test)]


def module_splits(cells: Cells, turns: int) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Yield splits by module: in each turn every module is held out once, a quarter of them at a time."""
    kinds = [f"{kind} {label}" for kind, label in zip(cells.types, cells.labels, strict=True)]
    for turn in range(turns):
        yield list(StratifiedGroupKFold(4, shuffle=True, random_state=turn).split(kinds, kinds, cells.groups))


def gaussian_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return exp(−|a − b|²) of all pairs of rows; scikit-learn's own takes float64 on the way and many times longer."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.exp(-np.maximum(squares, 0))


def decisions(model: Model, cells: Cells, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Train on some cells and return the SVM's decision for others: above 0 means defective.

    Scales and weights of features come from `train` only. With one source the kernel is that of ``gamma="scale"``.
    """
    inside, outside = [], []
    for features, share in model.sources:
        scaler = StandardScaler().fit(features[train])
        factor = np.float32(np.sqrt(share / features.shape[1]))
        inside.append(scaler.transform(features[train]) * factor)
        outside.append(scaler.transform(features[test]) * factor)
    inside, outside, labels = np.concatenate(inside, axis=1), np.concatenate(outside, axis=1), cells.labels[train]
    if model.weighted:
        spread = inside.std(axis=0)
        target = ((labels - labels.mean()) / labels.std()).astype(np.float32)
        correlation = np.abs(target @ inside) / (len(labels) * np.maximum(spread, 1e-9))
        weights = np.sqrt(correlation)
        weights *= np.sqrt((spread**2).sum() / ((weights * spread) ** 2).sum())  # the mean distance stays
        inside, outside = inside * weights, outside * weights
    unsure = (cells.probabilities[train] > 0.1) & (cells.probabilities[train] < 0.9)
    svm = SVC(C=model.c, kernel="precomputed", class_weight="balanced" if model.balanced else None)
    svm.fit(gaussian_kernel(inside, inside), labels, sample_weight=np.where(unsure, model.unsure, 1.0))
    return svm.decision_function(gaussian_kernel(outside, inside))


def judge(model: Model, cells: Cells, splits: Sequence[list[tuple[np.ndarray, np.ndarray]]]) -> Scores:
    """Return the mean scores of a model over all splits."""
    tasks = [split for turn in splits for split in turn]
    # libsvm uses one core and lets go of Python's lock: two trainings at a time.
    found = Parallel(n_jobs=2, prefer="threads")(delayed(decisions)(model, cells, *split) for split in tasks)
    labels = [cells.labels[test] for _, test in tasks]
    accuracies = [accuracy_score(truth, decision > 0) for truth, decision in zip(labels, found, strict=True)]
    aucs = [roc_auc_score(truth, decision) for truth, decision in zip(labels, found, strict=True)]
    size = len(splits[0])  # test sets a turn: F1 counts all modules of a turn together
    f1s = [
        f1_score(np.concatenate(labels[i : i + size]), np.concatenate(found[i : i + size]) > 0)
        for i in range(0, len(tasks), size)
    ]
    return Scores(np.mean(accuracies), np.std(accuracies), np.mean(f1s), np.mean(aucs))


def evened(images: np.ndarray) -> np.ndarray:
    """Return the pictures with their contrast spread evenly in each of 4 × 4 fields (CLAHE)."""
    clahe = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4))
    return np.stack([clahe.apply(image) for image in images])


def pooled(network: str, layers: Sequence[str], images: np.ndarray) -> list[np.ndarray]:
    """Return mean and maximum of all maps of a frozen network at each depth, as a list of (n, 2 × channels)."""
    import keras

    build, module = {
        "mobilenet_v2": (keras.applications.MobileNetV2, keras.applications.mobilenet_v2),
        "vgg16": (keras.applications.VGG16, keras.applications.vgg16),
    }[network]
    base = build(weights=imagenet_weights(network), include_top=False, input_shape=(*images.shape[1:3], 3))
    return extract_features(pooled_features_model(base, layers), images, module.preprocess_input)


def models(cells: Cells, small: np.ndarray) -> list[Model]:
    """Compute all features and return the rows of the table, from what is usual to what is best.

    `small` are the same cells for VGG16, which takes six times as long for a picture of the same size.
    """
    images = cells.images
    turned = images[:, ::-1, ::-1]
    all_views = [images, turned, images.transpose(0, 2, 1), turned.transpose(0, 2, 1), evened(images)]
    layers = [*(f"block_{block}_expand_relu" for block in BLOCKS), "out_relu"]
    stacks = pooled("mobilenet_v2", layers, np.concatenate(all_views))
    maps = {depth: stack.reshape(5, len(images), -1) for depth, stack in zip((*BLOCKS, LAST), stacks, strict=True)}

    def of(depths: Sequence[int], views: Sequence[int]) -> list[tuple[np.ndarray, float]]:
        """Return several depths side by side, averaged over some of the five views, as the one source of a model."""
        return [(np.concatenate([maps[depth][views].mean(axis=0) for depth in depths], axis=1), 1.0)]

    middle, one, two, four = (6, 10, 13), [0], [0, 1], [0, 1, 2, 3]
    flips = np.concatenate([small, small[:, ::-1, ::-1], small[:, :, ::-1], small[:, ::-1]])
    stacks = pooled("mobilenet_v2", [f"block_{block}_expand_relu" for block in middle], flips)
    at_160 = np.concatenate([stack.reshape(4, len(small), -1).mean(axis=0) for stack in stacks], axis=1)
    vgg16 = pooled("vgg16", ("block3_conv3", "block5_conv3"), small)
    three, eight = of(middle, four), of(BLOCKS, four)
    together = [(eight[0][0], 0.4), (at_160, 0.2), (vgg16[0], 0.2), (vgg16[1], 0.2)]
    return [
        Model("last layer", of((LAST,), one)),
        Model("depths 6, 13, last", of((6, 13, LAST), one)),
        Model("depths 6, 10, 13", of(middle, one)),
        Model("· C = 1, the default", of(middle, one), c=1),
        Model("· contrast evened in each cell (CLAHE)", of(middle, [4])),
        Model("· two views: and turned by 180°", of(middle, two)),
        Model("· four views", three),
        Model("· · classes balanced", three, balanced=True),
        Model("· · unsure cells weigh 0.3", three, unsure=UNSURE_WEIGHT),
        Model("depths 6 to 13, four views, unsure cells weigh 0.3", eight, unsure=UNSURE_WEIGHT),
        Model("· 160 px and VGG16 beside it", together, unsure=UNSURE_WEIGHT),
        Model(FINAL, together, unsure=UNSURE_WEIGHT, weighted=True),
    ]


def row(name: str, random: Sequence[float], by_module: Sequence[float] = ()) -> dict[str, str | float]:
    """Return a row of the table; what a model has no scores for stays empty."""
    first, *heads = COLUMNS
    scores = [*zip(heads[:3], random, strict=False), *zip(heads[3:], by_module, strict=False)]
    return {first: name} | {head: float(value * (100 if "%" in head or "±" in head else 1)) for head, value in scores}


def on_test_part(model: Model, cells: Cells) -> str:
    """Return a sentence on the course's test set, for a model trained on all other cells."""
    in_test = np.char.startswith(cells.files, "test/")
    labels, groups = cells.labels[in_test], cells.groups[in_test]
    decision = decisions(model, cells, np.flatnonzero(~in_test), np.flatnonzero(in_test))
    modules = [groups == group for group in np.unique(groups)]
    right = [((decision > 0) == labels)[module] for module in modules]
    rng = np.random.default_rng(0)
    drawn = [np.concatenate([right[i] for i in rng.integers(0, len(right), len(right))]).mean() for _ in range(2000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    shares = [((decision[module] > 0).mean(), labels[module].mean()) for module in modules]
    said, true = max(shares, key=lambda pair: abs(pair[0] - pair[1]))
    return (
        f"The course's test set ({len(modules)} modules), by the model of the last row trained on all other cells: "
        f"accuracy {np.concatenate(right).mean():.1%} (95 % interval over its modules {low:.0%} to {high:.0%}), F1 "
        f"{f1_score(labels, decision > 0):.3f}, AUC {roc_auc_score(labels, decision):.3f}. What goes wrong is whole "
        f"modules: in the worst, {said:.0%} of the cells are called defective where {true:.0%} are."
    )


def measure(quick: bool) -> _report.Result:
    """Judge all models in both protocols."""
    size, small, turns, repeats = (64, 32, 2, 1) if quick else (224, 160, 20, 3)
    start = time.perf_counter()
    cells, photos = read_solar_cells("all", size), read_solar_cells("all", small)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["COURSE_CACHE"] = cache  # nothing from an earlier run
        rows = models(cells, photos.images)
    seconds_features = time.perf_counter() - start

    random, by_module = list(random_splits(cells, turns)), list(module_splits(cells, repeats))
    scores = {model.name: (judge(model, cells, random), judge(model, cells, by_module)) for model in rows}
    without_looking = [1 - cells.labels.mean(), 0, 0]
    table = [
        row("paper: hand-made features, SVM", [PUBLISHED_SVM]),
        row("paper: fine-tuned CNN", [PUBLISHED_CNN]),
        row("none: no cell is defective", without_looking, without_looking),
        *(row(name, *both) for name, both in scores.items()),
    ]
    final = next(model for model in rows if model.name == FINAL)
    test_part = on_test_part(final, cells)
    seconds = time.perf_counter() - start
    best_accuracy = max(by_module.accuracy for _, by_module in scores.values())
    best_f1 = max(by_module.f1 for _, by_module in scores.values())
    reached = best_accuracy >= 0.84 and best_f1 >= 0.72
    beats_paper = scores[FINAL][0].accuracy > PUBLISHED_CNN
    checks = [
        (f"In the paper's protocol the last row is above the paper's {PUBLISHED_CNN:.2%}", bool(beats_paper)),
        ("The whole run takes less than 10 minutes", seconds < 600),
    ]
    notes = [
        *NOTES,
        f"By module the aim was 84 % and an F1 of 0.72. It is {'reached' if reached else 'not reached'}: the best rows "
        f"have {best_accuracy:.1%} and {best_f1:.3f}. ± by module says how much it matters which modules are held out.",
        test_part,
        f"Features took {seconds_features:.0f} s; {len(rows)} models, trained {len(random)} + {4 * len(by_module)} "
        f"times each, {seconds - seconds_features:.0f} s.",
    ]
    return _report.Result("The paper's protocol, and the same by module", QUESTION, COLUMNS, table, checks, notes)


if __name__ == "__main__":
    sys.exit(_report.main(__file__, measure))
