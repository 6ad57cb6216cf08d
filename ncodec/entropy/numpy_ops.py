"""The arithmetic of the integer transformer in NumPy, for few rows: see `torch_ops`.

What a call costs then matters more than the numbers it handles, and NumPy's calls cost a third of
torch's. Products are torch's all the same, which lets the number of threads be set.

Shapes: N rows, K codes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ncodec.entropy.inter_channel import ROOM_BITS
from ncodec.entropy.torch_ops import (
    LEADING,
    LIMIT,
    OCTAVES,
    ONE,
    ROOT_LIMIT,
    SCORE_BITS,
    SQUARE_SHIFT,
    STREAM_LIMIT,
    WEIGHT_BITS,
    Matrix,
    shares,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float32]
Bounds = tuple[NDArray[Any], NDArray[Any]]  # arrays, as numbers would be made into such each time

_MANY = 16  # rows, from where on torch finds frequencies faster

EIGHT_BIT, STREAM, SUM, ROOT = (
    (np.array(low, np.float32), np.array(high, np.float32))
    for low, high in (
        (-LIMIT, LIMIT),
        (-STREAM_LIMIT, STREAM_LIMIT),
        (-2 * STREAM_LIMIT, 2 * STREAM_LIMIT),
        (0, ROOT_LIMIT),
    )
)
_SQUARE, _LOWEST, _PER_SCORE = (
    np.array(number, np.float32)
    for number in (2.0**-SQUARE_SHIFT, -OCTAVES << SCORE_BITS, 1 << (23 - SCORE_BITS))
)
_WEIGHT_BASE = np.array(ONE + (WEIGHT_BITS << 23), np.int32)
_LEADING, _EXPONENT = np.array(LEADING, np.int32), np.array(0x7F800000, np.int32)


class Buffers:
    """Where rows are multiplied with matrices of one shape: arrays of NumPy and torch alike."""

    def __init__(self, n_rows: int, n_out: int, n_in: int, *, small: bool) -> None:
        self.multiply: Callable[..., Tensor] = torch._int_mm if small else torch.mm  # pyright: ignore
        self.rows = np.empty((n_rows, n_in), np.int8 if small else np.float32)
        self.total = np.empty((n_rows, n_out), np.int32 if small else np.float32)
        self.tensors = torch.from_numpy(self.rows), torch.from_numpy(self.total)


class Product:
    """Products with one matrix."""

    def __init__(self, matrix: Matrix, buffers: Buffers) -> None:
        self._buffers = buffers
        self._weight = matrix.weight.T if matrix.small is None else matrix.small
        self._scale = np.asarray(matrix.scale, np.float32)

    def total(self, rows: Floats) -> NDArray[Any]:
        """Return `Arithmetic.product`, [..., out]; the next product overwrites it."""
        buffers = self._buffers
        np.copyto(buffers.rows, rows, casting="unsafe")
        buffers.multiply(buffers.tensors[0], self._weight, out=buffers.tensors[1])
        return buffers.total

    def rounded(self, rows: Floats, bounds: Bounds) -> Floats:
        """Return the product, scaled, rounded and limited."""
        total = self.total(rows).astype(np.float32)
        total *= self._scale
        np.rint(total, out=total)
        return limit(total, bounds)


def limit(numbers: Floats, bounds: Bounds) -> Floats:
    """Limit numbers in place."""
    np.maximum(numbers, bounds[0], out=numbers)
    return np.minimum(numbers, bounds[1], out=numbers)


def squared(root: Floats) -> Floats:
    """Return the squares as 7-bit numbers; `root` is overwritten."""
    root *= root
    root *= _SQUARE
    return np.rint(root, out=root)  # ROOT_LIMIT becomes LIMIT


def norm(stream: Floats, scales: Floats) -> Floats:
    """See Arithmetic."""
    sums = np.add.reduce(np.abs(stream), 1, keepdims=True)
    normed = stream * scales.take(sums.view(np.int32) >> _LEADING)
    np.rint(normed, out=normed)
    return limit(normed, EIGHT_BIT)


def weights(scores: Floats) -> Floats:
    """See Arithmetic; `scores` are overwritten."""
    scores -= np.maximum.reduce(scores, -1, keepdims=True)
    np.maximum(scores, _LOWEST, out=scores)
    scores *= _PER_SCORE
    bits = scores.astype(np.int32)
    bits += _WEIGHT_BASE
    return np.rint(bits.view(np.float32), out=scores)


def frequencies(logits: NDArray[Any], shift: int) -> Floats:
    """Return `torch_ops.frequencies` of logits [N, K], which may be overwritten, in float32."""
    if len(logits) >= _MANY:
        return shares(torch.from_numpy(logits), shift, ROOM_BITS).floor_().add_(1).numpy()
    bits = logits.astype(np.int32)
    n_codes = bits.shape[1]
    base_bits = 23 - (n_codes - 1).bit_length()
    most = np.maximum.reduce(bits, 1, keepdims=True)
    np.maximum(bits, most - (OCTAVES << shift), out=bits)
    bits += ((ONE + (base_bits << 23)) >> (23 - shift)) - most
    bits <<= 23 - shift
    found = bits.view(np.float32)
    sums = np.add.reduce(np.floor(found), 1, keepdims=True)
    room = ((1 << ROOM_BITS) - n_codes) / (sums + n_codes)
    found *= (room.view(np.int32) & _EXPONENT).view(np.float32)
    np.floor(found, out=found)
    found += 1
    return found
