"""An entropy model in training: the integer transformer, with rounding that lets gradients by.

The network is the one that codes (ncodec.entropy.torch_network), in the same units; only its
arithmetic is another. Matrices are kept in floating point, and rounded again in every step to 8
bits and a power of two for each row, so the model learns with the same rounding that it will run
with.

Bengio, Leonard and Courville, "Estimating or propagating gradients through stochastic neurons",
2013; Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-
only inference", CVPR 2018.

Shapes: B rows, F frames, Q codebooks, K codes, D width, N = B F.
"""

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ncodec.entropy.layout import (
    LIMIT,
    MAX_SHIFT,
    SCORE_BITS,
    SQUARE_UNIT,
    STREAM_LIMIT,
    STREAM_UNIT,
    EntropyConfig,
    is_matrix,
    layout,
    tensor_type,
)
from ncodec.entropy.torch_network import TorchNetwork, build
from ncodec.entropy.torch_ops import OCTAVES, WEIGHT_BITS, Matrix

BIAS_LIMIT = 1 << 21
ROWS_AT_ONCE = 256  # of logits: they stay in the cache from their product to their gradient
# Units of what is neither a matrix nor rounded to 8 bits.
UNITS = {"start": STREAM_UNIT, "distance": SCORE_BITS}


class _Limited(torch.autograd.Function):
    """x * scale, rounded if `whole`, limited; its gradient is that of x * scale in the limits."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor | float, low: float, high: float, whole: bool
    ) -> Tensor:
        y = x.float() * scale
        if whole:
            y.round_()
        y.clamp_(low, high)
        ctx.save_for_backward(y)
        ctx.limits, ctx.scale = (low, high), scale
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors  # hardtanh's gradient stops at both limits, as this one does
        grad = torch.ops.aten.hardtanh_backward(grads[0], y, *ctx.limits)
        return grad.mul_(ctx.scale), None, None, None, None


def limited(x: Tensor, scale: Tensor | float, low: float, high: float, *, whole: bool) -> Tensor:
    """Return `x * scale`, rounded if `whole`, limited, with the gradient of what is inside."""
    return _Limited.apply(x, scale, low, high, whole)  # pyright: ignore[reportReturnType]


class Trainable:
    """The arithmetic of training. With `exact` off nothing is rounded, to see what that costs."""

    def __init__(self, *, exact: bool = True) -> None:
        self.exact = exact

    def product(self, x: Tensor, matrix: Matrix) -> Tensor:
        """See Arithmetic."""
        return F.linear(x, matrix.weight)

    def rounded(self, total: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
        """See Arithmetic."""
        return limited(total, scale, low, high, whole=self.exact)

    def norm(self, stream: Tensor, scales: Tensor) -> Tensor:
        """See Arithmetic: the table's factor is within 0.4 % of this one."""
        mean = stream.abs().mean(-1, keepdim=True).clamp_min(1 / stream.shape[-1])
        target = 2.0 ** round(math.log2(stream.shape[-1] * 64 / 3)) / stream.shape[-1]
        return limited(stream * (target / mean), 1.0, -LIMIT, LIMIT, whole=self.exact)

    def weights(self, scores: Tensor) -> Tensor:
        """See Arithmetic."""
        scores = scores.float()
        below = (scores.amax(-1, keepdim=True).detach() - scores).clamp_max(OCTAVES << SCORE_BITS)
        weights = torch.exp2(below * -(2.0**-SCORE_BITS))
        return limited(weights, 1 << WEIGHT_BITS, -1, 1 << 9, whole=self.exact)

    def divided(self, total: Tensor, by: Tensor) -> Tensor:
        """See Arithmetic."""
        return limited(total.float() / by, 1.0, -LIMIT - 1, LIMIT + 1, whole=self.exact)


class _HeadLoss(torch.autograd.Function):
    """Sum of the code lengths of one codebook's codes, in bits, and its gradients in one go.

    logits = inner @ weight.T * unit + bias, in octaves; a few rows at a time.
    """

    @staticmethod
    def forward(
        ctx: Any, inner: Tensor, weight: Tensor, bias: Tensor, unit: float, codes: Tensor
    ) -> Tensor:
        kind = torch.bfloat16 if torch.is_autocast_enabled(inner.device.type) else inner.dtype
        with torch.autocast(inner.device.type, enabled=False):
            inner, weight = inner.to(kind), weight.to(kind)
            d_inner, d_weight = torch.empty_like(inner), torch.zeros_like(weight, dtype=bias.dtype)
            d_bias, bits = torch.zeros_like(bias), bias.new_zeros(())
            for first in range(0, len(inner), ROWS_AT_ONCE):
                rows = slice(first, first + ROWS_AT_ONCE)
                logits = (inner[rows] @ weight.T).float().mul_(unit * math.log(2))
                logits += bias * math.log(2)
                logits -= logits.logsumexp(1, keepdim=True)
                chosen = codes[rows, None]
                bits -= logits.gather(1, chosen).sum()
                slope = logits.exp_().scatter_add_(
                    1, chosen, torch.full_like(chosen, -1, dtype=logits.dtype)
                )
                d_bias += slope.sum(0)
                slope = slope.to(kind)
                d_inner[rows] = slope @ weight
                d_weight += slope.T @ inner[rows]
        ctx.save_for_backward(d_inner, d_weight.mul_(unit), d_bias)
        ctx.unit = unit
        return bits / math.log(2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_inner, d_weight, d_bias = ctx.saved_tensors
        (grad,) = grads  # bits have the slope of nats in octaves: the two logarithms cancel
        return d_inner.float() * (grad * ctx.unit), d_weight * grad, d_bias * grad, None, None


class EntropyTrainer(nn.Module):
    """The parameters of an entropy model, in real units, and its loss."""

    def __init__(self, config: EntropyConfig) -> None:
        super().__init__()
        self.config = config
        self.names: dict[str, str] = {}  # of a tensor -> of its parameter, which has no dots
        for name, shape in layout(config).items():
            if not name.endswith(".shift"):
                self.names[name] = name.replace(".", "_")
                self.register_parameter(self.names[name], nn.Parameter(self._first(name, shape)))

    def _first(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name == "vectors":
            return torch.randn(shape)
        if name == "start":
            return 0.3 * torch.randn(shape)
        if not is_matrix(name):
            return torch.zeros(shape)
        gain = 0.6
        if name.endswith(("gather", "down")):
            gain = 0.6 / math.sqrt(2 * self.config.n_layers)
        return torch.randn(shape) * (gain / math.sqrt(shape[-1]))

    def parameter(self, name: str) -> Tensor:
        """Return the parameter that stands for a tensor."""
        return getattr(self, self.names[name])

    @torch.no_grad()
    def start_from(self, codebooks: Tensor, counts: Tensor) -> None:
        """Start with what the codec knows of its codes, and as often as counted.

        All codebooks' vectors are turned the same way, so that their sum is the quantised latent:
        what a frame's first codes leave over is a difference, whatever their number.

        codebooks  [Q, K, L], of the codec
        counts     [Q, K], how often each code occurs
        """
        codebooks = codebooks.float()
        n_latent, width = codebooks.shape[2], self.config.width
        turn = torch.linalg.qr(torch.randn(max(n_latent, width), min(n_latent, width)))[0]
        turn = turn.T if n_latent <= width else turn  # [L, D]
        level = codebooks.square().sum((0, 2)).mean().sqrt() / math.sqrt(width)
        self.parameter("vectors").copy_(codebooks @ turn / level)
        own = codebooks / codebooks.square().mean((1, 2), keepdim=True).sqrt()
        mix = torch.randn(len(own), n_latent, self.config.head_hidden) / math.sqrt(n_latent)
        self.parameter("heads.out").copy_(0.1 * (own @ mix))
        shares = (counts + 0.5) / (counts + 0.5).sum(1, keepdim=True)
        self.parameter("heads.bias").copy_(shares.log2())

    def whole(self, n_q: int | None = None, *, exact: bool = True) -> dict[str, Tensor]:
        """Return all tensors in whole numbers, as `layout` names them; real ones if not `exact`.

        With `n_q`, vectors and heads of the first codebooks alone.
        """
        found: dict[str, Tensor] = {}
        for name in self.names:
            real = self.parameter(name)
            if name == "vectors" or name.startswith("heads."):
                real = real[:n_q]
            if is_matrix(name) or name == "vectors":
                by_codebook = name in ("heads.out", "vectors")
                most = real.detach().abs().amax((1, 2) if by_codebook else -1, keepdim=True)
                shift = (LIMIT / most.clamp_min(1e-6)).log2().floor()
                shift = shift.clamp(0, STREAM_UNIT if name == "vectors" else MAX_SHIFT)
                found[name] = limited(real, 2.0**shift, -LIMIT - 1, LIMIT + 1, whole=exact)
                found[f"{name}.shift"] = shift.flatten() if by_codebook else shift[..., 0]
            elif name != "heads.bias":
                unit = UNITS[name.rsplit(".", 1)[-1]]
                found[name] = limited(real, 2.0**unit, -STREAM_LIMIT, STREAM_LIMIT, whole=exact)
        units = 2.0 ** (SQUARE_UNIT + found["heads.out.shift"])[:, None]
        bias = self.parameter("heads.bias")[:n_q]
        found["heads.bias"] = limited(bias, units, -BIAS_LIMIT, BIAS_LIMIT, whole=exact)
        return found

    @torch.no_grad()
    def integers(self) -> dict[str, NDArray[Any]]:
        """Return all tensors as a model file holds them."""
        return {n: t.cpu().numpy().astype(tensor_type(n)) for n, t in self.whole().items()}

    def network(self, n_q: int, *, exact: bool = True) -> TorchNetwork:
        """Return the network of the parameters as they are now, for the first `n_q` codebooks."""
        config = replace(self.config, n_codebooks=n_q)
        return build(config, self.whole(n_q, exact=exact), Trainable(exact=exact))

    def bits(self, codes: Tensor, n_q: int, *, exact: bool = True) -> Tensor:
        """Return the sum of the code lengths of [B, Q, F] codes by codebook, [n_q] bits.

        Every row is coded as a key packet of `n_q` codebooks.
        """
        network, (n_rows, _, _) = self.network(n_q, exact=exact), codes.shape
        vectors = [F.embedding(codes[:, q], v) for q, v in enumerate(network.vectors.unbind())]
        sums = torch.stack(vectors).sum(0)
        before = F.pad(sums[:, :-1], (0, 0, 1, 0))
        hidden = network.advance(network.inputs(before, n_q), network.begin(n_rows)).flatten(0, 1)
        found = []
        for q in range(n_q):
            head, inner = network.heads[q], network.inner(hidden, q)
            unit = 2.0**-head.shift
            found.append(_HeadLoss.apply(inner, head.out.weight, head.bias * unit, unit,
                                         codes[:, q].flatten()))  # fmt: skip
            hidden = hidden + vectors[q].flatten(0, 1)
        return torch.stack(found)
