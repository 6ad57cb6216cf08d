"""HILCodec's checkpoints, of its authors' training code: a .pth file, or a folder with config.json.

theirs                                    ours
encoder.conv_pre.1                        encoder.first
encoder.spec_blocks.L, .spec_post         encoder.levels.L.spectrum, encoder.spectrum
encoder.blocks.L.U                        encoder.levels.L.units.U
encoder.downsample.L                      encoder.levels.L.down
encoder.conv_post                         encoder.depthwise, encoder.pointwise
decoder.model.0, .1                       decoder.first
decoder.model.N, where N counts every     decoder.levels.L.up, decoder.levels.L.units.U,
scale, ELU, convolution and block         decoder.last
quantizer.layers.Q.embed                  quantiser.codebooks[Q]
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import Converted, check_tensors, fold_weight_norm
from ncodec.models.hilcodec import MUSIC, PRESETS, Hilcodec, HilcodecConfig
from ncodec.nn.hilcodec import LOG_MEANS, fourier

_FACTS = {"licence": "MIT", "authors": "S. Ahn, B. J. Woo, M. H. Han, C. Moon, N. S. Kim"}
_CODEBOOK = re.compile(r"quantizer\.layers\.(\d+)\.embed")
_TRAINING_ONLY = re.compile(r"quantizer\.layers\.\d+\.(ema_embed|ema_num|_extra_state)")

_Part = tuple[str, str]  # the name of a tensor in ours, the kind of its layout
_LAYOUTS: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[..., tuple[int, ...]]]] = {
    "same": (lambda w: w, lambda *shape: shape),
    "matrix": (lambda w: w[:, :, 0].T, lambda i, o: (o, i, 1)),
    "filters": (lambda w: w[:, :, None], lambda o, i, _, k: (o, i, k)),
    "taps": (lambda w: w.reshape(len(w), 2, -1).permute(1, 2, 0), lambda n, s, c: (c, 1, n * s)),
    "first": (lambda w: w[:, 0].T, lambda k, c: (c, 1, k)),
    "last": (lambda w: w[0], lambda c, k: (1, c, k)),
}
"""Kind -> what makes one of their tensors ours, the shape of theirs from that of ours."""


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Converted | None:
    """Return the codec of a checkpoint, None if it is of another kind. Raises ModelInvalid.

    config  of the model, as in the authors' `model_kwargs`; without one it must be a published size
    """
    if not any(name.startswith("encoder.conv_pre.") for name in state):
        return None
    codebooks = sorted({int(match[1]) for name in state if (match := _CODEBOOK.fullmatch(name))})
    sizes = _published(len(codebooks)) if config is None else _sizes(config)
    folded = fold_weight_norm(
        {name: tensor for name, tensor in state.items() if not _TRAINING_ONLY.fullmatch(name)}
    )
    with torch.device("meta"):
        ours = {name: tuple(value.shape) for name, value in Hilcodec(sizes).state_dict().items()}
    parts = _parts(sizes)
    expected = {theirs: _LAYOUTS[kind][1](*ours[name]) for theirs, (name, kind) in parts.items()}
    n_books, *book = ours["quantiser.codebooks"]
    expected |= {f"quantizer.layers.{q}.embed": book for q in range(n_books)}
    transforms = _transforms(sizes)
    expected |= {name: (n_fft + 2, 1, n_fft) for name, n_fft in transforms.items()}
    check_tensors(folded, expected, "HILCodec")
    _check_transforms(folded, transforms)
    tensors = {
        name: _LAYOUTS[kind][0](folded[theirs].float()).contiguous()
        for theirs, (name, kind) in parts.items()
    }
    tensors["quantiser.codebooks"] = torch.stack(
        [folded[f"quantizer.layers.{q}.embed"].float() for q in range(n_books)]
    )
    return Converted(_model_id(sizes), Hilcodec.name, sizes, tensors, _FACTS)


def _separable(theirs: str, ours: str, numbers: tuple[int, int] = (1, 2)) -> dict[str, _Part]:
    pointwise, depthwise = (f"{theirs}.{number}.conv.conv" for number in numbers)
    return {
        f"{pointwise}.weight": (f"{ours}.pointwise", "matrix"),
        f"{depthwise}.weight": (f"{ours}.depthwise", "filters"),
        f"{depthwise}.bias": (f"{ours}.bias", "same"),
    }


def _unit(theirs: str, ours: str) -> dict[str, _Part]:
    return {
        **_separable(f"{theirs}.block", f"{ours}.first", (1, 2)),
        **_separable(f"{theirs}.block", f"{ours}.second", (4, 5)),
        f"{theirs}.res_scale_param": (f"{ours}.second.gain", "same"),
    }


def _spectrum(theirs: str, ours: str) -> dict[str, _Part]:
    return {
        f"{theirs}.layer.conv.conv.weight": (f"{ours}.weight", "matrix"),
        f"{theirs}.scale_param": (f"{ours}.gain", "same"),
    }


def _conv(theirs: str, ours: str, kind: str) -> dict[str, _Part]:
    return {
        f"{theirs}.conv.conv.weight": (f"{ours}.weight", kind),
        f"{theirs}.conv.conv.bias": (f"{ours}.bias", "same"),
    }


def _parts(config: HilcodecConfig) -> dict[str, _Part]:
    """Return what becomes of each tensor of the networks, but for the codebooks."""
    parts = _conv("encoder.conv_pre.1", "encoder.first", "first")
    for level in range(len(config.strides)):
        ours = f"encoder.levels.{level}"
        parts |= _spectrum(f"encoder.spec_blocks.{level}", f"{ours}.spectrum")
        for unit in range(config.encoder_units):
            parts |= _unit(f"encoder.blocks.{level}.{unit}", f"{ours}.units.{unit}")
        parts |= _separable(f"encoder.downsample.{level}", f"{ours}.down", (2, 3))
    parts |= _spectrum("encoder.spec_post", "encoder.spectrum")
    parts["encoder.conv_post.1.conv.conv.weight"] = ("encoder.depthwise.weight", "filters")
    parts |= _conv("encoder.conv_post.2", "encoder.pointwise", "filters")

    parts |= _separable("decoder.model", "decoder.first", (0, 1))
    place = 2
    for level in range(len(config.strides)):
        ours = f"decoder.levels.{level}"  # at place and place + 1: a scale, an ELU
        parts[f"decoder.model.{place + 2}.convtr.convtr.weight"] = (f"{ours}.up.taps", "taps")
        pointwise = f"decoder.model.{place + 3}.conv.conv"
        parts[f"{pointwise}.weight"] = (f"{ours}.up.pointwise", "matrix")
        parts[f"{pointwise}.bias"] = (f"{ours}.up.bias", "same")
        place += 4
        for unit in range(config.decoder_units):
            parts |= _unit(f"decoder.model.{place + unit}", f"{ours}.units.{unit}")
        place += config.decoder_units
    return parts | _conv(f"decoder.model.{place + 2}", "decoder.last", "last")


def _transforms(config: HilcodecConfig) -> dict[str, int]:
    """Return the names of the Fourier transforms that a checkpoint holds, and their sizes."""
    n_levels = len(config.strides)
    blocks = [f"spec_blocks.{level}" for level in range(n_levels)] + ["spec_post"]
    return {
        f"encoder.{block}.spec.weight": config.first_n_fft * 2**level
        for level, block in enumerate(blocks)
    }


def _check_transforms(state: Mapping[str, Tensor], transforms: Mapping[str, int]) -> None:
    for name, n_fft in transforms.items():
        error = float((state[name][:, 0].float() - fourier(n_fft)).abs().max())
        if error > 1e-5:
            raise ModelInvalid(f"HILCodec: {name} is not the Fourier transform of {n_fft} samples")


def _model_id(sizes: HilcodecConfig) -> str:
    bandwidths = (sizes.bandwidths_kbps, sizes.default_bandwidth_kbps)
    for name in _PUBLISHED:
        usual = PRESETS[name]
        usual = replace(usual, bandwidths_kbps=bandwidths[0], default_bandwidth_kbps=bandwidths[1])
        if sizes == usual:
            return name
    return Hilcodec.name


def _published(n_codebooks: int) -> HilcodecConfig:
    """Return the sizes of a published model. Raises ModelInvalid."""
    known = {preset.n_codebooks: preset for name, preset in PRESETS.items() if name in _PUBLISHED}
    if n_codebooks not in known:
        expected = " or ".join(str(number) for number in known)
        raise ModelInvalid(
            f"HILCodec: {n_codebooks} tensors quantizer.layers.*.embed, expected {expected}; "
            "for another size, config.json must be in the same folder"
        )
    return known[n_codebooks]


_PUBLISHED = ("hilcodec_music", "hilcodec_speech")

_BUILT: Mapping[str, Any] = {  # and the default of the authors' code, of all but one
    "channels_audio": 1,
    "activation": "ELU",
    "activation_kwargs": {"alpha": 1.0},
    "norm": "weight_norm",
    "norm_kwargs": {},
    "dilation_base": 1,
    "skip": "identity",
    "final_activation": "Tanh",
    "vq": "ResidualVQ",
    "act_all": False,
    "expansion": 1,
    "groups": -1,
    "encoder_l2norm": True,
    "bias": True,
    "spec": "stft",
    "spec_compression": "log",
    "spec_learnable": False,
    "pad_mode": "constant",
    "causal": True,
    "zero_init": True,
    "inout_norm": True,
}
_NOT_DEFAULT = "spec_compression"
_SIZES = {  # theirs -> ours
    "channels_enc": "encoder_width",
    "channels_dec": "decoder_width",
    "n_fft_base": "first_n_fft",
    "n_residual_enc": "encoder_units",
    "n_residual_dec": "decoder_units",
    "kernel_size": "first_kernel",
    "last_kernel_size": "last_kernel",
    "residual_kernel_size": "residual_kernel",
}
_QUANTISER_SIZES = {
    "dim": "latent",
    "codebook_size": "codebook_size",
    "num_quantizers": "n_codebooks",
}
_OF_TRAINING = {
    "kmeans_init", "kmeans_iters", "decay", "eps", "ema_num_threshold", "ema_num_initial",
    "dropout", "dropout_index",
}  # fmt: skip
_MAX_SIZE = 1 << 12


def _sizes(config: Mapping[str, Any]) -> HilcodecConfig:
    """Return the sizes in the authors' config. Raises ModelInvalid for what is not built here."""
    quantiser = config.get("vq_kwargs")
    if not isinstance(quantiser, Mapping):
        raise _unlike("vq_kwargs", quantiser, "the sizes of the quantiser")
    known = {*_BUILT, *_SIZES, "strides", "res_scale_enc", "res_scale_dec", "vq_kwargs"}
    known |= {"sample_rate", "reference", "config"}
    unknown = sorted(config.keys() - known)
    unknown += [
        f"vq_kwargs.{key}" for key in sorted(quantiser.keys() - {*_QUANTISER_SIZES, *_OF_TRAINING})
    ]
    if unknown:
        raise ModelInvalid(f"HILCodec: config.json: unknown {', '.join(unknown[:3])}")
    for key, built in _BUILT.items():
        found = config.get(key, None if key == _NOT_DEFAULT else built)
        if found != built or type(found) is not type(built):
            raise _unlike(key, found, repr(built))
    strides = config.get("strides")
    if not isinstance(strides, list) or not 1 <= len(strides) <= len(LOG_MEANS):
        raise _unlike("strides", strides, f"1 to {len(LOG_MEANS)} numbers")
    strides = tuple(_whole("strides", stride) for stride in reversed(strides))
    sizes = {ours: _whole(theirs, config.get(theirs)) for theirs, ours in _SIZES.items()}
    sizes |= {
        ours: _whole(f"vq_kwargs.{theirs}", quantiser.get(theirs))
        for theirs, ours in _QUANTISER_SIZES.items()
    }
    return _with_bandwidths(
        replace(
            MUSIC,
            sample_rate_hz=_whole("sample_rate", config.get("sample_rate", 24000), 1 << 20),
            samples_per_frame=prod(strides),
            strides=strides,
            encoder_residual=_deviation("res_scale_enc", config.get("res_scale_enc")),
            decoder_residual=_deviation("res_scale_dec", config.get("res_scale_dec")),
            **sizes,
        ),
        quantiser,
    )


def _with_bandwidths(config: HilcodecConfig, quantiser: Mapping[str, Any]) -> HilcodecConfig:
    """Name the numbers of codebooks that the model was trained with."""
    every = list(range(1, config.n_codebooks + 1))
    chosen = quantiser.get("dropout_index") or every if quantiser.get("dropout") else every[-1:]
    if not isinstance(chosen, list):
        raise _unlike("vq_kwargs.dropout_index", chosen, "a list of numbers")
    chosen = [n_q for n_q in chosen if n_q in every] or every  # it is for training: others are idle
    kbps = tuple(n_q * config.codebook_bps / 1000 for n_q in sorted(set(chosen)))
    usual = MUSIC.default_bandwidth_kbps
    default = usual if usual in kbps else kbps[-1]
    return replace(config, bandwidths_kbps=kbps, default_bandwidth_kbps=default)


def _whole(key: str, value: object, most: int = _MAX_SIZE) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise _unlike(key, value, f"a whole number from 1 to {most}")
    return value


def _deviation(key: str, value: object) -> float:
    if type(value) is not float or not 0 < value <= 1:
        raise _unlike(key, value, "a number over 0, up to 1")
    return value


def _unlike(key: str, found: object, expected: str) -> ModelInvalid:
    return ModelInvalid(f"HILCodec: config.json: {key} is {found!r}, expected {expected}"[:300])
