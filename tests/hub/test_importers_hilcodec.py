"""HILCodec's checkpoints: what is converted, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import Converted
from ncodec.hub.importers.hilcodec import convert
from ncodec.models.hilcodec import PRESETS, Hilcodec, HilcodecConfig
from ncodec.nn.hilcodec import fourier

GOLDEN = Path(__file__).parents[1] / "golden" / "hilcodec"
SIZES: dict[str, Any] = {
    "channels_enc": 2,
    "channels_dec": 3,
    "n_fft_base": 8,
    "n_residual_enc": 1,
    "n_residual_dec": 2,
    "res_scale_enc": 0.5,
    "res_scale_dec": 0.25,
    "strides": [5, 2],
    "kernel_size": 5,
    "last_kernel_size": 3,
    "residual_kernel_size": 5,
    "spec_compression": "log",
    "vq_kwargs": {"dim": 6, "codebook_size": 16, "num_quantizers": 3},
}


def convolution(name: str, *shape: int, bias: bool = False) -> dict[str, Tensor]:
    """A convolution under weight norm, as the authors' code names it."""
    kind = "convtr" if name.endswith("convtr") else "conv"
    stem = f"{name.removesuffix('.convtr')}.{kind}.{kind}"
    parts = {"weight_g": torch.rand(shape[0], 1, 1) + 0.5, "weight_v": torch.randn(shape)}
    if bias:
        parts["bias"] = torch.randn(shape[0])
    return {f"{stem}.{part}": value for part, value in parts.items()}


def unit(name: str, width: int, kernel: int) -> dict[str, Tensor]:
    state = {f"{name}.res_scale_param": torch.randn(1)}
    for place in (1, 4):
        state |= convolution(f"{name}.block.{place}", width, width, 1)
        state |= convolution(f"{name}.block.{place + 1}", width, 1, kernel, bias=True)
    return state


def spectrum(name: str, n_fft: int, width: int) -> dict[str, Tensor]:
    state = convolution(f"{name}.layer", width, n_fft // 2 + 1, 1)
    state[f"{name}.scale_param"] = torch.randn(1)
    state[f"{name}.spec.weight"] = fourier(n_fft)[:, None]
    return state


def checkpoint(config: HilcodecConfig) -> dict[str, Tensor]:
    """A state dict as the authors' training code writes it, of random numbers."""
    torch.manual_seed(4)
    kernel, width, n_fft = config.residual_kernel, config.encoder_width, config.first_n_fft
    state = convolution("encoder.conv_pre.1", width, 1, config.first_kernel, bias=True)
    for level, stride in enumerate(config.strides):
        state |= spectrum(f"encoder.spec_blocks.{level}", n_fft, width)
        for place in range(config.encoder_units):
            state |= unit(f"encoder.blocks.{level}.{place}", width, kernel)
        down = f"encoder.downsample.{level}"
        state |= convolution(f"{down}.2", 2 * width, width, 1)
        state |= convolution(f"{down}.3", 2 * width, 1, 2 * stride, bias=True)
        width, n_fft = 2 * width, 2 * n_fft
    state |= spectrum("encoder.spec_post", n_fft, width)
    state |= convolution("encoder.conv_post.1", width, 1, config.last_kernel)
    state |= convolution("encoder.conv_post.2", config.latent, width, 1, bias=True)

    width = config.decoder_width * 2 ** len(config.strides)
    state |= convolution("decoder.model.0", width, config.latent, 1)
    state |= convolution("decoder.model.1", width, 1, config.first_kernel, bias=True)
    place = 2
    for stride in reversed(config.strides):
        state |= convolution(f"decoder.model.{place + 2}.convtr", width, 1, 2 * stride)
        state |= convolution(f"decoder.model.{place + 3}", width // 2, width, 1, bias=True)
        width, place = width // 2, place + 4
        for _ in range(config.decoder_units):
            state |= unit(f"decoder.model.{place}", width, kernel)
            place += 1
    state |= convolution(f"decoder.model.{place + 2}", 1, width, config.last_kernel, bias=True)
    for q in range(config.n_codebooks):
        book = torch.randn(config.codebook_size, config.latent)
        state[f"quantizer.layers.{q}.embed"] = book
        state[f"quantizer.layers.{q}.ema_embed"] = book * 0.5
        state[f"quantizer.layers.{q}.ema_num"] = torch.ones(len(book))
    return state


def small() -> HilcodecConfig:
    """What `SIZES` describes."""
    return HilcodecConfig(
        sample_rate_hz=24000, n_channels=1, samples_per_frame=10, n_codebooks=3, codebook_size=16,
        bandwidths_kbps=(28.8,), default_bandwidth_kbps=28.8, encoder_width=2, decoder_width=3,
        latent=6, strides=(2, 5), encoder_units=1, decoder_units=2, first_n_fft=8, first_kernel=5,
        last_kernel=3, residual_kernel=5, encoder_residual=0.5, decoder_residual=0.25,
    )  # fmt: skip


def converted(state: dict[str, Tensor], config: dict[str, Any] | None) -> Converted:
    found = convert(state, config)
    assert found is not None
    return found


def test_sizes_come_from_the_config() -> None:
    found = converted(checkpoint(small()), SIZES)
    assert (found.kind, found.model_id, found.architecture) == ("codec", "hilcodec", "hilcodec")
    assert found.config == small()
    assert found.facts["licence"] == "MIT"
    Hilcodec(small()).load_state_dict(dict(found.tensors))


@pytest.mark.parametrize("name", ["hilcodec_music", "hilcodec_speech"])
def test_a_published_size_needs_no_config(name: str) -> None:
    preset = PRESETS[name]
    found = converted(checkpoint(preset), None)
    assert (found.model_id, found.config) == (name, preset)
    with torch.device("meta"):
        wanted = Hilcodec(preset).state_dict()
    assert {key: value.shape for key, value in found.tensors.items()} == {
        key: value.shape for key, value in wanted.items()
    }


def test_weight_norm_may_have_been_removed() -> None:
    state = checkpoint(small())
    magnitude, direction = state["encoder.conv_pre.1.conv.conv.weight_g"], "conv_pre.1.conv.conv."
    weight = state.pop(f"encoder.{direction}weight_v")
    weight = magnitude * weight / weight.flatten(1).norm(dim=1)[:, None, None]
    del state[f"encoder.{direction}weight_g"]
    state[f"encoder.{direction}weight"] = weight
    found, wanted = converted(state, SIZES), converted(checkpoint(small()), SIZES)
    for key, value in wanted.tensors.items():
        torch.testing.assert_close(found.tensors[key], value)


def test_other_checkpoints_are_not_its() -> None:
    assert convert({"encoder.model.0.conv.conv.weight_g": torch.ones(1)}, None) is None
    assert convert({}, None) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("act_all", True),
        ("skip", "1x1"),
        ("spec_learnable", True),
        ("spec_compression", ""),
        ("spec", ""),
        ("causal", False),
        ("pad_mode", "reflect"),
        ("dilation_base", 2),
        ("final_activation", None),
        ("encoder_l2norm", False),
        ("zero_init", False),
        ("inout_norm", 1),
        ("res_scale_enc", None),
        ("res_scale_dec", 2.0),
        ("channels_enc", "64"),
        ("channels_dec", 0),
        ("strides", []),
        ("strides", [8, 5, 0]),
        ("n_residual_dec", 10**9),
        ("vq_kwargs", None),
        ("vq_kwargs", {"dim": 6, "codebook_size": 16}),
        ("sample_rate", -1),
    ],
)
def test_refuses_what_is_not_built(key: str, value: object) -> None:
    with pytest.raises(ModelInvalid, match=f"config.json: {key}"):
        convert(checkpoint(small()), {**SIZES, key: value})


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ModelInvalid, match="unknown oddity"):
        convert(checkpoint(small()), {**SIZES, "oddity": 1})
    quantiser = {**SIZES["vq_kwargs"], "oddity": 1}
    with pytest.raises(ModelInvalid, match=r"unknown vq_kwargs\.oddity"):
        convert(checkpoint(small()), {**SIZES, "vq_kwargs": quantiser})


def test_a_missing_compression_is_not_taken_for_ours() -> None:
    """Without the key, the authors' code would not take the logarithm."""
    sizes = {key: value for key, value in SIZES.items() if key != "spec_compression"}
    with pytest.raises(ModelInvalid, match="spec_compression is None, expected 'log'"):
        convert(checkpoint(small()), sizes)


def test_bandwidths_are_those_of_the_dropout() -> None:
    quantiser = {**SIZES["vq_kwargs"], "dropout": True, "dropout_index": [1, 3]}
    found = converted(checkpoint(small()), {**SIZES, "vq_kwargs": quantiser})
    assert found.config.bandwidths_kbps == (9.6, 28.8)
    quantiser["dropout_index"] = "all"
    with pytest.raises(ModelInvalid, match="dropout_index"):
        convert(checkpoint(small()), {**SIZES, "vq_kwargs": quantiser})


def test_names_the_tensor_that_differs() -> None:
    state = checkpoint(small())
    del state["decoder.model.1.conv.conv.bias"]
    with pytest.raises(ModelInvalid, match=r"missing decoder\.model\.1\.conv\.conv\.bias"):
        convert(state, SIZES)
    state = checkpoint(small()) | {"decoder.model.99.odd": torch.ones(1)}
    with pytest.raises(ModelInvalid, match=r"unexpected decoder\.model\.99\.odd"):
        convert(state, SIZES)
    state = checkpoint(small()) | {"encoder.spec_post.scale_param": torch.ones(2)}
    with pytest.raises(ModelInvalid, match=r"encoder\.spec_post\.scale_param has shape \[2\]"):
        convert(state, SIZES)


def test_refuses_another_transform() -> None:
    state = checkpoint(small())
    state["encoder.spec_post.spec.weight"] = state["encoder.spec_post.spec.weight"] + 1e-3
    with pytest.raises(ModelInvalid, match=r"encoder\.spec_post\.spec\.weight is not the Fourier"):
        convert(state, SIZES)


def test_an_unpublished_size_needs_its_config() -> None:
    with pytest.raises(ModelInvalid, match=r"3 tensors .*, expected 12 or 8; .* config\.json"):
        convert(checkpoint(small()), None)


def test_converts_a_checkpoint_of_the_authors_code() -> None:
    config = json.loads((GOLDEN / "config.json").read_text())
    found = converted(load_file(GOLDEN / "weights.safetensors"), config)
    assert found.model_id == "hilcodec"
    assert found.config.bandwidths_kbps == (2.0, 4.0)  # 8 and 12 codebooks are for training alone
    Hilcodec(found.config).load_state_dict(dict(found.tensors))
