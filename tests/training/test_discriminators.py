import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from ncodec.errors import UsageError
from ncodec.training.adversary import hinge
from ncodec.training.discriminators import (
    KINDS,
    FilterBankConfig,
    MultiMdctConfig,
    MultiStftConfig,
    StftConfig,
    WaveConfig,
    build,
)
from ncodec.training.front_ends import Downsampler, Stft

# By hand from the papers' layers; none of them prints the numbers.
PARAMETERS_M = {"wave": 16.9, "stft": 5.6, "msstft": 0.5, "mfbd": 49.3, "mstft": 0.6, "mdct": 0.6}


def convolutions(network: nn.Module) -> list[nn.Conv1d | nn.Conv2d]:
    return [part for part in network.modules() if isinstance(part, (nn.Conv1d, nn.Conv2d))]


@pytest.mark.parametrize("kind", KINDS)
def test_full_sizes_are_the_papers(kind: str) -> None:
    with torch.device("meta"):
        network = build(kind, "full")
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(PARAMETERS_M[kind], abs=0.05)
    assert all(parametrize.is_parametrized(conv, "weight") for conv in convolutions(network))


def test_wave_sees_three_scales_256_times_slower_at_the_end() -> None:
    logits, maps = WaveConfig(channels=4, most=16).build()(torch.randn(2, 1, 4096))
    assert [tuple(each.shape) for each in logits] == [(2, 1, 16), (2, 1, 8), (2, 1, 4)]
    assert [tuple(each.shape[1:]) for each in maps[:6]] == [
        (4, 4096), (16, 1024), (16, 256), (16, 64), (16, 16), (16, 16),
    ]  # fmt: skip
    assert len(maps) == 18


def test_grouped_convolutions_see_four_channels_each() -> None:
    with torch.device("meta"):
        network = WaveConfig().build()
    grouped = [conv for conv in convolutions(network) if conv.groups > 1]
    assert [(conv.in_channels, conv.in_channels // conv.groups) for conv in grouped] == [
        (16, 4), (64, 4), (256, 4), (1024, 4),
    ] * 3  # fmt: skip


def test_stft_sums_all_bins_up_into_frames_8_times_fewer() -> None:
    logits, maps = StftConfig(channels=2).build()(torch.randn(2, 1, 1024 + 256 * 31))
    assert [tuple(each.shape) for each in logits] == [(2, 1, 4, 1)]  # 32 frames / 8
    assert [tuple(each.shape[1:]) for each in maps] == [
        (2, 32, 512), (4, 32, 256), (8, 16, 128), (8, 16, 64), (16, 8, 32), (16, 8, 16),
        (32, 4, 8),
    ]  # fmt: skip


def test_msstft_keeps_the_frames_of_each_window() -> None:
    logits, maps = MultiStftConfig(channels=2).build()(torch.randn(2, 1, 4096))
    assert [tuple(each.shape[1:]) for each in logits] == [
        (1, 5, 129), (1, 13, 65), (1, 29, 33), (1, 61, 17), (1, 125, 9),
    ]  # fmt: skip
    assert [tuple(each.shape[1:]) for each in maps[:5]] == [
        (2, 5, 1025), (2, 5, 513), (2, 5, 257), (2, 5, 129), (2, 5, 129),
    ]  # fmt: skip


def test_mstft_grows_from_16_to_128_channels() -> None:
    with torch.device("meta"):
        network = build("mstft", "full")
    one = convolutions(network.stacks[0])
    assert [conv.out_channels for conv in one] == [16, 16, 32, 64, 128, 1]
    assert [conv.dilation[0] for conv in one] == [1, 1, 2, 4, 1, 1]


def test_mfbd_treats_all_bands_of_a_bank_alike() -> None:
    network = FilterBankConfig(channels=(2, 4, 8, 8, 8)).build()
    logits, maps = network(torch.randn(2, 1, 4620))
    assert [tuple(each.shape[2:]) for each in logits] == [
        (1, 58), (2, 29), (3, 20), (5, 12), (7, 9), (11, 6),
    ]  # fmt: skip
    assert len(maps) == 30
    stack = network.stacks[2]
    rows = torch.randn(1, 1, 3, 500)
    turned = stack(rows.flip(2))[0].flip(2)
    torch.testing.assert_close(stack(rows)[0], turned)


def test_mdct_has_the_longer_axis_first_and_shortens_it_more() -> None:
    logits, maps = MultiMdctConfig(channels=2).build()(torch.randn(2, 1, 24000))
    assert [tuple(each.shape[1:]) for each in maps[::5]] == [
        (2, 480, 13),
        (2, 120, 50),
        (2, 160, 37),
    ]
    assert [tuple(each.shape[1:]) for each in logits] == [(1, 30, 4), (1, 8, 13), (1, 10, 10)]


@pytest.mark.parametrize("kind", KINDS)
def test_is_the_same_for_each_example_of_a_batch(kind: str) -> None:
    torch.manual_seed(0)
    network = build(kind, "tiny")
    wav = 0.1 * torch.randn(3, 1, 4000)
    both, alone = network(wav), network(wav[1:2])
    for every, one in zip((*both[0], *both[1]), (*alone[0], *alone[1]), strict=True):
        torch.testing.assert_close(every[1:2], one)


@pytest.mark.parametrize("kind", KINDS)
def test_tells_a_hum_from_noise_after_a_few_steps(kind: str) -> None:
    torch.manual_seed(0)
    network = build(kind, "tiny")
    optimiser = torch.optim.Adam(network.parameters(), 2e-2, betas=(0.5, 0.9))

    def loss() -> torch.Tensor:
        pitch = 0.02 + 0.02 * torch.rand(2, 1, 1)  # cycles a sample
        phase = 6.28 * (pitch * torch.arange(2500.0) + torch.rand(2, 1, 1))
        hum = 0.1 * sum(torch.sin(n * phase) for n in (1, 2, 3))
        return hinge(network(hum)[0], network(0.12 * torch.randn(2, 1, 2500))[0])

    assert loss() > 1.5
    for _ in range(30):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss() < 1


def test_noise_keeps_its_variance_in_a_spectrum() -> None:
    torch.manual_seed(0)
    spectrum = Stft(256)(torch.randn(4, 1, 16000))
    assert spectrum.shape == (4, 2, 247, 129)
    assert float(spectrum.square().sum(1).mean()) == pytest.approx(1, abs=0.02)


def test_what_is_shorter_than_a_window_is_heard_too() -> None:
    assert Stft(2048)(torch.randn(1, 1, 1000)).shape == (1, 2, 1, 1025)
    assert StftConfig(channels=2).build()(torch.randn(1, 1, 100))[0][0].shape == (1, 1, 1, 1)


def test_slower_keeps_what_is_low() -> None:
    constant = torch.ones(1, 1, 64)
    torch.testing.assert_close(Downsampler(2)(constant), torch.ones(1, 1, 16))
    assert Downsampler(0)(constant) is constant


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [("period", "full", "unknown kind 'period'; known: wave"), ("wave", "huge", "size 'huge'")],
)
def test_what_is_not_known_is_refused(kind: str, size: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(kind, size)
