"""Where a network looks: Grad-CAM for any Keras model with convolutions, and its figure. Lesson 07 derives both."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np

from course_utils.plots import image_grid

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_AT_ONCE = 8  # images whose intermediate results are kept in memory together


def grad_cam(
    model: "keras.Model", image: np.ndarray, layer: str | None = None, class_index: int | None = None
) -> np.ndarray:
    """Return how strongly each position of a layer's feature maps speaks for a class: float32 (h, w) or (n, h, w) ≥ 0.

    The last activation of the model (softmax or sigmoid) is left out: its gradient vanishes where the model is sure.
    After R. Selvaraju et al.: Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV
    2017.

    Parameters
    ----------
    model : keras.Model
        With one input and one output (n, classes), or (n, 1) for two classes.
    image : ndarray
        (H, W, channels) or (n, H, W, channels), preprocessed as the model wants it.
    layer : str, optional
        Also in a model inside of this one; by default the last whose output is feature maps (h, w, channels).
    class_index : int, optional
        By default the predicted class. With one output, 1 is the class for which it stands.

    Raises
    ------
    ValueError
        If there is no such layer or class, or the layer gives no feature maps or does not lead to the output.
    """
    import tensorflow as tf

    images = np.asarray(image, np.float32)
    if images.ndim not in (3, 4) or not images.size:
        raise ValueError(
            f"grad_cam explains one image (H, W, channels) or several (n, H, W, channels), not {images.shape}."
        )
    if images.ndim == 3:
        return grad_cam(model, images[None], layer, class_index)[0]
    chosen = _map_layer(model, layer)
    heat_maps = []
    for start in range(0, len(images), _AT_ONCE):
        # Only what follows the layer is recorded: the layer's output is all that is watched.
        tape = tf.GradientTape(watch_accessed_variables=False)
        seen: list[tf.Tensor] = []
        with tape, _recorded(chosen, tape, seen), _without_last_activation(model):
            logits = model(tf.constant(images[start : start + _AT_ONCE]), training=False)
            score = _score(logits, class_index)
        slopes = tape.gradient(score, seen[-1]) if seen else None
        if slopes is None:
            raise ValueError(
                f"The output of {chosen.name!r} does not lead to the output of {model.name}: name another layer."
            )
        weights = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        heat_maps.append(tf.nn.relu(tf.reduce_sum(weights * seen[-1], axis=-1)).numpy())
    return np.concatenate(heat_maps)


def show_grad_cam(
    images: Sequence[np.ndarray],
    heat_maps: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    columns: int = 4,
    height: float = 2.6,
) -> None:
    """Show uint8 images in grey with a heat map (h, w) over each: clear where it is 0, yellow at its own maximum.

    A map is drawn as blocks, so that it looks no finer than it is. `height` is that of a row in inches. Raises
    ValueError if the numbers of images, maps and titles differ, or there is no image.
    """
    counts = [len(images), len(heat_maps), len(images if titles is None else titles)]
    if len(set(counts)) > 1 or not counts[0]:
        raise ValueError(
            f"show_grad_cam got {counts[0]} images, {counts[1]} maps and {counts[2]} titles: "
            "pass at least one image, and one of each for it."
        )
    for axis, image, heat in zip(image_grid(len(images), titles, columns, height), images, heat_maps, strict=True):
        image, heat = np.asarray(image), np.asarray(heat, np.float32) / max(float(np.max(heat)), 1e-12)
        height_px, width_px = image.shape[:2]
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        over = {"extent": (-0.5, width_px - 0.5, height_px - 0.5, -0.5), "interpolation": "nearest"}
        axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * heat, **over)


def _flat_layers(model: "keras.Model") -> "list[keras.layers.Layer]":
    """Return all layers of a model, those of models inside of it in their place."""
    layers = []
    for layer in model.layers:
        layers += _flat_layers(layer) if hasattr(layer, "layers") else [layer]
    return layers


def _map_layer(model: "keras.Model", name: str | None) -> "keras.layers.Layer":
    """Return the layer of that name, or the last one whose output is a stack of maps."""
    import keras

    layers = [layer for layer in _flat_layers(model) if not isinstance(layer, keras.layers.InputLayer)]
    if name is not None:
        layers = [layer for layer in layers if layer.name == name]
        if not layers:
            raise ValueError(f"{model.name} has no layer {name!r}, nor has a model inside of it: see model.summary().")
    stacks = [layer for layer in layers if len(getattr(getattr(layer, "output", None), "shape", ())) == 4]
    if not stacks:
        what = f"The output of {name!r} is" if name else f"No layer of {model.name} gives"
        raise ValueError(f"{what} no stack of maps (h, w, channels): Grad-CAM needs the output of a convolution.")
    return stacks[-1]


def _score(logits: "tf.Tensor", class_index: int | None) -> "tf.Tensor":
    """Return the number whose slopes explain the class, added up over the images, which do not touch each other."""
    import tensorflow as tf

    count = logits.shape[-1]
    classes = max(2, count)
    if class_index is not None and class_index not in range(classes):
        raise ValueError(f"The model has no class {class_index}: it has {classes}, counted from 0.")
    two_sided = tf.concat([-logits, logits], axis=1) if count == 1 else logits
    chosen = tf.argmax(two_sided, axis=1) if class_index is None else tf.fill([len(logits)], class_index)
    return tf.reduce_sum(tf.gather(two_sided, chosen, axis=1, batch_dims=1))


# `patch` also restores an attribute after an error, and knows whether it was the object's own or its class's.
def _recorded(layer: "keras.layers.Layer", tape: "tf.GradientTape", seen: list) -> AbstractContextManager:
    """Keep and watch what a layer returns: Keras would build no second model that ends inside of an inner model."""
    call = layer.call

    def call_and_keep(*args, **kwargs):
        seen.append(call(*args, **kwargs))
        tape.watch(seen[-1])
        return seen[-1]

    return patch.object(layer, "call", call_and_keep)


def _without_last_activation(model: "keras.Model") -> AbstractContextManager:
    """Let a model end in its logits: a saturated softmax or sigmoid has no slope."""
    import keras

    last = _flat_layers(model)[-1]
    if isinstance(last, keras.layers.Softmax):
        return patch.object(last, "call", lambda inputs, *_, **__: inputs)
    if getattr(last, "activation", None) is not None:
        return patch.object(last, "activation", keras.activations.linear)
    return nullcontext()
