"""Meta's EnCodec: encodec_24khz-d7cc33bc.th, encodec_48khz-7e698e3e.th, and transformers' layout.

MusicGen's, of 32 kHz, is published in the latter only.

The networks are renamed as seanet.py says; quantizer.vq.layers.Q._codebook.embed, or
quantizer.layers.Q.codebook.embed, is quantiser.codebooks[Q].
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import Converted, check_tensors, fold_weight_norm
from ncodec.hub.importers.seanet import seanet_name, seanet_tensor
from ncodec.models.encodec import PRESETS, Encodec, EncodecConfig

_CODEBOOK = re.compile(r"quantizer\.(?:vq\.)?layers\.(\d+)\.(?:_codebook|codebook)\.(.+)")
_BY_FIRST: dict[tuple[int, ...], str] = {  # the shape of the first layer's weight
    (preset.n_filters, preset.n_channels, 7): name
    for name in ("encodec_24khz", "encodec_48khz", "encodec_32khz")
    for preset in [PRESETS[name]]
}
_FACTS = {"licence": "MIT", "authors": "Meta AI: A. Defossez, J. Copet, G. Synnaeve, Y. Adi"}
_MUSICGEN = {
    "licence": "CC BY-NC 4.0",
    "authors": "Meta AI: J. Copet, F. Kreuk, I. Gat, T. Remez, D. Kant, G. Synnaeve, Y. Adi, "
    "A. Defossez",
}
_TRAINING_ONLY = ("inited", "cluster_size", "embed_avg")


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Converted | None:
    """Return the codec of a checkpoint, None if it is of another kind. Raises ModelInvalid.

    config  of transformers, where the checkpoint is a folder of that library
    """
    first = next((state[name] for name in _first_weights(state)), None)
    codebooks = [match for name in state if (match := _CODEBOOK.fullmatch(name))]
    if first is None or not codebooks or (config or {}).get("model_type", "encodec") != "encodec":
        return None
    name = _BY_FIRST.get(tuple(first.shape))
    if name is None:
        raise ModelInvalid(f"EnCodec: the first layer has shape {list(first.shape)}")
    preset = PRESETS[name]
    if config is not None:
        _check_config(preset, config)
    with torch.device("meta"):
        codec = Encodec(preset)
    expected = {key: list(value.shape) for key, value in codec.state_dict().items()}
    tensors = _renamed(fold_weight_norm(state), codec)
    check_tensors(tensors, expected, name)
    return Converted(name, Encodec.name, preset, tensors, _MUSICGEN if preset.two_sided else _FACTS)


def _first_weights(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the first convolution's weight, in all the layouts."""
    stems = ("encoder.model.0.conv.conv.", "encoder.layers.0.conv.")
    ends = ("weight_v", "weight", "parametrizations.weight.original1")
    return [name for stem in stems for end in ends if (name := stem + end) in state]


def _renamed(state: Mapping[str, Tensor], codec: Encodec) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    codebooks: dict[int, Tensor] = {}
    modules = dict(codec.named_modules())
    for name, tensor in state.items():
        tensor = tensor.float()
        if match := _CODEBOOK.fullmatch(name):
            if match[2] == "embed":
                codebooks[int(match[1])] = tensor
            elif match[2] not in _TRAINING_ONLY:
                raise ModelInvalid(f"EnCodec: unexpected {name}")
            continue
        place = seanet_name(name)
        ours = ".".join(place) if place else name
        tensors[ours] = seanet_tensor(name, tensor, modules.get(ours.removesuffix(".weight")))
    if sorted(codebooks) != list(range(len(codebooks))) or len(
        {tuple(codebook.shape) for codebook in codebooks.values()}
    ) != 1:  # fmt: skip
        raise ModelInvalid("EnCodec: the codebooks differ in shape, or one is missing")
    tensors["quantiser.codebooks"] = torch.stack([codebooks[q] for q in sorted(codebooks)])
    return tensors


def _check_config(preset: EncodecConfig, config: Mapping[str, Any]) -> None:
    """Raise ModelInvalid where a config of transformers is not that of the public model."""
    segments = preset.segment_samples > 0
    expected = {
        "audio_channels": preset.n_channels,
        "sampling_rate": preset.sample_rate_hz,
        "codebook_size": preset.codebook_size,
        "hidden_size": preset.latent,
        "num_filters": preset.n_filters,
        "upsampling_ratios": list(reversed(preset.strides)),
        "num_lstm_layers": preset.lstm_layers,
        "target_bandwidths": list(preset.bandwidths_kbps),
        "normalize": segments,
        "norm_type": "time_group_norm" if segments else "weight_norm",
        "use_causal_conv": preset.reach == "causal",
        "chunk_length_s": preset.segment_samples / preset.sample_rate_hz if segments else None,
        "num_residual_layers": 1,
        "kernel_size": 7,
        "last_kernel_size": 7,
        "residual_kernel_size": 3,
        "compress": 2,
        "pad_mode": "reflect",
        "trim_right_ratio": 1.0,
        "use_conv_shortcut": preset.shortcut,
    }
    for key, wanted in expected.items():
        found = config.get(key, wanted)
        if found != wanted:
            raise ModelInvalid(f"EnCodec: config.json: {key} is {found!r}, expected {wanted!r}")
    if segments and abs(config.get("overlap", 0.01) - 0.01) > 1e-9:
        raise ModelInvalid(f"EnCodec: config.json: overlap is {config['overlap']!r}, expected 0.01")
