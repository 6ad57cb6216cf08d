"""What an entropy model consists of: sizes, tensors, units, and the bounds on its sums.

Shapes: Q codebooks, K codes, D width, H heads, W window, M hidden units, P those of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncodec.errors import ModelInvalid

LIMIT = 127  # of 8-bit activations and weights
EXACT = 1 << 24  # whole numbers up to here are exact in float32
STREAM_LIMIT = (1 << 15) - 1  # of the residual stream
ROOT_LIMIT = 2040  # of what is squared: 2040**2 / 2**15 = 127
SQUARE_SHIFT = 15
SCORE_BITS = 10  # attention scores have a unit of 2**-10 octaves

# Units, as powers of two: what a whole number n stands for is n * 2**-UNIT.
STREAM_UNIT = 8  # residual stream
ACTIVATION_UNIT = 4  # normalised rows, queries, keys, values
ROOT_UNIT = 9  # hidden units before the square
SQUARE_UNIT = 2 * ROOT_UNIT - SQUARE_SHIFT
MASKED = -(1 << 22)  # added to the score of a key out of reach
MASKED_OCTAVES = 9  # that it then lies below any other: its weight, of 256, is none
MAX_SHIFT = 20
LARGEST = {
    "n_codebooks": 128,  # the sum of their vectors
    "codebook_size": 4096,  # the sum of a row's shares
    "width": 512,  # the sum of magnitudes in the norm
    "n_layers": 64,
    "n_heads": 512,
    "window": 256,  # sums of weights and of weighted values, and their quotient
    "hidden": EXACT,
    "head_hidden": EXACT,
}
"""What sizes may be at most; the comments name the sums that are exact up to there."""


@dataclass(frozen=True, slots=True)
class EntropyConfig:
    """Sizes of an entropy model."""

    n_codebooks: int
    codebook_size: int
    width: int = 192
    n_layers: int = 4
    n_heads: int = 6
    window: int = 64  # frames that a layer sees, the present one among them
    hidden: int = 576  # units of a layer's MLP
    head_hidden: int = 160  # units of a codebook's head

    @property
    def head_width(self) -> int:
        """Units of an attention head."""
        return self.width // self.n_heads

    @property
    def context_frames(self) -> int:
        """Frames before the present one that its frequencies depend on."""
        return self.n_layers * (self.window - 1) + 1


def layout(config: EntropyConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a model, by name.

    Matrices [..., out, in] and vectors are 8-bit; a matrix has a shift for each row, `heads.out`
    and `vectors` have one for each codebook. The others are whole numbers of 32 bits.
    """
    q, k, d, r = config.n_codebooks, config.codebook_size, config.width, config.head_hidden
    shapes: dict[str, tuple[int, ...]] = {"vectors": (q, k, d), "start": (q, d)}
    for number in range(config.n_layers):
        shapes |= {
            f"layers.{number}.attend": (3 * d, d),
            f"layers.{number}.distance": (config.n_heads, config.window),
            f"layers.{number}.gather": (d, d),
            f"layers.{number}.up": (config.hidden, d),
            f"layers.{number}.down": (d, config.hidden),
        }
    shapes |= {"frame": (d, d), "heads.up": (q, r, d), "heads.out": (q, k, r), "heads.bias": (q, k)}
    shifts = {f"{name}.shift": shape[:-1] for name, shape in shapes.items() if is_matrix(name)}
    return shapes | shifts | {"heads.out.shift": (q,), "vectors.shift": (q,)}


def is_matrix(name: str) -> bool:
    """Tell whether a tensor multiplies activations, and so has shifts."""
    return name not in ("vectors", "start", "heads.bias") and not name.endswith(
        ("distance", "shift")
    )


def tensor_type(name: str) -> np.dtype[Any]:
    """Return the type of a tensor in a model file."""
    small = is_matrix(name) or name == "vectors" or name.endswith(".shift")
    return np.dtype(np.int8 if small else np.int32)


def check(config: EntropyConfig, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ModelInvalid unless every sum that the model can form is exact in float32."""
    check_sizes(config)
    for name in sorted(layout(config).keys() ^ arrays.keys()):
        raise ModelInvalid(f"tensor {name}: unknown or missing")
    for name, shape in layout(config).items():
        array, kind = arrays[name], tensor_type(name)
        if array.shape != shape or array.dtype != kind:
            found = f"{array.dtype} {list(array.shape)}"
            raise ModelInvalid(f"tensor {name}: {found}, expected {kind} {list(shape)}")
        low, high = int(array.min()), int(array.max())
        if name.endswith(".shift"):
            limit = STREAM_UNIT if name == "vectors.shift" else MAX_SHIFT
            _expect(low >= 0 and high <= limit, f"{name} reaches from {low} to {high}")
        elif name != "heads.bias":
            limit = {"start": STREAM_LIMIT}.get(name, LIMIT)
            if name.endswith("distance"):
                limit = -MASKED - 2 * LIMIT**2 * config.head_width - (MASKED_OCTAVES << SCORE_BITS)
            most = max(-low, high)
            _expect(most <= limit, f"{name} holds {most}, at most {limit} is possible")
        if is_matrix(name):
            most = int(abs(array).sum(-1, dtype=np.int64).max()) * LIMIT
            if name == "heads.out":  # twice: the difference of two logits
                most = 2 * (most + int(abs(arrays["heads.bias"].astype(np.int64)).max()))
            _expect(most < EXACT, f"{name}: a sum can reach {most}, the limit is {EXACT}")


def check_sizes(config: EntropyConfig) -> None:
    """Raise ModelInvalid for sizes that no model can have."""
    c = config
    for name, limit in LARGEST.items():
        value: Any = getattr(c, name)
        fits = isinstance(value, int) and 1 <= value <= limit
        _expect(fits, f"{name} is {value!r}, expected 1 to {limit}")
    _expect(c.codebook_size > 1, "codebook_size is 1")
    _expect(c.width % c.n_heads == 0, f"{c.width} units cannot be shared by {c.n_heads} heads")
    masked = -MASKED - 2 * LIMIT**2 * c.head_width - (MASKED_OCTAVES << SCORE_BITS)
    _expect(masked >= 0, f"{c.head_width} units a head leave no room to mask scores")


def _expect(holds: bool, fault: str) -> None:
    if not holds:
        raise ModelInvalid(f"entropy model: {fault}")
