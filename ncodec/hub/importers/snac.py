"""SNAC's checkpoints: a folder with config.json and pytorch_model.bin, or that file alone.

theirs                                    ours
encoder.block.0, .1+L, ...                encoder.layers.N, where N counts the layers of all blocks
encoder.block.1+L.block.U                 encoder.layers.N, unit U of level L
decoder.model.0, .1, ...                  decoder.layers.N, likewise
X.block.0, .1, .2, .3 of a unit           X.before, .filter, .between, .mix
X.linear of noise                         X.level
X.to_qkv, .to_out, .norm of attention     X.inward, .outward, .norm
quantizer.quantizers.L.codebook           quantiser.codebooks[L]
quantizer.quantizers.L.in_proj, .out_proj quantiser.inward[L], .outward[L]

The tensors of the 32 and 44.1 kHz models are alike, so config.json has to say which one it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate
from math import prod
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import Converted, check_tensors, fold_weight_norm
from ncodec.models.snac import PRESETS, SPEECH, Snac, SnacConfig
from ncodec.nn.conv import Upsample, upsample_weight
from ncodec.nn.multiscale import level_counts
from ncodec.nn.snac import DILATIONS, inverse_waves

_FACTS = {"licence": "MIT", "authors": "H. Siuzdak"}
_PUBLISHED = ("snac_24khz", "snac_32khz", "snac_44khz")
_BUILT = {"noise": True, "depthwise": True}
_LISTS = ("encoder_rates", "decoder_rates", "vq_strides")
_NUMBERS = ("sampling_rate", "encoder_dim", "decoder_dim", "codebook_size", "codebook_dim")
_MAX_NUMBER, _MAX_LENGTH = 1 << 18, 8

_Part = tuple[str, str]  # the name of a tensor in ours, the kind of its layout
_LAYOUTS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[..., tuple[int, ...]]]] = {
    "same": (lambda w: w, lambda *shape: shape),
    "conv": (lambda w: w[:, :, None], lambda o, i, _, k: (o, i, k)),
    "alpha": (lambda w: w[0, :, 0], lambda c: (1, c, 1)),
}
"""Kind -> what makes one of their tensors ours, the shape of theirs from that of ours."""


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Converted | None:
    """Return the codec of a checkpoint, None if it is of another kind. Raises ModelInvalid.

    config  as in config.json; without one it must be the published 24 kHz model
    """
    if not {"quantizer.quantizers.0.codebook.weight", "decoder.model.0.bias"} <= {*state}:
        return None
    if config is not None and "vq_strides" not in config:
        return None  # of DAC, whose networks have the same names
    if config is None:
        _check_speech(state)
    sizes = SPEECH if config is None else _sizes(config)
    with torch.device("meta"):
        codec = Snac(sizes)
    folded = fold_weight_norm(state)
    parts = _parts(codec)
    expected = _expected(codec, parts)
    waves = [name for name in expected if name.endswith("inv_freq")]
    check_tensors(folded, expected, "SNAC")
    for name in waves:
        if float((folded[name].float() - inverse_waves()).abs().max()) > 1e-6:
            raise ModelInvalid(f"SNAC: {name} is not that of rotary positions")
    tensors: dict[str, Tensor] = {}
    for theirs, (ours, kind) in parts.items():
        tensor = folded[theirs].float()
        made = upsample_weight(tensor) if kind == "upsample" else _LAYOUTS[kind][0](tensor)
        tensors[ours] = made.contiguous()
    tensors |= _quantiser(folded, len(sizes.level_strides))
    return Converted(_model_id(sizes), Snac.name, sizes, tensors, _FACTS)


def _check_speech(state: Mapping[str, Tensor]) -> None:
    """Raise ModelInvalid unless tensors may be those of the 24 kHz model."""
    n_levels = sum(name.endswith(".codebook.weight") for name in state)
    if n_levels != len(SPEECH.level_strides):
        raise ModelInvalid(
            f"SNAC: a model of {n_levels} levels: config.json must be in the same folder, since "
            "those of 32 and 44.1 kHz have the same tensors"
        )


def _layers(codec: Snac) -> dict[str, str]:
    """Return what each of their layers with tensors is called in ours."""
    config = codec.config
    n_levels, has_window = len(config.strides), bool(config.window)
    n_units = len(DILATIONS)
    names = {"encoder.block.0": "encoder.layers.0"}
    place = 1
    for level in range(n_levels):
        for inside in range(n_units + 2):  # and a snake, a convolution
            names[f"encoder.block.{1 + level}.block.{inside}"] = f"encoder.layers.{place}"
            place += 1
    for block in range(n_levels + 1, n_levels + 2 + has_window):
        names[f"encoder.block.{block}"] = f"encoder.layers.{place}"
        place += 1
    n_before = 2 + has_window
    names |= {f"decoder.model.{block}": f"decoder.layers.{block}" for block in range(n_before)}
    place = n_before
    for level in range(n_levels):
        for inside in range(n_units + 3):  # a snake, a transposed convolution, noise
            names[f"decoder.model.{n_before + level}.block.{inside}"] = f"decoder.layers.{place}"
            place += 1
    for block in (n_before + n_levels, n_before + n_levels + 1):
        names[f"decoder.model.{block}"] = f"decoder.layers.{place}"
        place += 1
    return names


_INSIDE = {
    "before.alpha": "block.0.alpha", "filter.weight": "block.1.weight",
    "filter.bias": "block.1.bias", "between.alpha": "block.2.alpha",
    "mix.weight": "block.3.weight", "mix.bias": "block.3.bias", "level.weight": "linear.weight",
    "inward.weight": "to_qkv.weight", "outward.weight": "to_out.weight",
}  # fmt: skip
"""A tensor's name inside one of our layers -> inside theirs, where that is another."""


def _parts(codec: Snac) -> dict[str, _Part]:
    """Return what becomes of each tensor of the networks, but for the quantiser."""
    layers = {ours: theirs for theirs, ours in _layers(codec).items()}
    modules = dict(codec.named_modules())
    parts: dict[str, _Part] = {}
    for name, tensor in codec.state_dict().items():
        if name.startswith("quantiser."):
            continue
        side, _, number, inside = name.split(".", 3)
        stem = f"{side}.layers.{number}"
        if name.endswith("alpha"):
            kind = "alpha"
        elif isinstance(modules[stem], Upsample) and inside == "weight":
            kind = "upsample"
        else:
            kind = "conv" if tensor.dim() == 4 else "same"
        parts[f"{layers[stem]}.{_INSIDE.get(inside, inside)}"] = (name, kind)
    return parts


def _expected(codec: Snac, parts: Mapping[str, _Part]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of their tensors."""
    ours = {name: tuple(value.shape) for name, value in codec.state_dict().items()}
    expected: dict[str, tuple[int, ...]] = {}
    for theirs, (name, kind) in parts.items():
        if kind == "upsample":
            outputs, n_in, _, _ = ours[name]
            n_out = ours[name.replace("weight", "bias")][0]
            expected[theirs] = (n_in, n_out, 2 * outputs // n_out)
        else:
            expected[theirs] = _LAYOUTS[kind][1](*ours[name])
    n_levels, n_codes, code_dim = ours["quantiser.codebooks"]
    latent = codec.config.latent
    for level in range(n_levels):
        stem = f"quantizer.quantizers.{level}"
        expected |= {
            f"{stem}.codebook.weight": (n_codes, code_dim),
            f"{stem}.in_proj.weight": (code_dim, latent, 1),
            f"{stem}.in_proj.bias": (code_dim,),
            f"{stem}.out_proj.weight": (latent, code_dim, 1),
            f"{stem}.out_proj.bias": (latent,),
        }
    attentions = [name for name in parts if name.endswith("to_qkv.weight")]
    waves = tuple(inverse_waves().shape)
    return expected | {
        name.replace("to_qkv.weight", "rel_pos.inv_freq"): waves for name in attentions
    }


def _quantiser(state: Mapping[str, Tensor], n_levels: int) -> dict[str, Tensor]:
    def stacked(name: str) -> Tensor:
        each = [state[f"quantizer.quantizers.{level}.{name}"] for level in range(n_levels)]
        return torch.stack([tensor.float() for tensor in each])

    return {
        "quantiser.codebooks": stacked("codebook.weight"),
        "quantiser.inward": stacked("in_proj.weight")[..., 0].contiguous(),
        "quantiser.inward_bias": stacked("in_proj.bias"),
        "quantiser.outward": stacked("out_proj.weight")[..., 0].contiguous(),
        "quantiser.outward_bias": stacked("out_proj.bias"),
    }


def _model_id(sizes: SnacConfig) -> str:
    return next((name for name in _PUBLISHED if PRESETS[name] == sizes), Snac.name)


def _sizes(config: Mapping[str, Any]) -> SnacConfig:
    """Return the sizes in the authors' config. Raises ModelInvalid for what is not built here."""
    known = {*_BUILT, *_LISTS, *_NUMBERS, "latent_dim", "attn_window_size"}
    unknown = sorted(config.keys() - known)
    if unknown:
        raise ModelInvalid(f"SNAC: config.json: unknown {', '.join(unknown[:3])}")
    for key, built in _BUILT.items():
        if config.get(key, built) is not built:
            raise _unlike(key, config[key], repr(built))
    number = {key: _whole(key, config.get(key)) for key in _NUMBERS}
    strides, rates, levels = (_whole_list(key, config.get(key)) for key in _LISTS)
    if rates != strides[::-1]:
        raise _unlike("decoder_rates", list(rates), f"the encoder's in reverse, {[*strides[::-1]]}")
    window = config.get("attn_window_size")
    window = 0 if window is None else _whole("attn_window_size", window)
    if any(levels[0] % level for level in levels) or list(levels) != sorted(levels, reverse=True):
        raise _unlike("vq_strides", list(levels), "divisors of the first, largest first")
    n_codebooks = sum(level_counts(levels))
    step = prod(strides) * levels[0]
    size_bits = (number["codebook_size"] - 1).bit_length()
    codebook_kbps = number["sampling_rate"] / step * size_bits / 1000
    kbps = tuple(round(n_q * codebook_kbps, 9) for n_q in accumulate(level_counts(levels)))
    sizes = replace(
        SPEECH,
        sample_rate_hz=number["sampling_rate"],
        samples_per_frame=step,
        n_codebooks=n_codebooks,
        codebook_size=number["codebook_size"],
        bandwidths_kbps=kbps,
        default_bandwidth_kbps=kbps[-1],
        encoder_width=number["encoder_dim"],
        decoder_width=number["decoder_dim"],
        strides=strides,
        level_strides=levels,
        code_dim=number["codebook_dim"],
        window=window,
    )
    latent = config.get("latent_dim")
    if latent not in (None, sizes.latent):
        raise _unlike("latent_dim", latent, f"{sizes.latent}, that of the encoder")
    return sizes


def _whole(key: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= _MAX_NUMBER:
        raise _unlike(key, value, f"a whole number from 1 to {_MAX_NUMBER}")
    return value


def _whole_list(key: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MAX_LENGTH:
        raise _unlike(key, value, f"1 to {_MAX_LENGTH} numbers")
    return tuple(_whole(key, number) for number in value)


def _unlike(key: str, found: object, expected: str) -> ModelInvalid:
    return ModelInvalid(f"SNAC: config.json: {key} is {found!r}, expected {expected}"[:300])
