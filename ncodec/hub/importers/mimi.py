"""Kyutai's Mimi: transformers' layout, and the authors' `tokenizer-*.safetensors`.

The convolutional networks are renamed as seanet.py says. Of the rest, in each of the two networks:

theirs                              transformers'                     ours
E_transformer.transformer.layers.N. E_transformer.layers.N.           E.transformer.layers.N.
norm1, norm2                        input_layernorm,                  attention_norm, inside_norm
                                    post_attention_layernorm
self_attn.in_proj_weight            self_attn.q_proj, k_proj, v_proj  attention.enter
self_attn.out_proj                  self_attn.o_proj                  attention.leave
linear1, linear2                    mlp.fc1, mlp.fc2                  widen, narrow
layer_scale_1, layer_scale_2        self_attn_layer_scale,            attention_scale, inside_scale
                                    mlp_layer_scale
downsample.conv.conv.conv           downsample.conv                   encoder.down
upsample.convtr.convtr.convtr       upsample.conv                     decoder.up

The two quantisers, rvq_first and rvq_rest, or semantic_ and acoustic_residual_vector_quantizer,
become one: their input and output projections encoder.leave and decoder.enter, one above and one
beside the other; each codebook is the sums of what its codes stood for, divided by their number.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import Converted, check_tensors
from ncodec.hub.importers.seanet import seanet_name, seanet_tensor
from ncodec.models.mimi import MIMI, N_SEMANTIC, Mimi, side_by_side
from ncodec.nn.attention import LONGEST_PERIOD

_FACTS = {
    "licence": "CC BY 4.0",
    "authors": "Kyutai: A. Defossez, L. Mazare, M. Orsini, A. Royer, P. Perez, H. Jegou, E. Grave, "
    "N. Zeghidour",
}
_TRANSFORMER = re.compile(r"(encoder|decoder)_transformer\.(?:transformer\.)?layers\.(\d+)\.(.+)")
_IN_LAYER = {
    "norm1": "attention_norm",
    "input_layernorm": "attention_norm",
    "norm2": "inside_norm",
    "post_attention_layernorm": "inside_norm",
    "self_attn.in_proj_weight": "attention.together",
    "self_attn.in_projs.0.weight": "attention.together",
    "self_attn.q_proj.weight": "attention.queries",
    "self_attn.k_proj.weight": "attention.keys",
    "self_attn.v_proj.weight": "attention.values",
    "self_attn.out_proj": "attention.leave",
    "self_attn.out_projs.0": "attention.leave",
    "self_attn.o_proj": "attention.leave",
    "linear1": "widen",
    "mlp.fc1": "widen",
    "linear2": "narrow",
    "mlp.fc2": "narrow",
    "layer_scale_1.scale": "attention_scale",
    "self_attn_layer_scale.scale": "attention_scale",
    "layer_scale_2.scale": "inside_scale",
    "mlp_layer_scale.scale": "inside_scale",
}
_ENTER = ("queries", "keys", "values")
_QUANTISER = re.compile(
    r"quantizer\.(?:(rvq_first|semantic_residual_vector_quantizer)|"
    r"rvq_rest|acoustic_residual_vector_quantizer)\.(?:vq\.)?(.+)"
)
_CODEBOOK = re.compile(r"layers\.(\d+)\._?codebook\.(.+)")
_IN_CODEBOOK = {"embedding_sum": "sums", "embed_sum": "sums", "cluster_usage": "counts"}
_TRAINING_ONLY = ("_initialized", "initialized")
_LEAST = 1e-5  # that a code's sums are divided by
_RESAMPLING = {
    "downsample.conv.conv.conv.weight": "encoder.down.weight",
    "downsample.conv.weight": "encoder.down.weight",
    "upsample.convtr.convtr.convtr.weight": "decoder.up.weight",
    "upsample.conv.weight": "decoder.up.weight",
}


def convert(state: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Converted | None:
    """Return the codec of a checkpoint, None if it is of another kind. Raises ModelInvalid.

    config  of transformers, where the checkpoint is a folder of that library
    """
    names = (_TRANSFORMER, _QUANTISER)
    if not all(any(name.match(key) for key in state) for name in names):
        return None
    if (config or {}).get("model_type", "mimi") != "mimi":
        return None
    if config is not None:
        _check_config(config)
    with torch.device("meta"):
        codec = Mimi(MIMI)
    expected = {key: list(value.shape) for key, value in codec.state_dict().items()}
    parts = _parts(state, codec)
    check_tensors(parts, _part_shapes(expected), "Mimi")
    tensors = {name: parts[name] for name in expected if name in parts}
    for name in expected.keys() - tensors.keys():
        if name.endswith(".attention.enter.weight"):
            stem = name.removesuffix("enter.weight")
            tensors[name] = torch.cat([parts[stem + part] for part in _ENTER])
    for name, dim in (("encoder.leave", 0), ("decoder.enter", 1)):
        both = [parts[f"{name}.{kind}"] for kind in ("semantic", "acoustic")]
        tensors[f"{name}.weight"] = torch.cat(both, dim)
    codebooks = [
        parts[f"codebooks.{q}.sums"] / parts[f"codebooks.{q}.counts"].clamp(min=_LEAST)[:, None]
        for q in range(MIMI.n_codebooks)
    ]
    tensors["quantiser.codebooks"] = side_by_side(torch.stack(codebooks))
    return Converted("mimi", Mimi.name, MIMI, tensors, _FACTS)


def _part_shapes(expected: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return the shapes of the parts that our tensors of `expected` shapes are made of."""
    width, latent = MIMI.width, MIMI.latent
    shapes = dict(expected)
    for name in expected:
        if name.endswith(".attention.enter.weight"):
            del shapes[name]
            shapes |= {name.removesuffix("enter.weight") + part: [width, width] for part in _ENTER}
    for kind in ("semantic", "acoustic"):
        shapes[f"encoder.leave.{kind}"] = [latent, width]
        shapes[f"decoder.enter.{kind}"] = [width, latent]
    for q in range(MIMI.n_codebooks):
        shapes[f"codebooks.{q}.sums"] = [MIMI.codebook_size, latent]
        shapes[f"codebooks.{q}.counts"] = [MIMI.codebook_size]
    for name in ("encoder.leave.weight", "decoder.enter.weight", "quantiser.codebooks"):
        del shapes[name]
    return shapes


def _parts(state: Mapping[str, Tensor], codec: Mimi) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by the names of ours, or of the parts of ours."""
    parts: dict[str, Tensor] = {}
    modules = dict(codec.named_modules())
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            raise ModelInvalid(f"Mimi: {name} is {tensor.dtype}, expected floating point")
        tensor = tensor.float()
        if match := _QUANTISER.fullmatch(name):
            parts |= _of_quantiser(match[2], tensor, is_semantic=match[1] is not None)
        elif match := _TRANSFORMER.fullmatch(name):
            parts |= _of_layer(f"{match[1]}.transformer.layers.{match[2]}", match[3], tensor)
        elif place := seanet_name(name):
            ours = f"{place[0]}.convolutions.{place[1]}"
            parts[ours] = seanet_tensor(name, tensor, modules.get(ours.removesuffix(".weight")))
        elif name in _RESAMPLING:
            parts[_RESAMPLING[name]] = _resampling(name, tensor)
        else:
            parts[name] = tensor
    return parts


def _resampling(name: str, tensor: Tensor) -> Tensor:
    """Return the weight of the down- or the upsampling in the layout of ours."""
    if name.startswith("downsample"):
        return tensor.unsqueeze(2)
    stride = MIMI.steps_per_frame
    if tensor.shape != (MIMI.width, 1, 2 * stride):
        return tensor  # is refused
    later, sooner = tensor[:, 0].T.split(stride)  # of the two steps' worth that a frame reaches
    return torch.stack([sooner, later])


def _of_layer(ours: str, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return the parts that a tensor of a transformer's layer is, by name."""
    stem, dot, kind = name.rpartition(".")
    inside = _IN_LAYER.get(name)
    if inside is None:
        inside = _IN_LAYER.get(stem, stem) + dot + kind
    if inside != "attention.together":
        return {f"{ours}.{inside}": tensor}
    width = MIMI.width
    if tensor.shape != (3 * width, width):
        raise ModelInvalid(
            f"Mimi: {ours}.{name} has shape {list(tensor.shape)}, expected {[3 * width, width]}"
        )
    queries, keys, values = tensor.split(width)
    found = (_halved(queries), _halved(keys), values)
    return {f"{ours}.attention.{part}": each for part, each in zip(_ENTER, found, strict=True)}


def _halved(rows: Tensor) -> Tensor:
    """Put the real parts of each head, in turn with the imaginary ones in theirs, before those."""
    pairs = rows.view(MIMI.n_heads, -1, 2, rows.shape[1])
    return pairs.transpose(1, 2).reshape(rows.shape)


def _of_quantiser(name: str, tensor: Tensor, *, is_semantic: bool) -> dict[str, Tensor]:
    """Return the part that a tensor of one of the two quantisers is, by name."""
    kind = "semantic" if is_semantic else "acoustic"
    if match := _CODEBOOK.fullmatch(name):
        if match[2] in _TRAINING_ONLY:
            return {}
        q = int(match[1]) + (0 if is_semantic else N_SEMANTIC)
        return {f"codebooks.{q}.{_IN_CODEBOOK.get(match[2], match[2])}": tensor}
    ours = {"input_proj.weight": "encoder.leave", "output_proj.weight": "decoder.enter"}.get(name)
    if ours is None or tensor.ndim != 3 or tensor.shape[2] != 1:
        return {f"quantizer.{kind}.{name}": tensor}  # is refused
    return {f"{ours}.{kind}": tensor.squeeze(2)}


def _check_config(config: Mapping[str, Any]) -> None:
    """Raise ModelInvalid where a config of transformers is not that of the public model."""
    expected = {
        "sampling_rate": MIMI.sample_rate_hz,
        "frame_rate": MIMI.frame_rate_hz,
        "audio_channels": MIMI.n_channels,
        "num_filters": MIMI.n_filters,
        "upsampling_ratios": list(reversed(MIMI.strides)),
        "num_residual_layers": 1,
        "kernel_size": 7,
        "last_kernel_size": 3,
        "residual_kernel_size": 3,
        "compress": 2,
        "use_causal_conv": True,
        "use_conv_shortcut": False,
        "pad_mode": "constant",
        "trim_right_ratio": 1.0,
        "hidden_size": MIMI.width,
        "num_hidden_layers": MIMI.n_layers,
        "num_attention_heads": MIMI.n_heads,
        "num_key_value_heads": MIMI.n_heads,
        "head_dim": MIMI.width // MIMI.n_heads,
        "intermediate_size": MIMI.n_inside,
        "hidden_act": "gelu",
        "attention_bias": False,
        "norm_eps": 1e-5,
        "sliding_window": MIMI.window,
        "rope_theta": LONGEST_PERIOD,
        "upsample_groups": MIMI.width,
        "codebook_size": MIMI.codebook_size,
        "codebook_dim": MIMI.latent,
        "vector_quantization_hidden_dimension": MIMI.latent,
        "num_quantizers": MIMI.n_codebooks,
        "num_semantic_quantizers": N_SEMANTIC,
    }
    given = {**config, **(config.get("rope_parameters") or {})}  # where newer versions have theta
    if given.get("rope_type", "default") != "default":
        raise ModelInvalid(f"Mimi: config.json: rope_type is {given['rope_type']!r}")
    for key, wanted in expected.items():
        found = given.get(key, wanted)
        if found != wanted:
            raise ModelInvalid(f"Mimi: config.json: {key} is {found!r}, expected {wanted!r}")
