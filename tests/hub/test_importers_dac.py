"""DAC's checkpoints: both layouts come to the same, and what is refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from reference_dac import authors_file, reference
from safetensors.torch import save_file
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub import codecs
from ncodec.hub.importers import install, recognise
from ncodec.hub.importers.dac import convert
from ncodec.models.dac import PRESETS


@pytest.fixture(scope="module")
def model() -> Any:
    return reference("small")


def test_both_layouts_come_to_the_same(model: Any) -> None:
    plain = convert(model.state_dict(), model.config.to_dict())
    file = authors_file(model)
    theirs = convert(file["state_dict"], file["metadata"]["kwargs"])
    assert plain is not None
    assert theirs is not None
    assert plain.config == theirs.config
    assert (plain.model_id, plain.facts) == (theirs.model_id, theirs.facts) == ("dac", {})
    assert plain.config.sample_rate_hz == 8000
    assert plain.config.strides == (3, 4, 5)
    assert plain.tensors.keys() == theirs.tensors.keys()
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(theirs.tensors[name], tensor, rtol=1e-6, atol=1e-8)
        assert tensor.numel() == 1 or tensor.unique().numel() > 1  # a wrong place would show


def test_new_weight_norm_is_read_too(model: Any) -> None:
    file = authors_file(model)
    new = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): tensor
        for name, tensor in file["state_dict"].items()
    }
    arguments = file["metadata"]["kwargs"]
    old, found = convert(file["state_dict"], arguments), convert(new, arguments)
    assert old is not None
    assert found is not None
    assert all(torch.equal(old.tensors[name], tensor) for name, tensor in found.tensors.items())


def test_a_file_of_the_authors_is_read_without_running_anything(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCODEC_CACHE", str(tmp_path / "cache"))
    torch.save(authors_file(model), tmp_path / "weights.pth")
    found = recognise(tmp_path / "weights.pth")
    install(found, "mine")
    codec = codecs.load_torch_codec(codecs.find("mine"))
    assert codec.config.sample_rate_hz == 8000
    wav = 0.1 * torch.randn(1, 1, 4800)
    wanted = model.encode(wav).audio_codes
    assert (codec.encode(wav, 5).codes != wanted).any(1).float().mean() < 0.05


def test_a_folder_of_transformers_is_read(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    converted = recognise(tmp_path)
    assert converted.model_id == "dac"
    (tmp_path / "config.json").unlink()
    with pytest.raises(ModelInvalid, match="sample rate None: expected one in the file or config"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    "name", ["dac_16khz", "dac_24khz", "dac_44khz", "dac_44khz_16kbps"]
)  # fmt: skip
def test_published_models_are_known_by_their_sizes(name: str) -> None:
    """Of the tensors of networks at rest, on a device without memory."""
    from transformers import DacConfig, DacModel

    preset = PRESETS[name]
    with torch.device("meta"):
        model = DacModel(
            DacConfig(n_codebooks=preset.n_codebooks, downsampling_ratios=list(preset.strides))
        )
    state = {key: torch.zeros(1).expand(value.shape) for key, value in model.state_dict().items()}
    if preset.latent != 1024:
        for key in ("encoder.conv2.weight", "encoder.conv2.bias"):
            state[key] = state[key][: preset.latent]
        state["decoder.conv1.weight"] = state["decoder.conv1.weight"][:, : preset.latent]
        for key in [key for key in state if "_proj" in key]:
            part = state[key]
            at = [slice(preset.latent) if size == 1024 else slice(None) for size in part.shape]
            state[key] = part[tuple(at)]
    found = convert(state, None)
    assert found is not None
    assert (found.model_id, found.config) == (name, preset)
    assert found.facts["licence"] == "MIT"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder.block.1.res_unit2.snake1.alpha": None}, "missing encoder.layers.7.first.alpha"),
        ({"decoder.block.0.conv_t1.bias": None}, "missing decoder.layers.2.bias"),
        ({"encoder.conv2.weight": None}, "missing encoder.layers.17.weight"),
        ({"quantizer.quantizers.3.codebook.weight": None}, "the codewords of codebooks differ"),
        ({"quantizer.quantizers.4.in_proj.bias": None}, "the in_bias of codebooks differ"),
        ({"quantizer.quantizers.1.codebook.weight": torch.ones(2, 2)}, "codebooks differ in"),
        ({"quantizer.quantizers.5.codebook.weight": torch.ones(64, 6)}, "the in_weight of code"),
        ({"extra": torch.ones(1)}, "unexpected extra"),
        ({"decoder.block.1.conv_t1.weight": torch.ones(20, 10, 7)}, r"shape \[20, 10, 7\]"),
        (
            {"decoder.block.1.conv_t1.weight": torch.ones(20, 10, 6)},
            r"layers.7.weight has shape \[30, 20, 1, 2\], expected \[40, 20, 1, 2\]",
        ),
        ({"encoder.snake1.alpha": torch.ones(1, 48)}, "layers.16.alpha has shape"),
        ({"encoder.conv1.bias": torch.full((6,), torch.nan)}, "layers.0.bias has values that"),
        ({"encoder.conv1.weight": torch.ones(6, 7)}, r"layers.0.weight has shape \[6, 7\]"),
        ({"encoder.conv1.weight": torch.ones(0, 1, 7)}, "encoder_width is 0"),
    ],
)
def test_altered_checkpoints_are_refused(
    model: Any, change: dict[str, Tensor | None], said: str
) -> None:
    changed = {**model.state_dict(), **change}
    state = {name: tensor for name, tensor in changed.items() if tensor is not None}
    with pytest.raises(ModelInvalid, match=said) as info:
        convert(state, model.config.to_dict())
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder_rates", [3, 4, 6]), ("decoder_rates", [3, 4, 5]), ("n_codebooks", 4),
        ("codebook_dim", [6, 6]), ("latent_dim", 12), ("sample_rate", "8000"), ("sample_rate", 0),
    ],
)  # fmt: skip
def test_sizes_that_contradict_the_tensors_are_refused(model: Any, key: str, value: object) -> None:
    file = authors_file(model)
    wanted = "sample rate" if key == "sample_rate" else f"{key} is "
    with pytest.raises(ModelInvalid, match=wanted):
        convert(file["state_dict"], file["metadata"]["kwargs"] | {key: value})


def test_other_checkpoints_are_left_to_others(model: Any, tmp_path: Path) -> None:
    assert convert({"encoder.block.0.weight": torch.ones(1)}, None) is None
    assert convert({}, None) is None
    networks = {k: v for k, v in model.state_dict().items() if not k.startswith("quantizer")}
    assert convert(networks, None) is None
    save_file(networks, tmp_path / "model.safetensors")
    with pytest.raises(ModelInvalid, match="expected one of EnCodec"):
        recognise(tmp_path / "model.safetensors")
