"""Discriminators that learn together with a codec, and what the codec learns from them.

Shapes: B batch, T samples.

One pass over recordings and over the codec's output serves both sides, as in HILCodec, in place of
taking turns: it costs half as much. The codec is not part of that pass. It is given the gradient
at its output, and the discriminators' own gradient ends there, so neither side moves the other.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ncodec.training.config import TrainConfig
from ncodec.training.discriminators import build
from ncodec.training.parallel import Workers
from ncodec.training.schedule import rate_factor


def hinge(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the discriminators' loss from their logits: 2 for knowing nothing, 0 for sure."""
    parts = [
        F.relu(1 - true.float()).mean() + F.relu(1 + false.float()).mean()
        for true, false in zip(real, fake, strict=True)
    ]
    return torch.stack(parts).mean()


def adversarial_loss(fake: Sequence[Tensor]) -> Tensor:
    """Return the codec's hinge loss from the logits of its output: how far they are below 1."""
    return torch.stack([F.relu(1 - false.float()).mean() for false in fake]).mean()


def feature_distance(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Return the mean L1 distance of feature maps, relative to the mean magnitude of the real.

    So no layer counts more for its scale, and a discriminator cannot raise the loss by growing.
    """
    parts = []
    for true, false in zip(real, fake, strict=True):
        size = true.detach().abs().mean().float().clamp_min(1e-8)
        parts.append(F.l1_loss(false, true.detach()).float() / size)
    return torch.stack(parts).mean()


@dataclass(frozen=True, slots=True)
class AdversarialLosses:
    """Losses and gradients that the discriminators give for a batch."""

    losses: dict[str, Tensor]  # of both sides, for the log
    gradients: dict[str, Tensor]  # of the codec's losses, at its output [B, T]


class Adversary:
    """The discriminators of a run, and their optimiser."""

    def __init__(self, config: TrainConfig, sample_rate_hz: int, workers: Workers) -> None:
        self.settings, self.optimiser_settings = config.adversary, config.optimiser
        self.seed, self.workers = config.seed, workers
        seconds = self.settings.seconds or config.data.seconds
        self.n_samples = round(min(seconds, config.data.seconds) * sample_rate_hz)
        self.networks = nn.ModuleDict(
            {kind: build(kind, self.settings.size) for kind, _ in self.settings.kinds}
        ).to(workers.device)
        self.optimiser = torch.optim.Adam(
            self.networks.parameters(), self.settings.rate, betas=(0.5, 0.9)
        )
        self.weights: dict[str, float] = {}  # of the codec's losses
        for kind, share in self.settings.kinds:
            self.weights[f"{kind}_fooling"] = share * self.settings.fooling
            self.weights[f"{kind}_features"] = share * self.settings.features

    def judge(self, real: Tensor, fake: Tensor, step: int, *, apart: bool) -> AdversarialLosses:
        """Let the discriminators hear recordings [B, T] and the codec's output; they may learn.

        apart  give the gradient of each loss by its name, in place of one of their weighted sum
        """
        settings = self.settings
        if step < settings.starts:
            return AdversarialLosses({}, {})
        draw = random.Random(self.seed * 1_000_003 + step)  # alike in all processes, and resumed
        learns = draw.random() < settings.probability
        first = draw.randrange(real.shape[1] - self.n_samples + 1)
        crop = slice(first, first + self.n_samples)
        guess = fake.detach()[:, crop].unsqueeze(1).requires_grad_()
        losses, hinges = self._listen(real[:, crop].unsqueeze(1), guess, learns)
        gradients = {}
        if step >= settings.joins:
            wanted = losses if apart else {"adversary": self._weighted(losses)}
            around = (first, real.shape[1] - first - self.n_samples)
            for name, loss in wanted.items():
                (gradient,) = torch.autograd.grad(loss, guess, retain_graph=True)
                gradients[name] = F.pad(gradient.squeeze(1), around)
        if learns:
            self._learn(torch.stack(list(hinges.values())).sum(), step - settings.starts)
        logged = {name: loss.detach() for name, loss in (losses | hinges).items()}
        return AdversarialLosses(logged, gradients)

    def _weighted(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()

    def _listen(
        self, real: Tensor, fake: Tensor, learns: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the codec's losses and the discriminators', by name, of waveforms [B, 1, T]."""
        losses, hinges = {}, {}
        half = self.settings.bfloat16
        kind_of_numbers = torch.autocast(real.device.type, torch.bfloat16, enabled=half)
        for kind, network in self.networks.items():
            with kind_of_numbers, parametrize.cached():
                with torch.set_grad_enabled(learns):
                    true, true_maps = network(real)
                false, false_maps = network(fake)
            losses[f"{kind}_fooling"] = adversarial_loss(false)
            losses[f"{kind}_features"] = feature_distance(true_maps, false_maps)
            hinges[f"{kind}_hinge"] = hinge(true, false)
        return losses, hinges

    def _learn(self, loss: Tensor, step: int) -> None:
        """Take a step of the discriminators, number `step` of theirs."""
        steps = self.optimiser_settings.steps - self.settings.starts
        factor = rate_factor(step, self.optimiser_settings.warmup, steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate * factor
        parameters = list(self.networks.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        self.workers.average(gradients)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Return all that `load` needs."""
        return {"networks": self.networks.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.networks.load_state_dict(state["networks"])
        self.optimiser.load_state_dict(state["optimiser"])
