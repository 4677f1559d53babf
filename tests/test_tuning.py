"""The exercises of lesson 08: the curve that is read, and answers beyond the listed ones."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats

from course_utils.exercises import lesson_08


def test_range_curve_falls_where_the_replies_say():
    rates, losses = lesson_08.range_curve()
    smooth = np.convolve(losses, np.ones(5) / 5, "same")[2:-2]
    assert 0.02 < rates[2:-2][smooth.argmin()] < 0.06
    assert abs(losses[rates < 1e-4].mean() - np.log(10)) < 0.05
    assert losses[rates > 0.3].min() > np.log(10)


@pytest.mark.parametrize("answer", [0.003, 0.01, 1 / 200, np.float32(0.003)])
def test_good_rates_are_accepted(answer):
    assert lesson_08.good_rate.judge(answer).status == "correct"


@pytest.mark.parametrize("answer", [True, "0.003", -1e9, 0, float("nan"), float("inf"), [0.003]])
def test_rate_must_be_one_positive_number(answer):
    assert "One positive number" in lesson_08.good_rate.judge(answer).text


@pytest.mark.parametrize("answer", [0.0015, 0.016])
def test_rates_outside_of_a_third_to_a_tenth_are_not_accepted(answer):
    assert lesson_08.good_rate.judge(answer).status == "wrong"


@pytest.mark.parametrize("answer", [{1, 2, 5}, {2, 5, 7}, [2, 5, 7], (7, 5, 2), np.array([2, 5, 7])])
def test_wrong_lines_accept_either_of_two_that_contradict(answer):
    assert lesson_08.wrong_lines.judge(answer).status == "correct"


def test_verdict_agrees_with_scipy():
    random = np.random.default_rng(0)
    for _ in range(50):
        first, second = random.normal(size=3), random.normal(2, 1, size=3)
        assert lesson_08.real.reference(first, second)[2] == (stats.ttest_ind(first, second).pvalue < 0.05)


# --- networks with skip connections


def residual(block, blocks=4):
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    for number in range(blocks):
        x = block(x, number)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def convolve(x, filters=8, count=2, strides=1):
    for number in range(count):
        x = layers.Conv2D(filters, 3, padding="same", strides=strides if number == 0 else 1)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return x


def with_projection(x, number):
    skip = layers.Conv2D(8 + 8 * number, 1, strides=2)(x)
    return layers.ReLU()(skip + convolve(x, 8 + 8 * number, strides=2))


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = [layers.Conv2D(8, 3, padding="same", activation="relu") for _ in range(2)]

    def build(self, shape):
        for layer in self.inner:
            layer.build(shape)

    def call(self, x):
        return x + self.inner[1](self.inner[0](x))


@pytest.mark.parametrize(
    "block",
    [
        lambda x, _: x + convolve(x),
        lambda x, _: layers.add([convolve(x), x]),
        lambda x, _: layers.Dropout(0.2)(x + convolve(x)),
        with_projection,
        lambda x, _: Block()(x),
    ],
    ids=["plus", "add", "dropout", "projection", "own layer"],
)
def test_right_networks_are_accepted_and_stay_as_they_are(block):
    network = residual(block)
    before = network.get_weights()
    assert lesson_08.residual_net.judge(network).status == "correct"
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def every_block_adds_the_stem():
    inputs = keras.Input((28, 28, 1))
    x = stem = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    for _ in range(4):
        x = stem + convolve(x)
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("network", "reply"),
    [
        (every_block_adds_the_stem, "blocks of two"),
        (lambda: residual(lambda x, _: x + convolve(x, count=8), blocks=1), "blocks of two"),
        (lambda: residual(lambda x, _: x + convolve(x, count=4), blocks=2), "blocks of two"),
        (lambda: residual(lambda x, _: layers.Average()([x, convolve(x)])), "A skip connection adds"),
        (lambda: residual(lambda x, _: layers.Subtract()([x, convolve(x)])), "A skip connection adds"),
        (lambda: residual(lambda x, _: convolve(x) + convolve(x), blocks=2), "With all convolutions"),
        (
            lambda: keras.Sequential(
                [
                    keras.Input((28, 28, 1)),
                    *[layers.Conv2D(4, 3, padding="same", activation="relu") for _ in range(9)],
                    layers.GlobalAveragePooling2D(),
                    layers.Dense(10),
                ]
            ),
            "With all convolutions",
        ),
    ],
)
def test_wrong_networks_get_their_own_reply(network, reply):
    feedback = lesson_08.residual_net.judge(network())
    assert feedback.status == "wrong" and reply in feedback.text
