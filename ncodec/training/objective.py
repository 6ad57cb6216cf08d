"""All that a codec's gradient is made of: the losses of a step, weighted or balanced.

Shapes: B batch, C channels, T samples.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ncodec.training.adversary import AdversarialLosses, Adversary
from ncodec.training.balancer import Balancer
from ncodec.training.config import TrainConfig
from ncodec.training.losses import mel_loss, reconstruction
from ncodec.training.parallel import Workers


def views(wav: Tensor, *, apart: bool) -> Tensor:
    """Return what the losses hear of [B, T], [B, 1, T] or [B, 2, T]: [B, T] or [2 B, T].

    apart  of stereo left and right, else mid and side
    """
    if wav.dim() == 2 or wav.shape[1] == 1:
        return wav.reshape(len(wav), -1)
    left, right = wav.unbind(1)
    return torch.cat([left, right] if apart else [(left + right) / 2, (left - right) / 2])


class Objective:
    """Losses of a run, with the adversary and the balancer where there are such."""

    def __init__(self, config: TrainConfig, sample_rate_hz: int, workers: Workers) -> None:
        loss = config.loss
        self.kind, self.sample_rate_hz = loss.reconstruction, sample_rate_hz
        self.weights: dict[str, float] = asdict(loss)
        self.mel = None if self.kind == "drawn" else mel_loss(self.kind)
        self.balancer = Balancer(loss.balance_decay, workers) if loss.balanced else None
        self.adversary = None
        if config.adversary.kinds:
            self.adversary = Adversary(config, sample_rate_hz, workers)
            self.weights |= self.adversary.weights

    def backward(
        self, target: Tensor, made: Sequence[Tensor], commitment: Tensor, step: int,
        rng: random.Random,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Give the parameters of `made` and `commitment` their gradients. Returns the losses.

        target  [B, T] or [B, 2, T]
        made    the codec's two waveforms [B, C, T], see Codec.reconstruct

        Of stereo, each step hears left and right, or mid and side, as drawn.
        """
        apart = target.dim() == 3 and rng.random() < 0.5
        target, plain, whole = (views(wav.float(), apart=apart) for wav in (target, *made))
        losses = self._reconstruction(target, plain, whole, rng)
        judged = AdversarialLosses({}, {})
        if self.adversary is not None:
            apart = self.balancer is not None
            judged = self.adversary.judge(target, whole, step, apart=apart)
        if self.balancer is None:
            total = self._total({**losses, "commitment": commitment})
            given = list(judged.gradients.values())
            torch.autograd.backward([total, *(whole for _ in given)], [None, *given])
        else:
            gradients = self._gradients(losses, (plain, whole))
            for name, gradient in judged.gradients.items():
                gradients[name] = (torch.zeros_like(gradient), gradient)
            given = self.balancer.combine(gradients, self.weights)
            rest = self._total({"commitment": commitment})
            outputs = [plain, whole, rest] if rest.requires_grad else [plain, whole]
            torch.autograd.backward(outputs, [*given, None][: len(outputs)])
        return {**losses, "commitment": commitment, **judged.losses}

    def _reconstruction(
        self, target: Tensor, plain: Tensor, whole: Tensor, rng: random.Random
    ) -> dict[str, Tensor]:
        if self.mel is None:
            losses = reconstruction(
                target, plain, whole, self.sample_rate_hz, rng,
                compressed=bool(self.weights["compressed"]),
            )  # fmt: skip
        else:
            losses = {"mel": self.mel(target, whole, self.sample_rate_hz)}
        if self.weights["samples"]:
            losses["samples"] = (target - plain).abs().mean()
        return losses

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    def _gradients(
        self, losses: dict[str, Tensor], outputs: tuple[Tensor, Tensor]
    ) -> dict[str, tuple[Tensor, ...]]:
        """Return the gradient of each loss that has a weight, at the outputs."""
        return {
            name: torch.autograd.grad(
                loss, outputs, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for name, loss in losses.items()
            if self.weights[name]
        }

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs."""
        parts = {"adversary": self.adversary, "balancer": self.balancer}
        return {name: part.state() for name, part in parts.items() if part is not None}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state; what has no part in it, having been added to the run, starts."""
        if self.adversary is not None and "adversary" in state:
            self.adversary.load(state["adversary"])
        if self.balancer is not None and "balancer" in state:
            self.balancer.load(state["balancer"])
