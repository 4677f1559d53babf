"""One HTML file that tells others what a classifier can do: images inside, no network, no program needed."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import jinja2
import numpy as np
from sklearn.metrics import confusion_matrix

from course_utils.audit import SIGNS, Audit
from course_utils.evaluation import bootstrap_interval
from course_utils.images import data_uri

MOST_BYTES = 2_000_000  # what mail and chat programs pass on without complaint

_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_MOST_CLASSES = 20  # of a confusion matrix that a person can read
_MOST_CARDS = 12
_SIDE = 160  # pixels of an image in the report
_CROPPED = 0.9  # an image of which less is left counts as cropped


def write_report(
    path: str | Path,
    *,
    title: str,
    class_names: Sequence[str],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    files: Sequence[str] | None = None,
    sources: np.ndarray | None = None,
    min_confidence: float = 0.0,
    notes: Mapping[str, str] | None = None,
    audit: Audit | None = None,
) -> Path:
    """Write a report on a classifier as one HTML file that opens anywhere, without a network, and return the file.

    It shows the date, the accuracy with an interval beside that of always predicting the commonest class, what a
    threshold does, the notes, a confusion matrix, the worst mistakes (or, if there are none, the least confident
    predictions), examples of each class, what was cropped, and what the audit found. An older file is replaced.

    Parameters
    ----------
    class_names : sequence of str
        In the order of the probabilities.
    images : ndarray
        The test set: uint8 (n, H, W, 3) or (n, H, W), 0…255.
    labels, probabilities : ndarray
        The true classes, int (n,), and what the classifier predicted, (n, classes).
    files : sequence of str, optional
        n names to put below the images.
    sources : ndarray, optional
        (n,) the source of each image: the interval then resamples sources, and counts them if nothing is wrong.
    min_confidence : float
        The threshold: images whose highest probability is lower are passed on to a person. 0: there is none.
    notes : mapping of str to str, optional
        What only you know, such as ``{"for": "…", "model": "…", "split": "…", "limits": "…"}``.

    Raises
    ------
    ValueError
        If there is no image, the arguments do not fit together, or the file would be larger than `MOST_BYTES`.
    """
    path = Path(path).expanduser()
    images, labels, probabilities = np.asarray(images), np.asarray(labels), np.asarray(probabilities)
    names = list(class_names)
    files = [f"image {number + 1}" for number in range(len(images))] if files is None else list(map(str, files))
    _check(names, images, labels, probabilities, files, sources, min_confidence)
    predictions = probabilities.argmax(axis=1)
    right = predictions == labels
    accepted = probabilities.max(axis=1) >= min_confidence
    commonest = int(np.bincount(labels if audit is None else audit.labels).argmax())
    matrix = confusion_matrix(labels, predictions, labels=range(len(names)))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        today=f"{date.today().day} {date.today():%B %Y}",
        right=right,
        interval=_interval(right, sources),
        resampled=sources is not None and len(np.unique(sources)) < len(right),
        commonest=names[commonest],
        by_rule=int(np.sum(labels == commonest)),
        threshold=min_confidence,
        accepted=accepted,
        cropped=_cropped(images, audit),
        notes=notes,
        audit=audit,
        signs=SIGNS,
        names=names,
        images=images,
        labels=labels,
        files=files,
        predictions=predictions,
        probabilities=probabilities,
        matrix=matrix.tolist(),
        confusions=_confusions(names, matrix) if len(names) > _MOST_CLASSES else None,
        mistakes=int(np.sum(~right)),
        shown=_worst(labels, predictions, probabilities),
        examples=_examples(labels, len(names)),
        data_uri=lambda image: data_uri(image, _SIDE),
    )
    content = text.encode("utf-8", errors="replace")  # a name may hold bytes that are no text
    if len(content) > MOST_BYTES:
        raise ValueError(
            f"The report would have {len(content) / 1e6:.1f} MB, more than the {MOST_BYTES / 1e6:g} MB that are easily "
            "sent around: shorten title and notes."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.part")
    work.write_bytes(content)
    work.replace(path)  # an older report is replaced whole or not at all
    return path


def _check(
    names: list[str],
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    files: list[str],
    sources: np.ndarray | None,
    threshold: float,
) -> None:
    got = f"write_report got images of shape {images.shape} and type {images.dtype}"
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise ValueError(f"{got}: pass at least one, as uint8 (n, height, width, 3) or (n, height, width) in 0…255.")
    if labels.shape != (len(images),) or len(files) != len(images) or probabilities.shape != (len(images), len(names)):
        raise ValueError(
            f"{got}, labels of shape {labels.shape}, {len(files)} file names and "
            f"{probabilities.shape} probabilities for {len(names)} classes: pass one label, one name and one row of "
            "probabilities per image, with one column per class."
        )
    if not 0 <= threshold <= 1:  # neither is NaN
        raise ValueError(f"min_confidence is {threshold:g}: it must be a probability, from 0 to 1.")
    if sources is not None and np.shape(sources) != labels.shape:
        raise ValueError(
            f"There are {len(images)} images, but sources of shape {np.shape(sources)}: pass one for each."
        )
    if not np.isin(labels, range(len(names))).all():
        raise ValueError(f"A label is not among 0 … {len(names) - 1}, which have names: pass indices into class_names.")


def _interval(right: np.ndarray, sources: np.ndarray | None) -> tuple[float, float]:
    """Return the 95 % interval of the accuracy; without a mistake, or without a hit, from the number of sources."""
    groups = np.arange(len(right)) if sources is None else np.asarray(sources)
    edge = 0.05 ** (1 / len(np.unique(groups)))
    if right.all() or not right.any():  # a resample cannot hold what is not there
        return (edge, 1.0) if right.all() else (0.0, 1 - edge)
    return bootstrap_interval(np.mean, right, groups=groups)


def _cropped(images: np.ndarray, audit: Audit | None) -> int | None:
    """Return how many images of the folder lose more than a tenth where they are cropped to the shape of `images`."""
    if audit is None:
        return None
    ratios = audit.sizes[:, 1] / audit.sizes[:, 0] * images.shape[1] / images.shape[2]
    return int(np.sum(np.minimum(ratios, 1 / ratios) < _CROPPED))


def _confusions(names: list[str], matrix: np.ndarray) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions: true class, predicted class and count."""
    pairs = sorted(((matrix[t, p], t, p) for t, p in np.argwhere(matrix) if t != p), reverse=True)
    return [(names[truth], names[prediction], int(count)) for count, truth, prediction in pairs[:15]]


def _worst(labels: np.ndarray, predictions: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the rows of the worst mistakes, or of the least confident predictions if none is wrong."""
    of_the_truth = probabilities[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(predictions != labels)
    if wrong.size:
        return wrong[np.argsort(of_the_truth[wrong], kind="stable")][:_MOST_CARDS]
    return np.argsort(of_the_truth, kind="stable")[: _MOST_CARDS // 2]


def _examples(labels: np.ndarray, classes: int) -> list[int]:
    """Return rows from all over each class, at most four per class."""
    per_class = max(1, 2 * _MOST_CARDS // classes)
    chosen = []
    for label in range(min(classes, 2 * _MOST_CARDS)):
        rows = np.flatnonzero(labels == label)
        chosen += rows[:: max(1, len(rows) // per_class)][: min(per_class, 4)].tolist()
    return chosen
