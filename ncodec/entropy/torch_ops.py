"""The arithmetic of the integer transformer: tensors that hold whole numbers, exactly.

Every operand of a product has at most 8 significant bits and a sign, and every sum, differences
included, stays below 2**24, so that float32 holds it whatever the order of summation, the library,
the number of threads, or a reduced precision of the operands (bfloat16, TF32). So whatever
multiplies matrices fastest may be used. Everything else is a table look-up, a whole-number
operation, or a single correctly rounded one. formats/PAYLOADS.md, section 4, has the definitions.

Shapes: N rows, D width, K keys or codes.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.entropy.layout import LIMIT, SCORE_BITS

WEIGHT_BITS = 8  # attention weights go up to 2**8
OCTAVES = 24  # below the largest, from where on a weight is as good as none
ONE = 127 << 23  # the bits of 1.0
LEADING = 15  # low bits of a float32 that are dropped to find its place in a table


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix of 8-bit numbers, and what its products are scaled by: powers of two."""

    weight: Tensor  # [out, in] float32
    scale: Tensor | float  # [out], or of all


class Arithmetic(Protocol):
    """What the network does to numbers."""

    def product(self, x: Tensor, matrix: Matrix) -> Tensor:
        """Return [..., in] rows times a matrix, [..., out], not scaled; float32 or int32."""
        ...

    def rounded(self, total: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
        """Return `total` times a power of two, rounded half to even, limited; may reuse `total`."""
        ...

    def norm(self, stream: Tensor, scales: Tensor) -> Tensor:
        """Return [..., D] rows at one mean magnitude, as 8-bit numbers."""
        ...

    def weights(self, scores: Tensor) -> Tensor:
        """Return attention weights [..., K], 256 for the largest score."""
        ...

    def divided(self, total: Tensor, by: Tensor) -> Tensor:
        """Return the quotient, rounded."""
        ...


def norm_scales(width: int) -> Tensor:
    """Return the factor for every sum of magnitudes, by the leading 17 bits of its float32.

    A sum has the form t 2**e with t from 256 to 511 and a remainder that is dropped. Its factor is
    round(2**17 / t) 2**(A - 17 - e), with 2**A the power of two nearest to 21.3 `width`: a row then
    has a mean magnitude near 21.3. A factor is a power of two times 512 or a number of 9 bits, so
    its product with a 15-bit number is exact.
    """
    target = round(math.log2(width * 64 / 3))
    mantissas = (2**17 / torch.arange(256, 512, dtype=torch.float64)).round().float()
    exponents = torch.arange(24) - 8  # of sums from 1 to 2**24 - 1
    factors = (power_of_two(target - 17 - exponents)[:, None] * mantissas).reshape(-1)
    return F.pad(factors, (ONE >> LEADING, 0))  # of a sum of 0: any, all of the row is 0


def power_of_two(exponents: Tensor) -> Tensor:
    """Return 2**n of whole numbers from -126 to 127, exactly: pow need not be."""
    return ((exponents.to(torch.int32) + 127) << 23).view(torch.float32)


def falling(falls: Tensor, bits: int) -> Tensor:
    """Return 2**(bits + x) for x in units of 2**-23, [...] int32, straight between whole octaves.

    `falls` is overwritten.

    Schraudolph, "A fast, compact approximation of the exponential function", Neural Computation
    1999: the bits of a float32 are a logarithm of it, straight between powers of two.
    """
    return falls.add_(ONE + (bits << 23)).view(torch.float32)


class Exact:
    """The arithmetic of coding. All but `product` and `norm` may overwrite what they are given."""

    def product(self, x: Tensor, matrix: Matrix) -> Tensor:
        """See Arithmetic."""
        return F.linear(x, matrix.weight)

    def rounded(self, total: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
        """See Arithmetic."""
        return total.to(torch.float32).mul_(scale).round_().clamp_(low, high)

    def norm(self, stream: Tensor, scales: Tensor) -> Tensor:
        """See Arithmetic."""
        sums = stream.abs().sum(-1, keepdim=True)
        places = sums.view(torch.int32).bitwise_right_shift_(LEADING)
        factors = F.embedding(places[..., 0], scales[:, None])
        return (stream * factors).round_().clamp_(-LIMIT, LIMIT)

    def weights(self, scores: Tensor) -> Tensor:
        """See Arithmetic."""
        falls = scores.sub_(scores.amax(-1, keepdim=True)).clamp_(min=-OCTAVES << SCORE_BITS)
        return falling(falls.mul_(1 << (23 - SCORE_BITS)).to(torch.int32), WEIGHT_BITS).round_()

    def divided(self, total: Tensor, by: Tensor) -> Tensor:
        """See Arithmetic."""
        return total.div_(by).round_()


def frequencies(logits: Tensor, shift: int, room_bits: int = 21) -> Tensor:
    """Return frequencies [N, K] int32, each 1 or more, a row's sum at most 2**room_bits.

    logits  [N, K] whole numbers, float32 or int32, in units of 2**-shift octaves; overwritten

    With p = 2**(logit - largest logit), a frequency is 1 + floor(p 2**(a + j)): a is what lets the
    shares be summed exactly, and j the largest number for which the sum is certain to have room.
    """
    return shares(logits, shift, room_bits).to(torch.int32).add_(1)


def shares(logits: Tensor, shift: int, room_bits: int) -> Tensor:
    """Return p 2**(a + j) of `frequencies`, [N, K] float32."""
    n_codes = logits.shape[-1]
    base_bits = 23 - (n_codes - 1).bit_length()
    falls = torch.sub(logits, logits.amax(-1, keepdim=True), out=logits)
    falls = falls.clamp_(min=-OCTAVES << shift)
    if falls.is_floating_point():
        falls = falls.mul_(2.0 ** (23 - shift)).to(torch.int32)
    else:
        falls = falls.mul_(1 << (23 - shift))
    found = falling(falls, base_bits)
    sums = found.floor().sum(-1, keepdim=True)
    room = ((1 << room_bits) - n_codes) / sums.add_(n_codes)
    more = room.view(torch.int32).bitwise_and_(0x7F800000).view(torch.float32)  # 2**j
    return found.mul_(more)
