"""Models and contexts of the kernel; kernel.h has the functions behind them.

Shapes: P packets, S streams, Q codebooks, F frames, D width, K codes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.native import chosen_path
from ncodec.native import extension as _kernel

MAX_ROWS = 64
"""Most rows, streams times packets or frames, of one pass."""

_SIZES = ("n_codebooks", "codebook_size", "width", "n_layers", "n_heads", "window", "hidden",
          "head_hidden")  # fmt: skip


def load(sizes: Any, tensors: Mapping[str, NDArray[Any]]) -> "Model | None":
    """Return a model for the chosen path, None without one; the arguments are those of `Model`."""
    path = chosen_path()
    return Model(sizes, tensors, path) if path else None


class Model:
    """An entropy model as the kernel holds it; any number of threads may use it.

    sizes    an `EntropyConfig`
    tensors  arrays of whole numbers by name, as `ncodec.entropy.layout` lists and checks them
    """

    def __init__(self, sizes: Any, tensors: Mapping[str, NDArray[Any]], path: str) -> None:
        self.path = path
        self.width, self.codebook_size = int(sizes.width), int(sizes.codebook_size)
        self._handle = _kernel.model(*model_arguments(sizes, tensors), path)

    def context(
        self, n_streams: int, n_q: int, *, n_packets: int = 1, n_frames_at_once: int = 1
    ) -> "Context":
        """Return the state before key packets; `n_frames_at_once` of 1 is for decoding."""
        handle = _kernel.context(self._handle, n_packets, n_streams, n_q, n_frames_at_once)
        return Context(handle, n_streams, n_q, self.width, self.codebook_size)


class Context:
    """What the past of some packets leaves; for one call at a time."""

    def __init__(
        self, handle: Any, n_streams: int, n_q: int, width: int, codebook_size: int
    ) -> None:
        self.handle, self._frame = handle, (n_streams, n_q)
        self._n_streams, self._width, self._codebook_size = n_streams, width, codebook_size

    def reset(self) -> None:
        """Start again, as before a key packet."""
        _kernel.reset(self.handle)

    def decode(
        self, payloads: Sequence[bytes], n_frames: Sequence[int]
    ) -> tuple[list[NDArray[np.int32]], list[int]]:
        """Return the codes [F, S, Q] of packets in order of falling length.

        And for each -1, or after how many codes no symbol fits its payload.
        """
        codes = [np.zeros((count, *self._frame), np.int32) for count in n_frames]
        failed = _kernel.decode(self.handle, list(payloads), list(n_frames), codes)
        return codes, failed

    def encode(self, codes: NDArray[np.integer]) -> bytes:
        """Return the payload of a packet of codes [F, S, Q]."""
        return _kernel.encode(self.handle, np.ascontiguousarray(codes, np.int32))

    def hidden(self, codes: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return what the trunk says of each frame of a packet of codes, [F, S, D]."""
        found = np.empty((len(codes), self._n_streams, self._width), np.float32)
        _kernel.hidden(self.handle, np.ascontiguousarray(codes, np.int32), found)
        return found

    def logits(self, rows: NDArray[np.float32], q: int) -> NDArray[np.float32]:
        """Return the logits [N, K] of codebook q: rows [N, D] are of `hidden`, and vectors."""
        found = np.empty((len(rows), self._codebook_size), np.float32)
        _kernel.logits(self.handle, q, np.ascontiguousarray(rows, np.float32), found)
        return found


def model_arguments(
    sizes: Any, tensors: Mapping[str, NDArray[Any]]
) -> tuple[tuple[int, ...], bytes]:
    """Return the sizes and tensors of a `Model` as kernel.h lays them out."""
    blob = b"".join(_packed(tensors[name], name) for name in _order(sizes.n_layers))
    return tuple(int(getattr(sizes, name)) for name in _SIZES), blob


def _order(n_layers: int) -> list[str]:
    """Return the names of the tensors in the kernel's order: that of PAYLOADS.md."""
    matrices = ("attend", "distance", "gather", "up", "down")
    names = ["vectors", "vectors.shift", "start"]
    for number in range(n_layers):
        for name in matrices:
            names.append(f"layers.{number}.{name}")
            if name != "distance":
                names.append(f"layers.{number}.{name}.shift")
    for name in ("frame", "heads.up", "heads.out"):
        names += [name, f"{name}.shift"]
    return [*names, "heads.bias"]


def _packed(tensor: NDArray[Any], name: str) -> memoryview:
    wide = name == "start" or name == "heads.bias" or name.endswith("distance")
    return np.ascontiguousarray(tensor, "<i4" if wide else np.int8).data
