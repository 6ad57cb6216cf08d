"""What every converter of a public checkpoint needs.

Files name a model by the digest of its weights. So a checkpoint must come to the same bits on every
machine: a converter moves numbers about, or does steps that are correctly rounded each, and does
no sums in floating point.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ncodec.errors import ModelInvalid
from ncodec.hub import language_models
from ncodec.hub.codecs import save_tensors
from ncodec.hub.public import Kind
from ncodec.models.base import CodecConfig
from ncodec.models.encodec_lm import LmConfig

_MAX_NAMED = 3  # tensors of a fault that a message names


@dataclass(frozen=True, slots=True)
class Converted:
    """A checkpoint as a codec of ncodec: all that its file will hold."""

    model_id: str  # the name it is installed by, unless the user gives another
    architecture: str  # as ncodec.models.registry knows it
    config: CodecConfig
    tensors: Mapping[str, Tensor]  # float32, the state dict of the class that runs it
    facts: Mapping[str, Any]  # licence and the like
    kind: ClassVar[Kind] = "codec"

    def save(self, path: Path, name: str) -> None:
        """Write the model file. Raises ModelInvalid."""
        save_tensors(path, name, self.architecture, self.config, self.tensors, self.facts)


@dataclass(frozen=True, slots=True)
class ConvertedLm:
    """A checkpoint as a language model of ncodec, likewise."""

    model_id: str  # of the codec
    config: LmConfig
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    kind: ClassVar[Kind] = "ecdc-lm"

    def save(self, path: Path, name: str) -> None:
        """Write the model file. Raises ModelInvalid."""
        language_models.save(path, name, self.config, self.tensors, self.facts)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with `X.weight` in place of the two halves of its weight norm.

    They are `X.weight_g` and `X.weight_v`, or `X.parametrizations.weight.original0` (the
    magnitude) and `.original1`, normalised over all dimensions but the first. Within an ulp or two
    of what torch computes, whose own sums depend on the processor. Raises ModelInvalid where a half
    is missing or of the wrong shape.
    """
    folded: dict[str, Tensor] = {}
    for name, tensor in state.items():
        half = _HALF.fullmatch(name)
        if half is None:
            folded[name] = tensor
            continue
        stem, own = half["stem"], half["half"]
        other = stem + _OTHER[own]
        if other not in state:
            raise ModelInvalid(f"tensor {name}: {other} is missing")
        if f"{stem}weight" in state:
            raise ModelInvalid(f"tensor {name}: {stem}weight is there too")
        if own in _MAGNITUDES:
            folded[f"{stem}weight"] = _with_norm(name, tensor, state[other])
    return folded


_MAGNITUDES = {
    "weight_g": "weight_v",
    "parametrizations.weight.original0": "parametrizations.weight.original1",
}
_OTHER = _MAGNITUDES | {direction: magnitude for magnitude, direction in _MAGNITUDES.items()}
_HALF = re.compile(rf"(?P<stem>(?:.*\.)?)(?P<half>{'|'.join(map(re.escape, _OTHER))})")


def _with_norm(name: str, magnitude: Tensor, direction: Tensor) -> Tensor:
    expected = [*direction.shape[:1], *([1] * (direction.dim() - 1))]
    if not expected or list(magnitude.shape) != expected:
        raise ModelInvalid(f"tensor {name}: shape {list(magnitude.shape)}, expected {expected}")
    if not (magnitude.is_floating_point() and direction.is_floating_point()):
        raise ModelInvalid(f"tensor {name}: {magnitude.dtype}, expected floating point")
    exact = direction.float().double()
    squares = exact * exact  # 48 bits of 53: nothing is rounded, fsum rounds once
    norms = [math.sqrt(math.fsum(row.flatten().tolist())) for row in squares]
    scales = magnitude.float().double() / torch.tensor(norms, dtype=torch.float64).view(expected)
    return (exact * scales).float()


def take(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name starts with `prefix`, named without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def check_tensors(
    found: Mapping[str, Tensor], expected_shapes: Mapping[str, Sequence[int]], name: str
) -> None:
    """Raise ModelInvalid unless the tensors are those of `expected_shapes`, real and finite.

    name  of what is checked, for the message
    """
    faults = [
        *_named("missing", [key for key in expected_shapes if key not in found]),
        *_named("unexpected", [key for key in found if key not in expected_shapes]),
    ]
    wrong: list[str] = []
    for key, shape in expected_shapes.items():
        if key not in found:
            continue
        tensor = found[key]
        if list(tensor.shape) != list(shape):
            wrong.append(f"{key} has shape {list(tensor.shape)}, expected {list(shape)}")
        elif not tensor.is_floating_point():
            wrong.append(f"{key} is {tensor.dtype}, expected floating point")
        elif not bool(tensor.float().isfinite().all()):
            wrong.append(f"{key} has values that are not finite")
    faults += _named("", wrong)
    if faults:
        raise ModelInvalid(f"{name}: {'; '.join(faults)}")


def _named(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f" and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    return [f"{what} {', '.join(items[:_MAX_NAMED])}{more}".strip()]
