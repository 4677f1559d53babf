"""Look at a folder of pictures before you train on it. Lesson 12 writes the parts, and says what each finding costs."""

import hashlib
import io
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from course_utils.datasets import _files_below, _ignored, _why_not_classes
from course_utils.images import ImageError, decode_image, did_you_mean
from course_utils.live import LiveLine

NEAR_BITS = 8  # of the 64 bits of two hashes, so many may differ in near duplicates
NEAR_CORRELATION = 0.98  # and their thumbnails must agree at least so well, for hashes are coarse
CHAINED = 0.05  # if looks connect a larger share of all pictures, it is the kind of picture that looks alike
FEW_PICTURES = 20  # a class with fewer can neither be learned nor tested
UNEVEN = 3  # the largest class may be so many times as large as the smallest
SMALL_PIXELS = 64  # a picture with a shorter side has little to say to a network
LONG_SIDES = 3  # a picture longer than that loses most of itself in a centre crop
PLAIN_SPREAD = 2.0  # grey levels; below that a picture shows nothing, and all hashes of nothing are alike
GIVEN_AWAY = 0.25  # so much better than always naming the largest class must size and format not be

_KERAS_READS = {"JPEG", "PNG", "GIF", "BMP"}
_THUMBNAIL = 32  # pixels, what imagehash shrinks a picture to
_BLOCK, _PAIRS = 256, 4096  # pictures and pairs that are compared at once, for the sake of memory


class Finding(NamedTuple):
    """One thing that the audit found."""

    level: str  # "mend": it breaks the training or falsifies the score; "check": look at it; "note"
    what: str  # one sentence
    advice: str  # what to do
    files: tuple[str, ...]  # concerned files, relative to the folder, with / between


class Audit(NamedTuple):
    """What `audit_folder` found. ``print(audit)`` tells it in words.

    Arrays and lists with n entries speak of the pictures that can be read, in the order in which
    `course_utils.datasets.from_folder` returns them.
    """

    folder: Path
    class_names: list[str]
    names: list[str]  # n, relative to the folder, with / between
    labels: np.ndarray  # int64 (n,), index into class_names
    sizes: np.ndarray  # int64 (n, 2), height and width, upright
    unreadable: list[tuple[str, str]]  # name and reason
    duplicates: list[tuple[int, ...]]  # pictures whose files are equal byte by byte, two or more each
    near_duplicates: list[tuple[int, int]]  # pairs that look alike without being equal, also mirrored or turned
    groups: np.ndarray  # int64 (n,), 0, 1, …: equal for pictures that duplicates and near duplicates connect
    findings: list[Finding]  # the worst first

    def __str__(self) -> str:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        parts = " · ".join(f"{name} {count}" for name, count in zip(self.class_names, counts, strict=True))
        lines = [f"{_many(len(self.names), 'picture')} in {_many(len(counts), 'class')}: {parts}"]
        signs = {"mend": "✘", "check": "!", "note": "·"}
        for finding in self.findings:
            lines += [f"{signs[finding.level]} {finding.what}", f"    → {finding.advice}"]
        if not self.findings:
            lines.append("✔ nothing to mend")
        return "\n".join(lines)


def audit_folder(path: str | Path) -> Audit:
    """Look for what would break or falsify a training on a folder of class folders.

    Finds files that cannot be read, equal and nearly equal pictures (shrunk, saved again, brightened, mirrored or
    turned), the same picture in two classes, classes with few pictures or many more than others, small, long or plain
    pictures, pictures that only their EXIF note turns upright, sizes and formats that give the class away, and what
    Keras' own loader would pass over. It does not find two photos of the same thing taken a second apart: nobody can
    from their pixels; tell `sources` by which rule they are named. Nothing in the folder is changed.

    Parameters
    ----------
    path : str or Path
        A folder with one sub-folder a class; ``~`` stands for your home folder. Hidden files are ignored.

    Returns
    -------
    Audit
        Print it.

    Raises
    ------
    ValueError
        If the folder is missing or has fewer than two class folders.

    Notes
    -----
    Lesson 12, sections 12.1 and 12.2. Equal files have the same SHA-256. Near duplicates have perceptual hashes
    (``imagehash.phash``, 64 bits) that differ in at most `NEAR_BITS` bits, in one of the eight ways to mirror and turn
    a picture by right angles, and thumbnails with a correlation of at least `NEAR_CORRELATION`.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else f"is not there{did_you_mean(root)}"
        raise ValueError(f"The folder “{root}” {what}: pass the folder that holds one sub-folder a class.")
    class_names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not _ignored(entry.name))
    loose = sorted(entry.name for entry in root.iterdir() if entry.is_file() and not _ignored(entry.name))
    if len(class_names) < 2:
        raise ValueError(_why_not_classes(root, class_names, [root / name for name in loose]))

    found = [(label, file) for label, name in enumerate(class_names) for file in _files_below(root / name)]
    line = LiveLine(f"audit of {_many(len(found), 'file')}")
    seen, unreadable = [], []
    for (label, file), looked in zip(found, _look_at_all(root, [file for _, file in found], line), strict=True):
        name = file.relative_to(root).as_posix()
        if isinstance(looked, str):
            unreadable.append((name, looked))
        else:
            seen.append((name, label, looked))
    names = [name for name, _, _ in seen]
    labels = np.array([label for _, label, _ in seen], np.int64)
    pictures = [looked for _, _, looked in seen]
    duplicates = _equal_files(pictures)
    near, posed = _near_duplicates(pictures, duplicates, line)
    line.rest()
    groups = _connected(len(names), [*_pairs(duplicates), *near])
    findings = [
        *_unreadable_files(unreadable),
        *_equal(names, labels, duplicates),
        *_alike(names, labels, near, posed),
        *_chained(groups),
        *_class_sizes(class_names, labels),
        *_single_pictures(names, pictures),
        *_given_away(labels, pictures),
        *_passed_over(names, pictures, loose),
    ]
    return Audit(
        folder=root,
        class_names=class_names,
        names=names,
        labels=labels,
        sizes=np.array([looked.size for looked in pictures], np.int64).reshape(-1, 2),
        unreadable=unreadable,
        duplicates=duplicates,
        near_duplicates=near,
        groups=groups,
        findings=sorted(findings, key=lambda finding: ("mend", "check", "note").index(finding.level)),
    )


def sources(audit: Audit, rule: Callable[[Path], str] | None = None, looks: bool = True) -> np.ndarray:
    """Return which pictures must stay together when the folder is split.

    Duplicates and near duplicates stay together, and with a rule also the pictures for which it gives the same text:
    a burst, a patient, a film. Both together: if A looks like B, and B was taken with C, all three are one source.

    Parameters
    ----------
    audit : Audit
        Of the folder.
    rule : callable, optional
        Gets the path of a picture relative to the folder, such as ``Path("brick/brick-07_2.png")``, and returns the
        name of its source, such as ``path.stem.rpartition("_")[0]``. Pictures of two classes may share a source.
    looks : bool
        Whether near duplicates are joined. False if the audit says that nearly all pictures look alike, as X-rays or
        the products of one machine do: then only equal files are, and the rule has to know the rest.

    Returns
    -------
    ndarray
        int64 (n,), 0, 1, …, in the order of ``audit.names``: the `groups` of a split, such as
        ``sklearn.model_selection.StratifiedGroupKFold``.

    Notes
    -----
    Lesson 12, section 12.3, and its exercise 2.
    """
    pairs = _pairs(audit.duplicates)
    if looks:
        pairs += audit.near_duplicates
    if rule is not None:
        first: dict[str, int] = {}
        pairs += [(first.setdefault(rule(Path(name)), number), number) for number, name in enumerate(audit.names)]
    return _connected(len(audit.names), pairs)


# --- looking at one file


class _Picture(NamedTuple):
    digest: bytes
    format: str
    turned: bool  # only its EXIF note makes it stand upright
    size: tuple[int, int]  # height, width, upright
    thumbnail: np.ndarray  # uint8 (32, 32)
    hashes: np.ndarray  # uint64 (8,), of the thumbnail in its eight poses, the first as it is


def _poses(squares: np.ndarray) -> list[np.ndarray]:
    """Return the eight ways to mirror and turn square pictures (…, side, side) by right angles, the first as it is."""
    return [np.rot90(side, quarter, axes=(-2, -1)) for side in (squares, squares[..., ::-1]) for quarter in range(4)]


def _look(root: Path, file: Path) -> _Picture | str:
    """Return what is to be known of a picture, or why it cannot be read."""
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
        turned = _has_note(header)
    grey = Image.fromarray(pixels).convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    thumbnail = np.asarray(grey)
    bits = [str(imagehash.phash(Image.fromarray(pose))) for pose in _poses(thumbnail)]
    hashes = np.array([int(text, 16) for text in bits], np.uint64)
    return _Picture(hashlib.sha256(data).digest(), kind, turned, pixels.shape[:2], thumbnail, hashes)


def _has_note(header: Image.Image) -> bool:
    try:
        return header.getexif().get(0x0112, 1) in range(2, 9)
    except Exception:  # unreadable metadata, which `decode_image` ignores as well
        return False


def _look_at_all(root: Path, files: Sequence[Path], line: LiveLine) -> list[_Picture | str]:
    """Look at all files on all cores."""
    results, last = [], time.monotonic()
    # `decode_image` silences warnings in each thread, but filters belong to all threads together and could be put back
    # in the wrong order: so they are silenced around all of them too.
    # A photo of the largest size takes 0.7 GB while it is decoded: four at a time. Pillow decodes outside the lock of
    # Python.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(max_workers=4) as pool:
        for result in pool.map(lambda file: _look(root, file), files):
            results.append(result)
            if time.monotonic() - last > 0.5:
                line.update(f"{len(results):,} read")
                last = time.monotonic()
    return results


# --- pictures that are there more than once


def _equal_files(pictures: Sequence[_Picture]) -> list[tuple[int, ...]]:
    same = defaultdict(list)
    for number, picture in enumerate(pictures):
        same[picture.digest].append(number)
    return [tuple(group) for group in same.values() if len(group) > 1]


def _near_duplicates(
    pictures: Sequence[_Picture], duplicates: Sequence[tuple[int, ...]], line: LiveLine
) -> tuple[list[tuple[int, int]], set[tuple[int, int]]]:
    """Return the pairs that look alike, one picture standing for all its equal copies, and which of them are turned."""
    copies = {other for group in duplicates for other in group[1:]}
    spread = [float(picture.thumbnail.std()) for picture in pictures]
    asked = np.array([n for n in range(len(pictures)) if n not in copies and spread[n] >= PLAIN_SPREAD], int)
    if not asked.size:
        return [], set()
    hashes = np.stack([pictures[n].hashes for n in asked])
    faces = np.stack([_standardised(pictures[n].thumbnail) for n in asked])
    pairs, posed, last = [], set(), time.monotonic()
    for start in range(0, len(asked), _BLOCK):
        # A block of rows against all that come after, in the eight poses of those: bool (8, rows, others).
        rows, others = slice(start, start + _BLOCK), slice(start, None)
        apart = np.stack([np.bitwise_count(hashes[rows, :1] ^ hashes[others, pose]) for pose in range(8)])
        close = np.triu(apart <= NEAR_BITS, k=1)
        best = np.full(close.shape[1:], -1, np.float32)
        turned = np.zeros(close.shape[1:], bool)
        for pose, candidates in enumerate(close):
            row, other = np.nonzero(candidates)
            likeness = _likeness(faces[rows], faces[others], row, other, pose)
            better = likeness > best[row, other]
            best[row[better], other[better]] = likeness[better]
            turned[row[better], other[better]] = pose > 0
        for row, other in np.argwhere(best >= NEAR_CORRELATION):
            pairs.append((int(asked[start + row]), int(asked[start + other])))
            if turned[row, other]:
                posed.add(pairs[-1])
        if time.monotonic() - last > 0.5:
            line.update(f"{start:,} compared")
            last = time.monotonic()
    return pairs, posed


def _standardised(thumbnail: np.ndarray) -> np.ndarray:
    """Return a thumbnail with the mean 0 and the length 1: the dot product of two such is their correlation."""
    centred = thumbnail - thumbnail.mean()
    return (centred / np.linalg.norm(centred)).astype(np.float32)


def _likeness(ones: np.ndarray, others: np.ndarray, row: np.ndarray, column: np.ndarray, pose: int) -> np.ndarray:
    """Return the correlations of ``ones[row]`` with ``others[column]`` in a pose, both standardised."""
    result = np.empty(len(row), np.float32)
    for start in range(0, len(row), _PAIRS):
        part = slice(start, start + _PAIRS)
        posed = _poses(others[column[part]])[pose]
        result[part] = np.einsum("nij,nij->n", ones[row[part]], posed)
    return result


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
    names = tuple(name for name, _ in unreadable)
    # “brick/x.jpg” is empty (0 bytes): copy it again. → brick/x.jpg is empty (0 bytes)
    reasons = [reason.replace(f"“{name}”", name).partition(": ")[0].rstrip(".") for name, reason in unreadable]
    what = f"{_many(len(names), 'file')} cannot be read: {_listed(reasons)}"
    return [Finding("mend", what, "get the picture itself or delete the file: Keras would stop in mid-training", names)]


def _equal(names: Sequence[str], labels: np.ndarray, duplicates: Sequence[tuple[int, ...]]) -> list[Finding]:
    findings = []
    for across, said, advice in (
        (True, "in two classes", "decide which label is right and delete the others"),
        (False, "there more than once", "keep one; in two parts of a split they would tell the answer"),
    ):
        groups = [group for group in duplicates if (len(set(labels[list(group)])) > 1) == across]
        if groups:
            text = _listed([" = ".join(names[n] for n in group) for group in groups])
            what = f"{_many(len(groups), 'picture')} {'is' if len(groups) == 1 else 'are'} {said}: {text}"
            findings.append(Finding("mend", what, advice, tuple(names[n] for group in groups for n in group)))
    return findings


def _alike(
    names: Sequence[str], labels: np.ndarray, near: Sequence[tuple[int, int]], posed: set[tuple[int, int]]
) -> list[Finding]:
    findings = []
    for across, said, advice in (
        (True, " in two classes", "look at them: if they are one picture, decide which label is right"),
        (False, "", "look at them: keep one, or keep them in one part of the split"),
    ):
        pairs = [pair for pair in near if (labels[pair[0]] != labels[pair[1]]) == across]
        if pairs:
            turned = len(posed.intersection(pairs))
            more = f" ({turned} mirrored or turned)" if turned else ""
            text = _listed([f"{names[one]} ≈ {names[other]}" for one, other in pairs])
            what = f"{_many(len(pairs), 'pair')} look{'s' if len(pairs) == 1 else ''} alike{said}{more}: {text}"
            findings.append(
                Finding("check", what, advice, tuple(dict.fromkeys(names[n] for pair in pairs for n in pair)))
            )
    return findings


def _chained(groups: np.ndarray) -> list[Finding]:
    largest = int(np.bincount(groups).max(initial=0))
    if largest < FEW_PICTURES or largest <= CHAINED * len(groups):
        return []
    what = f"one by one, looks connect {largest:,} pictures to one group"
    advice = "if all pictures of this kind look alike, split by a rule and with looks=False"
    return [Finding("check", what, advice, ())]


def _class_sizes(class_names: Sequence[str], labels: np.ndarray) -> list[Finding]:
    counts = np.bincount(labels, minlength=len(class_names))
    findings = []
    few = [f"{name} ({count})" for name, count in zip(class_names, counts, strict=True) if count < FEW_PICTURES]
    if few:
        what = f"{_many(len(few), 'class')} {'has' if len(few) == 1 else 'have'} fewer than {FEW_PICTURES} pictures: "
        advice = "collect more, join it with another class, or leave it out: it can be neither learned nor tested"
        findings.append(Finding("mend", what + ", ".join(few), advice, ()))
    enough = counts[counts >= FEW_PICTURES]
    if enough.size and enough.max() > UNEVEN * enough.min():
        largest, smallest = class_names[int(counts.argmax())], class_names[list(counts).index(enough.min())]
        what = f"“{largest}” has {counts.max() / enough.min():.1f} times as many pictures as “{smallest}”"
        advice = "collect more of the small one, weigh the classes, and do not judge by accuracy alone"
        findings.append(Finding("check", what, advice, ()))
    return findings


def _single_pictures(names: Sequence[str], pictures: Sequence[_Picture]) -> list[Finding]:
    """Return what is to be said of pictures one by one."""
    short = np.array([min(picture.size) for picture in pictures])
    long = np.array([max(picture.size) for picture in pictures])
    tests = (
        (
            np.array([picture.turned for picture in pictures]),
            "turned upright only by {its} EXIF note",
            "save {it} upright: most readers ignore the note and see {it} lying on {its} side",
        ),
        (
            np.array([picture.thumbnail.std() < PLAIN_SPREAD for picture in pictures]),
            "of one colour",
            "look at {it}: a lens cap, an empty scan?",
        ),
        (
            short < SMALL_PIXELS,
            f"shorter than {SMALL_PIXELS} pixels on a side",
            "look at {it}: thumbnails and icons carry little, and enlarging adds nothing",
        ),
        (
            long > LONG_SIDES * short,
            f"over {LONG_SIDES} times as long as wide",
            "crop {it} to what matters: a centre crop would cut most of {it} off",
        ),
    )
    findings = []
    for mask, said, advice in tests:
        concerned = tuple(names[n] for n in np.flatnonzero(mask))
        if concerned:
            one = len(concerned) == 1
            words = {"it": "it" if one else "them", "its": "its" if one else "their"}
            what = f"{_many(len(concerned), 'picture')} {'is' if one else 'are'} {said.format(**words)}"
            findings.append(Finding("check", f"{what}: {_listed(concerned)}", advice.format(**words), concerned))
    return findings


def _given_away(labels: np.ndarray, pictures: Sequence[_Picture]) -> list[Finding]:
    """Say so if height, width and format tell the class: a network finds such a short cut sooner than you do."""
    tables: dict[tuple, Counter] = defaultdict(Counter)
    for label, picture in zip(labels, pictures, strict=True):
        tables[picture.size, picture.format][int(label)] += 1
    right = 0
    for label, picture in zip(labels, pictures, strict=True):
        others = tables[picture.size, picture.format] - Counter([int(label)])
        best = others.most_common(2)
        clear = bool(best) and (len(best) == 1 or best[0][1] > best[1][1])
        right += clear and best[0][0] == label
    if not len(labels) or right / len(labels) < np.bincount(labels).max() / len(labels) + GIVEN_AWAY:
        return []
    what = f"height, width and format alone name the right class of {right / len(labels):.0%} of the pictures"
    advice = "get all classes from the same cameras, or cut and save all alike: a network would learn that instead"
    return [Finding("check", what, advice, ())]


def _passed_over(names: Sequence[str], pictures: Sequence[_Picture], loose: Sequence[str]) -> list[Finding]:
    findings = []
    rare = tuple(name for name, picture in zip(names, pictures, strict=True) if picture.format not in _KERAS_READS)
    if rare:
        what = f"Keras' own loader passes over {_many(len(rare), 'picture')}: {_listed(rare)}"
        advice = "save as JPEG or PNG, or read the folder with the course's from_folder"
        findings.append(Finding("note", what, advice, rare))
    if loose:
        what = f"{_many(len(loose), 'file')} outside the class folders will not be used: {_listed(loose)}"
        findings.append(Finding("note", what, "move pictures among them into a class folder", tuple(loose)))
    return findings
