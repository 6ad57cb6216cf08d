"""The arithmetic of the integer transformer: tensors that hold whole numbers, exactly.

Every operand of a product has at most 8 bits and a sign, and every sum stays below 2**24, so that
float32 holds it whatever the order of summation, the library, the number of threads, or a reduced
precision of the operands (bfloat16, TF32). So whatever multiplies matrices fastest may be used.
Everything else is a table look-up, a whole-number operation, or a single correctly rounded one.
formats/PAYLOADS.md, section 4, has the definitions.

Shapes: N rows, D width, K keys or codes.
"""

import functools
import time
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.threads import one_thread

LIMIT = 127  # of 8-bit activations and weights
EXACT = 1 << 24  # whole numbers up to here are exact in float32
STREAM_LIMIT = (1 << 15) - 1  # of the residual stream
ROOT_LIMIT = 2040  # of what is squared: 2040**2 / 2**15 = 127
SQUARE_SHIFT = 15
SCORE_BITS = 10  # attention scores have a unit of 2**-10 octaves
WEIGHT_BITS = 8  # attention weights go up to 2**8
OCTAVES = 24  # below the largest, from where on a weight is as good as none
ONE = 127 << 23  # the bits of 1.0
MIN_SUM_BITS = 127 << 8  # the leading 17 bits of 1.0, sign and exponent and 8 of the fraction
LEADING = 15  # low bits of a float32 that are dropped to find its place in a table


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of 8-bit numbers, and what its products are scaled by: powers of two."""

    weight: Tensor  # [out, in] float32
    scale: Tensor | float  # [out], or of all
    small: Tensor | None = None  # [in, out] int8, where that multiplies faster


class Arithmetic(Protocol):
    """What the network does to numbers."""

    def product(self, x: Tensor, matrix: Matrix) -> Tensor:
        """Return [..., in] rows times a matrix, [..., out], not scaled; float32 or int32."""
        ...

    def rounded(self, total: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
        """Return `total` times a power of two, rounded half to even, limited; may reuse `total`."""
        ...

    def norm(self, stream: Tensor, scales: Tensor) -> Tensor:
        """Return [N, D] rows at one mean magnitude, as 8-bit numbers."""
        ...

    def weights(self, scores: Tensor) -> Tensor:
        """Return attention weights [..., K], 256 for the largest score."""
        ...

    def divided(self, total: Tensor, by: Tensor) -> Tensor:
        """Return the quotient, rounded."""
        ...


def norm_scales(width: int) -> Tensor:
    """Return the factor for every sum of magnitudes, by the sum's leading bits.

    A sum has the form t 2**e with t from 256 to 511 and a remainder that is dropped. Its factor is
    round(2**17 / t) 2**(A - 17 - e), with 2**A the power of two nearest to 21.3 `width`: a row then
    has a mean magnitude near 21.3. A factor has 10 bits at most, so its product with a 15-bit
    number is exact.
    """
    target = round(torch.tensor(width * 64 / 3).log2().item())
    t = torch.arange(256, 512, dtype=torch.float64)
    mantissas = (2**17 / t).round()
    exponents = torch.arange(24, dtype=torch.float64) - 8  # of sums from 1 to 2**24 - 1
    factors = mantissas * 2.0 ** (target - 17 - exponents)[:, None]
    return factors.reshape(-1).to(torch.float32)


def powers(negative_octaves: Tensor) -> Tensor:
    """Return 2**-x for x in units of 2**-23, [...] int32, straight between whole octaves.

    Schraudolph, "A fast, compact approximation of the exponential function", Neural Computation
    1999: the bits of a float32 are a logarithm of it, straight between powers of two. Overwrites.
    """
    return negative_octaves.neg_().add_(ONE).view(torch.float32)


class Exact:
    """The arithmetic of coding. Works in place where it can: its arguments are overwritten."""

    def product(self, x: Tensor, matrix: Matrix) -> Tensor:
        """See Arithmetic."""
        if matrix.small is None:
            return F.linear(x, matrix.weight)
        rows = x.reshape(-1, x.shape[-1]).to(torch.int8)
        return torch._int_mm(rows, matrix.small).view(*x.shape[:-1], -1)  # pyright: ignore

    def rounded(self, total: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
        """See Arithmetic."""
        scaled = total.mul_(scale) if total.is_floating_point() else total * scale
        return scaled.round_().clamp_(low, high)

    def norm(self, stream: Tensor, scales: Tensor) -> Tensor:
        """See Arithmetic."""
        sums = torch.linalg.vector_norm(stream, 1, -1, keepdim=True).clamp_(min=1)
        places = sums.view(torch.int32).bitwise_right_shift(LEADING).sub_(MIN_SUM_BITS)
        return (stream * scales[places]).round_().clamp_(-LIMIT, LIMIT)

    def weights(self, scores: Tensor) -> Tensor:
        """See Arithmetic."""
        below = scores.amax(-1, keepdim=True) - scores
        below = below.clamp_(max=OCTAVES << SCORE_BITS).mul_(1 << (23 - SCORE_BITS))
        return powers(below.to(torch.int32)).mul_(1 << WEIGHT_BITS).round_()

    def divided(self, total: Tensor, by: Tensor) -> Tensor:
        """See Arithmetic."""
        return total.div_(by).round_()


def frequencies(logits: Tensor, shift: int, room_bits: int = 21) -> Tensor:
    """Return frequencies [N, K] int32, each 1 or more, a row's sum at most 2**room_bits.

    logits  [N, K] whole numbers, float32 or int32, in units of 2**-shift octaves; overwritten

    With p = 2**(logit - largest logit), a frequency is 1 + floor(p 2**(a + j)): a is what lets the
    shares be summed exactly, and j the largest number for which the sum is certain to have room.
    """
    n_codes = logits.shape[-1]
    base_bits = 23 - (n_codes - 1).bit_length()
    below = torch.sub(logits.amax(-1, keepdim=True), logits, out=logits)
    below = below.clamp_(max=OCTAVES << shift)
    if below.is_floating_point():
        below = below.mul_(2.0 ** (23 - shift)).to(torch.int32)
    else:
        below = below.bitwise_left_shift_(23 - shift)
    shares = powers(below)
    sums = shares.mul_(1 << base_bits).floor().sum(-1, keepdim=True)
    room = ((1 << room_bits) - n_codes) / (sums + n_codes)
    more = room.view(torch.int32).bitwise_and_(0x7F800000).view(torch.float32)  # 2**j
    return shares.mul_(more).to(torch.int32).add_(1)


@functools.cache
def small_products_pay() -> bool:
    """Tell whether this processor multiplies 8-bit matrices rightly, and faster than float32 ones.

    Some have no instruction for that, and some libraries then saturate in between: so the largest
    sums are tried. Whatever the answer, the products are the same.
    """
    if not hasattr(torch, "_int_mm"):
        return False
    pattern = torch.arange(64 * 192).remainder(7).sub(3).sign().view(64, 192) * float(LIMIT)
    matrices = [torch.full((256, 192), float(sign * LIMIT)) for sign in (1, -1)]
    matrices.append(pattern[:1].expand(256, -1).contiguous())
    fastest = [float("inf")] * 2
    with one_thread, torch.inference_mode():
        for weight in matrices * 4:
            small = weight.T.to(torch.int8).contiguous()
            found = []
            for number, matrix in enumerate((Matrix(weight, 1.0), Matrix(weight, 1.0, small))):
                start = time.perf_counter()
                try:
                    products = [Exact().product(rows, matrix) for rows in (pattern, pattern.abs())]
                except (RuntimeError, NotImplementedError):
                    return False
                fastest[number] = min(fastest[number], time.perf_counter() - start)
                found.append(torch.stack(products).float())
            if not torch.equal(*found):
                return False
    return fastest[1] < fastest[0]
