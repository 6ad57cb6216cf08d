"""Networks that are a codec before they have learned anything: `start = "transform"`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ncodec.errors import UsageError
from ncodec.models.registry import architecture
from ncodec.models.torch_codec import TorchCodec
from ncodec.nn.seanet import ResidualUnit, SkipLstm
from ncodec.training.config import TrainConfig
from ncodec.training.loop import Run
from ncodec.training.start import COEFFICIENT, cosine_transform, start

TINY = [(name, f"{name}-tiny") for name in ("encodec", "soundstream", "hilcodec")]
FITTING = TINY + [(name, f"{name}-small") for name, _ in TINY]


def untrained(name: str, preset: str, **changes: object) -> TorchCodec:
    torch.manual_seed(0)
    kind = architecture(name)
    return kind(replace(kind.presets[preset], **changes))


def sines(codec: TorchCodec) -> Tensor:
    """Return half a second of a quiet chord [1, 1, T], low enough for every preset."""
    rate = codec.config.sample_rate_hz
    time_s = torch.arange(rate // 2) / rate
    hz = torch.tensor([[110.0], [230], [370]])
    return 0.03 * torch.sin(2 * torch.pi * hz * time_s + hz).sum(0)[None, None]


def unquantised(codec: TorchCodec, wav: Tensor) -> Tensor:
    """Return what the networks by themselves make of [B, C, T]."""
    return codec.reconstruct(wav, lambda latents: latents)[1]


def snr_db(wav: Tensor, made: Tensor) -> float:
    return 10 * float(torch.log10(wav.square().sum() / (made - wav).square().sum()))


@pytest.mark.parametrize(("name", "preset"), FITTING)
@torch.no_grad()
def test_the_untrained_networks_pass_on_what_is_low(name: str, preset: str) -> None:
    codec = untrained(name, preset)
    wav = sines(codec)
    assert snr_db(wav, unquantised(codec, wav)) < 1
    start(codec, "transform")
    assert snr_db(wav, unquantised(codec, wav)) > 10


@pytest.mark.parametrize("name", ["encodec", "soundstream"])
@torch.no_grad()
def test_latents_are_the_lowest_coefficients_of_each_frame(name: str) -> None:
    codec = untrained(name, f"{name}-tiny")
    start(codec, "transform")
    wav = 1e-4 * torch.randn(1, 1, 800)  # so quiet that an ELU is all but linear
    seen = []

    def see(latents: Tensor) -> Tensor:
        seen.append(latents)
        return latents

    codec.reconstruct(wav, see)
    expected = COEFFICIENT * wav.view(1, 10, 80) @ cosine_transform(80, 16).T
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-7)


def test_the_transform_is_orthonormal() -> None:
    whole = cosine_transform(80, 80)
    torch.testing.assert_close(whole @ whole.T, torch.eye(80))
    assert torch.equal(cosine_transform(80, 16), whole[:16])


def moves(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


@pytest.mark.parametrize(("name", "preset"), TINY)
def test_all_of_it_can_learn(name: str, preset: str) -> None:
    """What adds nothing at first has gradients, and after one step so has all behind it."""
    codec = untrained(name, preset)
    start(codec, "transform")
    wav = sines(codec)
    wav += 0.01 * torch.randn_like(wav)
    denoise = torch.tensor([True]) if codec.can_denoise else None

    def learn() -> None:
        codec.zero_grad()
        made, _ = codec.reconstruct(wav, lambda latents: latents, denoise)
        (made - wav).square().sum().backward()

    learn()
    for module in codec.modules():
        if isinstance(module, ResidualUnit):
            assert moves(module.widen.weight)
        elif isinstance(module, SkipLstm):
            last = module.lstm.num_layers - 1
            assert moves(module.lstm.get_parameter(f"weight_ih_l{last}"))
    torch.optim.SGD(codec.parameters(), 1e-2).step()
    learn()
    for place, parameter in codec.named_parameters():
        assert moves(parameter), place


def test_a_run_starts_as_it_is_told(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, architecture="encodec", preset="encodec-tiny")
    with torch.no_grad():
        for settings, passes in ((config, False), (replace(config, start="transform"), True)):
            run = Run(settings, tmp_path)
            for codec in (run.model, run.average):
                wav = sines(codec)
                assert (snr_db(wav, unquantised(codec, wav)) > 10) == passes


CROWDED = {"strides": (4, 5, 4)}  # 20 samples in 16 channels


@pytest.mark.parametrize(
    ("name", "preset", "changes", "kind", "message"),
    [
        ("encodec", "encodec-tiny", {}, "wavelet", r"start 'wavelet' is unknown; .* 'transform'"),
        ("spectral", "spectral-tiny", {}, "transform", "not for spectral"),
        ("encodec", "encodec-tiny-stereo", {}, "transform", "causal codecs? of one channel"),
        ("encodec", "encodec-tiny-stereo", {"n_channels": 1}, "transform", "causal"),
        ("encodec", "encodec-tiny", {"n_channels": 2}, "transform", "of one channel"),
        ("encodec", "encodec-tiny", CROWDED, "transform", "16 channels for 20 samples"),
        ("soundstream", "soundstream-tiny", CROWDED, "transform", "16 channels for 20 samples"),
        ("hilcodec", "hilcodec-tiny", CROWDED, "transform", "16 channels for 20 samples"),
        ("soundstream", "soundstream-tiny", {"latent": 40}, "transform", "32 for 40 latents"),
    ],
)
def test_refuses_what_has_no_such_start(
    name: str, preset: str, changes: dict[str, object], kind: str, message: str
) -> None:
    codec = untrained(name, preset, **changes)
    before = {place: tensor.clone() for place, tensor in codec.state_dict().items()}
    with pytest.raises(UsageError, match=message):
        start(codec, kind)
    for place, tensor in codec.state_dict().items():
        assert torch.equal(tensor, before[place]), place
