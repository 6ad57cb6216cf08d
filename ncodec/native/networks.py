"""Matrices, blocks and codebooks of the kernel; networks.h has the functions behind them.

Arrays are float32. Rows that the kernel writes are padded to whole multiples of LANES with zeros.
Tensors of weights are arrays of float32 or float16, as they stand in a model file.

Shapes: F frames, W width, Q codebooks, K codes, D latent; + for padded.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.native import extension as _kernel
from ncodec.native.kernel import Context

LANES = 16
ACTIVATIONS = {"gelu": 0, "relu2": 1}
_OF_BLOCK = ("depthwise", "depthwise_bias", "norm.weight", "norm.bias", "expand.weight",
             "expand.bias", "project.weight", "project.bias", "scale")  # fmt: skip

Floats = NDArray[np.float32]
Weights = NDArray[np.floating[Any]]


def padded(n: int) -> int:
    """Return the length of a row of n numbers."""
    return -(-n // LANES) * LANES


class Matrix:
    """Weights [out, in] and biases [out]; any number of threads may use it."""

    def __init__(self, weights: Weights, biases: Weights | None, path: str) -> None:
        n_out, self.n_in = weights.shape
        self.n_out = padded(n_out)
        self._handle = _kernel.matrix(n_out, self.n_in, _whole(weights), _whole(biases), path)

    def __call__(self, rows: Floats) -> Floats:
        """Return the products [F, out+] of rows [F, in or more]."""
        return self.strided(rows, rows.shape[1], len(rows))

    def strided(self, samples: Floats, step: int, n: int) -> Floats:
        """Return the same of n rows, each so many numbers after the one before, [n, out+]."""
        found = np.empty((n, self.n_out), np.float32)
        _kernel.product(self._handle, np.ascontiguousarray(samples), step, n, found)
        return found


class Stack:
    """Causal ConvNeXt blocks and a norm; any number of threads may use it.

    tensors  by the names of `ncodec.nn.convnext.ConvNeXtStack`
    """

    def __init__(
        self, tensors: Mapping[str, Weights], n_blocks: int, activation: str, path: str
    ) -> None:
        names = [f"blocks.{block}.{name}" for block in range(n_blocks) for name in _OF_BLOCK]
        width, _, kernel = tensors["blocks.0.depthwise"].shape
        hidden = len(tensors["blocks.0.expand.bias"])
        weights = [_whole(tensors[name]) for name in (*names, "norm.weight", "norm.bias")]
        sizes = (width, n_blocks, kernel, hidden, ACTIVATIONS[activation])
        self._handle = _kernel.stack(sizes, weights, path)
        self._shape = (n_blocks, kernel - 1, padded(width))

    def start(self) -> Floats:
        """Return the past of a stream's first frame: silence."""
        return np.zeros(self._shape, np.float32)

    def run(self, rows: Floats, past: Floats, condition: Floats | None = None) -> Floats:
        """Map rows [F, W+] to rows [F, W+]; `past` becomes that of the next call.

        condition  [blocks, 2, W+]: what is added to a scale of 1, and a shift, after each norm
        """
        found = np.empty_like(rows)
        _kernel.run(self._handle, condition, past, np.ascontiguousarray(rows), found)
        return found


class Codebooks:
    """Codebooks [Q, K, D] of a residual vector quantiser; any number of threads may use it."""

    def __init__(self, vectors: Weights, path: str) -> None:
        self.vectors = np.asarray(vectors, np.float32)
        self._path = path

    @cached_property
    def _handle(self) -> Any:
        return _kernel.codebooks(*self.vectors.shape, _whole(self.vectors), self._path)

    def search(
        self, latents: Floats, n_q: int, n_beams: int, context: Context | None = None,
        hidden: Floats | None = None, weights: Floats | None = None,
    ) -> NDArray[np.int32]:  # fmt: skip
        """Return the codes [F, n_q] of latents [F, D], by a beam search.

        context  of an entropy coder, whose bits are weighed; None for the nearest codes
        hidden   [F, W] what its trunk says of the frames
        weights  [F, n_q] what a bit is worth of half a square error
        """
        found = np.empty((len(latents), n_q), np.int32)
        handle = context.handle if context else None
        rows = np.ascontiguousarray(latents)
        _kernel.search(self._handle, handle, rows, hidden, weights, n_q, n_beams, found)
        return found

    def decode(self, codes: NDArray[np.integer]) -> Floats:
        """Return the latents [F, D] of codes [n_q, F]: sums in the order of the codebooks."""
        latents = self.vectors[0][codes[0]]
        for q in range(1, len(codes)):
            latents += self.vectors[q][codes[q]]
        return latents


def _whole(tensor: Weights | None) -> Weights | None:
    """Return an array as the kernel takes it."""
    if tensor is None:
        return None
    kind = tensor.dtype if tensor.dtype in (np.float16, np.float32) else np.float32
    return np.ascontiguousarray(tensor, kind)
