"""Losses that keep their shares of the gradient, whatever their scales.

    gradient at the output = sum over losses of  share * gradient / its usual norm

with share the loss's weight over the sum of all weights, and the norm a moving average of the mean
over examples. Defossez et al., "High fidelity neural audio compression", TMLR 2023, section 3.4.
Losses on anything but the output, as the commitment, stay outside.

Shapes: B batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ncodec.training.parallel import Workers


def mean_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the norm of an example's gradients [B, ...], all outputs together; mean over B."""
    squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
    return torch.stack(squares).sum(0).sqrt().mean()


class Balancer:
    """Remembers how large each loss's gradient usually is."""

    def __init__(self, decay: float, workers: Workers) -> None:
        self.decay, self.workers = decay, workers
        self.sums: dict[str, float] = {}
        self.counts: dict[str, float] = {}  # in effect, of what is in the sums

    def combine(
        self, gradients: Mapping[str, Sequence[Tensor]], weights: Mapping[str, float]
    ) -> list[Tensor]:
        """Return the gradient to go back from each output with.

        gradients  of each loss, at each of the outputs [B, ...]
        """
        norms = torch.stack([mean_norm(parts) for parts in gradients.values()])
        self.workers.average([norms])
        for name, norm in zip(gradients, norms.tolist(), strict=True):
            self.sums[name] = self.decay * self.sums.get(name, 0.0) + norm
            self.counts[name] = self.decay * self.counts.get(name, 0.0) + 1.0
        whole = sum(weights[name] for name in gradients)
        scaled = []
        for name, parts in gradients.items():
            usual = self.sums[name] / self.counts[name] + 1e-12
            scaled.append([part * (weights[name] / whole / usual) for part in parts])
        return [torch.stack(parts).sum(0) for parts in zip(*scaled, strict=True)]

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs."""
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
