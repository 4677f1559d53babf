"""EfficientNet-Lite0 as a network: shapes, names, errors. Its weights are tested in test_weights.py."""

import numpy as np
import pytest

import course_utils  # noqa: F401  (before keras)
from course_utils.efficientnet import EfficientNetLite0, class_names, decode_predictions


def test_shapes_follow_the_arguments():
    model = EfficientNetLite0()
    assert (model.input_shape, model.output_shape) == ((None, 224, 224, 3), (None, 1000))
    assert model.count_params() == 4_694_024  # 42,016 of them are moving statistics
    assert model.get_layer("block_4_add").output.shape == (None, 28, 28, 40)
    assert model.get_layer("block_5_project_bn").output.shape == (None, 14, 14, 80)
    photos = np.zeros((1, 64, 96, 3), np.uint8)
    for pooling, shape in ((None, (1, 2, 3, 1280)), ("avg", (1, 1280)), ("max", (1, 1280))):
        base = EfficientNetLite0(include_top=False, input_shape=(None, None, 3), pooling=pooling)
        assert base(photos, training=False).shape == shape


def test_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="no pooling 'mean': use None, 'avg' or 'max'"):
        EfficientNetLite0(pooling="mean")


def test_predictions_are_decoded():
    assert len(class_names()) == 1000
    rows = np.zeros((2, 1000))
    rows[0, [285, 281]] = 0.7, 0.2
    rows[1, 967] = 1
    assert decode_predictions(rows, top=2) == [
        [(285, "Egyptian cat", 0.7), (281, "tabby", 0.2)],
        [(967, "espresso", 1.0), (0, "tench", 0.0)],
    ]
    for shape in ((1000,), (2, 2)):
        with pytest.raises(ValueError, match=r"pass \(n, 1000\), one row for each image"):
            decode_predictions(np.zeros(shape))
