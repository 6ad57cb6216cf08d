"""The Descript Audio Codec: the authors' weights*.pth, and transformers' layout.

With n strides, in the encoder (E) and the decoder (D):

    theirs                          transformers'                   ours
    encoder.block.0.                encoder.conv1.                  encoder.layers.0.
    decoder.model.0.                decoder.conv1.                  decoder.layers.0.
    ...N.block.0. to .4.       (E)  .block.N-1.res_unit1. to 3.,    .layers.5N-4. to 5N
                                    snake1., conv1.
                               (D)  .block.N-1.snake1., conv_t1.,
                                    res_unit1. to 3.
    ...n+1., ...n+2.                .snake1., .conv2.               .layers.5n+1., 5n+2.
    in a unit: block.0. to .3.      snake1., conv1., snake2.,       first., dilated., second.,
                                    conv2.                          pointwise.

and of quantizer.quantizers.Q, in both, codebook.weight is quantiser.codewords[Q], in_proj.weight
is quantiser.in_weight[Q] and so on. An alpha has three dimensions there, one here.

The sizes are read off the tensors; the sample rate is in the metadata, or in config.json, or that
of the published model of these sizes.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import Converted, check_tensors, fold_weight_norm
from ncodec.models.dac import PRESETS, Dac, DacConfig
from ncodec.nn.conv import Upsample, upsample_weight

_PUBLISHED = ("dac_16khz", "dac_24khz", "dac_44khz", "dac_44khz_16kbps")
_FACTS = {
    "licence": "MIT",
    "authors": "Descript: R. Kumar, P. Seetharaman, A. Luebs, I. Kumar, K. Kumar",
}
_QUANTISER = re.compile(r"quantizer\.quantizers\.(\d+)\.(codebook|in_proj|out_proj)\.(weight|bias)")
_OURS = {
    ("codebook", "weight"): "codewords",
    ("in_proj", "weight"): "in_weight",
    ("in_proj", "bias"): "in_bias",
    ("out_proj", "weight"): "out_weight",
    ("out_proj", "bias"): "out_bias",
}
_THEIR_LAYER = re.compile(r"(encoder\.block|decoder\.model)\.(\d+)\.(?:block\.(\d)\.)?(.+)")
_BLOCK = re.compile(r"(encoder|decoder)\.block\.(\d+)\.(res_unit\d|snake1|conv1|conv_t1)\.(.+)")
_END = re.compile(r"(encoder|decoder)\.(conv1|snake1|conv2)\.(.+)")
_PLACES = {
    "encoder": {"res_unit1": 0, "res_unit2": 1, "res_unit3": 2, "snake1": 3, "conv1": 4},
    "decoder": {"snake1": 0, "conv_t1": 1, "res_unit1": 2, "res_unit2": 3, "res_unit3": 4},
}
_PER_STRIDE = 5  # layers
_PARTS = {
    "block.0.": "first.", "block.1.": "dilated.", "block.2.": "second.", "block.3.": "pointwise.",
    "snake1.": "first.", "conv1.": "dilated.", "snake2.": "second.", "conv2.": "pointwise.",
}  # fmt: skip
_PART = re.compile("|".join(map(re.escape, _PARTS)))


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Converted | None:
    """Return the codec of a checkpoint, None if it is of another kind. Raises ModelInvalid.

    config  of transformers, where the checkpoint is a folder of that library, or the arguments
            that the authors' files tell of their model
    """
    is_theirs = any(name.startswith("encoder.block.0.weight") for name in state) or any(
        name.startswith("encoder.block.0.parametrizations.weight.") for name in state
    )
    is_transformers = any(name.startswith("encoder.block.0.res_unit1.") for name in state)
    if not (is_theirs or is_transformers) or not any(map(_QUANTISER.fullmatch, state)):
        return None
    tensors = _renamed(fold_weight_norm(state))
    sizes = _sizes(tensors)
    name, preset = _named(sizes, config or {})
    _check_config(preset, config or {})
    with torch.device("meta"):
        codec = Dac(preset)
    tensors = _laid_out(tensors, codec)
    expected = {key: list(value.shape) for key, value in codec.state_dict().items()}
    check_tensors(tensors, expected, name)
    return Converted(name, Dac.name, preset, tensors, _FACTS if name in _PUBLISHED else {})


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by our names; those of the quantiser are stacked."""
    tensors: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, Tensor]] = {}
    blocks = [match for name in state if (match := _THEIR_LAYER.fullmatch(name)) and match[3]]
    plain = [match for name in state if (match := _BLOCK.fullmatch(name))]
    n_strides = max([int(m[2]) for m in blocks] + [int(m[2]) + 1 for m in plain], default=0)
    for name, tensor in state.items():
        if match := _QUANTISER.fullmatch(name):
            ours = _OURS.get((match[2], match[3]), name)
            stacks.setdefault(ours, {})[int(match[1])] = tensor.float()
        else:
            tensors[_layer_name(name, n_strides)] = tensor.float()
    n_codebooks = 1 + max((q for stack in stacks.values() for q in stack), default=-1)
    for ours, stack in stacks.items():
        shapes = {tuple(tensor.shape) for tensor in stack.values()}
        if len(stack) != n_codebooks or len(shapes) != 1:
            raise ModelInvalid(f"DAC: the {ours} of codebooks differ in shape, or one is missing")
        tensors[f"quantiser.{ours}"] = torch.stack([stack[q] for q in range(n_codebooks)])
    return tensors


def _layer_name(name: str, n_strides: int) -> str:
    """Return what we call a tensor of the networks; its own name if that is not known."""
    if match := _BLOCK.fullmatch(name):
        place = _PLACES[match[1]].get(match[3])
        if place is not None:
            rest = _inside(match[4]) if match[3].startswith("res") else match[4]
            return f"{match[1]}.layers.{1 + _PER_STRIDE * int(match[2]) + place}.{rest}"
    elif match := _END.fullmatch(name):
        place = {"conv1": 0, "snake1": 1, "conv2": 2}[match[2]]
        place += _PER_STRIDE * n_strides if place else 0
        return f"{match[1]}.layers.{place}.{match[3]}"
    elif match := _THEIR_LAYER.fullmatch(name):
        side, number = match[1].split(".")[0], int(match[2])
        if match[3] is not None:
            number = 1 + _PER_STRIDE * (number - 1) + int(match[3])
        elif number:
            number += (_PER_STRIDE - 1) * n_strides
        return f"{side}.layers.{number}.{_inside(match[4])}"
    return name


def _inside(name: str) -> str:
    """Return what a tensor of a residual unit is called in ours."""
    return _PART.sub(lambda match: _PARTS[match[0]], name, count=1)


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the sizes of the networks, as `DacConfig` names them."""

    def shape(name: str, n_dims: int) -> list[int]:
        if name not in tensors:
            raise ModelInvalid(f"DAC: missing {name}")
        if tensors[name].dim() != n_dims:
            raise ModelInvalid(f"DAC: {name} has shape {list(tensors[name].shape)}")
        return list(tensors[name].shape)

    places = [int(match[1]) for name in tensors if (match := _STRIDED.fullmatch(name))]
    n_strides = max(places, default=0) // _PER_STRIDE
    strides = [
        shape(f"encoder.layers.{_PER_STRIDE * number}.weight", 3)[2] // 2
        for number in range(1, n_strides + 1)
    ]
    if not strides or not all(strides):
        raise ModelInvalid("DAC: no strided convolutions of even length")
    latent = shape(f"encoder.layers.{_PER_STRIDE * n_strides + 2}.weight", 3)[0]
    n_codebooks, codebook_size, codebook_dim = shape("quantiser.codewords", 3)
    sizes = {
        "samples_per_frame": math.prod(strides),
        "n_codebooks": n_codebooks,
        "codebook_size": codebook_size,
        "encoder_width": shape("encoder.layers.0.weight", 3)[0],
        "decoder_width": shape("decoder.layers.0.weight", 3)[0],
        "latent": latent,
        "codebook_dim": codebook_dim,
        "strides": tuple(strides),
    }
    if not all(sizes.values()):
        raise ModelInvalid(f"DAC: {min(sizes, key=lambda name: bool(sizes[name]))} is 0")
    return sizes


_STRIDED = re.compile(r"encoder\.layers\.(\d*[05])\.weight")


def _named(sizes: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, DacConfig]:
    """Return the name and the config of a model of these sizes."""
    rate = config.get("sampling_rate", config.get("sample_rate"))
    for name in _PUBLISHED:
        preset = PRESETS[name]
        alike = all(getattr(preset, key) == value for key, value in sizes.items())
        if alike and rate in (None, preset.sample_rate_hz):
            return name, preset
    if not isinstance(rate, int) or rate <= 0:
        raise ModelInvalid(
            f"DAC: sample rate {rate!r}: expected one in the file or config.json for a model of "
            "other sizes than the published ones"
        )
    bits = (sizes["codebook_size"] - 1).bit_length()
    kbps = rate / sizes["samples_per_frame"] * bits * sizes["n_codebooks"] / 1000
    return Dac.name, DacConfig(
        sample_rate_hz=rate, n_channels=1, bandwidths_kbps=(kbps,), default_bandwidth_kbps=kbps,
        **sizes,
    )  # fmt: skip


def _check_config(preset: DacConfig, config: Mapping[str, Any]) -> None:
    """Raise ModelInvalid where the sizes that a checkpoint tells are not those of its tensors."""
    strides = list(preset.strides)
    expected = {
        "model_type": "dac",
        "downsampling_ratios": strides,
        "upsampling_ratios": strides[::-1],
        "encoder_hidden_size": preset.encoder_width,
        "decoder_hidden_size": preset.decoder_width,
        "hidden_size": preset.latent,
        "encoder_rates": strides,
        "decoder_rates": strides[::-1],
        "encoder_dim": preset.encoder_width,
        "decoder_dim": preset.decoder_width,
        "latent_dim": preset.latent,
        "n_codebooks": preset.n_codebooks,
        "codebook_size": preset.codebook_size,
        "codebook_dim": preset.codebook_dim,
    }
    for key, wanted in expected.items():
        found = config.get(key)
        found = list(found) if isinstance(found, tuple) else found
        if found is not None and found != wanted:
            raise ModelInvalid(f"DAC: {key} is {found!r}, the tensors say {wanted!r}")


def _laid_out(tensors: Mapping[str, Tensor], codec: Dac) -> dict[str, Tensor]:
    """Return the tensors in our layouts."""
    modules, laid_out = dict(codec.named_modules()), {}
    for name, tensor in tensors.items():
        if name.startswith("quantiser."):
            is_projection = name.endswith("_weight") and tensor.dim() == 4
            laid_out[name] = tensor.squeeze(3) if is_projection else tensor
        elif name.endswith(".alpha"):
            is_theirs = tensor.dim() == 3 and tensor.shape[::2] == (1, 1)
            laid_out[name] = tensor.flatten() if is_theirs else tensor
        elif tensor.dim() == 3 and isinstance(modules.get(name.removesuffix(".weight")), Upsample):
            if tensor.shape[2] % 2:
                raise ModelInvalid(f"DAC: {name} has shape {list(tensor.shape)}")
            laid_out[name] = upsample_weight(tensor)
        else:
            laid_out[name] = tensor.unsqueeze(2) if tensor.dim() == 3 else tensor
    return laid_out
