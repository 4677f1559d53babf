"""Look at a folder of images before you train on it: damaged files, duplicates, class sizes, shortcuts."""

import hashlib
import io
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import ExifTags, Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from course_utils.folders import ORDER, counted, list_class_folders
from course_utils.images import ImageError, decode_image
from course_utils.live import LiveLine

NEAR_BITS = 8  # of the 64 bits of two hashes, so many may differ in near duplicates
NEAR_CORRELATION = 0.98  # and their thumbnails must correlate at least so well, because hashes are coarse
CHAINED = 0.05  # if near duplicates connect a larger fraction of all images, it is the kind of image that looks alike
FEW_SOURCES = 5  # a class with fewer cannot be in training, validation and test set
FEW_IMAGES = 20  # a class with fewer can neither be learned nor tested
IMBALANCE = 3  # the largest class may be so many times as large as the smallest
SMALL_PIXELS = 64  # an image with a shorter side has little to say to a network
LONG_SIDES = 3  # an image longer than that loses most of itself in a centre crop
PLAIN_STD = 2.0  # grey levels; below that an image shows nothing, and all hashes of nothing are alike
SHORTCUT = 0.25  # so much better than always predicting the largest class must size and format not be

_KERAS_READS = {"JPEG", "PNG", "GIF", "BMP"}
_THUMBNAIL = 32  # pixels, what imagehash shrinks an image to
_BLOCK = 256  # images that are compared at once, for the sake of memory
_INVERSE = [0, 3, 2, 1, 4, 5, 6, 7]  # which of the poses undoes each: mirrored ones undo themselves
SIGNS = {"error": "✘", "warning": "!", "info": "·"}  # level of a finding → how it is marked


class Finding(NamedTuple):
    """One problem that the audit found."""

    level: str  # "error": it breaks the training or falsifies the score; "warning": look at it; "info"
    message: str
    advice: str  # what to do
    files: tuple[str, ...]  # concerned files, relative to the folder, with / between


class Audit(NamedTuple):
    """What `audit_folder` found; ``print(audit)`` puts it into words.

    n is the number of images that can be read, in the order of `course_utils.folders.from_folder`.
    """

    folder: Path
    class_names: list[str]
    names: list[str]  # n, relative to the folder, with / between
    labels: np.ndarray  # int64 (n,), index into class_names
    sizes: np.ndarray  # int64 (n, 2), height and width, upright
    unreadable: list[tuple[str, str]]  # name and reason
    duplicates: list[tuple[int, ...]]  # images whose files are equal byte by byte, two or more each
    near_duplicates: list[tuple[int, int]]  # pairs that look alike without being equal, also mirrored or rotated
    groups: np.ndarray  # int64 (n,), 0, 1, …: equal for images that duplicates and near duplicates connect
    findings: list[Finding]  # the worst first
    sets: np.ndarray  # str (n,): "train", "validation", "test", or "" if the folder is not divided into sets

    def __str__(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        sizes = " · ".join(f"{name} {count}" for name, count in zip(self.class_names, counts, strict=True))
        lines = [f"{_many(len(self.names), 'image')} in {_many(len(counts), 'class')}: {sizes}"]
        if parts := [f"{name} {np.sum(self.sets == name)}" for name in ORDER if name in self.sets]:
            lines.append(f"divided into sets: {' · '.join(parts)}")
        for finding in self.findings:
            lines += [f"{SIGNS[finding.level]} {finding.message}", f"    → {finding.advice}"]
        return "\n".join(lines if self.findings else [*lines, "✔ nothing to fix"])


def audit_folder(path: str | Path) -> Audit:
    """Look for what would break or falsify a training on a folder with one sub-folder per class; nothing is changed.

    In a folder divided into sets (``train/cat``, ``val/cat`` …) it also looks for images that lie in two of them. It
    does not find two photos of the same thing taken a second apart: nobody can from their pixels. `sources` takes a
    rule that does. Raises ValueError as `course_utils.folders.list_class_folders` does.

    Near duplicates differ in at most `NEAR_BITS` bits of their perceptual hashes (``imagehash.phash``), in one of the
    eight ways to mirror and rotate an image, and their thumbnails correlate by at least `NEAR_CORRELATION`.
    """
    folders = list_class_folders(path)
    line = LiveLine(f"audit of {_many(len(folders.files), 'file')}")
    every_name = [file.relative_to(folders.root).as_posix() for file in folders.files]
    looked = _inspect_all(folders.root, folders.files, line)
    unreadable = [(name, reason) for name, reason in zip(every_name, looked, strict=True) if isinstance(reason, str)]
    readable = [number for number, image in enumerate(looked) if not isinstance(image, str)]
    names, images = [every_name[n] for n in readable], [looked[n] for n in readable]
    labels = np.array([folders.labels[n] for n in readable], np.int64)
    sets = np.array([folders.sets[n] for n in readable], str)
    duplicates = _equal_files(images)
    near, posed = _near_duplicates(images, duplicates, line)
    groups = _connected(len(names), [*_pairs(duplicates), *near])
    findings = [
        *_unreadable_files(unreadable),
        *_unequal_sets(folders.unequal),
        *_equal(names, labels, sets, duplicates),
        *_alike(names, labels, sets, near, posed),
        *_chained(groups),
        *_class_sizes(folders.class_names, labels),
        *_single_images(names, images),
        *_shortcut(labels, images),
        *_ignored_files(names, images, [file.relative_to(folders.root).as_posix() for file in folders.outside]),
    ]
    return Audit(
        folder=folders.root,
        class_names=folders.class_names,
        names=names,
        labels=labels,
        sizes=np.array([image.size for image in images], np.int64).reshape(-1, 2),
        unreadable=unreadable,
        duplicates=duplicates,
        near_duplicates=near,
        groups=groups,
        findings=sorted(findings, key=lambda finding: list(SIGNS).index(finding.level)),
        sets=sets,
    )


def sources(audit: Audit, rule: Callable[[Path], str] | None = None, near_duplicates: bool = True) -> np.ndarray:
    """Return which images must stay together in a split, int64 (n,): `groups` for a splitter of scikit-learn.

    If A looks like B, and the rule says that B was taken with C, all three are one source.

    Parameters
    ----------
    rule : callable, optional
        Turns the path of an image relative to the folder into the name of its source, such as
        ``path.stem.rpartition("_")[0]``. Images of two classes may share a source. ValueError if it fails for a file,
        which is then named, or gives one source for all.
    near_duplicates : bool
        Whether near duplicates are joined. False if nearly all images look alike, as X-rays do: then only equal files
        are, and the rule has to know the rest.
    """
    pairs = _pairs(audit.duplicates)
    if near_duplicates:
        pairs += audit.near_duplicates
    if rule is not None:
        first: dict[str, int] = {}
        for number, name in enumerate(audit.names):
            try:
                pairs.append((first.setdefault(rule(Path(name)), number), number))
            except Exception as error:  # whatever the learner's rule may raise
                why = f"{type(error).__name__}: {error}"
                raise ValueError(f"The rule fails for “{name}” ({why}): rename the file or change the rule.") from error
        if len(first) == 1 < len(audit.names):
            one, advice = f"the same source, {next(iter(first))!r}", "try it on two names that should differ"
            raise ValueError(
                f"The rule gives all {len(audit.names):,} images {one}, so nothing can be split: {advice}."
            )
    return _connected(len(audit.names), pairs)


def split_by_source(audit: Audit, source: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of the training, validation and test set, each int (k,); no source is in two of them.

    Sets that the folder is divided into stay as they are. Test or validation set, where missing, are a fifth each of
    the images, taken out of the training set by ``StratifiedGroupKFold``. `source` (n,) is what `sources` returns.
    ValueError names a source that lies in two sets, or a class with too few sources for all three.
    """
    rows = {part: np.flatnonzero(audit.sets == part) for part in ORDER}
    rows["train"] = np.flatnonzero(~np.isin(audit.sets, ORDER[1:]))
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if shared := set(source[rows[one]]) & set(source[rows[other]]):
            names = [next(audit.names[n] for n in rows[part] if source[n] in shared) for part in (one, other)]
            what = f"The {one} set and the {other} set share {_many(len(shared), 'source')}"
            raise ValueError(f"{what}, such as those of “{names[0]}” and “{names[1]}”: move or delete one side.")
    missing = [part for part in ("test", "validation") if not len(rows[part])]
    for label, name in enumerate(audit.class_names):
        have = len(np.unique(source[rows["train"]][audit.labels[rows["train"]] == label]))
        if missing and have < FEW_SOURCES:
            raise ValueError(
                f"The class “{name}” has {_many(have, 'source')}, too few to split: it needs {FEW_SOURCES} or more, so "
                "collect some, or leave the class out."
            )
    if missing:
        train = rows["train"]
        folds = StratifiedGroupKFold(FEW_SOURCES, shuffle=True, random_state=seed)
        fifths = [held for _, held in folds.split(train, audit.labels[train], source[train])]
        rows |= {part: train[fifths.pop(0)] for part in missing}
        rows["train"] = train[np.sort(np.concatenate(fifths))]
    for part, label in ((part, label) for part in ORDER for label in range(len(audit.class_names))):
        if label not in audit.labels[rows[part]]:
            raise ValueError(
                f"The class “{audit.class_names[label]}” has no image in the {part} set: collect more sources."
            )
    return rows["train"], rows["validation"], rows["test"]


# --- inspecting one file


class _Inspected(NamedTuple):
    digest: bytes
    format: str
    turned: bool  # only its EXIF orientation makes it stand upright
    size: tuple[int, int]  # height, width, upright
    thumbnail: np.ndarray  # uint8 (32, 32)
    hashes: np.ndarray  # uint64 (8,), of the thumbnail in its eight poses, the first as it is


def _poses(squares: np.ndarray) -> list[np.ndarray]:
    """Return the eight ways to mirror square images (…, side, side) and rotate them, the first as it is."""
    return [np.rot90(side, quarter, axes=(-2, -1)) for side in (squares, squares[..., ::-1]) for quarter in range(4)]


def _inspect(root: Path, file: Path) -> _Inspected | str:
    """Return what the audit needs to know of an image, or why it cannot be read."""
    name = file.relative_to(root).as_posix()
    try:
        data = file.read_bytes()
        pixels = decode_image(io.BytesIO(data), name)
    except OSError as error:
        return f"“{name}” cannot be opened ({error.strerror}): check its permissions."
    except ImageError as error:
        return str(error)
    with Image.open(io.BytesIO(data)) as header:
        kind = "JPEG" if header.format == "MPO" else header.format
        turned = False
        with suppress(Exception):  # unreadable metadata, which `decode_image` ignores as well
            turned = header.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    grey = Image.fromarray(pixels).convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    thumbnail = np.asarray(grey)
    bits = [str(imagehash.phash(Image.fromarray(pose))) for pose in _poses(thumbnail)]
    hashes = np.array([int(text, 16) for text in bits], np.uint64)
    return _Inspected(hashlib.sha256(data).digest(), kind, turned, pixels.shape[:2], thumbnail, hashes)


def _inspect_all(root: Path, files: Sequence[Path], line: LiveLine) -> list[_Inspected | str]:
    # Warning filters belong to all threads together: `decode_image` in one could put them back too early for another.
    # A photo of the largest size takes 0.7 GB while it is decoded: four at a time.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(max_workers=4) as pool:
        return list(counted(pool.map(lambda file: _inspect(root, file), files), line))


# --- duplicates


def _equal_files(images: Sequence[_Inspected]) -> list[tuple[int, ...]]:
    same = defaultdict(list)
    for number, image in enumerate(images):
        same[image.digest].append(number)
    return [tuple(group) for group in same.values() if len(group) > 1]


def _near_duplicates(
    images: Sequence[_Inspected], duplicates: Sequence[tuple[int, ...]], line: LiveLine
) -> tuple[list[tuple[int, int]], set[tuple[int, int]]]:
    """Return the pairs that look alike, one image standing for all its copies, and which are in another pose."""
    copies = {other for group in duplicates for other in group[1:]}
    plain = {number for number, image in enumerate(images) if image.thumbnail.std() < PLAIN_STD}
    asked = np.array([number for number in range(len(images)) if number not in copies | plain], int)
    if not asked.size:
        return [], set()
    hashes = np.stack([images[n].hashes for n in asked])
    faces = np.stack([_standardised(images[n].thumbnail) for n in asked])
    pairs, posed = [], set()
    for start in range(0, len(asked), _BLOCK):
        line.update(f"{start:,} compared")
        # A block of rows against all that come after, in the eight poses of those: bool (8, rows, others).
        rows = slice(start, start + _BLOCK)
        apart = np.stack([np.bitwise_count(hashes[rows, :1] ^ hashes[start:, pose]) for pose in range(8)])
        close = np.triu(apart <= NEAR_BITS, k=1)
        others = np.flatnonzero(close.any(axis=(0, 1)))
        # Turning the rows back is the same as turning the others, and takes less memory.
        turned_back = np.stack(_poses(faces[rows]))[_INVERSE].reshape(*close.shape[:2], -1)
        alike = turned_back @ faces[start + others].reshape(len(others), _THUMBNAIL**2).T
        alike = np.where(close[:, :, others], alike, -1)
        for row, other in np.argwhere(alike.max(axis=0) >= NEAR_CORRELATION):
            pairs.append((int(asked[start + row]), int(asked[start + others[other]])))
            if alike[:, row, other].argmax() > 0:
                posed.add(pairs[-1])
    line.rest()
    return pairs, posed


def _standardised(thumbnail: np.ndarray) -> np.ndarray:
    """Return a thumbnail with the mean 0 and the length 1: the dot product of two such is their correlation."""
    centred = thumbnail - thumbnail.mean()
    return (centred / np.linalg.norm(centred)).astype(np.float32)


def _pairs(groups: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    return [(group[0], other) for group in groups for other in group[1:]]


def _connected(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Number the groups of 0 … count − 1 that pairs connect, in the order of their first members."""
    left, right = np.array(pairs, int).reshape(-1, 2).T
    links = coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)


# --- findings


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "es" if what.endswith("s") else "s")


def _listed(names: Sequence[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _unreadable_files(unreadable: Sequence[tuple[str, str]]) -> list[Finding]:
    if not unreadable:
        return []
    # “brick/x.jpg” is empty (0 bytes): copy it again. → brick/x.jpg is empty (0 bytes)
    reasons = [reason.replace(f"“{name}”", name).partition(": ")[0].rstrip(".") for name, reason in unreadable]
    message = f"{_many(len(reasons), 'file')} cannot be read: {_listed(reasons)}"
    advice = "get the image itself or delete the file: Keras would stop in the middle of the training"
    return [Finding("error", message, advice, tuple(name for name, _ in unreadable))]


def _unequal_sets(unequal: Sequence[str]) -> list[Finding]:
    advice = "rename or add the folder: sets must have the same classes"
    return [Finding("error", sentence, advice, ()) for sentence in unequal]


def _across(
    labels: np.ndarray, sets: np.ndarray, groups: Sequence[tuple[int, ...]], kind: str
) -> list[tuple[int, ...]]:
    """Return the groups that lie across two classes, those across two sets of one class, or the others."""

    def kind_of(group: tuple[int, ...]) -> str:
        return next((k for k, of in (("classes", labels), ("sets", sets)) if len(set(of[list(group)])) > 1), "")

    return [group for group in groups if kind_of(group) == kind]


def _equal(
    names: Sequence[str], labels: np.ndarray, sets: np.ndarray, duplicates: Sequence[tuple[int, ...]]
) -> list[Finding]:
    findings = []
    for kind, where, advice in (
        ("classes", "in two classes", "decide which label is right and delete the others"),
        ("sets", "in two sets", "keep one: the score would ask for what was learned"),
        ("", "more than once", "keep one: copies on both sides of a split give the label away"),
    ):
        if groups := _across(labels, sets, duplicates, kind):
            text = _listed([" = ".join(names[n] for n in group) for group in groups])
            message = f"{_many(len(groups), 'image')} occur{'s' if len(groups) == 1 else ''} {where}: {text}"
            findings.append(Finding("error", message, advice, tuple(names[n] for group in groups for n in group)))
    return findings


def _alike(
    names: Sequence[str],
    labels: np.ndarray,
    sets: np.ndarray,
    near: Sequence[tuple[int, int]],
    posed: set[tuple[int, int]],
) -> list[Finding]:
    findings = []
    for kind, where, advice in (
        ("classes", " in two classes", "look at them: if they are one image, decide which label is right"),
        ("sets", " in two sets", "look at them: if they are one image, the score would ask for what was learned"),
        ("", "", "look at them: keep one, or keep them on one side of the split"),
    ):
        if pairs := _across(labels, sets, near, kind):
            turned = len(posed.intersection(pairs))
            more = f" ({turned} mirrored or rotated)" if turned else ""
            text = _listed([f"{names[one]} ≈ {names[other]}" for one, other in pairs])
            message = f"{_many(len(pairs), 'pair')} look{'s' if len(pairs) == 1 else ''} alike{where}{more}: {text}"
            concerned = tuple(dict.fromkeys(names[n] for pair in pairs for n in pair))
            findings.append(Finding("warning", message, advice, concerned))
    return findings


def _chained(groups: np.ndarray) -> list[Finding]:
    largest = int(np.bincount(groups).max(initial=0))
    if largest < FEW_IMAGES or largest <= CHAINED * len(groups):
        return []
    message = f"near duplicates connect {largest:,} images, one by one, to one group"
    advice = "if all images of this kind look alike, split by a rule and with near_duplicates=False"
    return [Finding("warning", message, advice, ())]


def _class_sizes(class_names: Sequence[str], labels: np.ndarray) -> list[Finding]:
    counts = np.bincount(labels, minlength=len(class_names))
    findings = []
    few = [f"{name} ({count})" for name, count in zip(class_names, counts, strict=True) if count < FEW_IMAGES]
    if few:
        have = f"{_many(len(few), 'class')} {'has' if len(few) == 1 else 'have'} fewer than {FEW_IMAGES} images"
        advice = "collect more, merge it with another class, or leave it out: it can be neither learned nor tested"
        findings.append(Finding("error", f"{have}: {', '.join(few)}", advice, ()))
    enough = counts[counts >= FEW_IMAGES]
    if enough.size and enough.max() > IMBALANCE * enough.min():
        largest, smallest = class_names[int(counts.argmax())], class_names[list(counts).index(enough.min())]
        message = f"“{largest}” has {counts.max() / enough.min():.1f} times as many images as “{smallest}”"
        advice = "collect more of the small one, weight the classes, and do not judge by accuracy alone"
        findings.append(Finding("warning", message, advice, ()))
    return findings


def _single_images(names: Sequence[str], images: Sequence[_Inspected]) -> list[Finding]:
    """Return what is to be said of images one by one."""
    short, long = (np.array([side(image.size) for image in images]) for side in (min, max))
    tests = {  # what is wrong → with which images, and what to do
        "upright only by {its} EXIF orientation": (
            np.array([image.turned for image in images]),
            "rotate {it} and save {it}: most readers ignore the orientation and see {it} lying on {its} side",
        ),
        "of one colour": (
            np.array([image.thumbnail.std() < PLAIN_STD for image in images]),
            "look at {it}: a lens cap, an empty scan?",
        ),
        f"shorter than {SMALL_PIXELS} pixels on a side": (
            short < SMALL_PIXELS,
            "look at {it}: thumbnails and icons carry little, and enlarging adds nothing",
        ),
        f"over {LONG_SIDES} times as long as wide": (
            long > LONG_SIDES * short,
            "crop {it} to what matters: a centre crop would cut off most of {it}",
        ),
    }
    findings = []
    for problem, (mask, advice) in tests.items():
        concerned = tuple(names[n] for n in np.flatnonzero(mask))
        if concerned:
            one = len(concerned) == 1
            words = {"it": "it" if one else "them", "its": "its" if one else "their"}
            message = f"{_many(len(concerned), 'image')} {'is' if one else 'are'} {problem.format(**words)}"
            findings.append(Finding("warning", f"{message}: {_listed(concerned)}", advice.format(**words), concerned))
    return findings


def _shortcut(labels: np.ndarray, images: Sequence[_Inspected]) -> list[Finding]:
    """Say so if height, width and format give the class away: a network finds such a shortcut sooner than you do."""
    tables: dict[tuple, Counter] = defaultdict(Counter)
    for label, image in zip(labels, images, strict=True):
        tables[image.size, image.format][int(label)] += 1
    right = 0
    for label, image in zip(labels, images, strict=True):
        others = tables[image.size, image.format] - Counter([int(label)])
        best = others.most_common(2)
        right += bool(best) and best[0][0] == label and (len(best) == 1 or best[0][1] > best[1][1])
    if not len(labels) or right / len(labels) < np.bincount(labels).max() / len(labels) + SHORTCUT:
        return []
    message = f"height, width and format alone give away the class of {right / len(labels):.0%} of the images"
    advice = "get all classes from the same cameras, or crop and save all alike: a network would learn that instead"
    return [Finding("warning", message, advice, ())]


def _ignored_files(names: Sequence[str], images: Sequence[_Inspected], outside: Sequence[str]) -> list[Finding]:
    findings = []
    rare = tuple(name for name, image in zip(names, images, strict=True) if image.format not in _KERAS_READS)
    if rare:
        message = f"Keras' own loader ignores {_many(len(rare), 'image')}: {_listed(rare)}"
        advice = "save as JPEG or PNG, or read the folder with the course's from_folder"
        findings.append(Finding("info", message, advice, rare))
    if outside:
        message = f"{_many(len(outside), 'file')} outside the class folders will not be used: {_listed(outside)}"
        findings.append(Finding("info", message, "move any images among them into a class folder", tuple(outside)))
    return findings
