""".safetensors files: a header of JSON, and arrays mapped from the file, not copied.

https://huggingface.co/docs/safetensors has the format. A header is read without NumPy.
"""

import functools
import hashlib
import json
import math
import mmap
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncodec.errors import ModelInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

HEADER_LIMIT = 1 << 20
METADATA = "__metadata__"  # key of the header beside the names of tensors
_TYPES = {
    "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "<i1", "I32": "<i4", "I64": "<i8",
}  # fmt: skip

Stamp = tuple[int, int]
"""Size of a file and time of its last change, in ns."""


def read_header(path: Path) -> tuple[dict[str, Any], Stamp]:
    """Return the header of a .safetensors file, and when it was. Raises ModelInvalid.

    It is JSON, but need not be an object if the file is of others.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            raise ModelInvalid(f"{path}: not a .safetensors file: {len(start)} bytes")
        (size,) = struct.unpack("<Q", start)
        if size > HEADER_LIMIT:
            raise ModelInvalid(f"{path}: header of {size} bytes, the limit is {HEADER_LIMIT}")
        return _parsed(path, stream.read(size)), _stamp(stream.fileno())


def _parsed(path: Path, header: bytes) -> dict[str, Any]:
    try:
        return json.loads(header)
    except ValueError as error:
        raise ModelInvalid(f"{path}: header is not JSON: {error}") from None
    except RecursionError:
        raise ModelInvalid(f"{path}: header is nested too deep") from None


def _stamp(descriptor: int) -> Stamp:
    stat = os.fstat(descriptor)
    return stat.st_size, stat.st_mtime_ns


class TensorFile:
    """A .safetensors file in memory, as it was at a time: all that is read is of one mapping.

    Raises ModelInvalid if it has changed since.
    """

    def __init__(self, path: Path, stamp: Stamp) -> None:
        self._path = path
        with path.open("rb") as stream:
            if _stamp(stream.fileno()) != stamp:
                raise ModelInvalid(f"{path}: changed while it was read")
            if os.name == "nt":  # where a file that is mapped cannot be replaced or removed
                self._bytes = stream.read()
            else:
                self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of the whole file, in hexadecimal."""
        return hashlib.sha256(self._bytes).hexdigest()

    def arrays(self) -> "dict[str, NDArray[Any]]":
        """Return all tensors, read-only, over the file's bytes; bfloat16 as float32.

        Raises ModelInvalid for types that models do not have, and unless the tensors fill what
        follows the header without gap or overlap.
        """
        import numpy as np

        found = {}
        try:
            for name, kind, shape, start in self._entries():
                array = np.frombuffer(self._bytes, _TYPES[kind], math.prod(shape), start)
                if kind == "BF16":
                    array = (array.astype(np.uint32) << 16).view(np.float32)
                elif not array.flags.aligned:
                    array = array.copy()
                found[name] = array.reshape(shape)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ModelInvalid(f"{self._path}: damaged model file: {error}") from None
        return found

    def _entries(self) -> "Iterator[tuple[str, str, list[int], int]]":
        """Yield name, type, shape and place of each tensor, in the order of the file."""
        (size,) = struct.unpack_from("<Q", self._bytes)
        end = 8 + size
        header = _parsed(self._path, self._bytes[8:end])
        header.pop(METADATA, None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            kind, shape = entry["dtype"], entry["shape"]
            if kind not in _TYPES:
                raise ValueError(f"tensor {name}: type {kind}, expected {', '.join(_TYPES)}")
            if not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError(f"tensor {name}: shape {shape}")
            start, end = end, end + math.prod(shape) * int(_TYPES[kind][2:])
            if entry["data_offsets"] != [start - 8 - size, end - 8 - size]:
                raise ValueError(f"tensor {name}: does not follow the one before")
            if end > len(self._bytes):
                raise ValueError(f"tensor {name}: ends at {end} of {len(self._bytes)} bytes")
            yield name, kind, shape, start
        if end != len(self._bytes):
            raise ValueError(f"{len(self._bytes)} bytes, its tensors end at {end}")
