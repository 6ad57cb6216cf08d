"""Discriminators beside a codec: losses, who moves whom, runs."""

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ncodec.errors import UsageError
from ncodec.training.adversary import Adversary, adversarial_loss, feature_distance, hinge
from ncodec.training.config import AdversaryConfig, TrainConfig
from ncodec.training.discriminators import KINDS
from ncodec.training.loop import Run, train
from ncodec.training.parallel import Workers

TINY = AdversaryConfig(kinds=(("msstft", 1.0), ("wave", 0.5)), size="tiny", bfloat16=False)
EVERY = dataclasses.replace(
    TINY, kinds=tuple((kind, 0.5) for kind in KINDS), starts=2, joins=4, probability=0.7
)


def adversary(config: TrainConfig, **changes: Any) -> Adversary:
    settings = dataclasses.replace(TINY, **changes)
    torch.manual_seed(0)
    return Adversary(
        dataclasses.replace(config, adversary=settings), 8000, Workers(torch.device("cpu"))
    )


@pytest.fixture
def waves() -> tuple[Tensor, Tensor]:
    """Recordings, and what a codec of one weight makes of noise."""
    torch.manual_seed(1)
    return 0.1 * torch.randn(2, 4000), 0.2 * torch.randn(2, 4000)


def weights(of: Adversary) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in of.networks.parameters()]


def moved(before: list[Tensor], after: list[Tensor]) -> bool:
    return not all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_hinge_is_two_for_knowing_nothing_and_none_beyond_the_margin() -> None:
    nothing, sure = [torch.zeros(3), torch.zeros(5)], [torch.full((3,), 2.0), torch.full((5,), 9.0)]
    assert hinge(nothing, nothing) == 2
    assert hinge(sure, [-part for part in sure]) == 0
    assert hinge([-part for part in sure], sure) == (2 * 3 + 2 * 10) / 2
    assert adversarial_loss(nothing) == 1
    assert adversarial_loss(sure) == 0
    assert adversarial_loss([-part for part in sure]) == (3 + 10) / 2


def test_feature_distance_has_no_scale() -> None:
    torch.manual_seed(0)
    real, fake = ([torch.randn(2, 3, 4), torch.randn(2, 5)] for _ in range(2))
    by_hand = [(a - b).abs().mean() / a.abs().mean() for a, b in zip(real, fake, strict=True)]
    assert feature_distance(real, fake) == pytest.approx(float(sum(by_hand) / 2))
    scaled = [[factor * part for factor, part in zip((1e3, 1e-3), maps, strict=True)]
              for maps in (real, fake)]  # fmt: skip
    torch.testing.assert_close(feature_distance(*scaled), feature_distance(real, fake))


def test_features_of_recordings_are_not_to_move() -> None:
    real, fake = (torch.ones(4, requires_grad=True) for _ in range(2))
    feature_distance([2 * real], [3 * fake]).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_only_the_gradient_that_is_given_back_moves_the_codec(
    config: TrainConfig, waves: tuple[Tensor, Tensor]
) -> None:
    real, noise = waves
    gain = torch.ones((), requires_grad=True)  # the codec
    made = gain * noise
    judges = adversary(config)
    before = weights(judges)
    judged = judges.judge(real, made, 0, apart=False)
    assert gain.grad is None  # the discriminators' step
    assert moved(before, weights(judges))
    (gradient,) = judged.gradients.values()
    made.backward(gradient)
    assert gain.grad is not None
    assert float(gain.grad) != 0
    assert all(parameter.grad is None for parameter in judges.networks.parameters())


def test_the_gradient_is_that_of_the_weighted_losses(
    config: TrainConfig, waves: tuple[Tensor, Tensor]
) -> None:
    real, fake = waves
    judges = adversary(config, fooling=2.0, features=3.0, probability=0.0)
    wanted = torch.zeros_like(fake)
    for kind, share in TINY.kinds:
        heard = fake[:, None].clone().requires_grad_()
        logits, maps = judges.networks[kind](heard)
        true_maps = judges.networks[kind](real[:, None])[1]
        loss = share * (2 * adversarial_loss(logits) + 3 * feature_distance(true_maps, maps))
        wanted += torch.autograd.grad(loss, heard)[0][:, 0]
    found = judges.judge(real, fake, 0, apart=False).gradients["adversary"]
    torch.testing.assert_close(found, wanted)
    apart = judges.judge(real, fake, 0, apart=True).gradients
    assert apart.keys() == judges.weights.keys()
    total = sum(judges.weights[name] * gradient for name, gradient in apart.items())
    torch.testing.assert_close(total, wanted)


def test_learns_first_and_is_heard_later(config: TrainConfig, waves: tuple[Tensor, Tensor]) -> None:
    judges = adversary(config, starts=3, joins=5)
    for step in range(7):
        before = weights(judges)
        judged = judges.judge(*waves, step, apart=False)
        assert moved(before, weights(judges)) == (step >= 3)
        assert bool(judged.losses) == (step >= 3)
        assert bool(judged.gradients) == (step >= 5)


def test_learns_in_a_share_of_the_steps_the_same_ones_each_time(
    config: TrainConfig, waves: tuple[Tensor, Tensor]
) -> None:
    real, fake = (wav[:, :1000] for wav in waves)
    learned = []
    for _ in range(2):
        judges = adversary(config, kinds=(("wave", 1.0),), probability=0.5, seconds=0.1)
        learned.append([])
        for step in range(24):
            before = weights(judges)
            judges.judge(real, fake, step, apart=False)
            learned[-1].append(moved(before, weights(judges)))
    assert learned[0] == learned[1]
    assert 6 < sum(learned[0]) < 18


def test_part_of_a_crop_is_heard_and_no_more(
    config: TrainConfig, waves: tuple[Tensor, Tensor]
) -> None:
    judges = adversary(config, seconds=0.25)
    starts = set()
    for step in range(4):
        gradient = judges.judge(*waves, step, apart=False).gradients["adversary"]
        heard = gradient.ne(0).any(0).nonzero().flatten()
        assert gradient.shape == (2, 4000)
        assert int(heard[-1] - heard[0]) < 2000
        starts.add(int(heard[0]))
    assert len(starts) > 1


@pytest.mark.parametrize(("paper", "balanced"), [("drawn", False), ("hilcodec", True)])
def test_twenty_steps_with_every_adversary(
    config: TrainConfig, tmp_path: Path, paper: str, balanced: bool
) -> None:
    loss = dataclasses.replace(
        config.loss, reconstruction=paper, balanced=balanced, samples=0.1 if balanced else 0.0
    )
    data = dataclasses.replace(config.data, seconds=0.25)
    config = dataclasses.replace(config, loss=loss, adversary=EVERY, data=data)
    assert train(config, tmp_path, resume=False, time_limit_s=math.inf, device="cpu")
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values())
    losses = {f"{kind}_{name}" for kind in KINDS for name in ("fooling", "features", "hinge")}
    assert losses <= rows[0].keys()
    assert ("stft" in rows[0]) == (paper == "drawn")
    assert ("samples" in rows[0]) == balanced


def test_reduced_precision_will_do(config: TrainConfig, waves: tuple[Tensor, Tensor]) -> None:
    judges = adversary(config, kinds=EVERY.kinds, bfloat16=True)
    exact = adversary(config, kinds=EVERY.kinds)
    for step in range(2):
        rough, fine = (each.judge(*waves, step, apart=True) for each in (judges, exact))
        for name, loss in fine.losses.items():
            assert float(rough.losses[name]) == pytest.approx(float(loss), rel=0.05), name
        for name, gradient in fine.gradients.items():
            turned = torch.cosine_similarity(rough.gradients[name].flatten(), gradient.flatten(), 0)
            assert turned > 0.9, name


def test_a_run_may_go_on_with_an_adversary(config: TrainConfig, tmp_path: Path) -> None:
    half = dataclasses.replace(config, optimiser=dataclasses.replace(config.optimiser, steps=10))
    train(half, tmp_path, resume=False, time_limit_s=math.inf, device="cpu")
    more = dataclasses.replace(config, adversary=dataclasses.replace(TINY, starts=10))
    assert train(more, tmp_path, resume=True, time_limit_s=math.inf, device="cpu")
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["wave_hinge"] != "" for row in rows] == [False, False, True, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": (("period", 1.0),)}, "unknown kind 'period'"),
        ({"kinds": (("wave", 1.0),), "size": "huge"}, "unknown size 'huge'"),
    ],
)
def test_what_is_not_known_is_refused(
    config: TrainConfig, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    wrong = dataclasses.replace(config, adversary=AdversaryConfig(**changes))
    with pytest.raises(UsageError, match=message):
        Run(wrong, tmp_path)
