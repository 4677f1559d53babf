"""Grad-CAM on models whose map can be computed by hand, plain and nested, and its drawing."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers

from course_utils import explain


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def small(activation=None, outputs=3, seed=1):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="early"),
            layers.MaxPooling2D(),
            layers.Conv2D(5, 3, padding="same", activation="relu", name="late"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(outputs, activation=activation, name="answer"),
        ]
    )


@pytest.fixture
def image():
    return np.random.default_rng(1).random((8, 8, 3)).astype(np.float32)


def by_hand(model, image, class_index, sign=1):
    """Behind global average pooling and one dense layer, the weights of the maps are those of that layer."""
    maps = keras.Model(model.inputs[0], model.get_layer("late").output)(image[None]).numpy()[0]
    kernel = model.get_layer("answer").get_weights()[0][:, class_index]
    return np.maximum(sign * maps @ kernel / maps[..., 0].size, 0)


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_grad_cam_of_the_last_layer_is_the_weighted_sum(image, class_index):
    model = small()
    heat = explain.grad_cam(model, image, "late", class_index)
    assert heat.shape == (4, 4) and heat.dtype == np.float32
    assert np.allclose(heat, by_hand(model, image, class_index), atol=1e-6)


def test_grad_cam_takes_the_last_maps_and_the_predicted_class(image):
    model = small()
    answered = int(np.argmax(model(image[None])))
    # Pooling over places gives no maps, so the last layer of maps is the second convolution.
    assert np.array_equal(explain.grad_cam(model, image), explain.grad_cam(model, image, "late", answered))


def test_grad_cam_of_an_earlier_layer_is_finer(image):
    assert explain.grad_cam(small(), image, "early").shape == (8, 8)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_saturated_activation_changes_nothing(image, activation):
    plain, saturated = small(), small(activation)
    for model in (plain, saturated):
        kernel, bias = model.get_layer("answer").get_weights()
        model.get_layer("answer").set_weights([kernel * 1000, bias])
    before = saturated.get_layer("answer").activation
    heat = explain.grad_cam(saturated, image, "late", 1)
    assert np.allclose(heat, explain.grad_cam(plain, image, "late", 1)) and (
        heat.any() or not by_hand(plain, image, 1).any()
    )
    assert saturated.get_layer("answer").activation is before
    assert saturated(image[None]).numpy().max() <= 1  # it answers with probabilities, as before


def test_softmax_layer_is_left_out_too(image):
    plain = small()
    model = keras.Sequential([plain, layers.Softmax()])
    assert np.allclose(explain.grad_cam(model, image, "late", 2), by_hand(plain, image, 2), atol=1e-6)
    assert np.isclose(model(image[None]).numpy().sum(), 1, atol=1e-5)


def test_one_output_stands_for_two_classes(image):
    model = small("sigmoid", outputs=1)
    assert np.allclose(explain.grad_cam(model, image, "late", 1), by_hand(model, image, 0), atol=1e-6)
    assert np.allclose(explain.grad_cam(model, image, "late", 0), by_hand(model, image, 0, sign=-1), atol=1e-6)
    answered = int(model(image[None])[0, 0] > 0.5)
    assert np.array_equal(explain.grad_cam(model, image), explain.grad_cam(model, image, "late", answered))


def test_nested_and_frozen_base_is_reached(image):
    flat = small()
    base = keras.Model(flat.inputs[0], flat.get_layer("late").output, name="base")
    base.trainable = False
    inputs = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(base(inputs, training=False))
    nested = keras.Model(inputs, flat.get_layer("answer")(pooled))
    assert np.allclose(explain.grad_cam(nested, image, "late", 1), by_hand(flat, image, 1), atol=1e-6)
    assert np.allclose(explain.grad_cam(nested, image, class_index=1), by_hand(flat, image, 1), atol=1e-6)


def test_model_is_left_as_it_was(image):
    model = small("softmax")
    before = model.predict(image[None], verbose=0)
    explain.grad_cam(model, image, "late")
    assert np.array_equal(model.predict(image[None], verbose=0), before)
    assert not [layer.name for layer in model.layers if "call" in vars(layer)]


def test_uint8_images_are_taken():
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    model = small()
    assert np.array_equal(
        explain.grad_cam(model, image, "late", 0), explain.grad_cam(model, image.astype(np.float32), "late", 0)
    )


def test_layer_that_leads_nowhere_is_refused(image):
    inputs = keras.Input((8, 8, 3))
    stopped = layers.Lambda(lambda x: keras.ops.stop_gradient(x))(layers.Conv2D(2, 3, name="cut")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(stopped)))
    with pytest.raises(ValueError, match="'cut' does not lead to the output"):
        explain.grad_cam(model, image, "cut")


@pytest.mark.parametrize(
    ("layer", "class_index", "message"),
    [
        ("missing", None, "no layer 'missing'"),
        ("answer", None, "'answer' is no stack of maps"),
        ("late", 3, r"no class 3: it has 3, counted from 0"),
        ("late", -1, "no class -1"),
    ],
)
def test_wrong_layer_or_class_is_refused(image, layer, class_index, message):
    with pytest.raises(ValueError, match=message):
        explain.grad_cam(small(), image, layer, class_index)


def test_model_without_convolution_is_refused():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)], name="flat")
    with pytest.raises(ValueError, match="No layer of flat gives"):
        explain.grad_cam(model, np.zeros((8, 8, 3)))


def test_images_are_explained_each_for_itself():
    images = np.random.default_rng(3).random((19, 8, 8, 3)).astype(np.float32)  # more than fit into one batch
    model = small()
    together = explain.grad_cam(model, images, "late")
    assert together.shape == (19, 4, 4)
    assert np.allclose(together, [explain.grad_cam(model, image, "late") for image in images], atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8, 3)])
def test_wrong_image_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="one image"):
        explain.grad_cam(small(), np.zeros(shape))


def test_heat_maps_lie_over_their_images():
    images = [np.full((20, 30), 100, np.uint8), np.zeros((20, 30, 3), np.uint8), np.zeros((10, 10), np.uint8)]
    heats = [np.array([[0.0, 0.0], [0.0, 5.0]]), np.zeros((2, 2)), np.ones((5, 5))]
    assert explain.show_grad_cam(images, heats, ["a", "b", "c"], columns=2) is None
    axes = plt.gcf().axes
    assert [axis.get_title() for axis in axes] == ["a", "b", "c", ""]
    photo, heat = axes[0].images
    assert photo.get_extent() == heat.get_extent()  # one lies exactly over the other
    assert heat.get_array().tolist() == [[0, 0], [0, 1]]  # its own places, scaled to its own maximum
    assert not axes[1].images[1].get_array().any()  # a map of zeros stays empty, and is not divided by 0
    assert not list(axes[3].images)


@pytest.mark.parametrize(("images", "maps", "titles"), [(0, 0, None), (1, 2, None), (2, 2, ["one"])])
def test_images_maps_and_titles_must_agree_in_number(images, maps, titles):
    with pytest.raises(ValueError, match="show_grad_cam got"):
        explain.show_grad_cam([np.zeros((4, 4), np.uint8)] * images, [np.zeros((2, 2))] * maps, titles)
