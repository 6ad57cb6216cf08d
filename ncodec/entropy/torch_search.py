"""The rate-distortion search in torch: for other devices, and where the kernel was not built.

`search` says what it finds. Shapes: P packets of one stream, F frames, Q codebooks, K codes, D
latent, W width of the network, N frames of all packets, B beams.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ncodec.entropy.network import Network
from ncodec.native.kernel import MAX_ROWS
from ncodec.nn.rvq import largest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ncodec.entropy.torch_network import TorchNetwork

_TRUNK_ROWS = {"cpu": 512, "cuda": 1 << 14}  # frames of the trunk in one pass
_BEAM_ROWS = {"cpu": 256, "cuda": 1 << 14}  # beams searched at once: their scores fit a cache
_BIAS = 127  # of the exponent of a float32
_LOWEST, _HIGHEST = 20, 230  # exponents that the sum of 4096 such numbers has room for


@torch.no_grad()
def search_codes(
    network: Network, latents: Tensor, codebooks: Tensor, *, multiplier: float, least_share: float,
    beam_width: int, n_passes: int,
) -> Tensor:  # fmt: skip
    """Return the codes [P, Q, F] of key packets [P, F, D]; codebooks [Q, K, D].

    The other arguments are those of `RateDistortionSearch`.
    """
    with torch.autocast(latents.device.type, enabled=False):
        n_packets, n_frames, _ = latents.shape
        if not n_frames:
            shape = n_packets, len(codebooks), 0
            return torch.zeros(shape, dtype=torch.int64, device=latents.device)
        alone = n_packets * n_frames == 1  # a product of one row may be summed in another order
        rows = latents.expand(2, -1, -1) if alone else latents
        codes, errors = nearest(rows, codebooks)
        weights = _weights(rows, errors, multiplier, least_share)
        for _ in range(n_passes):
            codes = _pass(network, rows, codebooks, codes, weights, beam_width)
        return codes[:n_packets]


def _pass(
    network: Network, latents: Tensor, codebooks: Tensor, codes: Tensor, weights: Tensor,
    beam_width: int,
) -> Tensor:  # fmt: skip
    """Return the codes [P, Q, F], given those of the pass before, and weights [P, Q]."""
    n_packets, n_frames, _ = latents.shape
    rows = latents.flatten(0, 1)
    prices = Prices(network, len(codebooks), latents.device.type)
    stages = [Stage(prices, q, codebook) for q, codebook in enumerate(codebooks)]
    n_parts = -(-len(rows) * beam_width // _BEAM_ROWS[latents.device.type])
    n_parts = min(n_parts, len(rows) // 2)
    hidden = prices.contexts(codes).flatten(0, 1)
    of_frames = rows, hidden, weights.repeat_interleave(n_frames, 0)
    parts = (each.tensor_split(n_parts) for each in of_frames)
    found = torch.cat([_search(beam_width, stages, *part) for part in zip(*parts, strict=True)])
    return found.view(n_packets, n_frames, -1).transpose(1, 2)


def _weights(latents: Tensor, errors: Tensor, multiplier: float, least_share: float) -> Tensor:
    """Return lambda energy / (2 g(q)), [P, Q]: what a bit is worth of half a square error."""
    left = torch.arange(errors.shape[1] - 1, -1, -1, device=errors.device)
    share = errors[:, -1:] / errors.clamp_min(torch.finfo(errors.dtype).tiny)
    share = share.clamp_max(1.0).maximum(least_share**left)
    energy = latents.square().sum(2).mean(1, keepdim=True)
    return multiplier * energy / (2 * share)


def _search(
    beam_width: int, stages: "Sequence[Stage]", latents: Tensor, hidden: Tensor, weights: Tensor
) -> Tensor:
    """Return the codes [n, Q] of n frames; hidden [n, W] is what the trunk says of them."""
    beams = Beams(F.pad(latents, (0, 2), value=1.0), hidden, latents.new_zeros(len(latents), 1))
    steps: list[tuple[Tensor, Tensor]] = []  # parents and codes [n, B]
    for q, stage in enumerate(stages):
        count = 1 if q == len(stages) - 1 else beam_width
        beams, parents, codes = stage.extend(beams, weights[:, q], count)
        steps.append((parents, codes))
    # Back along the parents, from the one beam that the last codebook left: each step's codes
    # are in the order of its beams, which is not that of the step before.
    place, found = torch.zeros_like(steps[-1][0]), []
    for parents, codes in reversed(steps):
        found.append(codes.gather(1, place))
        place = parents.gather(1, place)
    return torch.cat(found[::-1], 1)


@dataclass(frozen=True, slots=True)
class Beams:
    """Beginnings of the codes of n frames, B of each."""

    residual: Tensor  # [n B, D + 2]: what they leave of the latents; 1; room for a number
    hidden: Tensor  # [n B, W]: what the heads take: the trunk's output, and the codes' vectors
    rate: Tensor  # [n, B]: bits of the codes so far


class Stage:
    """A codebook, and the head of the network that prices its codes."""

    def __init__(self, prices: "Prices", q: int, codebook: Tensor) -> None:
        self._prices, self._q, self._codebook = prices, q, codebook
        self._shift = prices.network.heads[q].shift
        ones = torch.ones_like(codebook[:, :1])
        half_norms = codebook.square().sum(1, keepdim=True) * -0.5
        self._matrix = torch.cat([codebook, half_norms, ones], 1).T.contiguous()  # [D + 2, K]

    def extend(self, beams: Beams, weights: Tensor, count: int) -> tuple[Beams, Tensor, Tensor]:
        """Return the `count` best ways to go on, and their parents and codes [n, count].

        weights  [n]: what a bit is worth of half a square error
        """
        (n, kept), size, unit = beams.rate.shape, len(self._codebook), 2.0**-self._shift
        logits = self._prices.logits(beams.hidden, self._q)
        log_sums = _log_sums(logits, self._shift)
        rate, weight = beams.rate + log_sums.view(n, kept), weights[:, None]
        residual = beams.residual[:, :-2]
        # A score is minus the cost so far, in units of half a square error, of one beam and code:
        #
        #     -|residual - code|**2 / 2  -  weight (rate + log_sum - logit)
        #     = residual . code - |code|**2 / 2           by `_matrix`
        #     - |residual|**2 / 2 - weight (rate + log_sum)   `known`, by its row of ones
        #     + weight logit                              added to the scores
        known = residual.square().sum(1).view(n, kept).mul_(-0.5).addcmul_(rate, weight, value=-1)
        beams.residual[:, -1] = known.flatten()
        scores = beams.residual @ self._matrix  # half of -|residual - code|**2, and what is known
        scores.view(n, -1).addcmul_(logits.view(n, -1), weight * unit)
        chosen = largest(scores.view(n, kept * size), count)
        parents, codes = chosen // size, chosen % size  # scores are [n, beam, code] in one row
        first = torch.arange(0, n * kept, kept, device=codes.device)[:, None]
        row, code = (parents + first).flatten(), codes.flatten()
        bits = logits.view(-1).index_select(0, row * size + code).mul_(unit)
        residual = beams.residual.index_select(0, row)
        residual[:, :-2] -= self._codebook.index_select(0, code)
        vectors = self._prices.network.vectors[self._q].index_select(0, code)
        hidden = vectors.add_(beams.hidden.index_select(0, row))
        rate = (rate.view(-1).index_select(0, row) - bits).view(n, count)
        return Beams(residual, hidden, rate), parents, codes


def _log_sums(logits: Tensor, shift: int) -> Tensor:
    """Return log2 of the sum of 2**logit of logits [N, K] in units of 2**-shift, [N].

    Powers are straight between whole ones, as in the coder; see `torch_ops.falling`.
    """
    bits = logits.to(torch.int32).add_(_BIAS << shift)
    bits = bits.clamp_(_LOWEST << shift, _HIGHEST << shift).bitwise_left_shift_(23 - shift)
    return bits.view(torch.float32).sum(1).log2_()


class Prices:
    """What the network says of codes: by the kernel on a processor, where it was built."""

    def __init__(self, network: Network, n_q: int, device: str) -> None:
        self.network, self._n_q = network.torch, n_q
        self._kernel = network.kernel if device == "cpu" else None
        self._rows = self._kernel.context(1, n_q) if self._kernel else None

    def contexts(self, codes: Tensor) -> Tensor:
        """Return what the trunk says of each frame of key packets [P, Q, F], [P, F, W]."""
        if self._kernel is None:
            return contexts(self.network, codes)
        found = []
        for packet in codes.transpose(1, 2)[:, :, None].numpy():  # [F, 1, Q]
            context = self._kernel.context(1, self._n_q, n_frames_at_once=MAX_ROWS)
            found.append(torch.from_numpy(context.hidden(packet)[:, 0]))
        return torch.stack(found)

    def logits(self, hidden: Tensor, q: int) -> Tensor:
        """Return the logits [N, K] of codebook q, float32 in its head's unit."""
        if self._rows is None:
            return self.network.logits(hidden, q)
        return torch.from_numpy(self._rows.logits(hidden.numpy(), q))


def nearest(latents: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest codes [P, Q, F] of each codebook in turn, and the errors [P, Q] left.

    An error is the mean of |residual|**2 over the frames of a packet; latents are [P, F, D].
    """
    n_packets, n_frames, _ = latents.shape
    rows = latents.flatten(0, 1)
    codes, errors = [], []
    for codebook in codebooks:
        half_norms, matrix = codebook.square().sum(1) * -0.5, codebook.T.contiguous()
        parts = rows.tensor_split(-(-len(rows) // _BEAM_ROWS[rows.device.type]))
        scores = (torch.addmm(half_norms, part, matrix) for part in parts)
        code = torch.cat([largest(each, 1) for each in scores])[:, 0]
        rows = rows - codebook.index_select(0, code)
        codes.append(code.view(n_packets, n_frames))
        errors.append(rows.square().sum(1).view(n_packets, n_frames).mean(1))
    return torch.stack(codes, 1), torch.stack(errors, 1)


def contexts(network: "TorchNetwork", codes: Tensor) -> Tensor:
    """Return what the trunk says of each frame of key packets of codes [P, Q, F], [P, F, W]."""
    _, n_q, n_frames = codes.shape
    found = []
    for part in codes.split(max(1, _TRUNK_ROWS[codes.device.type] // n_frames)):
        sums = torch.zeros(len(part), n_frames, network.config.width, device=codes.device)
        for q in range(n_q):
            sums[:, 1:] += F.embedding(part[:, q, :-1], network.vectors[q])
        found.append(network.advance(network.inputs(sums, n_q), network.begin(len(part))))
    return torch.cat(found)
