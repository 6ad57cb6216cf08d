"""SNAC's checkpoints: what is converted, and what is refused by name."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers import install, recognise
from ncodec.hub.importers.base import Converted
from ncodec.hub.importers.snac import convert
from ncodec.hub.public import public_models
from ncodec.models.snac import PRESETS, Snac
from ncodec.nn.snac import inverse_waves

SIZES: dict[str, Any] = {
    "sampling_rate": 8000,
    "encoder_dim": 16,
    "encoder_rates": [4, 5],
    "latent_dim": None,
    "decoder_dim": 64,
    "decoder_rates": [5, 4],
    "attn_window_size": 8,
    "codebook_size": 16,
    "codebook_dim": 4,
    "vq_strides": [4, 2, 1],
    "noise": True,
    "depthwise": True,
}


def normed(name: str, *shape: int, bias: int = 0) -> dict[str, Tensor]:
    """A convolution under weight norm, as the authors' code names it."""
    stem = f"{name}.parametrizations.weight"
    state = {
        f"{stem}.original0": torch.rand(shape[0], 1, 1) + 0.5,
        f"{stem}.original1": torch.randn(shape),
    }
    return state | ({f"{name}.bias": torch.randn(bias)} if bias else {})


def unit(name: str, width: int) -> dict[str, Tensor]:
    return {
        f"{name}.block.0.alpha": torch.rand(1, width, 1),
        **normed(f"{name}.block.1", width, 1, 7, bias=width),
        f"{name}.block.2.alpha": torch.rand(1, width, 1),
        **normed(f"{name}.block.3", width, width, 1, bias=width),
    }


def attention(name: str, width: int) -> dict[str, Tensor]:
    return {
        f"{name}.norm.weight": torch.rand(width),
        f"{name}.norm.bias": torch.rand(width),
        f"{name}.to_qkv.weight": torch.randn(3 * width, width),
        f"{name}.to_out.weight": torch.randn(width, width),
        f"{name}.rel_pos.inv_freq": inverse_waves(),
    }


def checkpoint() -> dict[str, Tensor]:
    """The tensors of a small model, as the authors' code names them."""
    torch.manual_seed(1)
    state = normed("encoder.block.0", 16, 1, 7, bias=16)
    for level, (width, stride) in enumerate([(16, 4), (32, 5)]):
        block = f"encoder.block.{level + 1}.block"
        for number in range(3):
            state |= unit(f"{block}.{number}", width)
        state[f"{block}.3.alpha"] = torch.rand(1, width, 1)
        state |= normed(f"{block}.4", 2 * width, width, 2 * stride, bias=2 * width)
    state |= attention("encoder.block.3", 64)
    state |= normed("encoder.block.4", 64, 1, 7, bias=64)
    state |= normed("decoder.model.0", 64, 1, 7, bias=64)
    state |= normed("decoder.model.1", 64, 64, 1, bias=64)
    state |= attention("decoder.model.2", 64)
    for level, (width, stride) in enumerate([(64, 5), (32, 4)]):
        block, half = f"decoder.model.{level + 3}.block", width // 2
        state[f"{block}.0.alpha"] = torch.rand(1, width, 1)
        state |= normed(f"{block}.1", width, half, 2 * stride, bias=half)
        state |= normed(f"{block}.2.linear", half, half, 1)
        for number in range(3):
            state |= unit(f"{block}.{number + 3}", half)
    state["decoder.model.5.alpha"] = torch.rand(1, 16, 1)
    state |= normed("decoder.model.6", 1, 16, 7, bias=1)
    for level in range(3):
        stem = f"quantizer.quantizers.{level}"
        state |= normed(f"{stem}.in_proj", 4, 64, 1, bias=4)
        state |= normed(f"{stem}.out_proj", 64, 4, 1, bias=64)
        state[f"{stem}.codebook.weight"] = torch.randn(16, 4)
    return state


def converted(state: Mapping[str, Tensor], config: Mapping[str, Any] | None = SIZES) -> Converted:
    found = convert(state, config)
    assert isinstance(found, Converted)
    return found


def test_a_checkpoint_becomes_a_codec() -> None:
    state = checkpoint()
    found = converted(state)
    assert (found.model_id, found.architecture) == ("snac", "snac")
    assert found.config == PRESETS["snac-tiny-windows"]
    codec = Snac(PRESETS["snac-tiny-windows"])
    codec.load_state_dict(dict(found.tensors))
    assert codec.encode(torch.randn(1, 1, 800), 7).codes.shape == (1, 7, 10)
    alpha = state["decoder.model.3.block.5.block.2.alpha"].flatten()
    assert torch.equal(found.tensors["decoder.layers.8.between.alpha"], alpha)
    assert torch.equal(found.tensors["quantiser.codebooks"][2],
                       state["quantizer.quantizers.2.codebook.weight"])  # fmt: skip
    stem = "quantizer.quantizers.1.in_proj"
    direction = state[f"{stem}.parametrizations.weight.original1"]
    magnitude = state[f"{stem}.parametrizations.weight.original0"]
    weight = direction / direction.norm(dim=(1, 2), keepdim=True) * magnitude
    torch.testing.assert_close(found.tensors["quantiser.inward"][1], weight[..., 0])


def test_a_folder_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path / "cache"))
    torch.save(checkpoint(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    path = install(recognise(tmp_path), "small")
    assert path == tmp_path / "cache" / "models" / "small.safetensors"
    assert recognise(path).model_id == "small"
    alone = recognise(tmp_path / "pytorch_model.bin", SIZES)
    assert isinstance(alone, Converted)
    assert alone.config == PRESETS["snac-tiny-windows"]


def test_the_table_has_the_configs_that_a_file_alone_does_not_tell() -> None:
    table = public_models()
    assert table["snac_24khz"].config is None
    for name in ("snac_32khz", "snac_44khz"):
        with pytest.raises(ModelInvalid, match="SNAC: missing encoder.block"):
            convert(checkpoint(), table[name].config)


def test_without_a_config_it_is_the_24_khz_model() -> None:
    with pytest.raises(ModelInvalid, match="SNAC: missing encoder.block.*shape"):
        convert(checkpoint(), None)
    state = {**checkpoint(), "quantizer.quantizers.3.codebook.weight": torch.zeros(16, 4)}
    with pytest.raises(ModelInvalid, match="a model of 4 levels: config.json must be in the same"):
        convert(state, None)


def test_others_are_not_taken_for_it() -> None:
    assert convert({"encoder.block.0.bias": torch.zeros(1)}, SIZES) is None
    of_dac = {name: value for name, value in SIZES.items() if name != "vq_strides"}
    assert convert(checkpoint(), {**of_dac, "n_codebooks": 9}) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise": False}, "noise is False, expected True"),
        ({"depthwise": 1}, "depthwise is 1, expected True"),
        ({"sampling_rate": 8e3}, "sampling_rate is 8000.0, expected a whole number from 1 to"),
        ({"encoder_rates": []}, r"encoder_rates is \[\], expected 1 to 8 numbers"),
        ({"decoder_rates": [4, 5]}, r"decoder_rates is \[4, 5\], expected .* in reverse, \[5, 4\]"),
        ({"vq_strides": [4, 3, 1]}, "vq_strides is .*, expected divisors of the first"),
        ({"vq_strides": [1, 2, 4]}, "vq_strides is .*, expected divisors of the first"),
        ({"latent_dim": 32}, "latent_dim is 32, expected 64, that of the encoder"),
        ({"attn_window_size": 0}, "attn_window_size is 0, expected a whole number"),
        ({"oddity": 1}, "unknown oddity"),
    ],
)
def test_a_config_of_another_network(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelInvalid, match=f"SNAC: config.json: {said}"):
        convert(checkpoint(), {**SIZES, **changes})


def test_a_config_without_a_size() -> None:
    config = {name: value for name, value in SIZES.items() if name != "codebook_dim"}
    with pytest.raises(ModelInvalid, match="SNAC: config.json: codebook_dim is None, expected"):
        convert(checkpoint(), config)


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("decoder.model.5.alpha", None, "missing decoder.model.5.alpha"),
        (
            "decoder.model.5.alpha",
            torch.zeros(1, 17, 1),
            r"shape \[1, 17, 1\], expected \[1, 16, 1",
        ),
        ("decoder.model.5.alpha", torch.full((1, 16, 1), math.nan), "values that are not finite"),
        ("quantizer.quantizers.0.codebook.weight", torch.zeros(16, 5), r"expected \[16, 4\]"),
        ("encoder.block.3.rel_pos.inv_freq", torch.ones(32), "is not that of rotary positions"),
        ("spare", torch.zeros(1), "unexpected spare"),
        ("encoder.block.0.parametrizations.weight.original0", None, "original0 is missing"),
    ],
)
def test_an_altered_checkpoint(name: str, tensor: Tensor | None, said: str) -> None:
    state = checkpoint()
    if tensor is None:
        del state[name]
    else:
        state[name] = tensor
    with pytest.raises(ModelInvalid, match=said):
        convert(state, SIZES)
