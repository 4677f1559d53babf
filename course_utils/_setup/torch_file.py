"""Read the tensors of a file that PyTorch saved in its old format, without PyTorch and without running its pickles.

Such a file holds three small pickles (a magic number, the version, facts about the system), the pickled state dict,
whose tensors name their storages by a persistent id, a pickled list of the storages' keys, and for each storage a
64-bit count and the raw numbers (after ``torch.serialization``). A pickle can name any function to be called: this
reader knows three harmless names and refuses all others.
"""

import io
import math
import pickle
from collections import OrderedDict

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    # A note of what is where, as the numbers come after the pickles: storage, offset, size, strides.
    ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: arguments[:4],
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _KNOWN:
            raise ValueError(f"it asks for {module}.{name}, which is not part of a plain list of tensors")
        return _KNOWN[module, name]

    def persistent_load(self, identity: tuple) -> tuple[str, str]:
        return identity[2], identity[1]  # the storage's key, and the type of its numbers


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a state dict by name, float32 or int64, from the bytes of a file in the old format.

    Raises ValueError, in one sentence, if the file is damaged, or names anything but tensors of these two types.
    """
    stream, storages = io.BytesIO(content), {}
    try:
        magic, _, _, state, keys = (_Unpickler(stream).load() for _ in range(5))
        if magic != _MAGIC:
            raise ValueError("it does not begin as such a file does")
        types = dict(storage for storage, *_ in state.values())
        for key in keys:
            count = int.from_bytes(stream.read(8), "little")
            storages[key] = np.frombuffer(content, types[key], count, stream.tell())
            stream.seek(storages[key].nbytes, io.SEEK_CUR)
        if stream.tell() != len(content):
            raise ValueError("it is longer than its tensors")
        return {name: _tensor(name, storages[key], *rest) for name, ((key, _), *rest) in state.items()}
    except Exception as error:  # damaged pickles fail in many ways, not only with UnpicklingError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"this is not a readable PyTorch file of tensors: {reason}") from error


def _tensor(name: str, numbers: np.ndarray, offset: int, size: tuple, strides: tuple) -> np.ndarray:
    last = offset + sum((length - 1) * step for length, step in zip(size, strides, strict=True))
    if min(offset, *size, *strides, 0) < 0 or max(last + 1, math.prod(size)) > len(numbers):
        raise ValueError(f"the sizes of {name} do not fit its {len(numbers):,} numbers")
    # The numbers lie in any order: those of some kernels were transposed before they were saved.
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, [numbers.itemsize * s for s in strides]).copy()
