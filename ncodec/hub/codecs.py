"""Files of codecs: found by name or by digest, loaded, saved."""

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncodec.errors import ModelInvalid, ModelMissing, UsageError
from ncodec.hub.model_files import (
    StoredModel,
    described,
    find_among,
    ignore,
    in_package,
    read_about,
    read_unchanged,
    write_model,
)
from ncodec.hub.public import hint

if TYPE_CHECKING:
    import torch

    from ncodec.models.base import Codec, CodecConfig

DEFAULT_MODEL = "spectral"
_ABOUT = {"model_id": str, "architecture": str, "config": dict, "facts": dict}
_SIZES = ("sample_rate_hz", "n_channels", "samples_per_frame", "n_codebooks", "codebook_size")


@dataclass(frozen=True, slots=True)
class ModelFile(StoredModel):
    """What the file of a codec says of itself."""

    architecture: str
    config: Mapping[str, Any]


def describe(path: Path) -> ModelFile:
    """Read what the file of a codec says of itself. Raises ModelInvalid."""
    about, stored = read_about(path, "ncodec", _ABOUT)
    try:
        sizes = (about["config"][name] for name in _SIZES)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"config needs positive {', '.join(_SIZES)}")
        if not isinstance(about["config"]["bandwidths_kbps"], list):
            raise TypeError("config needs a list of bandwidths_kbps")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelInvalid(f"{path}: not a model file of ncodec: {error}") from None
    return ModelFile(**stored, architecture=about["architecture"], config=about["config"])


def installed(on_invalid: Callable[[ModelInvalid], None] = ignore) -> list[ModelFile]:
    """Return all models that are there: those of the package, then those of the cache.

    An id may come more than once, with other weights: files keep to those they were made with.

    on_invalid  called for each file that is not a model: one bad file must not hide the others
    """
    return described(".", describe, on_invalid)


def find(name: str) -> ModelFile:
    """Return the model of that id, or the default model of the architecture of that name.

    That is the first of the cache, for whoever has put it there wants it; else that of the package.

    Raises ModelMissing, which also names the files that could not be read.
    """
    invalid: list[ModelInvalid] = []
    models = installed(invalid.append)
    for model in models:
        if model.model_id == name:
            return model
    of_kind = [model for model in models if model.architecture == name]
    for model in of_kind:
        if not in_package(model):
            return model
    if of_kind:
        return of_kind[0]
    known = ", ".join(dict.fromkeys(model.model_id for model in models)) or "none"
    faults = "".join(f"; {error}" for error in invalid)
    raise ModelMissing(f"model {name!r}: not installed; installed: {known}{hint(name)}{faults}")


def find_exact(model_id: str, fingerprint: bytes) -> ModelFile:
    """Return the very codec that a file was made with. Raises ModelMissing, ModelMismatch."""
    return find_among(installed(), "model", model_id, fingerprint)


def load_codec(model: ModelFile, device: str = "cpu") -> "Codec":
    """Return the codec of a model file, ready to run in float32. Raises ModelInvalid.

    device  that its networks run on, as torch names it
    """
    return _load(model.path, model.sha256, device)


@functools.lru_cache(maxsize=2)
def _load(path: Path, sha256: str, device: str) -> "Codec":
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ncodec.models.registry import architecture

    blob = read_unchanged(path, sha256)
    about = describe(path)
    kind = architecture(about.architecture)
    try:
        codec = kind(kind.config_class.from_dict(dict(about.config)))
    except (ModelInvalid, TypeError, ValueError, RuntimeError) as error:
        raise ModelInvalid(f"{path}: {str(error).splitlines()[0]}") from None
    try:
        codec.load_state_dict({name: tensor.float() for name, tensor in load(blob).items()})
    except (RuntimeError, SafetensorError) as error:
        raise ModelInvalid(
            f"{path}: weights do not fit the architecture: {str(error)[:200]}"
        ) from None
    return codec.eval().requires_grad_(False).to(device)


def choose_n_q(model: ModelFile, bandwidth_kbps: float | None, n_q: int | None) -> int:
    """Return how many codebooks to use, given at most one of the two. Raises UsageError."""
    config = load_codec(model).config
    if n_q is None:
        if bandwidth_kbps is None:
            bandwidth_kbps = config.default_bandwidth_kbps
        if not math.isfinite(bandwidth_kbps):
            raise UsageError(f"bandwidth {bandwidth_kbps:g} kbps: expected a number")
        return config.n_q_for(bandwidth_kbps)
    if bandwidth_kbps is not None:
        raise UsageError("give a bandwidth or a number of codebooks, not both")
    if not 1 <= n_q <= config.n_codebooks:
        raise UsageError(f"{n_q} codebooks: model {model.model_id!r} has 1 to {config.n_codebooks}")
    return n_q


def save_codec(
    path: Path, model_id: str, codec: "Codec", facts: Mapping[str, Any],
    dtype: "torch.dtype | None" = None,
) -> None:  # fmt: skip
    """Write a codec's weights, with all that a decoder must know.

    dtype  of the numbers in the file; half precision by default
    """
    import torch
    from safetensors.torch import save

    about = {
        "model_id": model_id,
        "architecture": codec.name,
        "config": codec.config.to_dict(),
        "facts": dict(facts),
    }
    tensors = {
        name: tensor.detach().cpu().to(dtype or torch.float16).contiguous()
        for name, tensor in codec.state_dict().items()
    }
    write_model(path, save(tensors, {"ncodec": json.dumps(about, sort_keys=True)}))


def save_tensors(
    path: Path, model_id: str, architecture_name: str, config: "CodecConfig",
    tensors: "Mapping[str, torch.Tensor]", facts: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write a codec of these weights, in single precision.

    Raises ModelInvalid if they are not those of the architecture, ModelMissing if it is unknown.
    """
    import torch

    from ncodec.models.registry import architecture

    codec = architecture(architecture_name)(config)
    try:
        codec.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelInvalid(
            f"weights do not fit the architecture {architecture_name!r}: {str(error)[:200]}"
        ) from None
    save_codec(path, model_id, codec, facts, torch.float32)
