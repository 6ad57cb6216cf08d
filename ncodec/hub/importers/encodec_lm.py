"""Meta's language models of EnCodec: encodec_lm_24khz-1608e3c0.th, encodec_lm_48khz-7add9fc3.th.

theirs                               ours
emb.Q.weight                         embeddings[Q]
transformer.norm_in.*                norm.*
transformer.layers.N.self_attn.*     layers.N.attention.*
transformer.layers.N.linear1.*       layers.N.grow.*
transformer.layers.N.linear2.*       layers.N.shrink.*
transformer.layers.N.norm1.*         layers.N.attention_norm.*
transformer.layers.N.norm2.*         layers.N.hidden_norm.*
linears.Q.weight, linears.Q.bias     head_weights[Q], head_biases[Q]
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub.importers.base import ConvertedLm, check_tensors
from ncodec.models.encodec_lm import PRESETS

_PARTS = {  # of a layer
    "attention": "self_attn",
    "attention_norm": "norm1",
    "grow": "linear1",
    "shrink": "linear2",
    "hidden_norm": "norm2",
}
_STACKED = {"embeddings": "emb.{}.weight", "head_weights": "linears.{}.weight",
            "head_biases": "linears.{}.bias"}  # fmt: skip


def convert(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> ConvertedLm | None:
    """Return the language model, None if the checkpoint is of another kind.

    The number of codebooks tells which codec it is for. Raises ModelInvalid.
    """
    if not ("transformer.norm_in.weight" in state and "emb.0.weight" in state):
        return None
    n_codebooks = sum(name.startswith("emb.") for name in state)
    found = [name for name, preset in PRESETS.items() if preset.n_codebooks == n_codebooks]
    if not found:
        known = " or ".join(str(preset.n_codebooks) for preset in PRESETS.values())
        raise ModelInvalid(
            f"language model of EnCodec: {n_codebooks} tensors emb.*.weight, expected {known}"
        )
    sizes = PRESETS[found[0]]
    theirs = {name: _their_names(name, n_codebooks) for name in sizes.layout()}
    expected = {
        their_name: shape if name not in _STACKED else shape[1:]
        for name, shape in sizes.layout().items()
        for their_name in theirs[name]
    }
    check_tensors(state, expected, "language model of EnCodec")
    tensors = {
        name: torch.stack([state[n].float() for n in names])
        if name in _STACKED
        else state[names[0]].float()
        for name, names in theirs.items()
    }
    return ConvertedLm(found[0], sizes, tensors, {"licence": "MIT"})


def _their_names(name: str, n_codebooks: int) -> list[str]:
    """Return the names of what makes up one of our tensors."""
    if name in _STACKED:
        return [_STACKED[name].format(number) for number in range(n_codebooks)]
    if name.startswith("norm."):
        return [name.replace("norm.", "transformer.norm_in.")]
    layers, number, part, rest = name.split(".", 3)
    return [f"transformer.{layers}.{number}.{_PARTS[part]}.{rest}"]
