"""Features of frozen networks: computed once, kept on disk, found again by what they were made from.

Lesson 06 derives why: a frozen network gives the same image the same numbers in every epoch.
"""

import difflib
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_utils._setup.storage import data_folder, prepared_once
from course_utils.live import LiveLine

if TYPE_CHECKING:
    import keras

CACHE_LIMIT_BYTES = 2_000_000_000  # the oldest results beyond that are removed
PROBES = 4  # images whose outputs are part of the name of a result


def extract_features(
    network: "keras.Model", images: np.ndarray, preprocess: Callable[[np.ndarray], np.ndarray], batch_size: int = 32
) -> np.ndarray | list[np.ndarray]:
    """Return the outputs of a frozen network for images: float32 (n, …), a list of them if it has several outputs.

    They come from the cache on disk where they were computed before: each output by itself, found by the images, by the
    weights that lead to it, and by its values for a few probes.

    Parameters
    ----------
    images : ndarray
        uint8 (n, H, W, 3) in 0…255, or grey (n, H, W), which is repeated for a network with three channels; ValueError
        for others, or if the network takes another size.
    preprocess : callable
        Gets a float32 batch (b, H, W, 3) in 0…255 and returns the network's input, such as
        ``keras.applications.mobilenet_v2.preprocess_input``.
    batch_size : int
        Images at a time: a matter of memory, not of the result.
    """
    import keras

    images = _checked(network, images)
    files = [cache_folder() / f"{key}.npy" for key in _keys(network, images, preprocess)]
    results = [_stored(file) for file in files]
    line = LiveLine(f"{len(images):,} images through the network, once")
    if unknown := [number for number, result in enumerate(results) if result is None]:
        part = keras.Model(network.inputs, [network.outputs[number] for number in unknown])
        for number, result in zip(unknown, _computed(part, images, preprocess, batch_size, line), strict=True):
            results[number] = result
            with prepared_once(files[number]) as work:
                if work is not None:  # else another notebook was faster
                    np.save(work, result)
        _remove_oldest(keep=files)
    line.rest()
    return results[0] if len(results) == 1 else results


def pooled_features_model(
    base: "keras.Model", layer_names: Sequence[str], pooling: Sequence[str] = ("mean", "max")
) -> "keras.Model":
    """Return a network that pools feature maps of several layers of `base` over all positions; it shares its weights.

    Each layer becomes an output (n, channels × poolings). The mean, ``"mean"``, says how much of a feature an image
    holds, the maximum, ``"max"``, whether it is anywhere at all; `pooling` names one or both, in the order they are put
    side by side. Raises ValueError for a layer that `base` does not have, or another pooling.
    """
    import keras

    kinds = {"mean": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    if not pooling or set(pooling) - set(kinds):
        raise ValueError(f'The pooling {pooling!r} is not known: pass ("mean",), ("max",) or ("mean", "max").')
    known = [layer.name for layer in base.layers]
    if unknown := [name for name in layer_names if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0)
        raise ValueError(f"{base.name} has no layer {unknown[0]!r}: did you mean one of {', '.join(close)}?")

    def pooled(maps):
        results = [kinds[kind]()(maps) for kind in pooling]
        return results[0] if len(results) == 1 else keras.layers.Concatenate()(results)

    return keras.Model(base.input, [pooled(base.get_layer(name).output) for name in layer_names])


def cache_folder() -> Path:
    """Return the folder of the results: ``$COURSE_CACHE``, or ``cache`` in the folder of the prepared data."""
    configured = os.environ.get("COURSE_CACHE")
    folder = Path(configured).expanduser() if configured else data_folder() / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _checked(network: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Return the images as (n, H, W, channels), or say why this network cannot take them."""
    images = np.asarray(images)
    height, width, channels = network.input_shape[1:]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise ValueError(
            f"extract_features got images of shape {images.shape} and type {images.dtype}: pass at least one, as uint8 "
            "(n, height, width, 3) or (n, height, width) in 0…255; `preprocess` does the scaling."
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[-1] == 1 and channels == 3:
        images = np.broadcast_to(images, (*images.shape[:3], 3))  # a view: three times the memory is not needed
    wanted = (height or images.shape[1], width or images.shape[2], channels or images.shape[3])
    if images.shape[1:] != wanted:
        got, want = (" × ".join(map(str, shape)) for shape in (images.shape[1:], wanted))
        raise ValueError(f"The images are {got}, but the network takes {want}: resize them or build it for them.")
    return images


def _batch(images: np.ndarray, preprocess: Callable) -> np.ndarray:
    # Some functions turn the channels round by a view, which cannot be hashed.
    return np.ascontiguousarray(preprocess(images.astype(np.float32)), np.float32)


def _as_list(outputs) -> list[np.ndarray]:
    return [output.numpy() for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def _computed(
    network: "keras.Model", images: np.ndarray, preprocess: Callable, batch_size: int, line: LiveLine
) -> list[np.ndarray]:
    """Push all images through the network and return one array for each of its outputs."""
    import tensorflow as tf

    # Traced once, for batches of any size; a function traced by its calls would warn of retracing after a few networks.
    batches = tf.TensorSpec((None, *images.shape[1:]), tf.float32)
    frozen = tf.function(lambda batch: network(batch, training=False)).get_concrete_function(batches)
    results = None
    for start in range(0, len(images), batch_size):
        outputs = _as_list(frozen(tf.constant(_batch(images[start : start + batch_size], preprocess))))
        if results is None:
            results = [np.empty((len(images), *output.shape[1:]), np.float32) for output in outputs]
        for result, output in zip(results, outputs, strict=True):
            result[start : start + len(output)] = output
        line.update(f"{min(start + batch_size, len(images)):,} done")
    return results


def _keys(network: "keras.Model", images: np.ndarray, preprocess: Callable) -> list[str]:
    """Return for each output of the network a digest of all that its result depends on."""
    import keras

    # What a layer or a function does cannot be read from its name; what it makes of a few images and of all grey levels
    # can.
    levels = np.resize(np.arange(256, dtype=np.uint8), (1, *images.shape[1:]))
    probe = _batch(np.concatenate([images[:PROBES], levels]), preprocess)
    one_channel = images.strides[-1] == 0  # a grey image seen three times
    shared = hashlib.sha256(f"{images.shape}".encode())
    shared.update(np.ascontiguousarray(images[..., :1] if one_channel else images))
    shared.update(probe)
    keys = []
    for output, values in zip(network.outputs, _as_list(network(probe, training=False)), strict=True):
        digest = shared.copy()
        for weight in keras.Model(network.inputs, output).weights:
            digest.update(f"{weight.shape}".encode())
            digest.update(np.ascontiguousarray(weight))
        digest.update(np.ascontiguousarray(values))
        keys.append(digest.hexdigest()[:32])
    return keys


def _stored(file: Path) -> np.ndarray | None:
    """Return a result, or None if it is not there or damaged (then the file is removed)."""
    try:
        result = np.load(file)
        with suppress(OSError):  # somebody else's file can be read all the same
            file.touch()  # the oldest are removed first: this one has just been of use
        return result
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        file.unlink(missing_ok=True)
        return None


def _remove_oldest(keep: Sequence[Path]) -> None:
    """Remove the results that were not used for longest, until the rest fits into the limit."""
    files = []
    for file in cache_folder().glob("*.np[yz]"):  # .npz: an earlier version of the course
        with suppress(OSError):  # another notebook has just removed it
            found = file.stat()
            files.append((found.st_mtime, found.st_size, file))
    total = 0
    for _, size, file in sorted(files, reverse=True):
        total += size
        if total > CACHE_LIMIT_BYTES and file not in keep:
            with suppress(OSError):  # on Windows, while another notebook reads it
                file.unlink(missing_ok=True)
