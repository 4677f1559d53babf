"""PyTorch's old file format: read without PyTorch, and nothing in a file can make the reader run anything."""

import io
import os
import pickle
from collections import OrderedDict
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest

from course_utils._setup import torch_file
from course_utils._setup.torch_file import read_tensors


class _Named:
    """Something that a pickle stores as the name of a function or type, with its arguments."""

    def __init__(self, function, *arguments):
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts


class _Writer(pickle._Pickler):  # Python's slow version, which can be told to write names that do not exist here
    def save_name(self, thing):
        module, name = {tensor: ("torch._utils", "_rebuild_tensor_v2")}.get(thing, (thing.__module__, thing.__name__))
        self.write(f"c{module}\n{name}\n".encode())

    dispatch = pickle._Pickler.dispatch | {FunctionType: save_name, type: save_name}

    def persistent_id(self, thing):
        return thing.identity if isinstance(thing, SimpleNamespace) else None


def tensor():
    """Stand for PyTorch's function; never called."""


class FloatStorage:
    __module__ = "torch"


class DoubleStorage:
    __module__ = "torch"


def storage(key="0", kind=FloatStorage):
    return SimpleNamespace(identity=("storage", kind, key, "cpu", 6, None))


def saved(state, numbers=(1, 2, 3, 4, 5, 6), magic=torch_file._MAGIC, count=None, keys=("0",)):
    stream = io.BytesIO()
    for content in (magic, 1001, {"little_endian": True}, OrderedDict(state), list(keys)):
        _Writer(stream, protocol=2).dump(content)
    stream.write((len(numbers) if count is None else count).to_bytes(8, "little"))
    stream.write(np.array(numbers, "<f4").tobytes())
    return stream.getvalue()


def weight(offset=0, size=(2, 3), stride=(3, 1), **known):
    return {"weight": _Named(tensor, storage(**known), offset, size, stride, False, OrderedDict())}


def test_tensors_are_read_in_any_order_of_their_numbers():
    assert read_tensors(saved(weight()))["weight"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_tensors(saved(weight(size=(3, 2), stride=(1, 3))))["weight"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert read_tensors(saved(weight(offset=4, size=(2,), stride=(1,))))["weight"].tolist() == [5, 6]


@pytest.mark.parametrize("function", [os.system, eval, print, os.path.join], ids=lambda function: function.__name__)
def test_hostile_file_runs_nothing(tmp_path, function):
    mark = tmp_path / "mark"
    content = saved(weight() | {"gift": _Named(function, f"touch {mark}")})
    with pytest.raises(ValueError, match=r"asks for \w+\.\w+, which is not part of a plain list of tensors"):
        read_tensors(content)
    with pytest.raises(ValueError, match="asks for"):
        read_tensors(pickle.dumps(_Named(function, f"touch {mark}"), protocol=2) + content)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(weight())[:-1], "buffer is smaller"),
        (saved(weight())[:-24], "buffer is smaller"),
        (saved(weight())[:60], "pickle"),
        (b"", "Ran out of input"),
        (b"PK\3\4 a zip file, as PyTorch writes today", "not a readable"),
        (saved(weight()) + b"more", "longer than its tensors"),
        (saved(weight(), magic=7), "does not begin"),
        (saved(weight(size=(2, 4))), "sizes of weight do not fit its 6 numbers"),
        (saved(weight(size=(10**12,), stride=(0,))), "sizes of weight do not fit"),
        (saved(weight(offset=-1)), "sizes of weight do not fit"),
        (saved(weight(stride=(3, -1))), "sizes of weight do not fit"),
        (saved(weight(stride=(3,))), "shorter"),
        (saved(weight(), count=2**62), "not a readable"),
        (saved(weight(kind=DoubleStorage)), "asks for torch.DoubleStorage"),
        (saved(weight(), keys=("1",)), "not a readable"),
        (saved({"weight": 3}), "not a readable"),
    ],
)
def test_damaged_file_gives_one_sentence(content, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        read_tensors(content)
    message = str(caught.value)
    assert message.startswith("this is not a readable PyTorch file of tensors: ") and "\n" not in message
