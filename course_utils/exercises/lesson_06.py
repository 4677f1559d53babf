"""Exercises of lesson 06: pooled features, the order of the steps, trained parameters, ready for fine-tuning."""

import numpy as np

from course_utils.exercises.engine import function, model, quiz, value


def _stacks() -> list[tuple[np.ndarray]]:
    random = np.random.default_rng(6)
    small = np.array([[[[1.0, 0.0], [3.0, 8.0]], [[5.0, 0.0], [7.0, 0.0]]]])  # one image, 2 × 2 positions, 2 channels
    return [
        (small,),
        (random.integers(0, 9, (3, 4, 5, 2)).astype(np.float32),),
        (-random.uniform(1, 3, (2, 3, 3, 4)).round(2),),  # negative everywhere: a maximum that starts at 0 shows
    ]


@function(
    inputs=_stacks,
    hints=(
        "Positions are axes 1 and 2. NumPy takes several axes at once: `axis=(1, 2)`.",
        "`np.concatenate([…, …], axis=1)` puts two arrays (images, channels) side by side.",
    ),
    remark="The mean says how strong a feature is on average, the maximum how strong it is at its strongest position.",
)
def mean_and_maximum(maps):
    return np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1)


@mean_and_maximum.mistake("The maxima come first in your result: the task wants the means in front.")
def maxima_first(maps):
    return np.concatenate([maps.max(axis=(1, 2)), maps.mean(axis=(1, 2))], axis=1)


@mean_and_maximum.mistake("These are the means alone: the maxima are missing behind them.")
def only_means(maps):
    return maps.mean(axis=(1, 2))


@mean_and_maximum.mistake("These are the maxima alone: the means are missing in front of them.")
def only_maxima(maps):
    return maps.max(axis=(1, 2))


@mean_and_maximum.mistake(
    "You combine the channels. A channel is a feature and must stay; the positions, axes 1 and 2, go."
)
def over_channels(maps):
    flat = maps.reshape(len(maps), -1, maps.shape[3])
    return np.concatenate([flat.mean(axis=2), flat.max(axis=2)], axis=1)


@mean_and_maximum.mistake(
    "The images are stacked on top of each other: with `axis=0` the maxima of all images come after the means of all. "
    "Side by side is `axis=1`."
)
def stacked(maps):
    return np.concatenate([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))])


@mean_and_maximum.mistake(
    "Mean and maximum take turns in your result: all means come first, then all maxima, so put the two arrays side by "
    "side instead of stacking them along a new axis."
)
def taking_turns(maps):
    return np.stack([maps.mean(axis=(1, 2)), maps.max(axis=(1, 2))], axis=2).reshape(len(maps), -1)


@mean_and_maximum.mistake("You combine the images as well: each image keeps a row of its own.")
def over_images(maps):
    return np.concatenate([maps.mean(axis=(0, 1, 2)), maps.max(axis=(0, 1, 2))])


@mean_and_maximum.mistake(
    "Your maximum starts at 0, so a channel that is negative everywhere gets 0 instead of its largest value. Start "
    "from the first value, or let `max` do it."
)
def maximum_from_zero(maps):
    return np.concatenate([maps.mean(axis=(1, 2)), np.maximum(maps.max(axis=(1, 2)), 0)], axis=1)


@mean_and_maximum.mistake("You add up the positions. Their mean does not grow with the size of the map; a sum does.")
def sums(maps):
    return np.concatenate([maps.sum(axis=(1, 2)), maps.max(axis=(1, 2))], axis=1)


@quiz(
    because="Section 6.7 measured it: no error, no warning, a head that trains, and over 20 points of accuracy gone.",
    hints=("What did the three rows of MobileNetV2 in section 6.7 have in common, and what not?",),
    A="A network takes any number. Its shape is checked, the range of its numbers is not.",
    C="A frozen network computes finite numbers from 0…255 as well. Nothing overflows.",
    D="The head can rescale what comes out of the network, but the maps in between have already been computed from "
    "images far outside what they were trained on.",
)
def q1():
    return "B"


def _letters(answer: object) -> str:
    """Return the letters of an answer such as "ABC", "a, b, c" or ["A", "B", "C"]."""
    joined = answer if isinstance(answer, str) else "".join(map(str, answer))
    return "".join(letter for letter in joined.upper() if letter.isalpha())


def _in_order(*letters: str):
    """Return a rule: these lines come one after another."""
    return lambda answer: [letter for letter in _letters(answer) if letter in letters] == list(letters)


@value(
    rules=[
        (
            lambda answer: isinstance(answer, str | list | tuple) and sorted(_letters(answer)) == list("ABCDEF"),
            "ABC",
            'Write all six letters, each once, as one text such as "ABCDEF".',
        ),
        (
            lambda answer: _letters(answer).index("D") < _letters(answer).index("A"),
            "FCADEB",
            "The base is fine-tuned before the head has learned anything: a random head sends large, senseless "
            "corrections into layers that know something. Train the head first.",
        ),
        (
            _in_order("F", "D"),
            "DFBCEA",
            "The base is frozen after the first `compile`. Keras promises to heed `trainable` only as it stands at "
            "`compile`: freeze first, then compile.",
        ),
        (
            _in_order("C", "E"),
            "FDBECA",
            "The layers are unfrozen after the second `compile`. Keras promises to heed `trainable` only as it stands "
            "at `compile`: unfreeze first, then compile.",
        ),
        (
            _in_order("F", "D", "B", "C", "E", "A"),
            "FDCBEA",
            "The order fails at the two calls of `fit`: each comes right after its own `compile`, the one for the head "
            "before anything is unfrozen.",
        ),
    ],
    hints=(
        "Two rounds: freeze, compile, fit; then unfreeze, compile, fit.",
        "`compile` fixes which weights are trained. So what `trainable` says must be settled before it.",
    ),
    remark="Freeze, compile, fit the head; unfreeze, compile with a low rate, fit again.",
)
def steps():
    return "FDBCEA"


@quiz(
    because="Both losses are of the same images. `fit` normalises with the batch at hand, `evaluate` with running "
    "averages that no longer fit the weights, and all later layers see other numbers.",
    hints=("Both numbers are about the *training* images. Which layers behave differently in `fit` and in `predict`?",),
    A="Overfitting shows between training and *other* images. Here both losses are of the same training images.",
    B="A network that has not arrived yet reports a high loss in `fit` as well.",
    D="Dropout makes the loss in `fit` higher than in `evaluate`, not lower: it disturbs the network while it learns.",
)
def q2():
    return "C"


@value(
    mistakes=[
        (1280 * 7, "The biases are missing: each of the seven outputs has one."),
        (25 * 1280 * 7 + 7, "Global average pooling comes before the dense layer: it leaves 1,280 numbers per photo."),
        (25 * 1280 * 7, "The biases are missing, and global average pooling leaves only 1,280 numbers per photo."),
        (2_257_984 + 1281 * 7, "The base is frozen: none of its parameters is trained."),
        (2_257_984, "These are the parameters of the base, which is frozen."),
        (1281 * 10, "This model has seven classes, not ten."),
        (1281, "That is one output: there are seven, each with weights and a bias of its own."),
        (1280, "Those are the weights of one output: there are seven, and each has a bias too."),
        (1280 + 7, "Each of the seven outputs has 1,280 weights of its own, not one set for all."),
    ],
    hints=(
        "Which layers have parameters at all, and which of them are frozen?",
        "Only the dense layer: one weight for each of its 1,280 inputs and one bias, for each of seven outputs.",
    ),
    remark="Pooling and dropout have no parameters; the frozen base has 2,257,984, and none of them is trained.",
)
def trained_parameters():
    return (1280 + 1) * 7


def _flat(network) -> list:
    """Return all layers in their order, those inside nested networks too."""
    import keras

    found = []
    for layer in network.layers:
        found += _flat(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _base(network) -> tuple[list, list]:
    """Return the layers with weights before and after the cut; the head's dense layer is in neither."""
    import keras

    layers = [layer for layer in _flat(network) if layer.weights and not isinstance(layer, keras.layers.Dense)]
    names = [layer.name for layer in layers]
    cut = names.index("block_13_expand")
    return layers[:cut], layers[cut:]


def _learns(layer) -> bool:
    return bool(layer.trainable_weights)


def _is_norm(layer) -> bool:
    import keras

    return isinstance(layer, keras.layers.BatchNormalization)


def _dense(network) -> list:
    import keras

    return [layer for layer in _flat(network) if isinstance(layer, keras.layers.Dense)]


def _ends_plainly(network) -> bool:
    import keras

    last = [layer for layer in _flat(network) if not isinstance(layer, keras.layers.InputLayer)][-1]
    return isinstance(last, keras.layers.Dense) and last.activation is keras.activations.linear


def _no_base():
    import keras
    from keras import layers

    entry = keras.Input((96, 96, 3))
    return keras.Model(entry, layers.Dense(1)(layers.GlobalAveragePooling2D()(layers.Conv2D(1280, 3)(entry))))


def _head_frozen():
    network = _wrong_network(_correctly)
    network.layers[-1].trainable = False
    return network


def _base_frozen():
    def freeze(base, cut: int) -> None:
        base.trainable = False

    return _wrong_network(freeze)


def _one_block_only():
    def freeze(base, cut: int) -> None:
        for index, layer in enumerate(base.layers):
            layer.trainable = cut <= index < cut + 9 and not _is_norm(layer)

    return _wrong_network(freeze)


@model(
    rules=[
        (
            lambda network: network.input_shape[1:] == (96, 96, 3),
            lambda: _wrong_network(_correctly, size=160),
            "The network takes other images than 96 × 96 with three channels: give `input_shape=(96, 96, 3)`.",
        ),
        (
            lambda network: network.output_shape[1:] == (1,),
            lambda: _wrong_network(_correctly, outputs=2),
            "The network must end in one number per image: `Dense(1)` after the average over all positions.",
        ),
        (
            lambda network: len(_base(network)[0]) > 50,
            _no_base,
            "There is no MobileNetV2 in it: layers such as `block_13_expand` are missing. Use "
            "`keras.applications.MobileNetV2(include_top=False, …)`, unwrapped or as a layer.",
        ),
        (
            _ends_plainly,
            lambda: _wrong_network(_correctly, activation="sigmoid"),
            "The last layer has an activation: the task wants the plain number, and the loss gets `from_logits=True`.",
        ),
        (
            lambda network: _dense(network)[0].kernel.shape[0] == 1280,
            lambda: _wrong_network(_correctly, flat=True),
            "The dense layer gets more than the 1,280 averages: with `Flatten` it reads each position of the map by "
            'itself. Use `GlobalAveragePooling2D`, or `pooling="avg"` of MobileNetV2.',
        ),
        (
            lambda network: _learns(_dense(network)[-1]),
            _head_frozen,
            "Your dense layer is frozen too, so nothing could learn the new task: it must stay trainable.",
        ),
        (
            lambda network: any(_learns(layer) for half in _base(network) for layer in half),
            _base_frozen,
            "Everything in the base is frozen. From `block_13_expand` on the layers may learn; `trainable` of a whole "
            "network decides for all its layers, so set it to True first and then freeze single layers.",
        ),
        (
            lambda network: not any(map(_learns, _base(network)[0])),
            lambda: _wrong_network(lambda base, cut: None),
            "Layers before `block_13_expand` may learn. Go through `base.layers` in their order and freeze all that "
            "come before that one.",
        ),
        (
            lambda network: not any(_learns(layer) for layer in _base(network)[1] if _is_norm(layer)),
            lambda: _wrong_network(_from),
            "Batch normalisation layers after the cut may learn: that is the trap of section 6.8. Freeze every layer "
            "that is a `keras.layers.BatchNormalization`, wherever it stands.",
        ),
        (
            lambda network: all(_learns(layer) for layer in _base(network)[1] if not _is_norm(layer)),
            _one_block_only,
            "Some convolutions after the cut are frozen; of these layers only batch normalisation stays frozen.",
        ),
    ],
    hints=(
        "Build the base, then walk through `base.layers` with a flag that turns true at the layer named "
        "`block_13_expand`. Each layer's `trainable` gets the flag, unless it is a batch normalisation layer.",
        "After the loop: `keras.layers.GlobalAveragePooling2D()(base.output)`, then `keras.layers.Dense(1)`, then "
        "`keras.Model(base.input, …)`.",
    ),
    remark="Before training, compile: it is then that Keras decides which weights learn.",
)
def ready():
    import keras

    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3))
    behind = False
    for layer in base.layers:
        behind = behind or layer.name == "block_13_expand"
        layer.trainable = behind and not isinstance(layer, keras.layers.BatchNormalization)
    averages = keras.layers.GlobalAveragePooling2D()(base.output)
    return keras.Model(base.input, keras.layers.Dense(1)(averages))


def _wrong_network(freeze, size: int = 96, outputs: int = 1, activation: str | None = None, flat: bool = False):
    """Build a network for the known mistakes: `freeze(base, index of the cut)` sets what learns."""
    import keras

    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(size, size, 3))
    freeze(base, [layer.name for layer in base.layers].index("block_13_expand"))
    pooling = keras.layers.Flatten() if flat else keras.layers.GlobalAveragePooling2D()
    return keras.Model(base.input, keras.layers.Dense(outputs, activation=activation)(pooling(base.output)))


def _correctly(base, cut: int) -> None:
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= cut and not _is_norm(layer)


def _from(base, cut: int) -> None:
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= cut


@quiz(
    because="It costs minutes, needs no choice that you cannot check, and tells you whether more is worth the effort: "
    "if a sixth machine looks different, flexibility will not help.",
    hints=("What is scarce here: images, or flexibility of the network?",),
    A="A network that may change all its layers memorises 300 images of five machines, and learns little that holds "
    "for a sixth.",
    B="For images so far from photos of things an earlier layer may be better, and a random tenth shows machines that "
    "the head has learned from, not a new one.",
    D="ImageNet has no X-rays, but it has edges and textures. Finding these again from 300 images is the hardest way.",
)
def q3():
    return "C"
