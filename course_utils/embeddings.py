"""What a frozen network makes of pictures: computed once, kept on disk, found again by what it was made from.

Lesson 06 derives why: a frozen network gives the same picture the same numbers in every epoch, so computing them more
than once is waste.
"""

import difflib
import hashlib
import json
import os
import zipfile
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


def extract(
    network: "keras.Model", images: np.ndarray, prepare: Callable[[np.ndarray], np.ndarray], batch_size: int = 32
) -> np.ndarray | list[np.ndarray]:
    """Return what a network makes of pictures, from the cache on disk if it has been computed before.

    A result is found by its contents: the pictures, the network's layers and weights, and what `prepare` does. Change
    any of them, and it is computed anew. Results are kept in the folder `cache_folder`; delete it whenever you like.

    Parameters
    ----------
    network : keras.Model
        Frozen: nothing is trained here, and layers such as dropout and batch normalisation are in inference mode.
    images : ndarray
        uint8 (n, H, W, 3) in 0…255, or grey (n, H, W), which is repeated for a network with three channels.
    prepare : callable
        Gets a float32 batch (b, H, W, 3) in 0…255 and returns what the network wants, such as
        ``keras.applications.mobilenet_v2.preprocess_input`` (lesson 02 shows what the wrong one does).
    batch_size : int
        Pictures at a time: a matter of memory, not of the result.

    Returns
    -------
    ndarray or list of ndarray
        float32, first axis n: one array, or one for each output of the network.

    Raises
    ------
    ValueError
        If the pictures are not uint8, there is none, or they have another size than the network takes.

    Notes
    -----
    Lesson 06, section 6.1, writes the loop and the name of the result by hand.
    """
    images = _checked(network, images)
    file = cache_folder() / f"{_key(network, images, prepare)}.npz"
    line = LiveLine(f"{len(images):,} pictures through the network, once")
    results = _stored(file)
    if results is None:
        with prepared_once(file) as work:
            if work is not None:
                results = _computed(network, images, prepare, batch_size, line)
                np.savez(work, *results)
        results = results or _stored(file)  # another notebook may have been faster
        _remove_oldest(keep=file)
    line.rest()
    return results[0] if len(results) == 1 else results


def at_depths(
    base: "keras.Model", layer_names: Sequence[str], pooling: Sequence[str] = ("mean", "max")
) -> "keras.Model":
    """Return a network that sums up the feature maps at several depths of another one.

    The mean over all places says how much of a feature a picture holds, the maximum whether it is anywhere at all.

    Parameters
    ----------
    base : keras.Model
        A convolutional network without its top, such as ``keras.applications.MobileNetV2(include_top=False, …)``.
    layer_names : sequence of str
        Layers of `base` whose output is a stack of maps (H, W, channels).
    pooling : sequence of str
        ``"mean"``, ``"max"`` or both, in the order they are put side by side.

    Returns
    -------
    keras.Model
        With one output (n, channels × number of poolings) for each layer; it shares its weights with `base`.

    Raises
    ------
    ValueError
        If `base` has no layer of such a name, or a pooling is unknown.

    Notes
    -----
    Lesson 06, section 6.4, asks each depth what it knows of defects, and compares the poolings.
    """
    import keras

    kinds = {"mean": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    if not pooling or set(pooling) - set(kinds):
        raise ValueError(f'The pooling {pooling!r} is not known: pass ("mean",), ("max",) or ("mean", "max").')
    known = [layer.name for layer in base.layers]
    if unknown := [name for name in layer_names if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=3, cutoff=0)
        raise ValueError(f"{base.name} has no layer {unknown[0]!r}: did you mean one of {', '.join(close)}?")

    def summed_up(maps):
        pooled = [kinds[kind]()(maps) for kind in pooling]
        return pooled[0] if len(pooled) == 1 else keras.layers.Concatenate()(pooled)

    return keras.Model(base.input, [summed_up(base.get_layer(name).output) for name in layer_names])


def cache_folder() -> Path:
    """Return the folder of the results: ``$COURSE_CACHE``, or ``cache`` in the folder of the prepared data."""
    configured = os.environ.get("COURSE_CACHE")
    folder = Path(configured).expanduser() if configured else data_folder() / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _checked(network: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Return the pictures as (n, H, W, channels), or say why this network cannot take them."""
    images = np.asarray(images)
    height, width, channels = network.input_shape[1:]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise ValueError(
            f"extract got pictures of shape {images.shape} and type {images.dtype}: pass at least one, as uint8 "
            "(n, height, width, 3) or (n, height, width) in 0…255; `prepare` does the scaling."
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[-1] == 1 and channels == 3:
        images = np.broadcast_to(images, (*images.shape[:3], 3))  # a view: three times the memory is not needed
    wanted = (height or images.shape[1], width or images.shape[2], channels or images.shape[3])
    if images.shape[1:] != wanted:
        got, want = (" × ".join(map(str, shape)) for shape in (images.shape[1:], wanted))
        raise ValueError(f"The pictures are {got}, but the network takes {want}: resize them or build it for them.")
    return images


def _batch(images: np.ndarray, prepare: Callable) -> np.ndarray:
    # Some functions turn the channels round by a view, which cannot be hashed.
    return np.ascontiguousarray(prepare(images.astype(np.float32)), np.float32)


def _computed(
    network: "keras.Model", images: np.ndarray, prepare: Callable, batch_size: int, line: LiveLine
) -> list[np.ndarray]:
    """Push all pictures through the network and return one array for each of its outputs."""
    import tensorflow as tf

    # Traced once, for batches of any size; a function traced by its calls would warn of retracing after a few networks.
    batches = tf.TensorSpec((None, *images.shape[1:]), tf.float32)
    frozen = tf.function(lambda batch: network(batch, training=False)).get_concrete_function(batches)
    results = None
    for start in range(0, len(images), batch_size):
        outputs = frozen(tf.constant(_batch(images[start : start + batch_size], prepare)))
        outputs = [output.numpy() for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]
        if results is None:
            results = [np.empty((len(images), *output.shape[1:]), np.float32) for output in outputs]
        for result, output in zip(results, outputs, strict=True):
            result[start : start + len(output)] = output
        line.update(f"{min(start + batch_size, len(images)):,} done")
    return results


def _key(network: "keras.Model", images: np.ndarray, prepare: Callable) -> str:
    """Return a digest of all that the result depends on."""
    digest = hashlib.sha256()
    config = json.dumps(network.get_config(), sort_keys=True, default=str)
    # Keras numbers layers through a session: the same network may hold input_layer_1 today and input_layer_3 tomorrow.
    for number, name in enumerate([network.name, *(layer.name for layer in network.layers)]):
        config = config.replace(f'"{name}"', f'"#{number}"')
    digest.update(config.encode())
    for weight in network.weights:
        digest.update(np.ascontiguousarray(weight))
    digest.update(f"{images.shape}".encode())
    one_channel = images.strides[-1] == 0  # a grey picture seen three times
    digest.update(np.ascontiguousarray(images[..., :1] if one_channel else images))
    # What a function does cannot be read from its name; what it makes of all grey levels and of a few photos can.
    levels = np.resize(np.arange(256, dtype=np.uint8), (1, *images.shape[1:]))
    for probe in (levels, images[:4]):
        digest.update(_batch(probe, prepare))
    return digest.hexdigest()[:32]


def _stored(file: Path) -> list[np.ndarray] | None:
    """Return the arrays of a result, or None if it is not there or damaged (then the file is removed)."""
    try:
        with np.load(file) as arrays:
            results = [arrays[name] for name in arrays.files]
        with suppress(OSError):  # somebody else's file can be read all the same
            file.touch()  # the oldest are removed first: this one has just been of use
        return results
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        file.unlink(missing_ok=True)
        return None


def _remove_oldest(keep: Path) -> None:
    """Remove the results that were not used for longest, until the rest fits into the limit."""
    files = []
    for file in cache_folder().glob("*.npz"):
        with suppress(OSError):  # another notebook has just removed it
            found = file.stat()
            files.append((found.st_mtime, found.st_size, file))
    total = 0
    for _, size, file in sorted(files, reverse=True):
        total += size
        if total > CACHE_LIMIT_BYTES and file != keep:
            with suppress(OSError):  # on Windows, while another notebook reads it
                file.unlink(missing_ok=True)
