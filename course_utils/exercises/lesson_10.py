"""Exercises of lesson 10: order of axes, Flatten, running averages, a module of one's own, a training loop.

PyTorch is imported inside the functions that need it: `progress` imports this module where PyTorch is not installed.
"""

import copy

import numpy as np

from course_utils.exercises.engine import Function, function, quiz, value
from course_utils.exercises.engine.feedback import Feedback

_NO_TENSOR = "The numbers are right, but a layer takes a PyTorch tensor, and this is {}: make one with `torch.tensor`."
_NOT_FLOAT32 = "The numbers are right, but the dtype is {}. The weights of a layer are float32: use `.float()`."


class _TensorFunction(Function):
    """A function that has to return a float32 tensor: an array with the right numbers is not enough."""

    def _judge(self, answer):
        feedback = super()._judge(answer)
        if feedback.status != "correct":
            return feedback
        import torch

        for result in self._try(answer)[0]:
            if not isinstance(result, torch.Tensor):
                kind = "a list" if isinstance(result, list) else "a NumPy array"
                return Feedback("wrong", _NO_TENSOR.format(kind))
            if result.dtype != torch.float32:
                return Feedback("wrong", _NOT_FLOAT32.format(str(result.dtype).removeprefix("torch.")))
        return feedback


def _tensor_function(**options):
    return lambda reference: _TensorFunction(reference, **options)


def _images(shape, seed=10):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@_tensor_function(
    inputs=lambda: [
        (np.array([[[[0, 51], [102, 153], [204, 255]]]], np.uint8),),  # 1 image of 1 × 3 pixels, 2 channels
        (_images((2, 2, 3, 3)),),
        (_images((3, 4, 4, 1)),),
        (_images((2, 5, 4, 3), 11),),
    ],
    hints=(
        "Two things have to be done: give the axes another order, and bring 0…255 to 0…1. Which command only cuts the "
        "same row of numbers differently?",
        "`torch.from_numpy(images)` makes the tensor. Number its axes 0, 1, 2, 3 and say, for each position of the "
        "result, which of them goes there.",
    ),
    remark="`images.transpose(0, 3, 1, 2)` does the same in NumPy, before `torch.from_numpy`.",
)
def to_torch(images):
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _scaled(images):
    return images.astype(np.float32) / 255


@to_torch.mistake("You used `reshape`: the shape is right, but the channels are mixed. Give the axes another order.")
def reshapes(images):
    n, height, width, channels = images.shape
    return _scaled(images).reshape(n, channels, height, width)


@to_torch.mistake("Your images lie on their side: height and width are exchanged. Only the channels move.")
def on_its_side(images):
    return _scaled(images).transpose(0, 3, 2, 1)


@to_torch.mistake("The channels are still last. PyTorch wants (n, channels, height, width).")
def channels_last(images):
    return _scaled(images)


@to_torch.mistake("The order of the axes is right, but the values still go to 255. The task asks for floats in 0…1.")
def not_scaled(images):
    return images.transpose(0, 3, 1, 2).astype(np.float32)


@to_torch.mistake("The order of the axes is right, but you divided whole numbers: all below 255 became 0.")
def whole_numbers(images):
    return (images // 255).transpose(0, 3, 1, 2)


@to_torch.mistake("Your values are in −1…1. The task asks for floats in 0…1.")
def minus_one_to_one(images):
    return _scaled(images).transpose(0, 3, 1, 2) * 2 - 1


@to_torch.mistake("The channels come first of all, before the images. The axis of the images stays in front.")
def channels_before_images(images):
    return _scaled(images).transpose(3, 0, 1, 2)


@to_torch.mistake("The channels come in reverse. Their axis moves, their own order (red, green, blue) does not.")
def channels_reversed(images):
    return _scaled(images).transpose(0, 3, 1, 2)[:, ::-1]


@to_torch.mistake("(x − 127) / 128 is what EfficientNet-Lite0 wants. The task asks for floats in 0…1.")
def as_for_lite(images):
    return (images.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128


@to_torch.mistake("You divided by 256. The brightest value is 255, and it should become 1.")
def by_256(images):
    return images.transpose(0, 3, 1, 2).astype(np.float32) / 256


@to_torch.mistake(_NO_TENSOR.format("a NumPy array"))
def stays_an_array(images):
    return _scaled(images).transpose(0, 3, 1, 2)


@to_torch.mistake(_NO_TENSOR.format("a list"))
def becomes_a_list(images):
    return stays_an_array(images).tolist()


@to_torch.mistake(_NOT_FLOAT32.format("float64"))
def stays_float64(images):
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2) / 255)


@quiz(
    because="The loss takes the probabilities 1, 0, 0, 0 for logits: its softmax makes e / (e + 3) of the 1, and −ln "
    "of that is ln(e + 3) − 1.",
    hints=("What does the softmax inside the loss make of 1, 0, 0, 0?",),
    A="It would be 0 if the network ended in logits. Here the loss applies a second softmax, and four numbers of 0…1 "
    "cannot give a probability near 1.",
    C="ln 4 is the loss of a network that knows nothing. This one has learned, and is sure.",
    D="1.46 belongs to ten classes: ln(e + 9) − 1. How many zeros are there beside the one here?",
)
def q1():
    return "B"


def _weight(units, channels, height, width, seed=10):
    count = units * channels * height * width
    return np.random.default_rng(seed).permutation(count).reshape(units, -1).astype(np.float32)


@function(
    inputs=lambda: [
        (np.arange(8, dtype=np.float32).reshape(1, 8), 2, 2, 2),
        (np.arange(12, dtype=np.float32).reshape(2, 6), 3, 1, 2),
        (_weight(2, 3, 2, 4), 3, 2, 4),
        (_weight(5, 4, 3, 2, 11), 4, 3, 2),
    ],
    hints=(
        "Take the long axis apart into the three it was made of, in PyTorch's order. Then put the four axes into the "
        "order of Keras.",
        "`weight.reshape(units, channels, height, width)` takes it apart. Keras wants (height, width, channels, "
        "units), the first three in one.",
    ),
    remark="Take apart, turn, put together: the same three steps in either direction.",
)
def to_keras(weight, channels, height, width):
    units = len(weight)
    cube = weight.reshape(units, channels, height, width)
    return cube.transpose(2, 3, 1, 0).reshape(height * width * channels, units)


@to_keras.mistake("You only transposed. The rows are still in PyTorch's order: channel by channel.")
def only_transposed(weight, channels, height, width):
    return weight.T


@to_keras.mistake(
    "The result has the right shape, but `reshape` alone does not turn anything: the axes keep their order."
)
def only_reshaped(weight, channels, height, width):
    return weight.reshape(-1, len(weight))


@to_keras.mistake("Height and width are exchanged: Keras goes through the rows of a map first.")
def sides_exchanged(weight, channels, height, width):
    cube = weight.reshape(len(weight), channels, height, width)
    return cube.transpose(3, 2, 1, 0).reshape(-1, len(weight))


@to_keras.mistake(
    "You took the long axis apart in Keras' order, as the lesson does on the way to PyTorch. In PyTorch's weight it is "
    "(channels, height, width)."
)
def apart_as_in_keras(weight, channels, height, width):
    cube = weight.reshape(len(weight), height, width, channels)
    return cube.transpose(3, 1, 2, 0).reshape(-1, len(weight))


@to_keras.mistake("The rows are in the right order, but the kernel of a `Dense` layer is (in, out): transpose it.")
def not_transposed(weight, channels, height, width):
    return to_keras.reference(weight, channels, height, width).T


@to_keras.mistake("The order is right. Now put height, width and channels together into one axis.")
def still_four_axes(weight, channels, height, width):
    return weight.reshape(len(weight), channels, height, width).transpose(2, 3, 1, 0)


@quiz(
    because="In training mode batch normalisation takes mean and variance from the batch, so each prediction depends "
    "on the other images in it; a batch of 600 knows more than one of 1.",
    hints=("Which layer looks at other images of the batch, and when?",),
    A="`no_grad` changes what is remembered, not what is computed: the accuracies would be the same, only slower.",
    C="A seed makes dropout repeat itself. But with `eval()` nothing is random, and the batch size makes no "
    "difference.",
    D="No gradient is used when nobody trains.",
)
def q2():
    return "B"


def _batch(n, features, seed):
    return np.random.default_rng(seed).normal(1, 2, (n, features))


@function(
    inputs=lambda: [
        (np.array([0.0]), np.array([1.0]), np.array([[1.0], [3.0]]), 0.1),
        (np.array([2.0]), np.array([5.0]), np.array([[1.0], [2.0], [6.0]]), 0.5),
        (np.zeros(3), np.ones(3), _batch(4, 3, 10), 0.1),
        (np.array([1.0, -1.0]), np.array([2.0, 0.5]), _batch(6, 2, 11), 0.01),
        (np.array([1.0, -1.0]), np.array([2.0, 0.5]), _batch(3, 2, 12), 1.0),
    ],
    hints=(
        "The new average is a mixture: a fraction of the old one and a fraction of what the batch has. Which of the "
        "two does `momentum` belong to in PyTorch?",
        "`np.var` divides by n. Its argument `ddof=1` makes it divide by n − 1.",
    ),
    remark="For normalising the batch itself, PyTorch divides by n, as Keras does; n − 1 is only for the buffer.",
)
def running(mean, variance, batch, momentum):
    new_mean = (1 - momentum) * mean + momentum * batch.mean(axis=0)
    new_variance = (1 - momentum) * variance + momentum * batch.var(axis=0, ddof=1)
    return new_mean, new_variance


@running.mistake(
    "`momentum` is meant as Keras means it here, the fraction that stays. In PyTorch it is the fraction that is new."
)
def as_keras(mean, variance, batch, momentum):
    return running.reference(mean, variance, batch, 1 - momentum)


@running.mistake("The mean is right. The variance of the batch divides by n; for its buffer PyTorch divides by n − 1.")
def by_n(mean, variance, batch, momentum):
    new_mean, _ = running.reference(mean, variance, batch, momentum)
    return new_mean, (1 - momentum) * variance + momentum * batch.var(axis=0)


@running.mistake("Two things: `momentum` is the fraction that is new, and the variance of the batch divides by n − 1.")
def as_keras_in_both(mean, variance, batch, momentum):
    return by_n(mean, variance, batch, 1 - momentum)


@running.mistake("You mixed in the standard deviation. The buffer holds a variance, its square.")
def deviation(mean, variance, batch, momentum):
    new_mean, _ = running.reference(mean, variance, batch, momentum)
    return new_mean, (1 - momentum) * variance + momentum * batch.std(axis=0, ddof=1)


@running.mistake("You return the numbers of the batch alone. They are only mixed in, with the weight `momentum`.")
def batch_alone(mean, variance, batch, momentum):
    return batch.mean(axis=0), batch.var(axis=0, ddof=1)


@running.mistake("You took one mean over the whole batch. Each feature, a column of `batch`, has its own.")
def over_everything(mean, variance, batch, momentum):
    new_mean = (1 - momentum) * mean + momentum * batch.mean()
    return new_mean, (1 - momentum) * variance + momentum * batch.var(ddof=1)


@running.mistake(
    "You added the batch's term to the whole old average. The old one must give way: its weight is 1 − momentum."
)
def old_one_stays(mean, variance, batch, momentum):
    return mean + momentum * batch.mean(axis=0), variance + momentum * batch.var(axis=0, ddof=1)


@running.mistake("You return the variance first. The task asks for the mean, then the variance.")
def variance_first(mean, variance, batch, momentum):
    return running.reference(mean, variance, batch, momentum)[::-1]


def _output(network, height=64, width=64):
    """Return the output of a network for four images of noise."""
    import torch

    images = torch.rand((4, 3, height, width), generator=torch.Generator().manual_seed(10))
    with torch.no_grad():
        return network(images)


def _ready(network):
    """Return a copy in eval mode that was called once, so that lazy layers know their sizes."""
    network = copy.deepcopy(network).eval()
    _output(network)
    return network


def _is_module(network):
    from torch import nn

    return isinstance(network, nn.Module)


def _has_convolution(network):
    from torch import nn

    return any(isinstance(layer, nn.Conv2d) for layer in network.modules())


def _count(network):
    return sum(parameter.numel() for parameter in _ready(network).parameters())


def _can_be_negative(network):
    """Return whether an output is below 0 with random signs of all weights, in at least one of eight samples."""
    import torch

    network, random = _ready(network), torch.Generator().manual_seed(10)
    with torch.no_grad():
        for _ in range(8):
            for parameter in network.parameters():
                parameter *= torch.randint(0, 2, parameter.shape, generator=random) * 2 - 1
            if (_output(network) < 0).any():
                return True
    return False


def _linear(numbers_in, numbers_out):
    from torch import nn

    return nn.Linear(numbers_in, numbers_out)


def _runs(network):
    try:
        return _ready(network) is not None
    except Exception:  # whatever a learner's network may raise
        return False


def _first_channels(network):
    """Return how many channels the first convolution takes: 0 for a lazy one, None without a convolution."""
    from torch import nn

    return next((layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)


def _grows(network):
    """Return whether the outputs grow with the weights, as those of a bounded last layer (tanh) do not."""
    import torch

    network = _ready(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 30
    return bool((_output(network).abs() > 2).any())


def _drops_logits(network):
    """Return whether logits are exactly 0 in training mode, in eight batches, but not in inference mode."""
    network = _ready(network)
    if (_output(network) == 0).any():
        return False
    network.train()
    return any(bool((_output(network) == 0).any()) for _ in range(8))


def _ends_in_tanh():
    from torch import nn

    return _pooled(3, 8, 5, nn.Tanh())


def _ends_in_dropout():
    from torch import nn

    return _pooled(3, 8, 5, nn.Dropout(0.3))


def _convolutions_in_a_list():
    from torch import nn

    return _in_a_list(list(_pooled())[:-1], nn.Linear(8, 5))


def _flattens():
    from torch import nn

    return _sequence(nn.Conv2d(3, 1, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 5))


def _ends_in_softmax():
    from torch import nn

    return _pooled(3, 8, 5, nn.Softmax(dim=1))


@value(
    rules=[
        (
            lambda network: not isinstance(network, type),
            lambda: type(leaf_net.right_answer),
            "That is the class. Make one network of it, by calling it: `leaf_net = LeafNet()`.",
        ),
        (
            _is_module,
            lambda: lambda x: x.mean(dim=(2, 3)),
            "A PyTorch module is expected: a class that inherits from `nn.Module`, or `nn.Sequential`, and one network "
            "of it.",
        ),
        (
            lambda network: _runs(network) or _first_channels(network) in (None, 0, 3),
            lambda: _pooled(1),
            "The first convolution expects another number of channels than 3. A photo has three, red, green and blue.",
        ),
        (
            _runs,
            lambda: _pooled(3, 8, 5, _linear(7, 5)),
            "The network stops with an error on a batch of shape (4, 3, 64, 64). Run "
            "`leaf_net(torch.rand(4, 3, 64, 64))`: the last line of the error says which layer gets another shape than "
            "it expects.",
        ),
        (
            lambda network: _count(network) > 0,
            lambda: _in_a_list(list(_pooled())),
            "PyTorch finds no parameters in this network, so nothing could be trained. It sees layers that are "
            "attributes of their own (`self.conv = …`), or in an `nn.ModuleList` or `nn.Sequential`; in a plain list "
            "it does not see them.",
        ),
        (
            _has_convolution,
            _convolutions_in_a_list,
            "There is no convolution among the layers that PyTorch sees: they must be attributes of their own, or in "
            "an `nn.ModuleList` or `nn.Sequential`, not in a plain list.",
        ),
        (
            lambda network: tuple(_output(_ready(network)).shape) == (4, 5),
            lambda: _pooled(3, 8, 10),
            "The result must have the shape (n, 5): for each image one logit per class. If yours is (n, 5, height, "
            "width), average over the positions; if it is (n, 5, 1, 1), flatten it.",
        ),
        (
            lambda network: tuple(_output(_ready(network), 80, 96).shape) == (4, 5),
            _flattens,
            "The network works at 64 × 64 but not at 80 × 96: a `Linear` layer behind `flatten` is tied to one size. "
            "Average each map over its positions first.",
        ),
        (
            _can_be_negative,
            _ends_in_softmax,
            "The outputs are never negative, whatever the weights are. Logits are any numbers: leave out what comes "
            "behind the last layer (softmax belongs to the loss, see 10.4; ReLU and sigmoid cut off as well).",
        ),
        (
            _grows,
            _ends_in_tanh,
            "The outputs stay within −2…2, however large the weights are. Logits are any numbers: leave out the "
            "activation behind the last layer.",
        ),
        (
            lambda network: not _drops_logits(network),
            _ends_in_dropout,
            "In training mode some of the logits are set to 0, as dropout does. Dropout belongs before the last layer, "
            "where it removes features; behind it, it removes predictions.",
        ),
        (
            lambda network: _count(network) < 10_000,
            lambda: _pooled(3, 500),
            "The network has 10,000 parameters or more. `sum(p.numel() for p in leaf_net.parameters())` counts them.",
        ),
    ],
    hints=(
        "Two convolutions with pooling between them are plenty. What lesson 05 puts in place of `Flatten` works for "
        "any size.",
        "`x.mean(dim=(2, 3))` averages each map over its positions and leaves (n, channels) for `nn.Linear(channels, "
        "5)`.",
    ),
    remark="`nn.AdaptiveAvgPool2d(1)` is the same average as a layer, for use in `nn.Sequential`.",
)
def leaf_net():
    from torch import nn
    from torch.nn import functional as F

    class LeafNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3)
            self.conv2 = nn.Conv2d(16, 32, 3)
            self.out = nn.Linear(32, 5)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.relu(self.conv2(x))
            return self.out(x.mean(dim=(2, 3)))

    return LeafNet()


def _sequence(*layers):
    from torch import nn

    return nn.Sequential(*layers)


def _pooled(channels_in=3, maps=8, outputs=5, *after):
    from torch import nn

    body = [nn.Conv2d(channels_in, maps, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _sequence(*body, nn.Linear(maps, outputs), *after)


def _in_a_list(layers, *registered):
    """Return a module whose `layers` are in a plain list, where PyTorch does not see them."""
    from torch import nn

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers
            self.out = nn.Sequential(*registered)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.out(x)

    return Hidden()


@quiz(
    because="The refusal says that the file wants a function called, not only numbers read. For numbers that is never "
    "needed.",
    hints=("What can a function do that a file asks to be called?",),
    A="What the file is about does not limit what it does. Many people may have run it without noticing.",
    B="A user's rights are enough to read your files, your keys and your photos, and to send them away.",
    D="The ending is only a name: `.pt` and `.pth` hold the same kind of pickle.",
)
def q3():
    return "C"


def _are_lines(lines):
    return len(set(lines)) >= 1 and all(line == int(line) and 1 <= line <= 11 for line in lines)


@value(
    rules=[
        (
            _are_lines,
            {"softmax", "zero_grad", "eval"},
            "A set of three line numbers is expected, such as {4, 8, 11}: whole numbers from 1 to 11.",
        ),
        (
            lambda lines: 2 not in lines,
            {1, 2, 9},
            "Line 2 is sound: the optimizer gets all weights of the network, also those of a network inside it.",
        ),
        (
            lambda lines: not {3, 4} & set(lines),
            {1, 4, 7},
            "Lines 3 and 4 are sound: every epoch begins in training mode.",
        ),
        (
            lambda lines: 5 not in lines,
            {1, 5, 9},
            "A line before line 5 would run once per epoch. What is missing there must happen for each batch, inside "
            "the loop.",
        ),
        (
            lambda lines: 11 not in lines,
            {1, 7, 11},
            "Line 11 is sound: the largest output is the predicted class, before a softmax and after it. What the "
            "network computes it with is settled before.",
        ),
        (
            lambda lines: 1 in lines,
            {6, 7, 9},
            "One is missing among the lines that build the network: what does `F.cross_entropy` do by itself?",
        ),
        (
            lambda lines: 8 not in lines,
            {1, 8, 9},
            "Before line 8 the gradients of this batch have just been computed: to forget them there would leave "
            "nothing to learn from. It must happen before `backward`.",
        ),
        (
            lambda lines: {6, 7} & set(lines),
            {1, 9, 10},
            "One is missing in the loop over the batches: what does `backward` do with the gradients that are there "
            "already?",
        ),
        (
            lambda lines: {9, 10} & set(lines),
            {1, 6, 7},
            "One is missing behind that loop: `no_grad` does not change what the layers compute. What does?",
        ),
        (
            lambda lines: len(set(lines)) == 3,
            {1, 6, 7, 9},
            "The task asks for three line numbers. Several numbers for one and the same mistake are not needed.",
        ),
    ],
    hints=(
        "One mistake is in how the network ends, one in the loop over the batches, one behind it.",
        "Go through the five lines of `train_epoch` and the two of `evaluate` in 10.3: which have no counterpart here?",
    ),
    remark="Not one line complains. So measure, and know what to expect.",
)
def mistakes():
    return {1, 7, 9}
